"""A panic: every key is gone at once, whatever the disk is like, and what is left is tidied up later."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import Rig
from fadeout_device import questions
from fadeout_device.errors import FadeoutError
from fadeout_device.vault import rootslot
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.errors import EraseError, KeyErasedError, SealError
from rig_disk import failing_disk, small_disk
from rig_fadeout import CANARIES
from rig_state import SealedState, start_vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fadeout_device.vault.service import Service
    from rig_fadeout import Home

PANIC = questions.Erase(everything=True, now=True)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.store.close()


def desk_of(rig: Rig) -> tuple[Service, Desk]:
    service = rig.serve()
    service.start()
    return service, Desk(service)


def roots_held(rig: Rig) -> int:
    return sum(isinstance(rootslot.parse(slot), rootslot.Root) for slot in rig.roots.slots)


def test_the_root_goes_before_anything_is_written_to_the_disk(rig: Rig) -> None:
    _, desk = desk_of(rig)
    rig.seal()
    rows_when_erased: list[set[str]] = []
    rig.roots.before = lambda _what, _slot: rows_when_erased.append(
        {item.state for item in rig.store.index.items()}
    )
    answer = desk.erase(PANIC)
    assert (answer.items, answer.left) == (2, "")
    assert rows_when_erased[:2] == [{"live"}, {"live"}]
    assert rig.store.index.items() == []
    assert not list(rig.store.files.folder.iterdir())


def test_afterwards_there_are_new_keys_and_sealing_goes_on(rig: Rig) -> None:
    _, desk = desk_of(rig)
    rig.seal()
    seed = rig.store.keyring.signing_seed
    desk.erase(PANIC)
    assert rig.store.keyring.signing_seed != seed
    kept = rig.seal()
    rig.restart()
    assert rig.store.metadata(rig.store.find(kept)[0]).wake_word == "okay_nabu"


def test_subscribers_are_told_what_to_forget(rig: Rig) -> None:
    _, desk = desk_of(rig)
    (action,) = [item for item in rig.store.find(rig.seal()) if item.item_class.kind == "action"]
    reported = rig.store.event_id(action)
    rig.store.metadata(action, "event", "reporter")
    desk.erase(PANIC)
    assert rig.store.outbox.notices.untold(9) == [(1, (reported,))]


def test_a_root_store_that_fails_is_told_and_tried_again_and_nothing_opens_meanwhile(rig: Rig) -> None:
    service, desk = desk_of(rig)
    item = rig.store.find(rig.seal())[0]

    def broken(what: str, _slot: int) -> None:
        if what == "erase":
            raise OSError(errno.EIO, "Input/output error")

    rig.roots.before = broken
    with pytest.raises(EraseError, match="input/output error"):
        desk.erase(PANIC)
    assert roots_held(rig) == 1
    with pytest.raises(KeyErasedError):
        rig.store.content(item)
    with pytest.raises(SealError):
        rig.seal()
    assert "input/output error" in desk.status().last_sweep
    rig.roots.before = lambda _what, _slot: None
    service.sweep()
    assert desk.status().last_sweep == "ok"
    assert rig.store.index.items() == []
    assert rig.restart().keyring.generation >= 1


def test_a_power_cut_after_the_slots_leaves_nothing_to_open_and_a_start_that_works(rig: Rig) -> None:
    _, _desk = desk_of(rig)
    rig.seal()
    rig.store.eraser.panic()  # and then the power goes
    store = rig.restart()
    assert {(item.state, item.reason) for item in store.index.items()} == {("erasing", "panic")}
    assert len(store.eraser.erase_due()) == 2
    assert store.index.items() == []


def test_an_index_from_before_a_panic_revives_nothing(rig: Rig, tmp_path: Path) -> None:
    _, desk = desk_of(rig)
    rig.seal()
    rig.restart()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("index.db", "index.db-wal"):
        if (rig.folder / name).exists():
            shutil.copy(rig.folder / name, copy / name)
    _, desk = desk_of(rig)
    desk.erase(PANIC)
    rig.store.close()
    for path in copy.iterdir():
        shutil.copy(path, rig.folder / path.name)
    rig.store = rig._open()
    assert rig.store.index.live() == []


def test_a_reset_leaves_no_name_and_no_trace(rig: Rig) -> None:
    _, desk = desk_of(rig)
    recording = rig.seal()
    with rig.store.index.transaction():
        rig.store.index.set_meta("node", "sp-former")
    desk.reset()
    rig.store.close()
    for path in rig.folder.glob("index.db*"):
        data = path.read_bytes()
        assert b"sp-former" not in data or path.name.endswith("-wal"), path.name
    rig.store = rig._open()
    assert rig.store.index.get_meta("node") is None
    with pytest.raises(FadeoutError, match="no recording"):
        rig.store.find(recording)
    assert rig.store.index.items() == []


@pytest.mark.system
@pytest.mark.usefixtures("as_root")
def test_on_a_disk_that_cannot_be_written_every_key_goes_all_the_same(tmp_path: Path) -> None:
    """With the root store elsewhere: nothing on the disk is needed for it."""
    with failing_disk(tmp_path / "disk", tmp_path / "image") as disk:
        rig = Rig(disk.folder)
        _, desk = desk_of(rig)
        item = rig.store.find(rig.seal())[0]
        disk.fail()
        answer = desk.erase(PANIC)
        assert answer.items == 2
        assert "every key was erased" in answer.left
        assert roots_held(rig) == 0
        with pytest.raises(KeyErasedError):
            rig.store.content(item)
        rig.store.close()
        disk.repair()
        rig.store = rig._open()
        _, desk = desk_of(rig)
        assert desk.status().last_sweep == "ok"
        assert rig.store.index.items() == []
        assert not list(rig.store.files.folder.iterdir())
        assert rig.seal()
        rig.store.close()


@pytest.mark.system
@pytest.mark.usefixtures("as_root")
def test_on_a_full_disk_by_the_command(home: Home, sealed_state: SealedState) -> None:
    with small_disk(home.state, size_kib=2048) as disk:
        sealed_state.copy_to(home)
        with start_vault(home) as vault:
            disk.fill()
            answer = home.ask("erase", "--all", "--now")
            assert (answer["items"], answer["left"]) == (4, "")
            assert home.held() == []
            assert len(list((home.state / "items").iterdir())) in (0, CANARIES), "new ones, if any"
            assert vault.process.poll() is None


@pytest.mark.system
@pytest.mark.usefixtures("as_root")
def test_a_root_in_a_file_on_a_disk_that_cannot_be_written_is_reported_as_a_failure(
    home: Home, sealed_state: SealedState
) -> None:
    with failing_disk(home.state, home.folder / "image") as disk:
        sealed_state.copy_to(home)
        with start_vault(home) as vault:
            disk.fail()
            answer = home.verb("erase", "--all", "--now")
            assert answer.returncode == os.EX_IOERR
            assert answer.stderr.startswith("error: 4 items are not erased yet: read-only file system")
            assert home.verb("play", sealed_state.newest).returncode != 0, "the keys are out of memory"
            assert vault.process.poll() is None
        disk.repair()
        with start_vault(home):
            assert len(home.held()) == 2, "what was reported as a failure was one"
            assert home.ask("erase", "--all", "--now")["left"] == ""
            assert home.held() == []
