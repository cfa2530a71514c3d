"""The keyring: all keys in one sealed blob, and the protocol that forgets.

Theory of operation. The blob `keyring-<generation>` holds the key trees and the
ledger's signing seed, sealed under a random root that is used once. The root lives
in one of two slots of the root store. To erase keys, at generation g with its root
in slot g % 2:

  1. new trees in memory, generation g + 1, a fresh random root;
  2. the new blob is written as a new file, synced, read back and opened;
  3. commit: slot (g + 1) % 2 := the new root; from here on the new trees win;
  4. the deletion point: slot g % 2 := random. Only now are the keys gone, and
     only now may anything say so;
  5. the old blob is unlinked (housekeeping: nothing can open it).

Power may fail anywhere. Before 3 the old slot still opens the old blob and nothing
was erased; after 3 the next start repeats 4 and 5 before it serves. With one slot,
or with the old root erased first, a torn write would lose every key; without the
sync in 2, the commit could survive a blob that did not.

Sealing writes no key: a new item's key is a leaf that the trees already hold.

A panic asks for less and gives more: both slots are overwritten first, which needs
no room on any disk and no folder that can be written, and then a mark says that
this was on purpose. Moving to another root store is a rotation whose commit goes to
the other store and whose deletion point is both slots of the one that is left.

Source: docs/format.md, "Keyring" and "Erasing"; the two slots stand in for Holepunch's
journalled single slot (Ratliff et al., IEEE S&P 2024).
"""

from __future__ import annotations

import contextlib
import os
import re
from hashlib import sha256
from typing import TYPE_CHECKING

from fadeout_device.policy import CLASSES, ItemClass
from fadeout_device.vault import rootslot
from fadeout_device.vault.durable import sync_folder, write_new
from fadeout_device.vault.errors import (
    AuthenticationError,
    FormatError,
    KeyErasedError,
    KeysLostError,
    SyncError,
)
from fadeout_device.vault.keyring_blob import SEED_BYTES, Body, open_blob, seal_blob
from fadeout_device.vault.keytree import NODE_BYTES, KeyTree
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.rootslot import Root

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from fadeout_device.vault.roots import RootStore

_MARKER = "initialised"


class Keyring:
    """The living keys. The caller holds the state folder's lock."""

    def __init__(
        self, folder: Path, roots: RootStore, leaving: RootStore | None = None, *, is_settled: bool = False
    ) -> None:
        """Open the keyring in a folder, or make it; finish whatever a power failure cut off.

        Args:
            folder: the state folder.
            roots: where the root is, or goes.
            leaving: the store that a migration was moving the root away from when it was
                cut off. Whichever of the two opens the newer keyring is then used, and the
                slots of the other are erased: `roots` says which it is.
            is_settled: the process that became this one has reached every deletion point; the other
                slot need not be erased once more, which would wear its cells at every erasure.

        Raises:
            KeysLostError: there was a keyring, and no slot opens it. Never made anew silently,
                but after a panic: that one was erased on purpose, and said so.
            OSError, SyncError: the folder or the root store cannot be written.
        """
        self._folder = folder
        self.roots = roots
        self.generation = 0
        self._body = _nothing()
        self._is_wiped = False
        self._is_panic_unfinished = False
        self._was_settled = is_settled
        self._slots_to_erase: list[tuple[RootStore, int]] = []
        stores = [roots] if leaving is None else [roots, leaving]
        if not self._open_newest(stores):
            self._refuse_if_lost(stores)
            self._rotate(_plant(os.urandom(SEED_BYTES)))
            if leaving is not None:
                self._slots_to_erase = [(leaving, slot) for slot in range(SLOTS)]
                self._erase_dead_slots()
        self._mark_initialised()
        self._remove_old_blobs()

    def __repr__(self) -> str:
        """Say which generation, never what is in it."""
        return f"Keyring(generation {self.generation})"

    @property
    def is_settled(self) -> bool:
        """Whether no slot waits to be erased: every deletion point is reached."""
        return not self._slots_to_erase and not self._is_panic_unfinished

    @property
    def is_wiped(self) -> bool:
        """Whether there was a panic and nothing was planted since: there is no key at all."""
        return self._is_wiped

    @property
    def planting(self) -> str:
        """Names the keys that were planted together, until a panic; 16 hex digits, no secret."""
        return sha256(b"fadeout planting v1" + self.signing_seed).hexdigest()[:16]

    @property
    def signing_seed(self) -> bytes:
        """The Ed25519 seed of the ledger, 32 bytes; the same until a panic.

        Raises:
            KeyErasedError: there was a panic, and `replant` was not called since.
        """
        if self._is_wiped:
            raise KeyErasedError
        return self._body.signing_seed

    def leaf_key(self, item_class: ItemClass, leaf: int) -> bytes:
        """Return a leaf's key.

        Raises:
            KeyErasedError: it was erased.
        """
        return self._body.trees[item_class].leaf_key(leaf)

    def is_alive(self, item_class: ItemClass, leaf: int) -> bool:
        """Say whether a leaf's key still exists."""
        return self._body.trees[item_class].is_alive(leaf)

    def next_unused(self, item_class: ItemClass) -> int:
        """Return the lowest leaf after which none is dead."""
        return self._body.trees[item_class].after_last_dead()

    def node_count(self) -> int:
        """Return how many nodes all trees have: at most the live leaves, and 32 for each class."""
        return sum(len(tree) for tree in self._body.trees.values())

    def erase(self, leaves: Iterable[tuple[ItemClass, int]], floors: Mapping[ItemClass, int]) -> None:
        """Erase the keys of these leaves and of all below each class's floor; on return they are gone.

        Args:
            leaves: the items to forget.
            floors: per class, the lowest leaf that is still needed: what lies before it is
                dead, whether or not it was ever used.

        Raises:
            OSError: the keys may still exist; trying again is safe, and finishes it.
            SyncError: the process must end, and look at what is there when it starts again.
        """
        if self._is_wiped:
            self._finish_panic()  # which leaves no key to erase
            return
        trees = {item_class: tree.copy() for item_class, tree in self._body.trees.items()}
        for item_class, leaf in leaves:
            trees[item_class].puncture(leaf)
        for item_class, floor in floors.items():
            trees[item_class].puncture_below(floor)
        self._rotate(Body(self._body.signing_seed, trees))

    def erase_everything(self) -> None:
        """Erase every item's key there is, and start new trees; the signing seed stays.

        Raises:
            OSError, SyncError: as `erase`.
        """
        if self._is_wiped:
            self.replant()
        else:
            self._rotate(_plant(self._body.signing_seed))

    def panic(self) -> None:
        """Erase everything at once, the signing seed too; on return no key is left anywhere.

        Needs no room on the disk and, if the root store lies elsewhere, no state folder that
        can be written. Whatever happens, this object has no key any more. Nothing can be
        sealed before `replant`, or the next start, makes new keys.

        Raises:
            OSError, SyncError: a slot may still hold its root, or the mark is missing. Every slot
                was tried, whatever happened to the others. Trying again is safe, and finishes it.
        """
        # The slot that holds the root comes first; then what an earlier failure left behind.
        slots = dict.fromkeys(
            [(self.roots, (self.generation + n) % SLOTS) for n in range(SLOTS)] + self._slots_to_erase
        )
        self._body = _nothing()
        self._is_wiped = self._is_panic_unfinished = True
        failures: list[OSError | SyncError] = []
        for store, slot in slots:
            try:
                store.erase(slot)
            except (OSError, SyncError) as err:
                failures.append(err)
        if failures:
            # A failed sync outranks the rest: it must end the process.
            raise next((err for err in failures if isinstance(err, SyncError)), failures[0])
        # In slot 0, since the next root is generation 1's and goes to slot 1: the mark stands until then.
        self.roots.write(0, rootslot.wiped(self.roots.slot_bytes))
        self.generation = 0
        self._slots_to_erase = []
        self._is_panic_unfinished = False
        # Nothing opens the blobs any more; on a disk that cannot be written they stay.
        with contextlib.suppress(OSError):
            self._remove_old_blobs()

    def replant(self) -> None:
        """Start anew after a panic, with new trees and a new signing seed; without one, do nothing.

        Raises:
            OSError, SyncError: as `erase`; there are still no keys.
        """
        if self._is_wiped:
            self._finish_panic()
            self._rotate(_plant(os.urandom(SEED_BYTES)))

    def migrate_to(self, target: RootStore) -> None:
        """Move the root to another store; on return both slots of the old one are erased.

        The caller has noted durably that it is under way, for the next start: see `leaving`.

        Args:
            target: whatever its slots hold is erased first.

        Raises:
            OSError, SyncError: as `erase`. Until it succeeds, both stores may hold a root.
        """
        if target is self.roots:  # tried before, and failed after its commit
            self._erase_dead_slots()
            return
        self._finish_panic()
        self._erase_dead_slots()
        for slot in range(SLOTS):
            target.erase(slot)
        self._rotate(_plant(os.urandom(SEED_BYTES)) if self._is_wiped else self._body, target)

    def _rotate(self, body: Body, target: RootStore | None = None) -> None:
        """Make `body` the keyring, with its root in the target store; without one, where it is."""
        # A rotation that failed after its commit must reach its deletion point before
        # the next one begins: that one writes to the slot which is still to be erased.
        self._erase_dead_slots()
        target = target or self.roots
        root = Root(self.generation + 1, os.urandom(rootslot.root_bytes(target.slot_bytes)))
        slot = rootslot.encode(root, target.slot_bytes)
        path = self._blob_path(root.generation)
        write_new(path, seal_blob(body, root))
        sync_folder(self._folder)
        open_blob(path.read_bytes(), root)
        target.write(root.generation % SLOTS, slot)  # commit
        if target is self.roots:
            self._slots_to_erase = [(target, self.generation % SLOTS)]
        else:
            self._slots_to_erase = [(self.roots, (self.generation + n) % SLOTS) for n in range(SLOTS)]
        self._body, self.generation, self.roots = body, root.generation, target
        self._is_wiped = False
        self._erase_dead_slots()  # the deletion point
        self._remove_old_blobs()

    def _erase_dead_slots(self) -> None:
        while self._slots_to_erase:
            store, slot = self._slots_to_erase[0]
            store.erase(slot)
            del self._slots_to_erase[0]

    def _finish_panic(self) -> None:
        if self._is_panic_unfinished:
            self.panic()

    def _open_newest(self, stores: Iterable[RootStore]) -> bool:
        places = [
            (store, slot, rootslot.parse(store.read(slot))) for store in stores for slot in range(SLOTS)
        ]
        found = [(root, store, slot) for store, slot, root in places if isinstance(root, Root)]
        for root, store, slot in sorted(found, key=lambda each: each[0].generation, reverse=True):
            try:
                self._body = open_blob(self._blob_path(root.generation).read_bytes(), root)
            except (FileNotFoundError, FormatError, AuthenticationError):
                continue
            self.generation, self.roots = root.generation, store
            # An erasure may have been cut off between its commit and its deletion point.
            if not self._was_settled:
                self._slots_to_erase = [place[:2] for place in places if place[:2] != (store, slot)]
                self._erase_dead_slots()
            return True
        return False

    def _refuse_if_lost(self, stores: Iterable[RootStore]) -> None:
        found = [rootslot.parse(store.read(slot)) for store in stores for slot in range(SLOTS)]
        if "wiped" in found:
            return
        if not (self._folder / _MARKER).exists():
            # A chip has one root at a time. To plant here would destroy all that another folder holds.
            if any(isinstance(each, Root) for each in found):
                raise KeysLostError(
                    f"the root store {self.roots.name} holds a root that opens nothing in {self._folder}",
                    "use the state folder that belongs to it; if that is gone for good: fadeout root erase",
                )
        else:
            raise self._lost([each.generation for each in found if isinstance(each, Root)])

    def _lost(self, roots: list[int]) -> KeysLostError:
        """Say what is lost and, where it can be seen, why: an older copy of the folder was put back."""
        blobs = [int(path.name.partition("-")[2]) for path in self._blobs()]
        if roots and blobs and max(blobs) < max(roots):
            return KeysLostError(
                f"the keys in {self._folder} are lost: its keyring is of generation {max(blobs)}, an older"
                f" copy; the root store opens generation {max(roots)} and no other",
                f"put keyring-{max(roots)} and what belongs to it back, if you have it; else move the folder"
                " away to start with an empty one (docs/backup.md)",
            )
        return KeysLostError(
            f"the keys in {self._folder} are lost: no root slot opens the keyring",
            "nobody can read what was sealed there; move the folder away to start with an empty one",
        )

    def _mark_initialised(self) -> None:
        """From now on a keyring that does not open is a loss, not a first start."""
        if not (self._folder / _MARKER).exists():
            write_new(self._folder / _MARKER, b"")
            sync_folder(self._folder)

    def _blob_path(self, generation: int) -> Path:
        return self._folder / f"keyring-{generation}"

    def _remove_old_blobs(self) -> None:
        """Unlink every blob but the current one. Nothing opens them: this is tidiness, not erasure."""
        for path in self._blobs():
            if path != self._blob_path(self.generation):
                path.unlink(missing_ok=True)

    def _blobs(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if re.fullmatch(r"keyring-\d+", path.name)]


def _plant(signing_seed: bytes) -> Body:
    return Body(signing_seed, {c: KeyTree.plant(os.urandom(NODE_BYTES)) for c in CLASSES})


def _nothing() -> Body:
    """Return what is left after a panic: trees in which every leaf is dead."""
    return Body(b"", {item_class: KeyTree({}) for item_class in CLASSES})
