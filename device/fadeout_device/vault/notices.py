"""Erasures, numbered: notices that tell subscribers what to forget, and a watermark for whoever was away.

Numbers have no gap within an era; each is given in the transaction that ends the items
it is about. Of the notices that the broker has, the newest stay, for the watermark; those
that it has not yet are sent even when what they name has ended meanwhile: a number that
is skipped would have subscribers forget everything. What can be told in no other way is told by a jump: a
number without a notice, after which every subscriber forgets all it has of this device.

Source: docs/adr/0008-erasures-are-numbered.md.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from fadeout_broker.contract import MAX_IDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fadeout_device.vault.index import Index

MAX_UNTOLD = 256
"""Notices that wait for the broker; of more, subscribers are told to forget everything."""
_META = "notices"
_ERA_LETTERS = "0123456789abcdefghijklmnopqrstuv"


class Notice(NamedTuple):
    """What one notice says."""

    n: int
    ids: tuple[str, ...]


class Watermark(NamedTuple):
    """What `erase/before` says."""

    era: str
    n: int
    since: int
    ids: tuple[str, ...]


class Notices:
    """The numbers and what they stand for. Writes are made inside the caller's transaction."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def begin(self) -> None:
        """Begin, unless numbers were given already."""
        if self._index.get_meta(_META) is None:
            self.begin_anew()

    def begin_anew(self) -> None:
        """Begin a new era: the numbers cannot be continued, and subscribers forget everything."""
        self._index.db.execute("DELETE FROM notice")
        self._set("".join(secrets.choice(_ERA_LETTERS) for _ in range(8)), 0, 1)

    def add(self, ids: Sequence[str]) -> None:
        """Have subscribers forget these events."""
        era, given, since = self._get()
        for start in range(0, len(ids), MAX_IDS):
            given += 1
            row = {"n": given, "ids": " ".join(ids[start : start + MAX_IDS]), "is_told": 0}
            self._index.db.table("notice").insert(row)
        self._set(era, given, since)
        if self.count() > MAX_UNTOLD:
            self.jump()

    def jump(self) -> None:
        """Have subscribers forget everything: what they must forget cannot be named, or is too much."""
        era, given, _ = self._get()
        self._index.db.execute("DELETE FROM notice")
        self._set(era, given + 1, given + 2)

    @property
    def era(self) -> str:
        """The era of the numbers."""
        return self._get()[0]

    def told(self) -> int:
        """Return the number up to which everything was told."""
        first = self._index.db.execute("SELECT min(n) FROM notice WHERE is_told = 0").fetchone()[0]
        return self._get()[1] if first is None else int(first) - 1

    def given(self) -> int:
        """Return the last number that was given."""
        return self._get()[1]

    def watermark(self) -> Watermark:
        """Return what whoever was away must know."""
        era, _, since = self._get()
        told = self.told()
        rows = self._index.db.execute(
            "SELECT ids FROM notice WHERE n BETWEEN ? AND ? ORDER BY n", [since, told]
        ).fetchall()
        return Watermark(era, told, since, tuple(name for (ids,) in rows for name in ids.split()))

    def untold(self, limit: int) -> list[Notice]:
        """Return the oldest notices that the broker has not."""
        rows = self._index.db.execute(
            "SELECT n, ids FROM notice WHERE is_told = 0 ORDER BY n LIMIT ?", [limit]
        ).fetchall()
        return [Notice(n, tuple(ids.split())) for n, ids in rows]

    def count(self) -> int:
        """Return the number of notices that wait for the broker."""
        return int(self._index.db.execute("SELECT count(*) FROM notice WHERE is_told = 0").fetchone()[0])

    def mark_told(self, era: str, n: int) -> None:
        """The broker has this notice; one of an era that is over is nobody's business any more."""
        if era != self.era:
            return
        self._index.db.execute("UPDATE notice SET is_told = 1 WHERE n = ?", [n])
        self._trim()

    def _trim(self) -> None:
        """Keep the ids of the newest notices only, as many as the watermark holds."""
        era, given, _ = self._get()
        rows = self._index.db.execute(
            "SELECT n, ids FROM notice WHERE n <= ? ORDER BY n DESC", [self.told()]
        ).fetchall()
        room = MAX_IDS
        for n, ids in rows:
            room -= len(ids.split())
            if room < 0:
                self._index.db.execute("DELETE FROM notice WHERE n <= ?", [n])
                self._set(era, given, n + 1)
                return

    def _get(self) -> tuple[str, int, int]:
        """Return the era, the last number given, and the number from which on ids are known."""
        era, given, since = (self._index.get_meta(_META) or "00000000 0 1").split()
        return era, int(given), int(since)

    def _set(self, era: str, given: int, since: int) -> None:
        self._index.set_meta(_META, f"{era} {given} {since}")
