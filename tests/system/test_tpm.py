"""The `tpm` root store on a real TPM 2.0 in software: restarts, kills, a power cut at every command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fadeout_device.policy import ItemClass
from fadeout_device.vault import rootslot
from fadeout_device.vault.errors import KeysLostError, RootStoreError
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.roots.tpm import TpmRootStore
from fadeout_device.vault.roots.tpm_client import TpmClient, TpmError
from fadeout_device.vault.rootslot import Root
from rig_fadeout import new_home
from rig_tpm import Swtpm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

INDEX = 0x0180FADE
AUDIO = ItemClass("failed", "audio")


@pytest.fixture
def tpm() -> Iterator[Swtpm]:
    with new_home() as home, Swtpm(home.folder) as made:  # a short path, for its socket
        yield made


def _store(tpm: Swtpm) -> TpmRootStore:
    return TpmRootStore(TpmClient(tpm.socket), INDEX)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["in order", "power cut"])
def test_keys_outlive_the_chips_restart_and_erased_ones_stay_dead(
    tpm: Swtpm, tmp_path: Path, how: signal.Signals
) -> None:
    keyring = Keyring(tmp_path, _store(tpm))
    kept = keyring.leaf_key(AUDIO, 40)
    old_roots = set()
    for leaf in range(20):
        keyring.erase([(AUDIO, leaf)], {})
        found = [rootslot.parse(keyring.roots.read(slot)) for slot in range(2)]
        (root,) = [each for each in found if isinstance(each, Root)]
        old_roots.add(root.secret)
    tpm.stop(how)
    tpm.start()
    # The same store object: its connection broke, and the next command makes another.
    with pytest.raises(OSError, match=r"hung up|pipe|reset"):
        keyring.erase([(AUDIO, 20)], {})
    keyring.erase([(AUDIO, 20)], {})
    del keyring
    again = Keyring(tmp_path, _store(tpm))
    assert again.leaf_key(AUDIO, 40) == kept
    assert not any(again.is_alive(AUDIO, leaf) for leaf in range(21))
    slots = [again.roots.read(slot) for slot in range(2)]
    assert len(old_roots) == 20
    assert not any(root in slot for root in old_roots for slot in slots)


def test_the_chip_says_what_it_refuses(tpm: Swtpm) -> None:
    client = TpmClient(tpm.socket)
    TpmRootStore(client, INDEX)
    with pytest.raises(TpmError, match=r"defined already \(TPM_RC 0x14c\)"):
        client.define(INDEX, 1 << 2 | 1 << 18, 48)
    assert client.look_at(INDEX + 2) is None
    with pytest.raises(TpmError, match="no such index"):
        client.read(INDEX + 2, 48)
    with pytest.raises(TpmError, match=r"refused|outside the index"):
        client.write(INDEX, bytes(8))  # WRITEALL: a part is not taken
    client.define(INDEX + 3, 1 << 2 | 1 << 18, 32)
    with pytest.raises(RootStoreError, match="used by something else"):
        TpmRootStore(client, INDEX + 2)
    client.close()


def test_a_panic_leaves_no_root_in_the_chip(tpm: Swtpm, tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, _store(tpm))
    kept = keyring.leaf_key(AUDIO, 4)
    keyring.panic()
    assert "wiped" in [rootslot.parse(keyring.roots.read(slot)) for slot in range(2)]
    del keyring
    assert Keyring(tmp_path, _store(tpm)).leaf_key(AUDIO, 4) != kept


_ERASER = """
import sys
from pathlib import Path
from fadeout_device.policy import ItemClass
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.roots.tpm import TpmRootStore
from fadeout_device.vault.roots.tpm_client import TpmClient
keyring = Keyring(Path(sys.argv[2]), TpmRootStore(TpmClient(Path(sys.argv[1])), int(sys.argv[3])))
leaf = keyring.next_unused(ItemClass("failed", "audio"))
while True:
    print("begin", leaf, flush=True)
    keyring.erase([(ItemClass("failed", "audio"), leaf)], {})
    print("erased", leaf, flush=True)
    leaf += 1
"""


@pytest.mark.parametrize("victim", ["fadeout", "chip"])
def test_killed_in_the_middle_of_erasures_what_was_erased_is_dead_and_the_rest_lives(
    tpm: Swtpm, tmp_path: Path, victim: str
) -> None:
    """At a different place each time; whichever of the two dies, the other is as it was."""
    kept = Keyring(tmp_path, _store(tpm)).leaf_key(AUDIO, 100_000)
    erased = -1
    for turn in range(12):
        eraser = subprocess.Popen(
            [sys.executable, "-c", _ERASER, str(tpm.socket), str(tmp_path), str(INDEX)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert eraser.stdout is not None
        with eraser.stdout as said:
            words = [said.readline() for _ in range(2 + turn)]
            os.kill(eraser.pid, signal.SIGKILL) if victim == "fadeout" else tpm.stop(signal.SIGKILL)
            words += said.read().splitlines()
        eraser.wait(30)
        if victim == "chip":
            tpm.start()
        again = Keyring(tmp_path, _store(tpm))
        assert again.leaf_key(AUDIO, 100_000) == kept
        told = [int(line.split()[1]) for line in words if line.startswith("erased ")]
        erased = max([erased, *told])
        assert not any(again.is_alive(AUDIO, leaf) for leaf in range(erased + 1))
        assert again.is_alive(AUDIO, erased + 2), "at most the one under way"
        found = [rootslot.parse(again.roots.read(slot)) for slot in range(2)]
        assert sum(isinstance(each, Root) for each in found) == 1
        del again
    assert erased > 12


def test_another_folder_cannot_take_the_chip(tpm: Swtpm, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    kept = Keyring(tmp_path / "a", _store(tpm)).leaf_key(AUDIO, 0)
    with pytest.raises(KeysLostError, match="opens nothing"):
        Keyring(tmp_path / "b", _store(tpm))
    assert Keyring(tmp_path / "a", _store(tpm)).leaf_key(AUDIO, 0) == kept
