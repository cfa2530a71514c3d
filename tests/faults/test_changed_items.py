"""Sealed files that were cut, changed, swapped or lost: refused with one line, and still erasable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rig_fadeout import Home, Process, assert_refused
from rig_state import SealedState, start_vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

HEADER_BYTES = 48


class Files(NamedTuple):
    """The items of the newest recording, and the audio of the other one."""

    audio: Path
    action: Path
    other_audio: Path


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a bit of the magic": lambda path: flip(path, 0),
    "a bit of the version": lambda path: flip(path, 7),
    "a bit of the class": lambda path: flip(path, 8),
    "a bit of the leaf": lambda path: flip(path, 15),
    "a bit of the salt": lambda path: flip(path, 20),
    "a bit of the metadata": lambda path: flip(path, HEADER_BYTES + 3),
    "the last bit": lambda path: flip(path, -1),
    "the end cut off": lambda path: os.truncate(path, path.stat().st_size - 1),
    "all but the header cut off": lambda path: os.truncate(path, HEADER_BYTES),
    "half the header cut off": lambda path: os.truncate(path, HEADER_BYTES // 2),
    "everything cut off": lambda path: os.truncate(path, 0),
    "something added": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "the file lost": lambda path: path.unlink(),
    "other bytes": lambda path: path.write_bytes(os.urandom(16_448)),
}


HEADER_CHANGES = ("a bit of the magic", "half the header cut off", "the file lost")


@pytest.fixture
def vault(home: Home, sealed_state: SealedState) -> Iterator[Process]:
    home.config.write_text("[mqtt]\nenabled = false\n")
    sealed_state.copy_to(home)
    with start_vault(home) as process:
        yield process


def files_of(home: Home, sealed_state: SealedState) -> Files:
    """Find the files: audio is larger, and the names are in the index in the order of sealing."""
    import sqlite3  # noqa: PLC0415 - only here

    copy = home.folder / "index.db"
    copy.write_bytes((sealed_state.folder / "index.db").read_bytes())
    connection = sqlite3.connect(copy)
    names = {
        (recording, kind): home.state / "items" / name
        for name, recording, kind in connection.execute("SELECT id, recording, kind FROM item")
    }
    connection.close()
    return Files(
        names[sealed_state.newest, "audio"],
        names[sealed_state.newest, "action"],
        names[sealed_state.oldest, "audio"],
    )


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *(("audio", change) for change in CHANGES),
        *(
            ("action", change)
            for change in ("a bit of the magic", "half the header cut off", "the file lost")
        ),
    ],
)
def test_a_changed_item_is_refused_and_can_be_erased(
    home: Home, vault: Process, sealed_state: SealedState, kind: str, change: str
) -> None:
    files = files_of(home, sealed_state)
    CHANGES[change](files.audio if kind == "audio" else files.action)
    if kind == "audio":
        refused = home.verb("play", sealed_state.newest, "-o", home.folder / "out.wav")
        assert refused.returncode in (os.EX_DATAERR, os.EX_CANTCREAT, os.EX_NOINPUT)
        assert refused.stderr.splitlines()[0].startswith("error: ")
        assert "Traceback" not in refused.stderr
        assert not (home.folder / "out.wav").exists()
    assert home.verb("play", sealed_state.oldest, "-o", home.folder / "other.wav").returncode == 0
    assert home.held() == [sealed_state.newest, sealed_state.oldest]

    assert home.ask("erase", sealed_state.newest)["recordings"] == [sealed_state.newest]
    assert home.held() == [sealed_state.oldest]
    assert not files.audio.exists()
    assert not files.action.exists()
    assert vault.process.poll() is None
    assert not [line for line in vault.err if "Traceback" in line]


@pytest.mark.parametrize("change", ["a bit of the magic", "a bit of the metadata", "everything cut off"])
def test_what_cannot_be_dated_counts_as_recent_when_erasing_since(
    home: Home, vault: Process, sealed_state: SealedState, change: str
) -> None:
    files = files_of(home, sealed_state)
    CHANGES[change](files.audio)
    assert set(home.ask("erase", "--since", "1h")["recordings"]) == {sealed_state.newest, sealed_state.oldest}
    assert home.held() == []
    assert vault.process.poll() is None


def test_items_whose_files_were_swapped_are_not_each_other(
    home: Home, vault: Process, sealed_state: SealedState
) -> None:
    files = files_of(home, sealed_state)
    swap(files.audio, files.other_audio)
    for recording in (sealed_state.newest, sealed_state.oldest):
        refused = home.verb("play", recording, "-o", home.folder / "out.wav")
        assert_refused(refused, refused.returncode, "another item's", has_hint="hint" in refused.stderr)
        assert refused.returncode != 0
    assert home.ask("erase", "--all")["items"] == 4
    assert vault.process.poll() is None


@pytest.mark.parametrize("change", ["a bit of the magic", "everything cut off"])
def test_a_changed_item_does_not_stop_the_start_of_a_new_version(
    home: Home, sealed_state: SealedState, change: str
) -> None:
    home.config.write_text("[mqtt]\nenabled = false\n")
    sealed_state.copy_to(home)
    CHANGES[change](files_of(home, sealed_state).action)
    # What is kept until the next version must go, whatever its file looks like.
    (home.folder / "sitecustomize.py").write_text(
        "import fadeout_device\n\nfadeout_device.__version__ = '9.9.9'\n"
    )
    with start_vault(home, PYTHONPATH=str(home.folder)) as vault:
        assert vault.process.poll() is None, f"it ended with {vault.process.returncode}"
        kinds = [[item["kind"] for item in row["items"]] for row in home.ask("list")]
        assert kinds == [["action"], ["action"]]
