"""Small disks that can be filled up: a tmpfs of a test's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class FailingDisk:
    """A real ext4, on which the kernel finds an error and then refuses every write."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self._image = image

    def mount(self) -> None:
        """Mount it; where that cannot be done, skip."""
        mount = ["mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder)]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"an ext4 image cannot be mounted here: {mounted.stderr.strip()}")

    def fail(self) -> None:
        """Have the kernel find an error: from now on the disk is read-only, also for files that are open."""
        subprocess.run(["sync", "-f", str(self.folder)], check=True)
        found = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(self.folder)], capture_output=True, text=True, check=True
        )
        trigger = Path("/sys/fs/ext4") / Path(found.stdout.strip()).name / "trigger_fs_error"
        trigger.write_text("a test")
        with pytest.raises(OSError, match="Read-only"):
            (self.folder / "a-file").touch()

    def repair(self) -> None:
        """Check it and mount it anew, as a restart of the machine does. Nobody may have a file open."""
        self.unmount()
        subprocess.run(["e2fsck", "-fy", str(self._image)], capture_output=True, check=False)
        self.mount()

    def unmount(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", str(self.folder)], check=True)


@contextmanager
def failing_disk(folder: Path, image: Path) -> Iterator[FailingDisk]:
    """Make an ext4 file system in an image and mount it on a folder that is made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("mkfs.ext4 is not installed: sudo apt-get install e2fsprogs")
    disk = FailingDisk(folder, image)
    disk.mount()
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
