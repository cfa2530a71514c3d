"""Whoever reads the sizes of TLS records cannot tell an idle device from a busy one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rig_reporter_records import PLANTS, compare

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]


def test_idle_and_busy_trains_look_alike(tmp_path: Path) -> None:
    outcome = compare(tmp_path, trains=22)
    assert outcome.problems == []
    assert outcome.events > 22


@pytest.mark.parametrize("plant", PLANTS)
def test_the_same_eyes_see_a_mistake(tmp_path: Path, plant: str) -> None:
    assert compare(tmp_path, trains=8, plant=plant).problems
