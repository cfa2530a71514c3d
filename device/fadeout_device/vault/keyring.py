"""The keyring: all key trees in one sealed blob, and the protocol that forgets.

Theory of operation. The blob `keyring-<generation>` holds the trees, sealed under
a random root that is used once. The root lives in one of two slots of the root
store. To erase keys, at generation g with its root in slot g % 2:

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

Source: docs/format.md, "Keyring"; the two slots stand in for Holepunch's journalled
single slot (Ratliff et al., IEEE S&P 2024).
"""

from __future__ import annotations

import os
import re
import struct
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fadeout_device.policy import CLASSES, ItemClass
from fadeout_device.vault.durable import sync_folder, write_new
from fadeout_device.vault.errors import FormatError, KeysLostError
from fadeout_device.vault.keytree import NODE_BYTES, KeyTree
from fadeout_device.vault.roots import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from fadeout_device.vault.roots import RootStore

ROOT_BYTES = 32
_MAGIC = b"fadeoutK\x01"
_GENERATION = struct.Struct(">Q")
_TREE_HEADER = struct.Struct(">BI")
_HEADER_BYTES = len(_MAGIC) + _GENERATION.size
_CHECK_BYTES = 8
# Each root seals one blob, once: a fixed nonce never repeats under a key.
_NONCE = bytes(12)
_MARKER = "initialised"


class Keyring:
    """The living key trees. The caller holds the state folder's lock."""

    def __init__(self, folder: Path, roots: RootStore) -> None:
        """Open the keyring in a folder, or make it; finish whatever a power failure cut off.

        Raises:
            KeysLostError: there was a keyring, and no slot opens it. Never made anew silently.
            OSError, SyncError: the folder or the root store cannot be written.
        """
        self._folder = folder
        self._roots = roots
        self._trees: dict[ItemClass, KeyTree] = {}
        self.generation = 0
        self._slot_to_erase: int | None = None
        if not self._open_newest():
            self._refuse_if_lost()
            self._rotate(_plant())
        self._mark_initialised()
        self._remove_old_blobs()

    def __repr__(self) -> str:
        """Say which generation, never what is in it."""
        return f"Keyring(generation {self.generation})"

    def leaf_key(self, item_class: ItemClass, leaf: int) -> bytes:
        """Return a leaf's key.

        Raises:
            KeyErasedError: it was erased.
        """
        return self._trees[item_class].leaf_key(leaf)

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
        trees = {item_class: tree.copy() for item_class, tree in self._trees.items()}
        for item_class, leaf in leaves:
            trees[item_class].puncture(leaf)
        for item_class, floor in floors.items():
            trees[item_class].puncture_below(floor)
        self._rotate(trees)

    def erase_everything(self) -> None:
        """Erase every key there is, and start new trees.

        Raises:
            OSError, SyncError: as `erase`.
        """
        self._rotate(_plant())

    def next_unused(self, item_class: ItemClass) -> int:
        """Return the lowest leaf after which none is dead."""
        return self._trees[item_class].after_last_dead()

    def is_alive(self, item_class: ItemClass, leaf: int) -> bool:
        """Say whether a leaf's key still exists."""
        return self._trees[item_class].is_alive(leaf)

    def _rotate(self, trees: dict[ItemClass, KeyTree]) -> None:
        # A rotation that failed after its commit must reach its deletion point before
        # the next one begins: that one writes to the slot which is still to be erased.
        self._erase_old_slot()
        generation = self.generation + 1
        root = os.urandom(ROOT_BYTES)
        path = self._blob_path(generation)
        write_new(path, _seal(trees, generation, root))
        sync_folder(self._folder)
        _open(path.read_bytes(), generation, root)
        self._roots.write(generation % SLOTS, _slot(root, generation))  # commit
        self._slot_to_erase = self.generation % SLOTS
        self._trees, self.generation = trees, generation
        self._erase_old_slot()  # the deletion point
        self._remove_old_blobs()

    def _erase_old_slot(self) -> None:
        if self._slot_to_erase is not None:
            self._roots.erase(self._slot_to_erase)
            self._slot_to_erase = None

    def _open_newest(self) -> bool:
        slots = [_parse_slot(self._roots.read(slot)) for slot in range(SLOTS)]
        for generation, root in sorted((slot for slot in slots if slot is not None), reverse=True):
            try:
                self._trees = _open(self._blob_path(generation).read_bytes(), generation, root)
            except (FileNotFoundError, FormatError, InvalidTag):
                continue
            self.generation = generation
            # An erasure may have been cut off between its commit and its deletion point.
            self._slot_to_erase = (generation + 1) % SLOTS
            self._erase_old_slot()
            return True
        return False

    def _refuse_if_lost(self) -> None:
        if (self._folder / _MARKER).exists():
            raise KeysLostError(
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
        for path in self._folder.iterdir():
            if re.fullmatch(r"keyring-\d+", path.name) and path != self._blob_path(self.generation):
                path.unlink(missing_ok=True)


def _plant() -> dict[ItemClass, KeyTree]:
    return {item_class: KeyTree.plant(os.urandom(NODE_BYTES)) for item_class in CLASSES}


def _seal(trees: Mapping[ItemClass, KeyTree], generation: int, root: bytes) -> bytes:
    header = _MAGIC + _GENERATION.pack(generation)
    parts = []
    for item_class in CLASSES:
        tree = trees[item_class]
        parts += [_TREE_HEADER.pack(item_class.code, len(tree)), tree.encode()]
    return header + ChaCha20Poly1305(root).encrypt(_NONCE, b"".join(parts), header)


def _open(blob: bytes, generation: int, root: bytes) -> dict[ItemClass, KeyTree]:
    """Open a blob; raises FormatError or InvalidTag if it is not this generation's, whole."""
    header = _MAGIC + _GENERATION.pack(generation)
    if blob[:_HEADER_BYTES] != header:
        raise FormatError("a keyring of another version or generation")
    plain = memoryview(ChaCha20Poly1305(root).decrypt(_NONCE, blob[_HEADER_BYTES:], header))
    trees = {}
    for item_class in CLASSES:
        code, nodes = _TREE_HEADER.unpack_from(plain)
        if code != item_class.code:
            raise FormatError(f"a keyring's tree has class code {code}, not {item_class.code}")
        end = _TREE_HEADER.size + nodes * (5 + NODE_BYTES)
        trees[item_class] = KeyTree.decode(bytes(plain[_TREE_HEADER.size : end]))
        plain = plain[end:]
    if plain:
        raise FormatError(f"{len(plain)} bytes follow a keyring's last tree")
    return trees


def _slot(root: bytes, generation: int) -> bytes:
    return root + _GENERATION.pack(generation) + _check(root, generation)


def _parse_slot(data: bytes) -> tuple[int, bytes] | None:
    """Return (generation, root), or None for an erased, torn or never written slot."""
    root, number, check = data[:ROOT_BYTES], data[ROOT_BYTES:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if len(number) != _GENERATION.size:
        return None
    (generation,) = _GENERATION.unpack(number)
    return (generation, root) if generation and check == _check(root, generation) else None


def _check(root: bytes, generation: int) -> bytes:
    """Return eight bytes that a torn slot does not have. Not a secret: the blob's tag decides."""
    return sha256(b"fadeout root slot v1" + root + _GENERATION.pack(generation)).digest()[:_CHECK_BYTES]
