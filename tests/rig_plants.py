"""Mistakes planted into the vault's protocol, so that the proofs are known to find them.

Each is one that somebody could make, and that ordinary tests would not notice. They
are patched into the process that is to make them; the product knows nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fadeout_device.vault import durable, keyring, keytree, rootslot, sealed_files, sealing, state_folder
from fadeout_device.vault.roots import file as root_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fadeout_device.vault.rootslot import Root

POWER = {
    "one slot": "the root is overwritten in one slot",
    "erase first": "the old root is erased before the new one is written",
    "no sync of the keyring": "the new keyring is not synced before its root is written",
    "no sync of folders": "names are not synced before they are counted on",
}
ERASURE = {
    "same root": "the new keyring is sealed under the old root",
    "old root stays": "the old root's slot is not erased",
    "no puncture": "the erased keys stay in the key tree",
    "temporary file": "audio is written to a file that is removed again",
    "key in the index": "an item's key is put into SQLite, and deleted",
    "metadata in the index": "an item's metadata is put into SQLite, and deleted",
}

_planted: list[str] = []


def has_one_slot() -> bool:
    """Say whether the plant is a keyring with one slot, which never has another to erase."""
    return "one slot" in _planted


def plant(name: str) -> None:
    """Make this process make a mistake; none, if the name is empty."""
    if name:
        _planted.append(name)
        _PLANTS[name]()


# ---- against power cuts


def _one_slot() -> None:
    files: Any = root_file.FileRootStore
    read, write = files.read, files.write
    files.read = lambda self, _slot: read(self, 0)
    files.write = lambda self, _slot, data: write(self, 0, data)
    files.erase = lambda _self, _slot: None


def _erase_first() -> None:
    files: Any = root_file.FileRootStore
    write = files.write

    def erasing(self: Any, slot: int, data: bytes) -> None:  # noqa: ANN401 - the sealer's own
        self.erase(1 - slot)
        write(self, slot, data)

    files.write = erasing


def _no_sync_of_keyring() -> None:
    def unsynced(path: Path, data: bytes) -> None:
        path.write_bytes(data)

    module: Any = keyring
    module.write_new = unsynced


def _no_sync_of_folders() -> None:
    modules: list[Any] = [durable, keyring, sealed_files, root_file, state_folder]
    for module in modules:
        module.sync_folder = lambda _folder: None


# ---- against whoever has every byte


def _same_root() -> None:
    ring: Any = keyring
    slots: Any = rootslot
    seal, encode = ring.seal_blob, slots.encode
    first: list[bytes] = []

    def same(root: Root) -> Root:
        first[:] = first or [root.secret]
        return root._replace(secret=first[0])

    opens = ring.open_blob
    ring.seal_blob = lambda body, root: seal(body, same(root))
    ring.open_blob = lambda blob, root: opens(blob, same(root))
    slots.encode = lambda root, slot_bytes: encode(same(root), slot_bytes)


def _old_root_stays() -> None:
    files: Any = root_file.FileRootStore
    files.erase = lambda _self, _slot: None


def _no_puncture() -> None:
    tree: Any = keytree.KeyTree
    tree.puncture = lambda _self, _leaf: None
    tree.puncture_below = lambda _self, _floor: None


def _leaking(leak: Callable[[Any, Any, Any], None]) -> None:
    write_items = sealing.Sealer._write_items

    def leaking(self: Any, items: Any, bodies: Any) -> None:  # noqa: ANN401 - the sealer's own
        write_items(self, items, bodies)
        for item in items:
            leak(self, item, bodies[item.item_class.kind])

    sealing.Sealer._write_items = leaking  # type: ignore[method-assign]  # the plant


def _temporary_file() -> None:
    def leak(self: Any, _item: Any, body: Any) -> None:  # noqa: ANN401 - the sealer's own
        path = self._files.folder.parent / "audio.tmp"
        path.write_bytes(body.content)
        path.unlink()

    _leaking(leak)


def _in_index(what: Callable[[Any, Any, Any], object]) -> None:
    def leak(self: Any, item: Any, body: Any) -> None:  # noqa: ANN401 - the sealer's own
        with self._index.transaction():
            self._index.db.execute("INSERT INTO meta VALUES ('cache', ?)", [what(self, item, body)])
        with self._index.transaction():
            self._index.db.execute("DELETE FROM meta WHERE key = 'cache'")

    _leaking(leak)


_PLANTS: dict[str, Callable[[], None]] = {
    "one slot": _one_slot,
    "erase first": _erase_first,
    "no sync of the keyring": _no_sync_of_keyring,
    "no sync of folders": _no_sync_of_folders,
    "same root": _same_root,
    "old root stays": _old_root_stays,
    "no puncture": _no_puncture,
    "temporary file": _temporary_file,
    "key in the index": lambda: _in_index(
        lambda self, item, _body: self._files._keyring.leaf_key(item.item_class, item.leaf)
    ),
    "metadata in the index": lambda: _in_index(lambda _self, _item, body: body.metadata),
}
