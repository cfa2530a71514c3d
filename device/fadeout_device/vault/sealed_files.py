"""The files of sealed items, and what opens them: a row's class and leaf, its file, the keyring.

Sealing, opening and erasing meet here, so that each of them reads and removes files
in one way. Decides nothing: whether an item may be opened is asked before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.errors import StorageError
from fadeout_device.policy import CLASSES
from fadeout_device.vault import container
from fadeout_device.vault.durable import storage_errors, sync_folder, write_new
from fadeout_device.vault.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fadeout_device.vault.index import Item
    from fadeout_device.vault.keyring import Keyring


class Sealed(NamedTuple):
    """An item's file with the key of its leaf."""

    leaf_key: bytes
    data: bytes

    def __repr__(self) -> str:
        """Say only the size."""
        return f"Sealed({len(self.data)} B)"


class SealedFiles:
    """One file per item, named by the item's random id."""

    def __init__(self, folder: Path, keyring: Keyring) -> None:
        """Take the folder, making it if there is none.

        Raises:
            OSError: it cannot be made.
        """
        self.folder = folder
        self._keyring = keyring
        folder.mkdir(mode=0o700, exist_ok=True)

    def write(self, item: Item, body: container.Body) -> None:
        """Seal a body into the item's file, synced; the caller syncs the folder. Raises as `write_new`."""
        header = container.Header(item.item_class.code, item.leaf, os.urandom(container.SALT_BYTES))
        leaf_key = self._keyring.leaf_key(item.item_class, item.leaf)
        write_new(self.folder / item.id, container.seal(leaf_key, header, body))

    def sync(self) -> None:
        """Wait until the files' names are on the disk. Raises SyncError."""
        sync_folder(self.folder)

    def read(self, item: Item) -> Sealed:
        """Return an item's key and file.

        Raises:
            KeyErasedError: its key is gone.
            FormatError, StorageError: its file cannot be read, or is another item's.
        """
        return Sealed(self._keyring.leaf_key(item.item_class, item.leaf), self._data(item))

    def _data(self, item: Item) -> bytes:
        with storage_errors(self.folder):
            data = (self.folder / item.id).read_bytes()
        header = container.parse_header(data)
        if (header.class_code, header.leaf) != (item.item_class.code, item.leaf):
            raise StorageError(f"the file of item {item.id} is another item's")
        return data

    def event_id(self, item: Item) -> str:
        """Return the id under which an action item is reported; opens nothing. Raises as `read`."""
        return self.event_id_under(self._keyring.leaf_key(item.item_class, item.leaf), item)

    def event_id_under(self, leaf_key: bytes, item: Item) -> str:
        """Return the event id of an item whose leaf's key is given. Raises as `read`."""
        return container.event_id(container.item_key(leaf_key, container.parse_header(self._data(item))))

    def leaf_keys(self, items: Iterable[Item]) -> list[tuple[Item, bytes]]:
        """Return the keys of those items that have one still; reads no file."""
        return [
            (item, self._keyring.leaf_key(item.item_class, item.leaf))
            for item in items
            if self._keyring.is_alive(item.item_class, item.leaf)
        ]

    def unlink(self, items: Iterable[Item]) -> None:
        """Remove items' files. This is tidiness, not erasure."""
        for item in items:
            (self.folder / item.id).unlink(missing_ok=True)

    def strays(self, known: set[str]) -> list[str]:
        """Return the names of files that are no known item's."""
        return [path.name for path in self.folder.iterdir() if path.name not in known]

    def header(self, name: str) -> container.Header | None:
        """Return the header of a file by its name; None if it is no sealed item."""
        try:
            header = container.parse_header((self.folder / name).read_bytes()[: container.HEADER_BYTES])
        except FormatError:
            return None
        return header if 1 <= header.class_code <= len(CLASSES) else None

    def remove_stray(self, name: str) -> None:
        """Remove a file that is no sealed item: there is nothing to erase."""
        (self.folder / name).unlink()
