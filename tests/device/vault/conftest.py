"""A store on a real folder, with a clock and a root store that a test controls."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from fadeout_device.config import Config, parse
from fadeout_device.confine import Confinement
from fadeout_device.messages import Utterance
from fadeout_device.vault.service import Service
from fadeout_device.vault.store import Store
from fakes import FakeClock, FakeRoots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Rig:
    """Opens and reopens a store; what would outlive the process stays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.roots = FakeRoots()
        self.config = Config()
        self.store: Store = self._open()

    def _open(self) -> Store:
        return Store(self.folder, self.roots, self.config.policy, self.config.sweep_s, self.clock)

    def restart(self, config: str | None = None) -> Store:
        """Close and open again, as after a crash or with another configuration."""
        if config is not None:
            self.config = parse(config, "x")
        self.store.close()
        self.store = self._open()
        return self.store

    def serve(self, *, coalesce_s: float = 0.0) -> Service:
        """Return a service of what is open, which does not wait for others when it erases."""
        confinement = Confinement("n", "m")
        return Service(self.store, self.clock, confinement, self.config.sweep_s, coalesce_s)

    def seal(self, audio: bytes = b"\x01\x02" * 16000, **changes: Any) -> str:  # noqa: ANN401 - any field
        """Seal an utterance; returns the recording's id."""
        recording, _ = self.store.seal(utterance(**changes), audio)
        return recording


def utterance(**changes: Any) -> Utterance:  # noqa: ANN401 - any field
    """Return an utterance as the ear would send it."""
    fields: dict[str, Any] = {
        "delivery": secrets.token_hex(8),
        "wake_word": "okay_nabu",
        "score": 0.99,
        "age_s": 2.0,
        "duration_s": 2.0,
        "speech_s": 1.0,
        "outcome": "failed",
        "action": "none",
    }
    return Utterance(**{**fields, **changes})


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.store.close()
