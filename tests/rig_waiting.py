"""Waiting for a condition, with a deadline: what system tests do instead of sleeping."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LONG_S = 60.0
_LOOK_EVERY_S = 0.02


def wait_for(look: Callable[[], T | Literal[False] | None], what: str, timeout_s: float = LONG_S) -> T:
    """Call `look` until it answers something true, and return that."""
    deadline_mono_s = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline_mono_s:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(_LOOK_EVERY_S)
