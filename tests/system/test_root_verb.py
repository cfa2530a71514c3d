"""`fadeout root` and `fadeout root migrate`, with real processes, through all three stores."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import utterance
from fadeout_device import messages
from rig_fadeout import Process, vault_command
from rig_tpm import Swtpm
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig_fadeout import Home

pytestmark = pytest.mark.system

AUDIO = bytes(range(256)) * 250


@pytest.fixture
def tpm(home: Home) -> Iterator[Swtpm]:
    with Swtpm(home.folder) as made:
        yield made


def _configure(home: Home, store: str) -> None:
    chip = home.folder / "chip.bin"
    if not chip.exists():
        chip.write_bytes(bytes(64))
    home.config.write_text(
        f'[vault]\nroot_store = "{store}"\n[vault.nvmem]\nfile = "{chip}"\n'
        f'[vault.tpm]\ndevice = "{home.folder}/tpm.sock"\n[mqtt]\nenabled = false\n'
    )


def _seal(home: Home) -> str:
    # The ear before this one may not have been seen to go.
    wait_for(lambda: (now := home.status()) and now.ear == "away", "no ear is there")
    with closing(home.connect("ear")) as ear:
        ear.receive()
        ear.send(utterance(), AUDIO)
        frame = ear.receive()
        assert frame is not None
        sealed = frame.message(messages.ToEar)
        assert isinstance(sealed, messages.Sealed)
        return sealed.recording


def test_the_root_moves_from_store_to_store_and_what_is_held_stays(home: Home, tpm: Swtpm) -> None:
    assert tpm.socket.exists()
    _configure(home, "file")
    assert home.ask("root")["root_store"] is None
    with Process(home, vault_command(home)):
        wait_for(home.status, "the vault answers")
        kept, erased = _seal(home), _seal(home)
        assert home.ask("erase", erased)["items"]
        refused = home.verb("root", "migrate")
        assert (refused.returncode, "another fadeout is using" in refused.stderr) == (69, True)
    before = "file"
    for store in ("nvmem", "tpm", "file"):
        _configure(home, store)
        refused = home.verb("run")
        assert refused.returncode == 78
        assert "hint: move it with `fadeout root migrate`" in refused.stderr
        assert home.ask("root")["root_store"] == before
        assert home.ask("root", "migrate") == {"from": before, "to": store}
        assert home.ask("root", "migrate") == {"from": store, "to": store}
        shown = home.ask("root")
        assert (shown["root_store"], shown["is_moving"]) == (store, False)
        with Process(home, vault_command(home)):
            status = wait_for(home.status, "the vault answers")
            assert status.root_store == store
            assert status.root_protects == shown["root_protects"]
            assert home.held() == [kept]
            assert home.verb("show", kept).returncode == 0
        before = store


def test_a_chip_with_the_root_of_a_folder_that_is_gone_is_given_back_by_hand_only(home: Home) -> None:
    _configure(home, "nvmem")
    with Process(home, vault_command(home)):
        wait_for(home.status, "the vault answers")
    shutil.rmtree(home.state)
    refused = home.verb("run")
    assert (refused.returncode, "hint:" in refused.stderr) == (65, True)
    assert "fadeout root erase" in refused.stderr
    assert home.verb("root", "erase").returncode == 64
    assert home.ask("root", "erase", "--yes") == {"erased": "nvmem"}
    with Process(home, vault_command(home)):
        wait_for(home.status, "the vault answers")
        assert home.verb("root", "erase", "--yes").returncode == 69


def test_what_is_said_to_people(home: Home) -> None:
    _configure(home, "nvmem")
    told = home.verb("root")
    assert "nowhere yet; the first start will use nvmem" in " ".join(told.stdout.split())
    nothing = home.verb("root", "migrate")
    assert (nothing.returncode, "nothing to move" in nothing.stderr) == (73, True)
