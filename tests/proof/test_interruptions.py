"""A vault that is killed, or whose disk fails, at any of its system calls keeps every promise it made.

A part of what `scripts/prove` tries; `tests/faults` kills the whole of fadeout at each step of an erasure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rig_interrupted import SYNCS, attempt, faults, interrupt

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("tracer")]


def test_killed_at_a_call(fast_folder: Path) -> None:
    kills = faults(attempt(fast_folder / "whole", "erase"), with_errors=False)
    assert len(kills) > 150
    assert interrupt(fast_folder, "erase", kills[::8]).problems == []


@pytest.mark.parametrize("story", ["erase", "panic"])
def test_an_error_at_a_call_that_changes_something(fast_folder: Path, story: str) -> None:
    errors = faults(attempt(fast_folder / "whole", story), with_errors=True)
    chosen = [fault for fault in errors if fault.call not in SYNCS]
    assert interrupt(fast_folder, story, chosen[::24]).problems == []


def test_a_sync_that_fails_ends_the_process_and_no_step_follows(fast_folder: Path) -> None:
    errors = faults(attempt(fast_folder / "whole", "erase"), with_errors=True)
    chosen = [fault for fault in errors if fault.call in SYNCS and fault.error == "EIO"]
    assert len(chosen) > 20
    assert interrupt(fast_folder, "erase", chosen).problems == []
