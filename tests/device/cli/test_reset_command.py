"""`fadeout reset`: what the command itself lets go of, beside what the vault does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fadeout_device import answers
from fadeout_device.cli.__main__ import main
from fadeout_device.ear.adapters.remembered import remember, remembered
from fadeout_device.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_next_owner_does_not_learn_what_the_microphone_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(tmp_path, 2, "a headset")
    monkeypatch.setattr("fadeout_device.cli.held.ask", lambda *_: (answers.Erased((), 0), b""))
    assert main(["--state", str(tmp_path), "reset", "--yes"]) == 0
    assert remembered(tmp_path, 2) == ""
    assert not list(tmp_path.iterdir())


def test_a_reset_that_did_not_happen_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any) -> None:  # noqa: ANN401 - whatever it is asked
        raise UnavailableError("no vault")

    remember(tmp_path, 2, "a headset")
    monkeypatch.setattr("fadeout_device.cli.held.ask", ask)
    assert main(["--state", str(tmp_path), "reset", "--yes"]) != 0
    assert remembered(tmp_path, 2) == "a headset"
