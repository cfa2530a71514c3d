"""The `nvmem` root store: cells that are overwritten in place, with nothing in between.

Battery-backed SRAM of a clock chip, FRAM, or an EEPROM, as Linux shows them: a file
`nvmem` or `eeprom` in sysfs. There is no flash translation layer that could keep an
old copy. Each slot starts on a page of the chip, so that writing one never rewrites
cells of the other. Where two wide slots do not fit, slots are narrow.

The kernel's write returns when the bus has taken the bytes; an EEPROM may then be
busy for some milliseconds, answer nothing, and give what it likes. fsync on such a
file succeeds and means nothing. What makes a slot durable is that it reads back: so
that is tried for a while, and it decides.

Source: Linux, drivers/nvmem/core.c, drivers/misc/eeprom/at24.c, drivers/rtc/rtc-ds1307.c;
docs/format.md, "Root slots".
"""

from __future__ import annotations

import errno
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from fadeout_device.vault.durable import sync
from fadeout_device.vault.errors import RootStoreError
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.rootslot import NARROW_BYTES, WIDE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_TRIES = 50
_PAUSE_S = 0.005
"""A quarter second: an EEPROM's write cycle takes about 5 ms a page, and at24 itself waits 25 ms."""
_BUSY = frozenset({errno.EIO, errno.ETIMEDOUT, errno.ENXIO, errno.EREMOTEIO, errno.EAGAIN})
"""How bus drivers say that a chip did not answer."""


class Chip(Protocol):
    """Bytes at addresses. Both calls may do less than was asked, and raise OSError while the chip is busy."""

    size_bytes: int

    def read(self, at: int, size: int) -> bytes:
        """Return bytes from an address on."""

    def write(self, at: int, data: memoryview) -> int:
        """Write bytes from an address on; returns how many were taken."""


class ChipFile:
    """A chip as Linux shows it: a file of the chip's size. Must be there: a chip is not made."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.size_bytes = os.fstat(self._descriptor).st_size

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read(self, at: int, size: int) -> bytes:
        """Return bytes from an address on, from the chip and not from the cache."""
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(self._descriptor, size, at)

    def write(self, at: int, data: memoryview) -> int:
        """Write bytes from an address on; returns how many were taken."""
        written = os.pwrite(self._descriptor, data, at)
        sync(self._descriptor)  # for an ordinary file; in sysfs it does nothing
        return written


class NvmemRootStore:
    """Slots at an offset of a chip."""

    name = "nvmem"
    protects = "whoever reads the disk or the chip after the erasure"
    does_not = (
        "a laboratory that finds traces in an EEPROM's cells, nor whoever reads the chip before the erasure"
    )

    def __init__(
        self, chip: Chip, offset: int, page_bytes: int, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Find room for two slots.

        Args:
            chip: where.
            offset: where slot 0 starts; a multiple of page_bytes.
            page_bytes: the chip's, from its data sheet; what is written together wears together.
            sleep: waits while the chip is busy.

        Raises:
            RootStoreError: the chip is too small, or the offset is not on a page.
        """
        if offset % page_bytes:
            raise RootStoreError(
                f"the offset {offset} of the root store nvmem is not on a page of {page_bytes} bytes",
                "choose a multiple of page_bytes in [vault.nvmem]",
            )
        for slot_bytes in (WIDE_BYTES, NARROW_BYTES):
            stride = -(-slot_bytes // page_bytes) * page_bytes
            if offset + stride + slot_bytes <= chip.size_bytes:
                break
        else:
            raise RootStoreError(
                f"the chip of the root store nvmem has {chip.size_bytes} bytes: two slots of "
                f"{NARROW_BYTES} bytes, on pages of {page_bytes} from {offset} on, do not fit",
                "choose a larger chip, or a smaller offset or page_bytes, in [vault.nvmem]",
            )
        self._chip = chip
        self._sleep = sleep
        self.slot_bytes = slot_bytes
        self._at = [offset + slot * stride for slot in range(SLOTS)]

    def read(self, slot: int) -> bytes:
        """Return the slot's bytes; waits while the chip is busy."""
        return self._patiently(lambda: self._read(slot))

    def write(self, slot: int, data: bytes) -> None:
        """Overwrite the slot, once, and wait until it reads back."""
        if len(data) != self.slot_bytes:
            raise ValueError(f"a slot of {len(data)} bytes, not {self.slot_bytes}")
        left = memoryview(data)
        while left:
            # Only what is left is written again: each write wears the cells.
            written = self._patiently(partial(self._chip.write, self._at[slot] + len(data) - len(left), left))
            if written == 0:
                raise OSError(errno.EIO, "the chip takes no more of a root slot")
            left = left[written:]
        if self._patiently(lambda: self._read(slot), lambda found: found == data) != data:
            raise OSError(errno.EIO, "a root slot reads back different from what was written")

    def erase(self, slot: int) -> None:
        """Overwrite the slot with random bytes: zeros would leave more to find in an EEPROM's cells."""
        self.write(slot, os.urandom(self.slot_bytes))

    def _read(self, slot: int) -> bytes:
        data = b""
        while len(data) < self.slot_bytes:
            part = self._chip.read(self._at[slot] + len(data), self.slot_bytes - len(data))
            if not part:
                raise OSError(errno.EIO, "the chip ends inside a root slot")
            data += part
        return data

    def _patiently(self, attempt: Callable[[], T], is_good: Callable[[T], bool] = lambda _: True) -> T:
        """Try again, within a bound, while the chip is busy or its answer is not good."""
        for _ in range(_TRIES - 1):
            try:
                answer = attempt()
            except OSError as err:
                if err.errno not in _BUSY:
                    raise
            else:
                if is_good(answer):
                    return answer
            self._sleep(_PAUSE_S)
        return attempt()
