from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from device.ear.fake_vault import FakeVault, running_vault
from sound_card import no_sound_card, sound_card

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["no_sound_card", "sound_card"]

ROOT = Path(__file__).parents[3]


class Spoken(NamedTuple):
    folder: Path
    labels: dict[str, Any]


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    """Give the synthesised fixtures and their labels."""
    if missing := [p for p in ("flite", "espeak-ng", "sox") if shutil.which(p) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: flite espeak-ng sox)")
    folder = tmp_path_factory.mktemp("spoken")
    subprocess.run([ROOT / "scripts" / "make_fixtures", folder], check=True, stdout=subprocess.DEVNULL)
    return Spoken(folder, json.loads((folder / "labels.json").read_text()))


@pytest.fixture
def state() -> Iterator[Path]:
    """Give a state folder whose sockets have short enough paths."""
    with tempfile.TemporaryDirectory(prefix="ear") as folder:
        (Path(folder) / "run").mkdir()
        yield Path(folder)


@pytest.fixture
def vault(state: Path) -> Iterator[FakeVault]:
    """Give a running vault."""
    with running_vault(state / "run" / "ear.sock") as running:
        yield running
