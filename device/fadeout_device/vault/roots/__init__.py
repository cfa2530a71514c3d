"""Where the root of all keys lives: two slots that can be overwritten.

What the bytes of a slot mean is `rootslot.py`'s business; a root store only
promises that a written slot is durable, that an erased slot's old bytes cannot be
had from the store any more, and says honestly how far that holds.
"""

from __future__ import annotations

from typing import Protocol

SLOTS = 2


class RootStore(Protocol):
    """Two slots. All calls raise OSError on failure and SyncError when durability is unknown."""

    name: str
    """As the configuration calls it."""
    protects: str
    """What an erasure in this store protects against, for `fadeout status`."""
    does_not: str
    """What it does not protect against."""
    slot_bytes: int
    """The size of a slot: one of the layouts of `rootslot.py`."""

    def read(self, slot: int) -> bytes:
        """Return the slot's bytes; anything at all if it was never written or was torn."""

    def write(self, slot: int, data: bytes) -> None:
        """Overwrite the slot, durably; read it back."""

    def erase(self, slot: int) -> None:
        """Overwrite the slot with random bytes, durably; read it back."""
