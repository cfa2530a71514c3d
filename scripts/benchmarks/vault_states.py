"""Vaults of a given size for measurements: real keyrings, real stores, made without a real day's sealing.

A keyring is the same whether its items exist or not, so those of 100,000 items are
made without the items. The store of 6,000 items has every file and every row.
"""

from __future__ import annotations

import os
import random
import secrets
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.config import Config
from fadeout_device.policy import ItemClass
from fadeout_device.vault import container
from fadeout_device.vault.clock import SystemClock
from fadeout_device.vault.index import Item
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.roots.file import FileRootStore
from fadeout_device.vault.store import Store

if TYPE_CHECKING:
    from pathlib import Path

AUDIO = ItemClass("failed", "audio")
DAY_S = 86_400


class Ring(NamedTuple):
    """A keyring, and the leaves that are alive in it."""

    keyring: Keyring
    live: list[int]


def make_ring(folder: Path, live: int, holes: float, seed: int = 1) -> Ring:
    """Make a keyring with so many live leaves, and so many of all used ones dead in between."""
    folder.mkdir()
    keyring = Keyring(folder, FileRootStore(folder))
    used = round(live / (1 - holes))
    dead = set(random.Random(seed).sample(range(used), used - live))  # noqa: S311 - which leaves, not a secret
    keyring.erase([(AUDIO, leaf) for leaf in dead], {})
    return Ring(keyring, [leaf for leaf in range(used) if leaf not in dead])


def blob_bytes(folder: Path) -> int:
    """Return the size of the keyring on the disk."""
    return sum(path.stat().st_size for path in folder.glob("keyring-*"))


def make_store(folder: Path, live: int, holes: float) -> Store:
    """Make a store with so many items of 16 KiB, one recording each, so many of all used leaves dead."""
    folder.mkdir()
    config = Config()
    store = Store(folder, FileRootStore(folder), config.policy, config.sweep_s, SystemClock())
    used = round(live / (1 - holes))
    dead = set(random.Random(1).sample(range(used), used - live))  # noqa: S311 - which leaves, not a secret
    ends_at_s = int(SystemClock().now()) + 7 * DAY_S
    size = container.sealed_size(container.Body(b"{}", b""))
    with store.index.transaction():
        for leaf in range(used):
            if leaf in dead:
                continue
            item = Item(
                secrets.token_hex(16), secrets.token_hex(8), AUDIO, leaf, "live", ends_at_s, 7 * DAY_S,
                ends_on_update=False, size_bytes=size,
            )  # fmt: skip
            header = container.Header(AUDIO.code, leaf, os.urandom(container.SALT_BYTES))
            sealed = container.seal(store.keyring.leaf_key(AUDIO, leaf), header, container.Body(b"{}", b""))
            (store.files.folder / item.id).write_bytes(sealed)
            store.index.add(item)
        store.index.skip_leaves(AUDIO, used)
        store.index.set_meta("version", "measured")
    store.keyring.erase([(AUDIO, leaf) for leaf in dead], {})
    return store
