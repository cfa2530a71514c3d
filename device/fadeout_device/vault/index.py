"""The index of what is held: random ids, classes, leaves, end dates, states. Nothing else.

SQLite through sqlite-utils. No key, wrapped or not, no capture time, no word and no
action ever enters it: deleted rows stay in free pages, in the write-ahead log and in
the file system's blocks. What it does give away is written in docs/threat-model.md.

The outbox lives in the same file, so that a change and the event it causes commit
together; `outbox.py` and `notices.py` read and empty it. So does the list of those who may be
exported to (`recipients.py`): public keys only.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlite_utils import Database

from fadeout_device.errors import StorageError
from fadeout_device.policy import CLASSES, ItemClass
from fadeout_device.vault.durable import storage_errors, sync_folder
from fadeout_device.vault.errors import SyncError
from fadeout_device.vault.index_tables import PRAGMAS, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from fadeout_device.messages import Reason, Reported


class IndexFullError(StorageError):
    """The disk has no room for a change of the index."""


_FAILED_SYNCS = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)

State = Literal["sealing", "live", "erasing"]
Mark = Literal["", "debug", "canary"]
"""`debug`: kept without a rule, because debug capture was on. `canary`: a dummy that must die on time."""

_NO_CANARY = "coalesce(mark, '') != 'canary'"


class Item(NamedTuple):
    """One row: a sealed item, or one whose sealing or erasing is under way."""

    id: str
    """Random; the name of its file."""
    recording: str
    """Random; the same for all items of one interaction."""
    item_class: ItemClass
    leaf: int
    state: State
    ends_at_s: int
    period_s: int
    """The period that the end date was computed from: the promised one, or a shorter policy's since then."""
    ends_on_update: bool
    size_bytes: int
    reason: Reason = "recovered"
    """Why it is erased; of a row that was being sealed when the power went: `recovered`."""
    promised_s: int = 0
    """The period that was promised at capture."""
    mark: Mark = ""
    era: int = 0
    """In which start of the machine it was captured."""
    ahead_s: int = 0
    """How far the wall clock was ahead then, not confirmed."""
    reported: Reported = ""
    """How somebody has said that its recording's action ended."""

    @property
    def is_canary(self) -> bool:
        """Whether it is a dummy, of which nobody is told but when it does not die."""
        return self.mark == "canary"


class Index:
    """The rows. One process at a time; the caller serialises threads."""

    def __init__(self, path: Path) -> None:
        """Open the index, making it if there is none.

        Raises:
            StorageError: it cannot be opened or is no index.
        """
        with _translated():
            connection = sqlite3.connect(path, check_same_thread=False)
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            # Plugins of sqlite-utils would be other people's code beside the keys.
            self.db = Database(connection, execute_plugins=False)
            with self.db.atomic():
                for name, table in TABLES.items():
                    self._make_table(name, table)
                # The one that every erasure needs. Each further one costs every erasure a page.
                self.db.execute("CREATE INDEX IF NOT EXISTS item_leaf ON item (outcome, kind, leaf)")
                self._start_leaves()
        # SQLite syncs the folder when it makes its files, but does not look whether that went well.
        with storage_errors(path):
            sync_folder(path.parent)

    def _start_leaves(self) -> None:
        """Count from leaf 0 in every class that has no count yet."""
        for item_class in CLASSES:
            row = {"outcome": item_class.outcome, "kind": item_class.kind, "next": 0}
            self.db.table("leaf").insert(row, ignore=True)

    def _make_table(self, name: str, wanted: dict[str, Any]) -> None:
        """Make a table, or add the columns that an older version of it has not."""
        table = self.db.table(name)
        table.create(wanted["columns"], pk=wanted["pk"], if_not_exists=True)
        for column in wanted["columns"].keys() - table.columns_dict.keys():
            table.add_column(column, wanted["columns"][column])

    def close(self) -> None:
        """Close the database."""
        self.db.conn.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside together, durably, or nothing.

        Raises:
            StorageError: nothing was committed.
            SyncError: it may be committed or not; the process must end.
        """
        with _translated(), self.db.atomic():
            yield

    # ---- items

    def take_leaf(self, item_class: ItemClass) -> int:
        """Return the class's next leaf number and count it as used."""
        where = [item_class.outcome, item_class.kind]
        taken = self.db.execute(
            "UPDATE leaf SET next = next + 1 WHERE outcome = ? AND kind = ? RETURNING next - 1", where
        ).fetchall()
        return int(taken[0][0])

    def skip_leaves(self, item_class: ItemClass, below: int) -> bool:
        """Never hand out a leaf below this one; says whether it would have been."""
        skipped = self.db.execute(
            "UPDATE leaf SET next = ? WHERE outcome = ? AND kind = ? AND next < ? RETURNING next",
            [below, item_class.outcome, item_class.kind, below],
        ).fetchall()
        return bool(skipped)

    def add(self, item: Item) -> None:
        """Insert a row."""
        self.db.table("item").insert(
            {
                **{name: value for name, value in item._asdict().items() if name != "item_class"},
                "outcome": item.item_class.outcome,
                "kind": item.item_class.kind,
                "ends_on_update": int(item.ends_on_update),
            }
        )

    def set_state(self, ids: Iterable[str], state: State) -> None:
        """Change the state of rows."""
        for item_id in ids:
            self.db.execute("UPDATE item SET state = ? WHERE id = ?", [state, item_id])

    def intend(self, ids: Iterable[str], why: Reason) -> None:
        """Mark rows as to be erased; one that is so already keeps its reason."""
        for item_id in ids:
            self.db.execute("UPDATE item SET reason = ? WHERE id = ? AND state != 'erasing'", [why, item_id])
            self.db.execute("UPDATE item SET state = 'erasing' WHERE id = ?", [item_id])

    def shorten(self, item_id: str, ends_at_s: int, period_s: int) -> None:
        """Move an end date to an earlier one and keep the period it comes from; never to a later one."""
        self.db.execute(
            "UPDATE item SET ends_at_s = ?, period_s = ? WHERE id = ? AND ends_at_s > ?",
            [ends_at_s, period_s, item_id, ends_at_s],
        )

    def report(self, recording: str, reported: Reported) -> None:
        """Note how somebody has said that a recording's action ended."""
        self.db.execute("UPDATE item SET reported = ? WHERE recording = ?", [reported, recording])

    def date(self, items: Iterable[Item], era: int, ahead_s: int) -> list[Item]:
        """Note what the time was like when these were captured; returns them with it."""
        dated = [item._replace(era=era, ahead_s=ahead_s) for item in items]
        for item in dated:
            self.db.execute("UPDATE item SET era = ?, ahead_s = ? WHERE id = ?", [era, ahead_s, item.id])
        return dated

    def move_end(self, item: Item, ends_at_s: int, ahead_s: int) -> None:
        """Give an item the end date that is the same one by a clock that was put right."""
        self.db.execute(
            "UPDATE item SET ends_at_s = ?, ahead_s = ? WHERE id = ?", [ends_at_s, ahead_s, item.id]
        )
        self.db.execute(
            "UPDATE outbox SET ends_at_s = ? WHERE what = 'action' AND item = ?", [ends_at_s, item.id]
        )

    def move_memory(self, shift_s: int) -> None:
        """Remember deliveries, and what is still to be told, for as long as without that jump."""
        self.db.execute("UPDATE delivery SET at_s = at_s + ?", [shift_s])
        self.db.execute("UPDATE outbox SET ends_at_s = ends_at_s + ? WHERE what = 'receipt'", [shift_s])

    def forget_ahead(self, era: int) -> None:
        """Forget how far the clock was ahead in this era: it was a lie."""
        self.db.execute("UPDATE item SET ahead_s = 0 WHERE era = ?", [era])

    def remove(self, ids: Iterable[str]) -> None:
        """Delete rows."""
        for item_id in ids:
            self.db.execute("DELETE FROM item WHERE id = ?", [item_id])

    def items(self, where: str = "1", arguments: Sequence[object] = ()) -> list[Item]:
        """Return rows in the order in which they were captured; `where` is SQL of this package."""
        with _translated():
            rows = self.db.table("item").rows_where(where, list(arguments), order_by="rowid")
            return [_item(row) for row in rows]

    def live(self) -> list[Item]:
        """Return the readable items; canaries are none."""
        return self.items(f"state = 'live' AND {_NO_CANARY}")

    def live_size_bytes(self) -> int:
        """Return how much the readable items take."""
        with _translated():
            found = self.db.execute(f"SELECT sum(size_bytes) FROM item WHERE state = 'live' AND {_NO_CANARY}")  # noqa: S608 - a constant
            return int(found.fetchone()[0] or 0)

    def count_live(self) -> int:
        """Return the number of readable items."""
        with _translated():
            return int(self.db.table("item").count_where(f"state = 'live' AND {_NO_CANARY}"))

    def canaries(self) -> list[Item]:
        """Return the canaries that have not died."""
        return self.items("mark = 'canary'")

    def expired(self, now_s: float) -> list[Item]:
        """Return the live items whose end date has come."""
        return self.items("state = 'live' AND ends_at_s <= ?", [now_s])

    def count_due(self, now_s: float) -> int:
        """Return how many items must go: past their end date, or a sealing or erasing that was cut off."""
        with _translated():
            return int(self.db.table("item").count_where("state != 'live' OR ends_at_s <= ?", [now_s]))

    def count_recordings(self) -> int:
        """Return the number of recordings with a live item."""
        with _translated():
            found = self.db.execute(
                f"SELECT count(DISTINCT recording) FROM item WHERE state = 'live' AND {_NO_CANARY}"  # noqa: S608 - a constant
            )
            return int(found.fetchone()[0])

    def live_of(self, prefix: str) -> list[Item]:
        """Return the live items of the recordings whose id starts so."""
        return self.of(prefix, "state = 'live'")

    def of(self, prefix: str, where: str = "1") -> list[Item]:
        """Return the items, in any state, of the recordings whose id starts so."""
        where = f"{where} AND {_NO_CANARY} AND substr(recording, 1, ?) = ?"
        return self.items(where, [len(prefix), prefix])

    def next_end_s(self, *, canaries: bool = True) -> int | None:
        """Return the earliest end date of a live item."""
        where = "state = 'live'" + ("" if canaries else f" AND {_NO_CANARY}")
        with _translated():
            found = self.db.execute(f"SELECT min(ends_at_s) FROM item WHERE {where}").fetchone()  # noqa: S608 - constants
        return None if found[0] is None else int(found[0])

    def floors(self) -> dict[ItemClass, int]:
        """Return, per class, the lowest leaf that a live item needs; the next free one where there is none.

        Rows being sealed count as live: their leaf is in use.
        """
        with _translated():
            found = self.db.execute(
                "SELECT outcome, kind, coalesce((SELECT leaf FROM item"
                " WHERE item.outcome = leaf.outcome AND item.kind = leaf.kind AND state != 'erasing'"
                " ORDER BY item.leaf LIMIT 1), next) FROM leaf"
            ).fetchall()
        return {ItemClass(outcome, kind): floor for outcome, kind, floor in found}

    # ---- deliveries: so that an utterance the ear sends twice is sealed once

    def delivered(self, token: str) -> str | None:
        """Return the recording that this delivery became, or None if it is new."""
        with _translated():
            found = self.db.execute("SELECT recording FROM delivery WHERE token = ?", [token]).fetchone()
        return None if found is None else str(found[0])

    def add_delivery(self, token: str, recording: str, at_s: int) -> None:
        """Remember a delivery."""
        self.db.table("delivery").insert({"token": token, "recording": recording, "at_s": at_s})

    def forget_deliveries(self, before_s: float) -> None:
        """Forget deliveries that nobody will send again."""
        self.db.execute("DELETE FROM delivery WHERE at_s < ?", [before_s])

    def clear(self) -> None:
        """Remove every row of every table. Raises StorageError."""
        with self.transaction():
            for table in self.db.table_names():
                self.db.table(table).delete_where()
            self._start_leaves()
        with _translated():
            self.db.vacuum()

    # ---- facts

    def get_meta(self, key: str) -> str | None:
        """Return a stored fact."""
        with _translated():
            found = self.db.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
        return None if found is None else str(found[0])

    def set_meta(self, key: str, value: str) -> None:
        """Store a fact."""
        self.db.table("meta").upsert({"key": key, "value": value}, pk="key")


def _item(row: dict[str, Any]) -> Item:
    return Item(
        row["id"], row["recording"], ItemClass(row["outcome"], row["kind"]), row["leaf"], row["state"],
        row["ends_at_s"], row["period_s"], bool(row["ends_on_update"]), row["size_bytes"],
        row["reason"] or "recovered", row["promised_s"] or row["period_s"],
        row["mark"] or "", row["era"] or 0, row["ahead_s"] or 0, row["reported"] or "",
    )  # fmt: skip


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors into ours; a failed sync is a failed sync, whoever called it."""
    try:
        yield
    except sqlite3.Error as err:
        if getattr(err, "sqlite_errorcode", None) in _FAILED_SYNCS:
            raise SyncError("fsync failed for the index") from err
        if getattr(err, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise IndexFullError(
                "no space left on the disk for the index", "free some space; erasing goes on by itself"
            ) from err
        raise StorageError(f"the index cannot be used: {err}") from err
