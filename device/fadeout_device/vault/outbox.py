"""What subscribers have still to be told, until the broker has it.

A line of the outbox names the action item it is about and holds nothing of it: the
event is made when it is sent, by opening the item, with the life it has left. So an
event cannot outlive its item (P6): once the key is gone there is nothing to send. The
same with receipts: a line names an entry of the ledger. What subscribers must forget
is `notices.py`'s.

A line is known by what it is about, never by its row's number: SQLite gives the number
of a row that is gone to the next one, and what the broker says of the one that is gone
would be taken for the other's.

Lives in the index's file, so that an event commits together with its cause. It stays
small however long the broker is away: at most one line per item that is held, and a
bounded number of receipts and notices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from fadeout_device.vault.notices import Notices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fadeout_device.vault.index import Index, Item

MAX_RECEIPTS = 256
"""Receipts that wait for the broker; of more, the oldest are never told, which their numbers show."""
RECEIPT_TTL_S = 86400
_PAGE = 32
_RECEIPTS = "receipts"
_LEFT = "left_the_broker"

Departure = Literal["", "asked", "done"]
"""Whether this device has left the broker: no; it is to be cleared there; it is cleared there."""


class Line(NamedTuple):
    """One thing to tell."""

    seq: int
    """Its place in the order; not its name."""
    what: Literal["action", "receipt"]
    about: str
    """An item's id; a receipt's number."""
    entry: int
    """Of a receipt: which entry of the ledger."""
    ends_at_s: int
    """Of a receipt: nobody need be told after that. An action's end is its item's."""


class Outbox:
    """The lines, oldest first. Writes are made inside the caller's transaction."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.notices = Notices(index)

    def begin(self, *, is_in_step: bool) -> None:
        """Begin; `is_in_step` says whether the index is the one that belongs to the keys."""
        if is_in_step:
            self.notices.begin()
        else:
            self.notices.begin_anew()
        # An older version kept what was to be withdrawn here, without numbers.
        self._index.db.execute("DELETE FROM outbox WHERE what = 'erase'")

    # ---- actions

    def add_action(self, item: Item) -> None:
        """Tell of an action item."""
        self._add("action", item.id, 0, item.ends_at_s)

    def has(self, item_id: str) -> bool:
        """Say whether an action item is still to be told of."""
        waiting = "SELECT 1 FROM outbox WHERE what = 'action' AND item = ?"
        return self._index.db.execute(waiting, [item_id]).fetchone() is not None

    def hand_over(self, item: Item) -> None:
        """Note that its event may be with somebody from now on."""
        self._index.db.execute(
            "UPDATE outbox SET is_handed = 1 WHERE what = 'action' AND item = ?", [item.id]
        )

    def may_be_told(self, item: Item) -> bool:
        """Say whether anybody may have its event; False: nobody does, nor ever will once its line is gone."""
        if self.departure:
            return False  # whoever had it was told to forget everything, or will be
        waiting = "SELECT 1 FROM outbox WHERE what = 'action' AND item = ? AND is_handed = 0"
        return self._index.db.execute(waiting, [item.id]).fetchone() is None

    def remove_actions(self, items: Iterable[Item]) -> None:
        """Do not tell of these items any more."""
        for item in items:
            self._index.db.execute("DELETE FROM outbox WHERE what = 'action' AND item = ?", [item.id])

    def withdraw(self, ids: Sequence[str], *, is_complete: bool) -> None:
        """Have subscribers forget events; where some cannot be named, all of them."""
        if self.departure:
            return
        if not is_complete:
            self.notices.jump()
        elif ids:
            self.notices.add(ids)

    # ---- receipts

    def add_receipt(self, entry: int, now_s: float) -> None:
        """Tell of a receipt, an entry of the ledger."""
        if self.departure:
            return
        number = int(self._index.get_meta(_RECEIPTS) or 0) + 1
        self._index.set_meta(_RECEIPTS, str(number))
        self._add("receipt", str(number), entry, int(now_s) + RECEIPT_TTL_S)
        self._index.db.execute(
            "DELETE FROM outbox WHERE what = 'receipt' AND seq NOT IN"
            " (SELECT seq FROM outbox WHERE what = 'receipt' ORDER BY seq DESC LIMIT ?)",
            [MAX_RECEIPTS],
        )

    # ---- the lines

    def _add(self, what: str, about: str, entry: int, ends_at_s: int) -> None:
        if self.departure:
            return
        self._index.db.table("outbox").insert(
            {"what": what, "item": about, "entry": entry, "is_handed": 0, "ends_at_s": ends_at_s}
        )

    def lines(self) -> Iterator[Line]:
        """Yield the lines, oldest first; those that are handed out may be removed meanwhile."""
        seq = -1
        while rows := self._index.db.execute(
            "SELECT seq, what, item, entry, ends_at_s FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?",
            [seq, _PAGE],
        ).fetchall():
            seq = rows[-1][0]
            yield from (Line(*row) for row in rows)

    def count(self) -> int:
        """Return how much is still to be told."""
        return int(self._index.db.table("outbox").count) + self.notices.count()

    def remove(self, what: str, about: str) -> None:
        """The broker has it, or nobody needs to be told any more."""
        self._index.db.execute("DELETE FROM outbox WHERE what = ? AND item = ?", [what, about])

    def remove_ended(self, now_s: float) -> None:
        """Drop what subscribers have forgotten by themselves by now."""
        self._index.db.execute("DELETE FROM outbox WHERE ends_at_s <= ?", [now_s])

    # ---- leaving the broker

    @property
    def departure(self) -> Departure:
        """Whether this device has left the broker."""
        stored = self._index.get_meta(_LEFT)
        return "asked" if stored == "asked" else "done" if stored == "done" else ""

    def depart(self, departure: Departure) -> None:
        """Leave the broker, or come back: then what was told before counts no more."""
        if departure != self.departure:
            self._index.set_meta(_LEFT, departure)
            self._index.db.execute("DELETE FROM outbox")
            self.notices.begin_anew()
