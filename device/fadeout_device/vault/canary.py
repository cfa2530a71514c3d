"""Canaries: dummy items, one in each class, that must die on time. Whether they did is looked at here.

A canary is sealed and erased like any item, by the same code, under a leaf of the same
tree. It holds nothing and is not counted among what is held. What was planted is
remembered apart from its row, because a row that goes while its key stays is the worst
that can happen: so a canary is dead only when its row is gone, its file is gone and the
key that sealed it cannot be derived any more. A few bytes of a hash tell that key from
that of a tree planted since; they are no key, and lead to none.

Canaries are planted in guest mode, too: they are nobody's.
"""

from __future__ import annotations

import logging
import math
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_device.errors import FadeoutError, StorageError
from fadeout_device.policy import CLASSES, ItemClass
from fadeout_device.vault.errors import KeyErasedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.vault.index import Item
    from fadeout_device.vault.store import Store

log = logging.getLogger(__name__)

GRACE_S = 300.0
"""So late may a canary be: the sweep looks at least once a minute, and tries again what failed."""
_KEY = "canaries"
_CHECK_BYTES = 8


class Planted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One canary, as it is remembered until it is dead."""

    item: str
    class_code: int
    leaf: int
    ends_at_s: int
    key_check: str

    @property
    def item_class(self) -> ItemClass:
        """Its class."""
        return CLASSES[self.class_code - 1]


class Verdict(NamedTuple):
    """What a look at the canaries has found."""

    alive: int
    """Canaries whose time has not come."""
    reason: str
    """What is wrong; empty: nothing."""


class Canaries:
    """Plants canaries and looks how they do. The caller holds the service's lock."""

    def __init__(self, store: Store, mono_s: Callable[[], float]) -> None:
        self._store = store
        self._mono_s = mono_s
        self._late_since_s: dict[str, float] = {}
        self._plant_from_s = -math.inf
        self._barren = ""
        """Why none can be planted."""
        stored = store.index.get_meta(_KEY)
        self._planted = [] if stored is None else _decoded(stored)

    def look(self, now_s: float, last_sweep_s: float | None) -> Verdict:
        """Look at every canary, forget the dead, and plant where there is none.

        Args:
            now_s: a time that is certain.
            last_sweep_s: when the last sweep began; None: there was none.
        """
        remaining = [one for one in self._planted if self._traces(one)]
        late = [one for one in remaining if one.ends_at_s <= now_s]
        reason = self._reason(late, now_s, last_sweep_s)
        growing = {one.item_class for one in remaining if one.ends_at_s > now_s}
        missing = [item_class for item_class in CLASSES if item_class not in growing]
        planted: list[Planted] = []
        if missing and self._mono_s() >= self._plant_from_s:
            try:
                planted = [self._remembered(item) for item in self._store.plant(missing, now_s)]
                self._barren = ""
            except FadeoutError as err:
                # What was begun is left to the next sweep: so this is not tried all the time.
                self._plant_from_s = self._mono_s() + GRACE_S
                self._barren = f"no canary can be planted: {err}"
        reason = reason or (self._barren if missing else "")
        self._remember([*remaining, *planted])
        return Verdict(len(growing) + len(planted), reason)

    def _reason(self, late: list[Planted], now_s: float, last_sweep_s: float | None) -> str:
        mono_s = self._mono_s()
        self._late_since_s = {one.item: self._late_since_s.get(one.item, mono_s) for one in late}
        for one in late:
            # Who wakes up after weeks is late, and not to blame before the sweep has had its time.
            is_swept = last_sweep_s is not None and last_sweep_s >= one.ends_at_s
            is_seen = mono_s - self._late_since_s[one.item] >= GRACE_S
            if now_s >= one.ends_at_s + GRACE_S and (is_swept or is_seen):
                where = f"{one.item_class.outcome} {one.item_class.kind}"
                late_s = now_s - one.ends_at_s
                return f"a canary ({where}) should have died {late_s:.0f} s ago; left: {self._traces(one)}"
        return ""

    def _traces(self, one: Planted) -> str:
        """Say what is left of a canary; empty: it is dead."""
        store = self._store
        left = []
        if store.index.items("id = ?", [one.item]):
            left.append("its row")
        if (store.files.folder / one.item).exists():
            left.append("its file")
        if self._key_check(one.item_class, one.leaf) == one.key_check:
            left.append("its key")
        return ", ".join(left)

    def _key_check(self, item_class: ItemClass, leaf: int) -> str:
        try:
            leaf_key = self._store.keyring.leaf_key(item_class, leaf)
        except KeyErasedError:
            return ""
        return sha256(b"fadeout canary v1" + leaf_key).digest()[:_CHECK_BYTES].hex()

    def _remembered(self, item: Item) -> Planted:
        check = self._key_check(item.item_class, item.leaf)
        return Planted(item.id, item.item_class.code, item.leaf, item.ends_at_s, check)

    def _remember(self, planted: list[Planted]) -> None:
        if planted == self._planted:
            return
        self._planted = planted
        try:
            with self._store.index.transaction():
                self._store.index.set_meta(_KEY, msgspec.json.encode(planted).decode())
        except StorageError as err:
            # A restart would look at fewer; those that it sees in the index die all the same.
            log.warning("the canaries are not remembered: %s", err)


def _decoded(stored: str) -> list[Planted]:
    try:
        return msgspec.json.decode(stored, type=list[Planted])
    except msgspec.DecodeError:
        log.warning("what is remembered of the canaries cannot be read; new ones are planted")
        return []
