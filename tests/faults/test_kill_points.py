"""A vault killed at each step of an erasure: what was promised is gone, what was not named is there."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fadeout_device.vault.roots.file import FileRootStore
from rig_fadeout import CANARIES
from rig_state import SealedState, start_vault
from rig_waiting import wait_for

if TYPE_CHECKING:
    from rig_fadeout import Home, Process

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("strace")]

# The calls by which an erasure changes the disk, by the number of each within it.
STEPS = [
    *(("fdatasync", number) for number in (1, 2)),
    *(("fsync", number) for number in (1, 2, 3, 4)),
    *(("pwrite64", number) for number in (1, 5, 8, 11)),
    *(("unlink", number) for number in (1, 3)),
]


class Killer:
    """An strace that kills a vault at one of its system calls."""

    def __init__(self, vault: Process, call: str, number: int) -> None:
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        self._strace = subprocess.Popen(
            [
                *("strace", "-f", "-p", str(vault.process.pid), "-o", os.devnull),
                *("-e", f"trace={call}", "-e", inject),
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(lambda: is_traced(vault.process.pid), "strace has attached")

    def close(self) -> None:
        self._strace.terminate()
        self._strace.wait()


def is_traced(process_id: int) -> bool:
    texts = [path.read_text() for path in Path(f"/proc/{process_id}/task").glob("*/status")]
    return bool(texts) and all("TracerPid:\t0\n" not in text for text in texts)


@pytest.mark.parametrize(("call", "number"), STEPS)
def test_a_vault_killed_while_erasing(home: Home, sealed_state: SealedState, call: str, number: int) -> None:
    sealed_state.copy_to(home)
    with start_vault(home) as vault:
        killer = Killer(vault, call, number)
        answer = home.verb("erase", sealed_state.newest)
        killer.close()
        assert vault.process.wait() == -signal.SIGKILL, "an erasure has no such step any more"
    assert answer.returncode != 0, "nobody was there to promise anything"
    with start_vault(home) as vault:
        assert vault.process.poll() is None
        held = home.held()
        assert sealed_state.oldest in held, "a recording that nobody named is lost"
        codes = [home.verb("play", name, "-o", home.folder / "out.wav").returncode for name in held]
        assert codes == [0] * len(held)
        # The named one is there whole or gone whole: with its files, and on a second try for good.
        assert len(list((home.state / "items").iterdir())) - CANARIES == 2 * len(held)
        home.verb("erase", sealed_state.newest)
        assert home.held() == [sealed_state.oldest]
    assert_one_root(home)


def assert_one_root(home: Home) -> None:
    """Whatever was cut off, one slot is live in the end, one keyring is there, and it is that slot's."""
    (blob,) = home.state.glob("keyring-*")
    generation = int(blob.name.rpartition("-")[2])
    roots = FileRootStore(home.state)
    numbers = [int.from_bytes(roots.read(slot)[32:40], "big") for slot in range(2)]
    assert numbers[generation % 2] == generation
    assert numbers[(generation + 1) % 2] not in range(generation + 2)
