"""The erase protocol: what is dead stays dead and what lives stays alive, wherever the power fails."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from fadeout_device.policy import CLASSES, ItemClass
from fadeout_device.vault import rootslot
from fadeout_device.vault.errors import (
    AuthenticationError,
    KeyErasedError,
    KeysLostError,
    SyncError,
)
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.keyring_blob import open_blob
from fadeout_device.vault.roots.file import FileRootStore
from fadeout_device.vault.rootslot import NARROW_BYTES, WIDE_BYTES, Root
from fakes import FakeRoots, PowerCutError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AUDIO = ItemClass("failed", "audio")
ACTION = ItemClass("failed", "action")


def _is_dead(keyring: Keyring, leaf: int, item_class: ItemClass = AUDIO) -> bool:
    try:
        keyring.leaf_key(item_class, leaf)
    except KeyErasedError:
        return True
    return False


def _roots_in(roots: FakeRoots) -> list[Root]:
    return [found for found in map(rootslot.parse, roots.slots) if isinstance(found, Root)]


def test_keys_stay_the_same_over_restarts(tmp_path: Path) -> None:
    roots = FileRootStore(tmp_path)
    before = {c: Keyring(tmp_path, roots).leaf_key(c, 5) for c in CLASSES}
    after = {c: Keyring(tmp_path, FileRootStore(tmp_path)).leaf_key(c, 5) for c in CLASSES}
    assert before == after
    assert len(set(before.values())) == len(CLASSES)


def test_an_erased_leaf_is_gone_for_good_and_others_are_not(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, FileRootStore(tmp_path))
    kept = keyring.leaf_key(AUDIO, 4)
    keyring.erase([(AUDIO, 3)], {ACTION: 2})
    for each in (keyring, Keyring(tmp_path, FileRootStore(tmp_path))):
        assert _is_dead(each, 3)
        assert _is_dead(each, 1, ACTION)
        assert not _is_dead(each, 2, ACTION)
        assert each.leaf_key(AUDIO, 4) == kept


def test_erasing_everything_changes_every_key(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, FileRootStore(tmp_path))
    before = {keyring.leaf_key(c, leaf) for c in CLASSES for leaf in range(3)}
    keyring.erase_everything()
    assert not before & {keyring.leaf_key(c, leaf) for c in CLASSES for leaf in range(3)}


def test_an_old_copy_of_the_disk_opens_with_no_root_of_today(tmp_path: Path) -> None:
    """The point of it all: yesterday's blob and today's roots give nothing."""
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    old_blob = (tmp_path / "keyring-1").read_bytes()
    (root,) = _roots_in(roots)
    open_blob(old_blob, root)  # positive control: before the erasure it opens
    keyring.erase([(AUDIO, 0)], {})
    for each in _roots_in(roots):
        with pytest.raises(AuthenticationError):
            open_blob(old_blob, Root(1, each.secret))


def test_only_one_slot_holds_a_root_after_an_erasure(tmp_path: Path) -> None:
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    for leaf in range(5):
        keyring.erase([(AUDIO, leaf)], {})
        assert len(_roots_in(roots)) == 1


def _cut(at: tuple[str, int], error: BaseException) -> Callable[[str, int], None]:
    def before(what: str, slot: int) -> None:
        if (what, slot) == at:
            raise error

    return before


@pytest.mark.parametrize("is_torn", [False, True], ids=["slot untouched", "slot torn"])
@pytest.mark.parametrize("step", [("write", 0), ("erase", 1)], ids=["at the commit", "at the deletion"])
def test_power_lost_in_a_root_slot_loses_no_key_and_revives_none(
    tmp_path: Path, step: tuple[str, int], *, is_torn: bool
) -> None:
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    kept = keyring.leaf_key(AUDIO, 4)
    roots.is_torn_by_failure = is_torn
    roots.before = _cut(step, PowerCutError())
    with pytest.raises(PowerCutError):
        keyring.erase([(AUDIO, 3)], {})
    roots.before = lambda _what, _slot: None
    again = Keyring(tmp_path, roots)
    assert again.leaf_key(AUDIO, 4) == kept
    # Before the commit nothing had happened; after it, the start has finished it.
    assert _is_dead(again, 3) == (step[0] == "erase")
    assert len(_roots_in(roots)) == 1
    again.erase([(AUDIO, 3)], {})
    assert _is_dead(again, 3)


def test_power_lost_before_the_commit_leaves_a_blob_that_is_removed(tmp_path: Path) -> None:
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    roots.before = _cut(("write", 0), PowerCutError())
    with pytest.raises(PowerCutError):
        keyring.erase([(AUDIO, 3)], {})
    assert (tmp_path / "keyring-2").exists()
    roots.before = lambda _what, _slot: None
    Keyring(tmp_path, roots)
    assert sorted(path.name for path in tmp_path.glob("keyring-*")) == ["keyring-1"]


def test_a_root_store_that_fails_changes_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    roots.before = _cut(("write", 0), OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        keyring.erase([(AUDIO, 3)], {})
    assert not _is_dead(keyring, 3)
    roots.before = lambda _what, _slot: None
    keyring.erase([(AUDIO, 3)], {})
    assert _is_dead(keyring, 3)


def test_a_deletion_that_failed_is_finished_before_the_next_rotation(tmp_path: Path) -> None:
    """Else the retry would write over the blob that is committed already."""
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    kept = keyring.leaf_key(AUDIO, 4)
    roots.is_torn_by_failure = True
    roots.before = _cut(("erase", 1), OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        keyring.erase([(AUDIO, 3)], {})
    # The retry fails as well, now while it writes its blob, and then the power goes.
    roots.before = lambda _what, _slot: None
    full = tmp_path / "keyring-3"
    full.mkdir()
    with pytest.raises(OSError, match="directory"):
        keyring.erase([(AUDIO, 3)], {})
    full.rmdir()
    again = Keyring(tmp_path, roots)
    assert again.leaf_key(AUDIO, 4) == kept
    assert _is_dead(again, 3)


def test_the_mark_of_a_first_start_is_made_up_for(tmp_path: Path) -> None:
    roots = FakeRoots()
    Keyring(tmp_path, roots)
    (tmp_path / "initialised").unlink()  # as if the power had failed before it was written
    Keyring(tmp_path, roots)
    (tmp_path / "keyring-1").unlink()
    with pytest.raises(KeysLostError):
        Keyring(tmp_path, roots)


def test_a_first_start_cut_off_anywhere_is_begun_again(tmp_path: Path) -> None:
    for step in (("write", 1), ("erase", 0)):
        roots = FakeRoots()
        folder = tmp_path / step[0]
        folder.mkdir()
        roots.before = _cut(step, PowerCutError())
        with pytest.raises(PowerCutError):
            Keyring(folder, roots)
        roots.before = lambda _what, _slot: None
        assert Keyring(folder, roots).leaf_key(AUDIO, 0)


@pytest.mark.parametrize("lost", ["keyring-1", "root-1"])
def test_lost_keys_are_never_replaced_silently(tmp_path: Path, lost: str) -> None:
    Keyring(tmp_path, FileRootStore(tmp_path))
    (tmp_path / lost).write_bytes(os.urandom((tmp_path / lost).stat().st_size))
    with pytest.raises(KeysLostError, match="lost") as caught:
        Keyring(tmp_path, FileRootStore(tmp_path))
    assert caught.value.hint


def test_an_erased_slot_file_has_none_of_its_old_bytes(tmp_path: Path) -> None:
    roots = FileRootStore(tmp_path)
    roots.write(0, b"r" * 48)
    old = (tmp_path / "root-0").read_bytes()
    inode = (tmp_path / "root-0").stat().st_ino
    assert roots.read(0) == b"r" * 48
    roots.erase(0)
    new = (tmp_path / "root-0").read_bytes()
    assert (tmp_path / "root-0").stat().st_ino == inode, "a new file would leave the old blocks alone"
    assert len(new) == len(old)
    assert not any(old[i : i + 16] in new for i in range(0, len(old), 16))


def test_a_slot_file_with_any_part_missing_gives_nothing(tmp_path: Path) -> None:
    roots = FileRootStore(tmp_path)
    roots.write(0, b"r" * 48)
    stored = bytearray((tmp_path / "root-0").read_bytes())
    stored[9000] ^= 1
    (tmp_path / "root-0").write_bytes(stored)
    assert sum(a == b for a, b in zip(roots.read(0), b"r" * 48, strict=True)) < 10


def test_a_slot_is_written_at_the_end_of_its_file_under_a_mask_that_never_was(tmp_path: Path) -> None:
    roots = FileRootStore(tmp_path)
    stored = []
    for _ in range(3):
        roots.write(0, bytes(48))  # what is stored is then the mask
        stored.append((tmp_path / "root-0").read_bytes())
        assert roots.read(0) == bytes(48)
    assert len({each[:-112] for each in stored}) == 1, "a commit need not write the whole pad"
    assert len({each[-48:] for each in stored}) == 3, "one mask for two slots would tell one from the other"
    assert any(stored[0][:-112]), "a pad is random from the first"
    roots.erase(0)
    assert (tmp_path / "root-0").read_bytes()[:-112] != stored[0][:-112]


def test_the_signing_seed_outlives_every_erasure_but_a_panic(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, FakeRoots())
    seed = keyring.signing_seed
    assert len(seed) == 32
    keyring.erase([(AUDIO, 3)], {})
    keyring.erase_everything()
    assert keyring.signing_seed == seed
    keyring.panic()
    with pytest.raises(KeyErasedError):
        _ = keyring.signing_seed
    keyring.replant()
    assert keyring.signing_seed not in (seed, b"")


@pytest.mark.parametrize("slot_bytes", [WIDE_BYTES, NARROW_BYTES])
def test_a_store_with_narrow_slots_does_as_well(tmp_path: Path, slot_bytes: int) -> None:
    roots = FakeRoots(slot_bytes)
    keyring = Keyring(tmp_path, roots)
    kept = keyring.leaf_key(AUDIO, 4)
    keyring.erase([(AUDIO, 3)], {})
    again = Keyring(tmp_path, roots)
    assert again.leaf_key(AUDIO, 4) == kept
    assert _is_dead(again, 3)
    again.panic()
    assert _is_dead(Keyring(tmp_path, roots), 4) is False, "a start after a panic plants anew"
    assert Keyring(tmp_path, roots).leaf_key(AUDIO, 4) != kept


def test_the_number_of_nodes_is_told(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, FakeRoots())
    assert keyring.node_count() == len(CLASSES)
    keyring.erase([(AUDIO, 5)], {})
    assert keyring.node_count() == len(CLASSES) - 1 + 32
    keyring.panic()
    assert keyring.node_count() == 0


# ---- panic


def test_a_panic_overwrites_both_slots_before_anything_else(tmp_path: Path) -> None:
    """The one with the root first; and it needs no folder that can be written."""
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    keyring.erase([(AUDIO, 3)], {})
    done = []
    roots.before = lambda what, slot: done.append((what, slot))
    blob = tmp_path / "keyring-2"
    blob.unlink()
    blob.mkdir()  # cannot be unlinked, as on a disk that is read-only
    keyring.panic()
    assert done == [("erase", 0), ("erase", 1), ("write", 0)]
    assert [rootslot.parse(slot) for slot in roots.slots] == ["wiped", None]
    assert _is_dead(keyring, 4)
    keyring.erase([(AUDIO, 4)], {})
    assert len(done) == 3, "there is nothing left to erase"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), SyncError("broken")], ids=["EIO", "fsync"])
@pytest.mark.parametrize("slot", [0, 1])
def test_a_panic_that_fails_says_so_tries_the_other_slot_and_has_no_keys_any_more(
    tmp_path: Path, slot: int, error: Exception
) -> None:
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    before = list(roots.slots)
    roots.before = _cut(("erase", slot), error)
    with pytest.raises(type(error), match="broken"):
        keyring.panic()
    assert _is_dead(keyring, 4)
    assert roots.slots[slot] == before[slot]
    assert roots.slots[1 - slot] != before[1 - slot]
    assert "wiped" not in map(rootslot.parse, roots.slots), "not all of it is"
    with pytest.raises(type(error), match="broken"):
        keyring.replant()
    roots.before = lambda _what, _slot: None
    keyring.erase([], {})  # as the next sweep would
    assert _roots_in(roots) == []
    assert _is_dead(keyring, 4)
    keyring.replant()
    assert not _is_dead(keyring, 4)


@pytest.mark.parametrize("is_torn", [False, True], ids=["slot untouched", "slot torn"])
@pytest.mark.parametrize("step", [("erase", 1), ("erase", 0), ("write", 0)], ids=["first", "second", "mark"])
def test_power_lost_in_a_panic_revives_nothing(
    tmp_path: Path, step: tuple[str, int], *, is_torn: bool
) -> None:
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    kept = keyring.leaf_key(AUDIO, 4)
    roots.is_torn_by_failure = is_torn
    roots.before = _cut(step, PowerCutError())
    with pytest.raises(PowerCutError):
        keyring.panic()
    roots.before = lambda _what, _slot: None
    if step == ("erase", 1) and not is_torn:
        assert Keyring(tmp_path, roots).leaf_key(AUDIO, 4) == kept, "nothing had happened yet"
    else:
        with pytest.raises(KeysLostError):
            Keyring(tmp_path, roots)


@pytest.mark.parametrize("is_torn", [False, True], ids=["slot untouched", "slot torn"])
@pytest.mark.parametrize("step", [("write", 1), ("erase", 0)], ids=["at the commit", "at the mark"])
def test_power_lost_while_starting_anew_after_a_panic(
    tmp_path: Path, step: tuple[str, int], *, is_torn: bool
) -> None:
    """The mark stands until the new root does."""
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    kept = keyring.leaf_key(AUDIO, 4)
    keyring.panic()
    roots.is_torn_by_failure = is_torn
    roots.before = _cut(step, PowerCutError())
    with pytest.raises(PowerCutError):
        keyring.replant()
    roots.before = lambda _what, _slot: None
    again = Keyring(tmp_path, roots)
    assert again.leaf_key(AUDIO, 4) != kept
    assert len(_roots_in(roots)) == 1


# ---- moving to another root store


@pytest.mark.parametrize(("source", "target"), [(WIDE_BYTES, NARROW_BYTES), (NARROW_BYTES, WIDE_BYTES)])
def test_moving_keeps_every_key_and_leaves_no_root_behind(tmp_path: Path, source: int, target: int) -> None:
    old, new = FakeRoots(source), FakeRoots(target)
    keyring = Keyring(tmp_path, old)
    keyring.erase([(AUDIO, 3)], {})
    kept, seed = keyring.leaf_key(AUDIO, 4), keyring.signing_seed
    keyring.migrate_to(new)
    assert keyring.roots is new
    assert (len(_roots_in(old)), len(_roots_in(new))) == (0, 1)
    for each in (keyring, Keyring(tmp_path, new)):
        assert (each.leaf_key(AUDIO, 4), each.signing_seed) == (kept, seed)
        assert _is_dead(each, 3)
    with pytest.raises(KeysLostError):
        Keyring(tmp_path, old)


_MOVE = [("target", "erase", 0), ("target", "erase", 1), ("target", "write", 0)]
_MOVE += [("source", "erase", 1), ("source", "erase", 0)]


@pytest.mark.parametrize("is_torn", [False, True], ids=["slot untouched", "slot torn"])
@pytest.mark.parametrize("step", _MOVE, ids=[" ".join(map(str, step)) for step in _MOVE])
def test_power_lost_while_moving_loses_no_key_and_leaves_one_root(
    tmp_path: Path, step: tuple[str, str, int], *, is_torn: bool
) -> None:
    stores = {"source": FakeRoots(), "target": FakeRoots(NARROW_BYTES)}
    keyring = Keyring(tmp_path, stores["source"])
    keyring.erase([(AUDIO, 3)], {})
    keyring.erase([(AUDIO, 2)], {})  # generation 3: its root is in slot 1
    kept, seed = keyring.leaf_key(AUDIO, 4), keyring.signing_seed
    store, what, slot = step
    stores[store].is_torn_by_failure = is_torn
    stores[store].before = _cut((what, slot), PowerCutError())
    with pytest.raises(PowerCutError):
        keyring.migrate_to(stores["target"])
    stores[store].before = lambda _what, _slot: None
    again = Keyring(tmp_path, stores["target"], stores["source"])
    assert (again.leaf_key(AUDIO, 4), again.signing_seed) == (kept, seed)
    assert _is_dead(again, 3)
    roots = {name: len(_roots_in(each)) for name, each in stores.items()}
    assert sum(roots.values()) == 1
    assert roots[next(name for name, each in stores.items() if each is again.roots)] == 1
    assert again.roots is stores["target" if store == "source" else "source"]


def test_a_move_that_failed_at_its_deletion_can_be_finished(tmp_path: Path) -> None:
    old, new = FakeRoots(), FakeRoots()
    keyring = Keyring(tmp_path, old)
    kept = keyring.leaf_key(AUDIO, 4)
    old.before = _cut(("erase", 1), OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        keyring.migrate_to(new)
    assert len(_roots_in(old)) == 1
    old.before = lambda _what, _slot: None
    keyring.migrate_to(new)
    assert (len(_roots_in(old)), len(_roots_in(new))) == (0, 1)
    assert Keyring(tmp_path, new).leaf_key(AUDIO, 4) == kept


def test_a_panic_reaches_the_store_that_was_being_left(tmp_path: Path) -> None:
    old, new = FakeRoots(), FakeRoots()
    keyring = Keyring(tmp_path, old)
    old.before = _cut(("erase", 1), OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        keyring.migrate_to(new)
    old.before = lambda _what, _slot: None
    keyring.panic()
    assert _roots_in(old) + _roots_in(new) == []


def test_a_keyring_does_not_show_its_keys(tmp_path: Path) -> None:
    assert repr(Keyring(tmp_path, FakeRoots())) == "Keyring(generation 1)"


def test_a_settled_keyring_is_opened_without_wearing_a_slot_and_any_other_is_not(tmp_path: Path) -> None:
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    keyring.erase([(AUDIO, 3)], {})
    assert keyring.is_settled
    changes: list[tuple[str, int]] = []
    roots.before = lambda what, slot: changes.append((what, slot))
    assert _is_dead(Keyring(tmp_path, roots, is_settled=True), 3)
    assert changes == []
    Keyring(tmp_path, roots)
    assert changes == [("erase", 1)]


def test_a_keyring_whose_deletion_failed_is_not_settled(tmp_path: Path) -> None:
    roots = FakeRoots()
    keyring = Keyring(tmp_path, roots)
    roots.before = _cut(("erase", 1), OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        keyring.erase([(AUDIO, 3)], {})
    assert not keyring.is_settled
