"""A disk that is full: nothing is sealed or left in clear, and what is to be forgotten is forgotten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rig_canary import Secrets
from rig_disk import SmallDisk, small_disk
from rig_fadeout import CANARIES, Home, Process, hear
from rig_state import start_vault
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig_speech import Speech
    from rig_state import SealedState

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("as_root")]

DISK_KIB = 2048
SHORT = """
[retention.failed]
audio = { keep = "9s", purpose = "test" }
action = { keep = "9s", purpose = "test" }
words = { keep = "none" }
[vault]
sweep = "1s"
"""
# Nothing fits; a row fits but no audio.
LEFT_BYTES = [pytest.param(0, id="not a byte is left"), pytest.param(96 * 1024, id="some room is left")]


@pytest.fixture
def disk(home: Home) -> Iterator[SmallDisk]:
    """Give a small disk for the state folder."""
    with small_disk(home.state, DISK_KIB) as mounted:
        yield mounted


class Vault(NamedTuple):
    """A running vault on the small disk, with two recordings."""

    process: Process
    disk: SmallDisk
    newest: str
    oldest: str

    def assert_well(self) -> None:
        assert self.process.process.poll() is None, f"it ended with {self.process.process.returncode}"
        assert not [line for line in self.process.err if "Traceback" in line]


@pytest.fixture
def vault(home: Home, disk: SmallDisk, sealed_state: SealedState) -> Iterator[Vault]:
    sealed_state.copy_to(home)
    with start_vault(home) as process:
        yield Vault(process, disk, sealed_state.newest, sealed_state.oldest)


def item_files(home: Home) -> set[str]:
    return {path.name for path in (home.state / "items").iterdir()}


def play(home: Home, recording: str) -> int:
    return home.verb("play", recording, "-o", home.folder / "out.wav").returncode


@pytest.mark.parametrize("left_bytes", LEFT_BYTES)
def test_an_utterance_is_dropped_with_one_line_and_nothing_of_it_is_left(
    home: Home, vault: Vault, speech: Speech, left_bytes: int
) -> None:
    files = item_files(home)
    vault.disk.fill(left_bytes)
    (heard,) = hear(home, speech.path)
    assert heard["kept"] == []
    assert "could not be sealed and was dropped" in heard["error"]
    assert item_files(home) == files
    secrets = Secrets()
    secrets.add_audio(speech.pcm)
    left = [path for path in home.state.rglob("*") if path.is_file()]
    assert not [path.name for path in left if secrets.found(path.read_bytes())]
    assert play(home, vault.oldest) == 0
    assert len([line for line in vault.process.err if "could not be sealed" in line]) == 1
    vault.assert_well()

    vault.disk.empty()
    (heard,) = hear(home, speech.path)
    assert [kept["kind"] for kept in heard["kept"]] == ["audio", "action"]
    assert len(home.held()) == 3


@pytest.mark.parametrize("left_bytes", LEFT_BYTES)
def test_erasing_works(home: Home, vault: Vault, left_bytes: int) -> None:
    vault.disk.fill(left_bytes)
    assert home.ask("erase", "--last", "1")["recordings"] == [vault.newest]
    assert home.held() == [vault.oldest]
    assert play(home, vault.newest) == os.EX_NOINPUT
    assert play(home, vault.oldest) == 0
    assert home.ask("erase", "--all")["recordings"] == [vault.oldest]
    assert len(item_files(home)) in (0, CANARIES)
    vault.assert_well()


@pytest.mark.parametrize("left_bytes", LEFT_BYTES)
def test_what_ends_is_forgotten_on_time(home: Home, disk: SmallDisk, speech: Speech, left_bytes: int) -> None:
    home.config.write_text(SHORT)
    with start_vault(home) as vault:
        hear(home, speech.path)
        assert len(home.held()) == 1
        disk.fill(left_bytes)
        wait_for(
            lambda: vault.process.poll() is not None or ((now := home.status()) and not now.held),
            "all keys are destroyed",
            timeout_s=20.0,
        )
        assert vault.process.poll() is None, f"the vault ended with {vault.process.returncode}"
        assert len(item_files(home)) in (0, CANARIES)


def test_a_vault_that_starts_on_a_full_disk_serves_and_erases_or_says_why_not(
    home: Home, disk: SmallDisk, sealed_state: SealedState
) -> None:
    sealed_state.copy_to(home)
    disk.fill()
    with start_vault(home) as vault:
        if vault.process.poll() is None:
            assert play(home, sealed_state.oldest) == 0
            assert home.ask("erase", "--all")["items"] == 4
            assert len(item_files(home)) in (0, CANARIES)
        else:
            assert vault.finish() == os.EX_CANTCREAT
            assert [line.partition(":")[0] for line in vault.err] == ["error", "hint"]


def test_a_first_start_on_a_full_disk_says_so_and_a_later_one_works(
    home: Home, disk: SmallDisk, speech: Speech
) -> None:
    disk.fill()
    with start_vault(home) as vault:
        assert vault.finish() == os.EX_CANTCREAT
        assert [line.partition(":")[0] for line in vault.err] == ["error", "hint"]
        assert "no space left" in vault.err[0] or "full" in vault.err[0]
    disk.empty()
    with start_vault(home):
        hear(home, speech.path)
        assert len(home.held()) == 1
