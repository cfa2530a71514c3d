"""Each misfortune once, in two orders, with a real reporter and a real Mosquitto. See scripts/prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rig_reporter_outages import MAX_RESIDENT_KB, MISFORTUNES, live

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]


@pytest.mark.parametrize("seed", [0, 1])
def test_each_event_that_lives_arrives_in_order_and_no_dead_one_leaves(tmp_path: Path, seed: int) -> None:
    misfortunes = list(MISFORTUNES)[:: 1 if seed else -1]
    outcome = live(tmp_path, seed, misfortunes)
    assert outcome.problems == []
    assert outcome.events > 20
    assert outcome.died > 0
    assert outcome.resident_kb <= MAX_RESIDENT_KB


def test_nor_does_it_in_trains(tmp_path: Path) -> None:
    misfortunes = ["the broker is away for a week", "the broker is killed", "the line is cut"]
    outcome = live(tmp_path, 2, misfortunes, "batched")
    assert outcome.problems == []
    assert outcome.events > 0
