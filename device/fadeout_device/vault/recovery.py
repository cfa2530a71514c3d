"""What a start puts right before anything is served: an index that does not fit keys and files.

The index may have been lost, or put back from a copy. It errs on the private side:
a file without a row could never end, so it gets one, to be erased by the first sweep;
a row without a key is one of an item that was erased, so it goes too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fadeout_device.policy import CLASSES
from fadeout_device.vault.due import shortened
from fadeout_device.vault.index import Item

if TYPE_CHECKING:
    from fadeout_device.policy import Policy
    from fadeout_device.vault.index import Index
    from fadeout_device.vault.keyring import Keyring
    from fadeout_device.vault.sealed_files import SealedFiles

log = logging.getLogger(__name__)


def reconcile(index: Index, keyring: Keyring, files: SealedFiles) -> bool:
    """Bring the index into line; inside the caller's transaction.

    Returns:
        False when it may be an older one than the keys: what was told to subscribers is not certain then.

    Raises:
        OSError: the files cannot be looked at.
        StorageError: the index cannot be changed.
    """
    is_in_step = _end_rows_of_other_keys(index, keyring)
    rows = index.items()
    strays = files.strays({item.id for item in rows})
    for name in strays:
        _adopt(name, index, files)
    dead = [
        item.id for item in rows if item.state == "live" and not keyring.is_alive(item.item_class, item.leaf)
    ]
    index.intend(dead, "recovered")
    is_behind = [index.skip_leaves(each, keyring.next_unused(each)) for each in CLASSES]
    if strays or dead:
        log.warning("the index is not that of the items: strays=%d erased=%d", len(strays), len(dead))
    return is_in_step and not strays and not dead and not any(is_behind)


def _end_rows_of_other_keys(index: Index, keyring: Keyring) -> bool:
    """End every row that was made under keys that a panic has erased since; False if one was readable.

    The new trees have a living leaf for each of them, but not the one that sealed it.
    """
    if keyring.is_wiped:
        return True
    known = index.get_meta("planting")
    rows = index.items() if known is not None and known != keyring.planting else []
    index.intend([item.id for item in rows], "panic")
    index.set_meta("planting", keyring.planting)
    return all(item.state != "live" for item in rows)


def _adopt(name: str, index: Index, files: SealedFiles) -> None:
    """Make the row of a file that has none, so that it is erased."""
    header = files.header(name)
    if header is None:
        files.remove_stray(name)
        return
    item_class = CLASSES[header.class_code - 1]
    index.add(Item(name, "", item_class, header.leaf, "erasing", 0, 0, False, 0, "recovered"))
    index.skip_leaves(item_class, header.leaf + 1)


def obey_shorter_policy(index: Index, policy: Policy) -> None:
    """Move end dates forward where the policy has become shorter since capture (P2)."""
    for item in [*index.live(), *index.canaries()]:
        allowed_s = allowed_now_s(item, policy) or 0
        ends_at_s = shortened(item.ends_at_s, item.period_s, allowed_s)
        if ends_at_s < item.ends_at_s:
            index.shorten(item.id, ends_at_s, allowed_s)


def allowed_now_s(item: Item, policy: Policy) -> int | None:
    """Return how long the present policy would keep such an item; None: not at all."""
    if item.mark == "canary":
        return policy.canary_s
    if item.mark == "debug":
        return policy.debug_capture_s
    period = policy.period(item.item_class)
    return None if period is None else period.seconds
