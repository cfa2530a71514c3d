"""Files that are on the disk when the call returns.

Sealed items and keyrings are new files that nobody refers to before they are
synced, so they need no temporary name. A failed sync is never retried: see `SyncError`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fadeout_device.vault.errors import SyncError

if TYPE_CHECKING:
    from pathlib import Path


def write_new(path: Path, data: bytes) -> None:
    """Write a file durably; the caller syncs the folder. A leftover of the same name is replaced.

    Raises:
        OSError: it could not be written; whatever was, is removed.
        SyncError: it was written, but may not be on the disk.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        sync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Wait until the file's data is on the disk.

    Raises:
        SyncError: the kernel cannot say so.
    """
    try:
        os.fsync(descriptor)
    except OSError as err:
        raise SyncError(f"fsync failed: {err.strerror}") from err


def sync_folder(folder: Path) -> None:
    """Wait until the folder's names are on the disk.

    Raises:
        SyncError: the kernel cannot say so.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
