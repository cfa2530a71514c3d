"""Where the root of all keys lives: two slots that can be overwritten.

What the bytes of a slot mean is `rootslot.py`'s business; a root store only
promises that a written slot is durable, that an erased slot's old bytes cannot be
had from the store any more, and says honestly how far that holds.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fadeout_device.vault.durable import reason
from fadeout_device.vault.errors import RootStoreError

if TYPE_CHECKING:
    from fadeout_device.config import RootStoreName, VaultSettings

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


def worth(name: RootStoreName) -> tuple[str, str]:
    """Return what an erasure in a store protects against, and what not, without opening it."""
    from fadeout_device.vault.roots.file import FileRootStore  # noqa: PLC0415 - as in `open_store`
    from fadeout_device.vault.roots.nvmem import NvmemRootStore  # noqa: PLC0415
    from fadeout_device.vault.roots.tpm import TpmRootStore  # noqa: PLC0415

    stores: dict[str, type[FileRootStore | NvmemRootStore | TpmRootStore]] = {
        "file": FileRootStore,
        "nvmem": NvmemRootStore,
        "tpm": TpmRootStore,
    }
    return stores[name].protects, stores[name].does_not


def open_store(settings: VaultSettings, state: Path, name: RootStoreName | None = None) -> RootStore:
    """Open a root store.

    Args:
        settings: `[vault]`; it names the store, and where each is.
        state: the state folder.
        name: another store than the one the settings name.

    Raises:
        RootStoreError: it is not there, or cannot be used as it is configured.
        OSError: the state folder cannot be written.
    """
    # Only the store that is used is loaded: the vault is to stay small.
    name = name or settings.root_store
    try:
        if name == "nvmem":
            from fadeout_device.vault.roots.nvmem import ChipFile, NvmemRootStore  # noqa: PLC0415

            nvmem = settings.nvmem
            if nvmem.file is None:
                raise RootStoreError("no chip is named for the root store nvmem", "set file in [vault.nvmem]")
            return NvmemRootStore(ChipFile(Path(nvmem.file)), nvmem.offset, nvmem.page_bytes, time.sleep)
        if name == "tpm":
            from fadeout_device.vault.roots.tpm import TpmRootStore  # noqa: PLC0415
            from fadeout_device.vault.roots.tpm_client import TpmClient  # noqa: PLC0415

            return TpmRootStore(TpmClient(Path(settings.tpm.device), time.sleep), settings.tpm.index)
        from fadeout_device.vault.roots.file import FileRootStore  # noqa: PLC0415

        return FileRootStore(state)
    except OSError as err:
        if name == "file":
            raise
        where = settings.nvmem.file if name == "nvmem" else settings.tpm.device
        raise RootStoreError(
            f"root store {name}: {where}: {reason(err)}", f"see [vault.{name}], and who may use the device"
        ) from err
