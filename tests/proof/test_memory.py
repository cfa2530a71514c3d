"""After an erasure the vault's memory holds none of the keys that went: it became a new process.

The keys are recovered from everything that the vault wrote (`rig_keys.py`), then looked
for in all the memory that it can write to.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import rig_capture
import rig_keys
import rig_processes
from device.vault.conftest import utterance
from fadeout_device import messages
from fadeout_device.vault import container
from fadeout_device.vault.handover import OPTION
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.roots.file import FileRootStore
from rig_capture import strace
from rig_fadeout import Home, Process, as_root, home, vault_command
from rig_waiting import wait_for

if TYPE_CHECKING:
    from fadeout_device.wire import Connection

__all__ = ["as_root", "home", "strace"]

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("strace")]

NO_RENEWAL = """
import sys

if "fadeout_device.vault" in sys.orig_argv:
    import fadeout_device.vault.lean
    from fadeout_device.vault import service

    service.Service.wants_renewal = property(lambda _self: False, lambda _self, _wants: None)
"""


class Found(NamedTuple):
    """How many keys of each kind are in the memory."""

    dead: int
    of_dead: int
    live: int


def scan(home: Home, *, is_renewed: bool, **environment: str) -> Found:
    """Seal, erase, let the vault become a new process or not, and look into its memory."""
    traces = home.folder / "traces"
    with Process(home, [*rig_capture.command(traces), *vault_command(home)], **environment) as vault:
        wait_for(lambda: "ready" in vault.out, "the vault is ready")
        pid = rig_processes.rooms(vault.process.pid)["vault"]
        with contextlib.closing(home.connect("ear")) as ear:
            ear.receive()
            ear.send(messages.EarState(listening=True, source="a microphone", wake_words=("alexa",)))
            for number in range(4):
                _seal(ear)
                if number % 2:
                    _erase(home, pid, is_renewed=is_renewed)
            assert (OPTION in rig_processes.arguments(pid)) == is_renewed
            wait_for(home.status, "the vault answers")
            memory = _memory_of(pid)
            os.kill(pid, signal.SIGTERM)  # strace ends with it, and not for a signal of its own
            vault.finish()
    keys = rig_keys.recover(rig_capture.read(traces), home.state)
    held = {path.name for path in (home.state / "items").iterdir()}
    trees = Keyring(home.state, FileRootStore(home.state))._body.trees
    live = {node for tree in trees.values() for node in tree._nodes.values()}
    gone = [item for item in keys.items if Path(item.path).name not in held]
    dead = {key for item in gone for key in (item.key, item.leaf_key)} | (keys.nodes - live)
    for item in keys.items:
        if item not in gone:
            dead -= {item.leaf_key, *rig_keys._path_to(container.parse_header(item.data), [trees])}
    return Found(sum(key in memory for key in dead), len(dead), sum(key in memory for key in live))


def _erase(home: Home, pid: int, *, is_renewed: bool) -> None:
    # Where its stack lies is another place for each program that a process executes: proc(5).
    auxiliary = Path(f"/proc/{pid}/auxv")
    before = auxiliary.read_bytes()
    home.ask("erase", "--last", "1")
    if is_renewed:
        wait_for(lambda: auxiliary.read_bytes() not in (before, b""), "the vault became a new process")


def _seal(ear: Connection) -> None:
    ear.send(utterance(), b"\x01\x02" * 16_000)
    frame = ear.receive()
    assert frame is not None


def _memory_of(pid: int) -> bytes:
    parts = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, access, *_ = line.split()
            if access.startswith("rw"):
                start, end = (int(each, 16) for each in span.split("-"))
                with contextlib.suppress(OSError):
                    memory.seek(start)
                    parts.append(memory.read(end - start))
    return b"".join(parts)


@pytest.mark.usefixtures("as_root")
def test_no_erased_key_is_in_memory(home: Home) -> None:
    found = scan(home, is_renewed=True)
    assert found.live, "the search does not find the keys that are there"
    assert found.of_dead >= 4
    assert found.dead == 0


@pytest.mark.usefixtures("as_root")
def test_without_the_new_process_some_are(home: Home, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_RENEWAL)
    planted = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
    found = scan(home, is_renewed=False, PYTHONPATH=planted)
    assert found.live
    assert found.dead > 0
