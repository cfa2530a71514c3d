"""The `file` root store: two files on the ordinary disk. Best effort, and says so.

Each slot is a file of 16 KiB of random bytes and the slot's 48 bytes masked with
their hash, as Android's vold binds keys to a "secdiscardable" file: whoever gets
the file with any part missing has nothing. Erasing overwrites it in place. On
flash the controller may keep the old cells: no file can do better there. To discard
them would take root and a raw write to a mounted disk (FIEMAP and BLKDISCARD), or
f2fs's own call, tried by nobody here: neither is done.

Source: Android vold, secdiscard.cpp and KeyStorage.cpp.
"""

from __future__ import annotations

import os
from hashlib import sha512
from typing import TYPE_CHECKING

from fadeout_device.vault.durable import sync, sync_folder
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.rootslot import WIDE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

PAD_BYTES = 16 * 1024
FRESH_BYTES = 64
"""So much of the pad is new at each write: more than enough for a hash that nobody has seen."""
_FILE_BYTES = PAD_BYTES + WIDE_BYTES


class FileRootStore:
    """Slots as files `root-0` and `root-1` in a folder."""

    name = "file"
    protects = "whoever reads the disk's files or its image after the erasure"
    does_not = "a laboratory that reads the flash chip's old cells"
    slot_bytes = WIDE_BYTES

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"root-{slot}" for slot in range(SLOTS)]
        for path in self._paths:
            if not path.exists() or path.stat().st_size != _FILE_BYTES:
                # New, or cut short by a power failure before it was ever used.
                _overwrite(path, os.urandom(_FILE_BYTES))
        sync_folder(folder)

    def read(self, slot: int) -> bytes:
        """Return the slot's bytes."""
        stored = self._paths[slot].read_bytes()
        return _mask(stored[PAD_BYTES:], stored[:PAD_BYTES])

    def write(self, slot: int, data: bytes) -> None:
        """Overwrite the slot, and the end of the pad, which makes its hash a new one.

        The rest of the pad is the random bytes that the last erasure has left. So a pad
        never masks two slots, and a commit writes 112 bytes instead of 16 KiB.
        """
        if len(data) != WIDE_BYTES:
            raise ValueError(f"a slot of {len(data)} bytes, not {WIDE_BYTES}")
        path = self._paths[slot]
        fresh = os.urandom(FRESH_BYTES)
        pad = path.read_bytes()[: PAD_BYTES - FRESH_BYTES] + fresh
        _overwrite(path, fresh + _mask(data, pad), PAD_BYTES - FRESH_BYTES)

    def erase(self, slot: int) -> None:
        """Overwrite the slot with random bytes, pad and all."""
        _overwrite(self._paths[slot], os.urandom(_FILE_BYTES))


def _mask(data: bytes, pad: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, sha512(pad).digest(), strict=False))


def _overwrite(path: Path, data: bytes, offset: int = 0) -> None:
    """Write over the file's own blocks (no new file, no truncation), sync, and read back from the disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        written = os.pwrite(descriptor, data, offset)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes of a root slot were written")
        sync(descriptor)
        # Drop the cached pages, so that reading back asks the disk.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.pread(descriptor, len(data), offset) != data:
            raise OSError("a root slot reads back different from what was written")
    finally:
        os.close(descriptor)
