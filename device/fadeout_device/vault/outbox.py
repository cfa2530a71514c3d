"""What subscribers have still to be told, in order, until the broker has it.

A line of the outbox names the action item it is about and holds nothing of it: the
event is made when it is sent, by opening the item, with the life it has left. So an
event cannot outlive its item (P6): once the key is gone there is nothing to send.
A withdrawal does hold the event's id, which tells nothing to anyone but a
subscriber who has the event.

Lives in the index's file, so that an event commits together with its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fadeout_device.vault.index import Index, Item


class Line(NamedTuple):
    """One thing to tell."""

    seq: int
    what: Literal["action", "erase"]
    item: str
    event_id: str
    """For `erase`: what to forget."""
    ends_at_s: int
    """When the event's item would have ended on its own: nothing need be told after that."""


class Outbox:
    """The lines, oldest first. Writes are made inside the caller's transaction."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def add_action(self, item: Item) -> None:
        """Tell of an action item."""
        self._add("action", item, "")

    def add_withdrawal(self, item: Item, event_id: str) -> None:
        """Tell subscribers to forget an event; if it was never sent, it is not sent any more."""
        self._index.db.execute("DELETE FROM outbox WHERE item = ?", [item.id])
        self._add("erase", item, event_id)

    def remove_actions(self, items: Iterable[Item]) -> None:
        """Do not tell of these items any more."""
        for item in items:
            self._index.db.execute("DELETE FROM outbox WHERE what = 'action' AND item = ?", [item.id])

    def _add(self, what: str, item: Item, event_id: str) -> None:
        self._index.db.table("outbox").insert(
            {"what": what, "item": item.id, "event_id": event_id, "ends_at_s": item.ends_at_s}
        )

    def oldest(self, limit: int) -> list[Line]:
        """Return the oldest lines."""
        rows = self._index.db.execute(
            "SELECT seq, what, item, event_id, ends_at_s FROM outbox ORDER BY seq LIMIT ?", [limit]
        ).fetchall()
        return [Line(*row) for row in rows]

    def count(self) -> int:
        """Return the number of lines."""
        return int(self._index.db.table("outbox").count)

    def remove(self, seq: int) -> None:
        """The broker has it, or nobody needs to be told any more."""
        self._index.db.execute("DELETE FROM outbox WHERE seq = ?", [seq])

    def remove_ended(self, now_s: float) -> None:
        """Drop what subscribers have forgotten by themselves by now."""
        self._index.db.execute("DELETE FROM outbox WHERE ends_at_s <= ?", [now_s])
