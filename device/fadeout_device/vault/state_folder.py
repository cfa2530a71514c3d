"""The state folder, and the lock that one fadeout has of it."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from fadeout_device.errors import UnavailableError
from fadeout_device.vault.durable import storage_errors, sync_folder

if TYPE_CHECKING:
    from pathlib import Path


def lock(folder: Path) -> int:
    """Make a state folder and take its lock for the life of this process; returns the descriptor.

    Raises:
        StorageError: no permission, or not a folder.
        UnavailableError: another fadeout has it.
    """
    with storage_errors(folder):
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in missing:
            # Else a power failure could take the folder away, with all that was synced in it.
            sync_folder(each.parent)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(descriptor)
        raise UnavailableError(
            f"another fadeout is using the state folder {folder}",
            "stop that one, or choose another folder with --state or FADEOUT_STATE",
        ) from err
    return descriptor
