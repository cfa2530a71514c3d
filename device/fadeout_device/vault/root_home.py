"""In which root store a state folder's root lives, and how it moves to another.

`root-store` in the state folder names the store; without it, it is `file`. The
configuration names a store too, and the two must agree: a start with another store
would find no root there. To move, `root-moving` is written first, and says that for
a while both stores may hold a root. Whoever finds it opens both: the newer keyring
that opens wins (`keyring.py`), and the other store's slots are erased.

Source: docs/format.md, "Moving the root".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, get_args

from fadeout_device.config import RootStoreName
from fadeout_device.errors import StorageError
from fadeout_device.vault.durable import replace, storage_errors, sync_folder
from fadeout_device.vault.errors import FormatError, RootStoreError
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.roots import SLOTS, RootStore, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from fadeout_device.config import VaultSettings

_POINTER = "root-store"
_MOVING = "root-moving"


class Move(NamedTuple):
    """What a migration did."""

    source: RootStoreName
    target: RootStoreName


def home_of(folder: Path) -> RootStoreName | None:
    """Return the store in which the folder's root lives; None: the folder has no keyring yet.

    Raises:
        FormatError: the folder names a store that there is not.
    """
    words = _read(folder / _POINTER)
    if words:
        return _name(words, 1)[0]
    return "file" if _has_keyring(folder) else None


def is_moving(folder: Path) -> bool:
    """Say whether a migration was begun and not finished."""
    return (folder / _MOVING).exists()


def settle(folder: Path, settings: VaultSettings, *, is_replay: bool = False) -> RootStore:
    """Return the store that holds the folder's root, having finished a migration that was cut off.

    Args:
        folder: the state folder, whose lock the caller holds.
        settings: `[vault]`.
        is_replay: the root stays where it is, or in the folder if that is new, whatever the
            configuration says: a replay must not touch the chip of the device it runs on.

    Raises:
        RootStoreError: the configuration names another store than the folder, or a store cannot be used.
        KeysLostError, StorageError, SyncError: as `Keyring`.
    """
    with storage_errors(folder):
        if is_moving(folder):
            _finish(folder, settings)
        home = home_of(folder)
        if is_replay:
            return open_store(settings, folder, home or "file")
        if home is None and settings.root_store != "file":
            # Before there is anything to lose, so that no start looks in the wrong store.
            replace(folder / _POINTER, settings.root_store.encode())
        if home not in (None, settings.root_store):
            raise RootStoreError(
                f"the root of {folder} lives in the root store {home}, and the configuration names"
                f" {settings.root_store}",
                f'move it with `fadeout root migrate`, or write root_store = "{home}" under [vault]',
            )
        return open_store(settings, folder)


def migrate(folder: Path, settings: VaultSettings) -> Move:
    """Move the folder's root to the store that the configuration names; does nothing if it is there.

    Raises:
        StorageError: there is no root to move yet, or the folder cannot be written.
        RootStoreError, KeysLostError, SyncError: as `settle`.
        OSError: a store failed; the next start, or the next attempt, finishes it.
    """
    if is_moving(folder):
        _finish(folder, settings)
    source, target = home_of(folder), settings.root_store
    if source is None:
        raise StorageError(
            f"there are no keys in {folder} yet, so there is nothing to move",
            "start fadeout: the first start uses the root store that the configuration names",
        )
    if source != target:
        # Both must be there, and the keyring must open, before anything changes.
        keyring = Keyring(folder, open_store(settings, folder, source))
        store = open_store(settings, folder, target)
        replace(folder / _MOVING, f"{source} {target}".encode())
        keyring.migrate_to(store)
        _note(folder, target)
    return Move(source, target)


def erase_another(folder: Path, settings: VaultSettings) -> RootStoreName:
    """Erase the root of some other state folder from the configured store, so that this one can use it.

    Whatever that folder holds can never be read again. Returns the store's name.

    Raises:
        StorageError: this folder has keys of its own, which `panic` erases.
        RootStoreError, OSError, SyncError: the root may still be there.
    """
    if _has_keyring(folder):
        raise StorageError(
            f"{folder} has keys of its own: their root is not erased like this",
            "fadeout erase --all --now erases them; or move the folder away, if they are lost",
        )
    store = open_store(settings, folder)
    for slot in range(SLOTS):
        store.erase(slot)
    return settings.root_store


def _has_keyring(folder: Path) -> bool:
    return (folder / "initialised").exists() or any(folder.glob("keyring-*"))


def _finish(folder: Path, settings: VaultSettings) -> None:
    """Bring a migration that was cut off to an end: forward if it had committed, back if not."""
    source, target = _name(_read(folder / _MOVING), 2)
    stores = {name: open_store(settings, folder, name) for name in (source, target)}
    keyring = Keyring(folder, stores[target], stores[source])
    _note(folder, next(name for name, store in stores.items() if store is keyring.roots))


def _note(folder: Path, home: RootStoreName) -> None:
    """Note where the root lives. The old store holds none any more."""
    replace(folder / _POINTER, home.encode())
    (folder / _MOVING).unlink(missing_ok=True)
    sync_folder(folder)


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        return []


def _name(words: list[str], number: int) -> list[RootStoreName]:
    known = {str(name): name for name in get_args(RootStoreName)}
    if len(words) != number or any(word not in known for word in words):
        raise FormatError("the state folder names a root store that this version does not know")
    return [known[word] for word in words]
