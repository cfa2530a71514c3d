"""A state folder with two sealed recordings, made once and copied for each test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rig_fadeout import Home, Process, new_home, seal_beforehand, vault_command
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig_speech import Speech


class SealedState(NamedTuple):
    """Two recordings in a folder."""

    folder: Path
    newest: str
    oldest: str

    def copy_to(self, home: Home) -> None:
        """Make it a home's state folder, or what is in it."""
        shutil.copytree(self.folder, home.state, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))


@pytest.fixture(scope="session")
def sealed_state(speech: Speech) -> Iterator[SealedState]:
    """Give two recordings, sealed by the real ear and vault."""
    with new_home() as home:
        newest, oldest = seal_beforehand(home, speech.path, 2)
        yield SealedState(home.state, newest, oldest)


def start_vault(home: Home, **environment: str) -> Process:
    """Start a vault alone, and wait until it answers."""
    process = Process(home, vault_command(home), **environment)
    wait_for(lambda: process.process.poll() is not None or home.status(), "the vault answers, or has ended")
    return process
