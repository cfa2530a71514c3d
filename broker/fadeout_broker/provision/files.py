"""Writes files so that each is whole or absent, and never over one that is not to be replaced."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from typing import TYPE_CHECKING

from fadeout_broker.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = 0o600
"""Keys: only their owner's."""
SHARED = 0o640
"""What the broker's group may read; Mosquitto 2.1 warns of what all the world can."""
PRIVATE_FOLDER = 0o700


def write(path: Path, data: bytes, mode: int, *, replace: bool) -> None:
    """Write a file in one step: temporary, fsync, rename, fsync of the folder.

    Raises:
        SettingsError: it exists and is not to be replaced, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _make(path.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)  # whatever the umask
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                path.hardlink_to(temporary)  # unlike a rename it fails where a file is
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except FileExistsError as err:
        raise SettingsError(f"{path} exists", "nothing was overwritten; move it away first") from err
    except OSError as err:
        raise _unwritable(path, err) from err


def read(path: Path) -> bytes | None:
    """Return a file's content; None: there is none.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise SettingsError(f"{path}: {_why(err)}", "run this as the folder's owner") from err


def remove(path: Path) -> None:
    """Delete a file that may be absent."""
    try:
        path.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as err:
        raise _unwritable(path, err) from err


@contextlib.contextmanager
def locked(folder: Path, *, create: bool) -> Iterator[None]:
    """Let one command at a time work in a folder.

    Raises:
        SettingsError: the folder is missing or cannot be used.
    """
    try:
        if create:
            _make(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as err:
        raise SettingsError(f"{folder} does not exist", f"fadeout-broker provision {folder}") from err
    except OSError as err:
        raise _unwritable(folder, err) from err
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, err: OSError) -> SettingsError:
    return SettingsError(f"{path}: {_why(err)}", "choose a folder that you may write")


def _why(err: OSError) -> str:
    return (err.strerror or type(err).__name__).lower()
