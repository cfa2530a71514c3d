"""The `tpm` root store: two small indices in the memory of a TPM 2.0.

The chip holds what was last written and gives out nothing else; how it overwrites
its cells is the maker's promise. The indices are ordinary ones, read and written
with an empty password: on a running device, whoever may use the TPM may read them,
as he may read the vault's memory. They are written whole (WRITEALL), kept at once
and not at shutdown (not ORDERLY), and wrong passwords elsewhere do not lock them (NO_DA).

Source: TPM 2.0 Library, part 1 "Architecture" (37, NV memory), part 2 "Structures"
(13.4, TPMA_NV); TCG Registry of Reserved TPM 2.0 Handles and Localities.
"""

from __future__ import annotations

import errno
import os

from fadeout_device.vault.errors import RootStoreError
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.roots.tpm_client import NOT_WRITTEN, TpmClient, TpmError
from fadeout_device.vault.rootslot import WIDE_BYTES

# TPMA_NV: bits by name.
_AUTHWRITE, _WRITEALL, _AUTHREAD, _NO_DA = 1 << 2, 1 << 12, 1 << 18, 1 << 25
_ATTRIBUTES = _AUTHWRITE | _WRITEALL | _AUTHREAD | _NO_DA
_WRITTEN = 1 << 29
"""Set by the TPM at the first write."""


class TpmRootStore:
    """Slots in the indices `index` and `index + 1`."""

    name = "tpm"
    protects = "whoever reads the disk, or the TPM, after the erasure"
    does_not = "the maker of the TPM, nor whoever uses it, or listens on its bus, before the erasure"
    slot_bytes = WIDE_BYTES

    def __init__(self, client: TpmClient, index: int) -> None:
        """Use two indices of a TPM; those that are not there are made.

        Raises:
            RootStoreError: an index exists and is not one of ours.
            OSError: the TPM does not answer, or refuses.
        """
        self._client = client
        self._indices = [index + slot for slot in range(SLOTS)]
        for each in self._indices:
            info = client.look_at(each)
            if info is None:
                client.define(each, _ATTRIBUTES, WIDE_BYTES)
                info = client.look_at(each)
            if info is None or info.size_bytes != WIDE_BYTES or info.attributes & ~_WRITTEN != _ATTRIBUTES:
                raise RootStoreError(
                    f"index 0x{each:08x} of the TPM is used by something else",
                    "choose another index in [vault.tpm]; fadeout takes it and the one after it",
                )

    def read(self, slot: int) -> bytes:
        """Return the slot's bytes; zeros, if it was never written."""
        try:
            return self._client.read(self._indices[slot], WIDE_BYTES)
        except TpmError as err:
            if err.code == NOT_WRITTEN:
                return bytes(WIDE_BYTES)
            raise

    def write(self, slot: int, data: bytes) -> None:
        """Overwrite the slot, and read it back."""
        if len(data) != WIDE_BYTES:
            raise ValueError(f"a slot of {len(data)} bytes, not {WIDE_BYTES}")
        self._client.write(self._indices[slot], data)
        if self._client.read(self._indices[slot], WIDE_BYTES) != data:
            raise OSError(errno.EIO, "a root slot reads back different from what was written")

    def erase(self, slot: int) -> None:
        """Overwrite the slot with random bytes, and read it back."""
        self.write(slot, os.urandom(WIDE_BYTES))
