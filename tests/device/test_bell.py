"""A bell: rung by whom it may interrupt."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from fadeout_device.bell import Bell

if TYPE_CHECKING:
    from types import FrameType

STUCK_S = 20.0


def test_it_may_be_rung_between_any_two_steps_of_who_waits() -> None:
    """As a signal handler does; the same, written with `threading.Event`, is stuck for ever."""
    bell = Bell()
    rung = 0

    def interrupt(_frame: FrameType, _event: str, _arg: object) -> Any:  # noqa: ANN401 - itself
        nonlocal rung
        rung += 1
        bell.ring()
        return interrupt

    def wait() -> None:
        sys.settrace(interrupt)
        for _ in range(3):
            bell.wait(0.001)
        sys.settrace(None)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(STUCK_S)
    assert not waiting.is_alive(), "who waits and who rings wait for each other"
    assert rung > 3


def test_a_ring_is_not_lost_and_not_kept() -> None:
    bell = Bell()
    for _ in range(3):
        bell.ring()
    began_mono_s = time.monotonic()
    bell.wait(STUCK_S)
    assert time.monotonic() - began_mono_s < STUCK_S, "it rang before anybody waited"
    began_mono_s = time.monotonic()
    bell.wait(0.01)
    assert time.monotonic() - began_mono_s >= 0.01, "three rings are one"
