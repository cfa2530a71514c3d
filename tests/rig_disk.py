"""Small disks that can be filled up: a tmpfs of a test's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = bytes(4096)


class SmallDisk:
    """A mounted file system of a few megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave_bytes: int = 0) -> None:
        """Fill it up, but for so many bytes."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(_BLOCK)
        os.truncate(self._filler, max(0, self._filler.stat().st_size - leave_bytes))

    def free_bytes(self) -> int:
        """Return how much room is left."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def empty(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, size_kib: int) -> Iterator[SmallDisk]:
    """Mount a small disk on a folder that is made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_kib}k,mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "fadeout-test", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: what a failed test has left running must not keep the mount.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
