"""Events and marks in SQLite, so that what is forgotten is not in the file either.

`secure_delete` overwrites what is deleted, and the journal is cut to nothing with every
commit: it holds the pages as they were before. WAL would keep them for longer. What the
file system and the flash below it keep of overwritten bytes is beyond this.

Forgetting has two steps, each one transaction. `begin_*` takes the contents away and
advances the mark, but keeps the ids, for whoever must forget what was derived from them;
`end` takes the ids. Between the two a process may die: `going` says what is left to do.

Sources: SQLite, "PRAGMA secure_delete", "PRAGMA journal_mode", "Atomic Commit In SQLite".
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fadeout_broker.errors import StoreError
from fadeout_broker.subscriber.held import Event, Gone
from fadeout_broker.subscriber.passing import Believed
from fadeout_broker.subscriber.rules import Mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_VERSION = 1
_APPLICATION_ID = 0x0FADE0B5

_SCHEMA = f"""
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, node TEXT NOT NULL, id TEXT NOT NULL,
    action TEXT NOT NULL, outcome TEXT NOT NULL, expires_at_s REAL NOT NULL,
    is_handled INTEGER NOT NULL DEFAULT 0, is_going INTEGER NOT NULL DEFAULT 0,
    UNIQUE (node, id)
) STRICT;
CREATE INDEX event_end ON event (is_going, expires_at_s);
CREATE INDEX event_next ON event (seq) WHERE is_handled = 0;
CREATE TABLE mark (node TEXT PRIMARY KEY, era TEXT NOT NULL, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE believed (one INTEGER PRIMARY KEY CHECK (one = 1), time_s REAL NOT NULL, boot_s REAL NOT NULL,
    boot TEXT NOT NULL) STRICT;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
"""

_LIVES = "is_going = 0 AND expires_at_s > ?"
_EVENT = "node, id, action, outcome, expires_at_s"
_LET_GO = "UPDATE event SET is_going = 1, action = '', outcome = '' WHERE is_going = 0 AND "


class Store:
    """What a subscriber holds; any thread may use it.

    Args:
        path: the database; made if it is missing, readable by its owner alone. None: in memory.

    Raises:
        StoreError: it cannot be opened, or is not one of ours; every method raises it when SQLite fails,
            and then nothing was changed.
    """

    def __init__(self, path: Path | None) -> None:
        self._name = "the subscriber's memory" if path is None else str(path)
        self._lock = threading.RLock()
        with self._translated():
            if path is not None:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(
                ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
            )
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; closing twice is harmless."""
        with self._lock:
            self._database.close()

    # ---- what comes in

    def keep(self, event: Event, believed: Believed) -> bool:
        """Store an event; say whether it is new.

        The same id again is the same event; the earlier of two ends holds.
        """
        with self._transaction():
            self._believe(believed)
            known = self._database.execute(
                "UPDATE event SET expires_at_s = min(expires_at_s, ?) WHERE node = ? AND id = ?",
                (event.expires_at_s, event.node, event.id),
            )
            if known.rowcount:
                return False
            self._database.execute(f"INSERT INTO event ({_EVENT}) VALUES (?, ?, ?, ?, ?)", event)  # noqa: S608 - constants
            return True

    def handled(self, event: Event) -> None:
        """Do not hand this event out again."""
        with self._transaction():
            self._database.execute(
                "UPDATE event SET is_handled = 1 WHERE node = ? AND id = ? AND is_handled = 0", event[:2]
            )

    # ---- what goes

    def begin_erased(self, node: str, ids: tuple[str, ...] | None, mark: Mark, believed: Believed) -> int:
        """Take the contents of these events of a device, or of all, and remember that it was obeyed."""
        with self._transaction():
            self._believe(believed)
            if ids is None:
                went = self._database.execute(f"{_LET_GO} node = ?", (node,)).rowcount
            else:
                one = f"{_LET_GO} node = ? AND id = ?"
                went = sum(self._database.execute(one, (node, gone)).rowcount for gone in ids)
            self._database.execute("INSERT OR REPLACE INTO mark VALUES (?, ?, ?)", (node, *mark))
            return went

    def begin_expired(self, believed: Believed) -> int:
        """Take the contents of the events whose end has come."""
        with self._transaction():
            self._believe(believed)
            return self._database.execute(f"{_LET_GO} expires_at_s <= ?", (believed.time_s,)).rowcount

    def going(self) -> list[Gone]:
        """Return the events whose contents are gone and whose ids are not yet."""
        return [
            Gone(*row) for row in self._rows("SELECT node, id FROM event WHERE is_going = 1 ORDER BY seq")
        ]

    def end(self, gone: Iterable[Gone]) -> None:
        """Take the ids, too: whatever was derived from these events is gone."""
        with self._transaction():
            self._database.executemany("DELETE FROM event WHERE node = ? AND id = ? AND is_going = 1", gone)

    # ---- what is held

    def mark(self, node: str) -> Mark | None:
        """Return up to where this device's erasures were obeyed."""
        rows = self._rows("SELECT era, n FROM mark WHERE node = ?", (node,))
        return Mark(*rows[0]) if rows else None

    def events(self, time_s: float) -> list[Event]:
        """Return what is held and lives, oldest first."""
        query = f"SELECT {_EVENT} FROM event WHERE {_LIVES} ORDER BY seq"  # noqa: S608 - constants
        return [Event(*row) for row in self._rows(query, (time_s,))]

    def next_unhandled(self, time_s: float) -> Event | None:
        """Return the oldest event that lives and was not handled yet."""
        rows = self._rows(
            f"SELECT {_EVENT} FROM event WHERE is_handled = 0 AND {_LIVES} ORDER BY seq LIMIT 1",  # noqa: S608 - constants
            (time_s,),
        )
        return Event(*rows[0]) if rows else None

    def next_end_s(self) -> float | None:
        """Return when the next event ends; None: none is held."""
        (row,) = self._rows("SELECT min(expires_at_s) FROM event WHERE is_going = 0")
        end_s: float | None = row[0]
        return end_s

    def believed(self) -> Believed | None:
        """Return the latest time that was written down."""
        rows = self._rows("SELECT time_s, boot_s, boot FROM believed")
        return Believed(*rows[0]) if rows else None

    # ---- SQLite

    def _make(self) -> None:
        with self._translated():
            for line in ("secure_delete = ON", "journal_mode = TRUNCATE", "synchronous = FULL"):
                self._database.execute(f"PRAGMA {line}").fetchall()
            # Sorting and half-done statements would otherwise leave files of their own.
            self._database.execute("PRAGMA temp_store = MEMORY")
        with self._transaction():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            (application,) = self._database.execute("PRAGMA application_id").fetchone()
            (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not tables and not version:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._database.execute(statement)
            elif (application, version) != (_APPLICATION_ID, _VERSION):
                raise StoreError(
                    f"{self._name} is no memory of a subscriber, or of another version", "name another file"
                )

    def _believe(self, believed: Believed) -> None:
        self._database.execute("INSERT OR REPLACE INTO believed VALUES (1, ?, ?, ?)", believed)

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as err:
            # SQLite's words name tables and files, never a value.
            raise StoreError(
                f"{self._name}: {str(err).lower()}", "is its disk full, or another program in it?"
            ) from err
