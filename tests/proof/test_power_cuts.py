"""Whatever a power cut leaves: what was promised to be kept opens, and what was reported erased does not.

A part of what `scripts/prove` tries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import rig_plants
from rig_powercut import UNTIL_CAUGHT, Effort, cut_everywhere
from rig_workload import STORIES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("tracer")]


@pytest.mark.parametrize("story", STORIES)
def test_a_power_cut_breaks_no_promise(fast_folder: Path, story: str) -> None:
    outcome = cut_everywhere(fast_folder / story, story, effort=Effort(stride=8))
    assert not outcome.problems
    assert outcome.states > 25


@pytest.mark.parametrize("plant", rig_plants.POWER)
def test_a_protocol_with_a_mistake_is_caught(fast_folder: Path, plant: str) -> None:
    outcome = cut_everywhere(fast_folder / "erase", "erase", plant, UNTIL_CAUGHT)
    assert outcome.problems, f"{rig_plants.POWER[plant]}: nothing was found in {outcome.states} states"
