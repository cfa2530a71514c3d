"""Files that are on the disk when the call returns.

Sealed items and keyrings are new files that nobody refers to before they are
synced, so they need no temporary name. A failed sync is never retried: see `SyncError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from fadeout_device.errors import StorageError
from fadeout_device.vault.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_WAY_IN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)


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


def replace(path: Path, data: bytes) -> None:
    """Make a small file hold these bytes, durably; a power failure leaves the old or the new ones.

    Raises:
        OSError: it could not be written; the old file stands.
        SyncError: it may not be on the disk.
    """
    new = path.with_name(f"{path.name}.new")
    write_new(new, data)
    new.replace(path)
    sync_folder(path.parent)


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


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that names the path."""
    try:
        yield
    except OSError as err:
        raise StorageError(f"{err.filename or path}: {reason(err)}", next_step(err)) from err


def is_full(err: Exception) -> bool:
    """Say whether an error means that there is no room."""
    return isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT)


def reason(err: Exception) -> str:
    """Return an error's reason in lower case."""
    if isinstance(err, OSError):
        return (err.strerror or str(err)).lower()
    return str(err)


def next_step(err: Exception) -> str | None:
    """Return what the operator can do about an error of the disk."""
    if isinstance(err, StorageError):
        return err.hint
    if is_full(err):
        return "free some space on the disk; erasing goes on by itself"
    if isinstance(err, OSError) and err.errno in _NO_WAY_IN:
        return "choose a folder you may write to with --state or FADEOUT_STATE"
    return None
