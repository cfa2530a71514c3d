"""With every byte ever written and the last root, nothing erased opens, and nothing secret is found in clear.

A part of what `scripts/prove` tries; `tests/system/test_canary.py` does the same to the whole of fadeout.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import rig_plants
from rig_immortal import attack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("tracer")]


@pytest.mark.parametrize("story", ["erase", "sweep"])
def test_nothing_erased_can_be_had_from_all_that_was_written(fast_folder: Path, story: str) -> None:
    findings = attack(fast_folder / story, story)
    assert findings.is_strong, "the attacker would not win where there is something to win"
    assert findings.is_clean
    assert findings.secrets > 100


def test_nor_from_a_vault_without_any_rights(fast_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else; without it, the tests above are this one")
    fast_folder.chmod(0o755)
    assert attack(fast_folder / "erase", "erase", as_nobody=True).is_clean


@pytest.mark.parametrize("plant", rig_plants.ERASURE)
def test_a_vault_with_a_mistake_is_caught(fast_folder: Path, plant: str) -> None:
    findings = attack(fast_folder / "erase", "erase", plant)
    assert findings.is_strong
    assert findings.erased_open or findings.hits, f"{rig_plants.ERASURE[plant]}: nothing was found"
