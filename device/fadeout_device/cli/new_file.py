"""A file that is there whole, or not at all.

Written without a name where the file system can do that, so that even a killed
command leaves nothing; else under a name of its own, which is removed on failure.
Synced before it gets its name, which it takes from nobody unless that is asked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import TYPE_CHECKING, Self

from fadeout_device.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""What kernels and file systems (FAT, NFS) say that have none."""
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT, errno.EXDEV)


class NewFile:
    """Take bytes with `write`; the file appears with `commit`, or never."""

    def __init__(self, path: Path, *, may_replace: bool, hint: str = "choose another file with -o") -> None:
        """Start a file; nothing of that name is there, or it may be replaced.

        Args:
            path: the file.
            may_replace: whether it may be there already.
            hint: what to do where it cannot be written.

        Raises:
            UsageError: there is a file of that name.
            StorageError: its folder cannot be written.
        """
        self._path = path
        self._may_replace = may_replace
        self._hint = hint
        self._has_temporary = False
        self._refuse_another()
        with self._told():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._temporary = path.with_name(f".fadeout-{secrets.token_hex(8)}")
            self._descriptor = self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            return os.open(self._path.parent, flags | os.O_TMPFILE, 0o600)
        except OSError as err:
            if err.errno not in _NO_UNNAMED_FILES:
                raise
        descriptor = os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL, 0o600)
        self._has_temporary = True
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if self._has_temporary:
            self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Add bytes. Raises StorageError."""
        view = memoryview(data)
        with self._told():
            while view:
                view = view[os.write(self._descriptor, view) :]

    def commit(self) -> None:
        """Give the file its name, durably.

        Raises:
            UsageError: somebody else made a file of that name meanwhile.
            StorageError: it cannot be written, or has no name now.
        """
        self._refuse_another()
        with self._told():
            os.fsync(self._descriptor)
            if self._may_replace:
                self._name(self._temporary)
                self._temporary.replace(self._path)
            else:
                self._name(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _name(self, path: Path) -> None:
        if not self._has_temporary:
            # A descriptor is given so that Python calls linkat(2), which follows the link in /proc.
            os.link(f"/proc/self/fd/{self._descriptor}", path, src_dir_fd=self._descriptor)
            self._has_temporary = path == self._temporary
            return
        if path == self._temporary:
            return
        try:
            os.link(self._temporary, path)
        except OSError as err:
            if err.errno not in _NO_LINKS:
                raise
            # No hard links here (FAT). Whoever makes a file of that name within this moment loses it.
            self._temporary.rename(path)

    def _refuse_another(self) -> None:
        if not self._may_replace and os.path.lexists(self._path):
            raise _taken(self._path)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError as err:
            raise _taken(self._path) from err
        except OSError as err:
            raise StorageError(f"{self._path}: {(err.strerror or str(err)).lower()}", self._hint) from err


def _taken(path: Path) -> UsageError:
    return UsageError(f"{path} is there already", "choose another file with -o, or replace it with --force")
