"""What subscribers have acknowledged: up to which erasure each says that it has forgotten.

`Erased here` and `acknowledged there` are two facts, never one word: that a key is
gone is the ledger's `erased`, and proved; that somebody else says he has forgotten is
its `acknowledged`, and believed as far as he is. Bounded in who is heard and in how
often it is written: whoever can publish at the broker can say anything.

The caller holds the service's lock.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.errors import StorageError
from fadeout_device.vault.ledger import hour_of

if TYPE_CHECKING:
    from fadeout_broker.contract import Ack
    from fadeout_device.vault.index import Index
    from fadeout_device.vault.ledger_book import LedgerBook
    from fadeout_device.vault.notices import Notices

log = logging.getLogger(__name__)

MAX_CONSUMERS = 64
MAX_WRITTEN_AN_HOUR = 60


class Row(NamedTuple):
    """What is known of one subscriber."""

    consumer: str
    is_expected: bool
    acknowledged: int | None
    """In this era; None: nothing yet."""
    hour_s: int | None
    """In which hour it said so."""


class Subscribers:
    """Who has acknowledged what."""

    def __init__(self, index: Index, notices: Notices, ledger: LedgerBook) -> None:
        self._index = index
        self._notices = notices
        self._ledger = ledger
        self.expected: tuple[str, ...] = ()
        """Those that the configuration names."""
        self._era = ""
        self._waiting: dict[str, int] = {}
        """Heard, and not written yet: too much was written in this hour."""
        self._hour_s = 0
        self._written = 0

    def hear(self, consumer: str, ack: Ack) -> None:
        """Take note that a subscriber has forgotten; `write` writes it down."""
        why = self._why_not(consumer, ack)
        if why:
            # Not who: a name that somebody made up is a text of his.
            log.warning("an acknowledgement was ignored: %s", why)
        elif ack.n > max(self._acknowledged(consumer), self._waiting.get(consumer, -1)):
            self._waiting[consumer] = ack.n
            self._era = ack.era

    def _why_not(self, consumer: str, ack: Ack) -> str:
        if ack.era != self._notices.era:
            return "it is of another era"
        if ack.n > self._notices.given():
            return "it is of an erasure that was not told"
        known = {*self._waiting, *(row.consumer for row in self._stored())}
        if consumer not in known and consumer not in self.expected and len(known) >= MAX_CONSUMERS:
            return "there are too many subscribers"
        return ""

    def write(self, now_s: float) -> None:
        """Write down what was heard, as far as this hour allows; the rest waits."""
        if not self._waiting:
            return
        era = self._notices.era
        if era != self._era:
            self._waiting.clear()
            return
        hour_s = hour_of(now_s)
        if hour_s != self._hour_s:
            self._hour_s, self._written = hour_s, 0
        part = dict(list(self._waiting.items())[: MAX_WRITTEN_AN_HOUR - self._written])
        if not part:
            return
        try:
            with self._index.transaction():
                for consumer, n in part.items():
                    self._make_room(consumer)
                    row = {"consumer": consumer, "era": era, "n": n, "hour": hour_s}
                    self._index.db.table("subscriber").upsert(row, pk="consumer")
                    self._ledger.acknowledged(consumer, era, n, now_s)
        except StorageError as err:
            log.warning("acknowledgements cannot be stored yet: %s", err)
            return
        self._written += len(part)
        for consumer in part:
            del self._waiting[consumer]

    def all(self) -> list[Row]:
        """Return everybody who is expected or was heard, by name."""
        stored = {row.consumer: row for row in self._stored()}
        return [
            stored.get(name, Row(name, name in self.expected, None, None))
            for name in sorted({*stored, *self.expected})
        ]

    def _stored(self) -> list[Row]:
        era = self._notices.era
        rows = self._index.db.execute("SELECT consumer, era, n, hour FROM subscriber").fetchall()
        return [
            Row(name, name in self.expected, n if its == era else None, hour if its == era else None)
            for name, its, n, hour in rows
        ]

    def _acknowledged(self, consumer: str) -> int:
        found = self._index.db.execute(
            "SELECT n FROM subscriber WHERE consumer = ? AND era = ?", [consumer, self._notices.era]
        ).fetchone()
        return -1 if found is None else int(found[0])

    def _make_room(self, consumer: str) -> None:
        """Let go who was not heard for longest, if there are too many: never one that is expected."""
        stored = [row.consumer for row in self._stored()]
        if consumer in stored or len(stored) < MAX_CONSUMERS:
            return
        marks = ", ".join("?" * len(self.expected)) or "''"
        self._index.db.execute(
            "DELETE FROM subscriber WHERE consumer = (SELECT consumer FROM subscriber"  # noqa: S608 - marks only
            f" WHERE consumer NOT IN ({marks}) ORDER BY hour LIMIT 1)",
            list(self.expected),
        )
