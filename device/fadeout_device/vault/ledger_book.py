"""The ledger where it is kept: a table beside the index, so that a change and its entry commit together.

A receipt is written in the transaction that removes the erased rows: there is one if
and only if they are gone, also after a crash. An opening is written in a transaction
of its own before anything is opened. Entries have an end date like everything else.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_device.vault import ledger
from fadeout_device.vault.ledger import Signed, Signer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fadeout_device.messages import Purpose, Visitor
    from fadeout_device.vault.index import Index, Item

_KINDS: dict[int | None, ledger.FailureKind] = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EROFS: "read_only",
    errno.EIO: "io_error",
}


class LedgerBook:
    """Writes entries. Every method that writes does so inside the caller's transaction."""

    def __init__(self, index: Index, seed: bytes, keep_s: int) -> None:
        """Take the table.

        Args:
            index: whose file holds it.
            seed: the keyring's signing seed.
            keep_s: how long an entry is kept.
        """
        self._index = index
        self._signer = Signer(seed)
        self._keep_s = keep_s

    @property
    def public_key(self) -> str:
        """The key that signs, 64 hex digits."""
        return self._signer.public_key

    def begin(self, now_s: float) -> None:
        """Begin, unless the last entry is already under this key."""
        known = self._index.get_meta("ledger_key")
        if known == self.public_key and self.count():
            return
        after = "nothing" if known is None else "keys_erased"
        self._append(ledger.Begun, now_s, public_key=self.public_key, after=after)
        self._index.set_meta("ledger_key", self.public_key)

    def rekey(self, seed: bytes, now_s: float) -> None:
        """Have the present key vouch for the next one."""
        following = Signer(seed)
        if following.public_key == self.public_key:
            return
        self._append(ledger.Rekeyed, now_s, public_key=following.public_key)
        self._signer = following
        self._index.set_meta("ledger_key", self.public_key)

    def erased(self, items: Iterable[Item], generation: int, root_store: str, now_s: float) -> list[int]:
        """Write the receipts of items whose keys are gone; returns their numbers."""
        erasures = [
            ledger.Erasure(item.recording, f"{item.item_class.outcome}.{item.item_class.kind}", item.reason)
            for item in items
        ]
        return [
            self._append(
                ledger.ErasedEntry, now_s, reason=reason, items=sum(classes.values()), classes=classes,
                recordings=recordings, generation=generation, root_store=root_store,
            )
            for reason, classes, recordings in ledger.receipts(erasures)
        ]  # fmt: skip

    def failed(self, err: BaseException, items: int, now_s: float) -> None:
        """Write that an erasure failed: once, until one succeeds."""
        last = self._index.db.execute(
            "SELECT what FROM ledger WHERE what IN ('erased', 'failed') ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        if last is not None and last[0] == "failed":
            return
        number = err.errno if isinstance(err, OSError) else None
        self._append(ledger.FailedEntry, now_s, reason=_KINDS.get(number, "other"), items=items)

    def opened(self, by: Visitor, purpose: Purpose, items: Sequence[Item], now_s: float) -> None:
        """Write that items are about to be opened."""
        counts = Counter(item.recording for item in items)
        names = list(counts)
        for start in range(0, len(names), ledger.MAX_RECORDINGS):
            part = tuple(names[start : start + ledger.MAX_RECORDINGS])
            opened = sum(counts[name] for name in part)
            self._append(ledger.OpenedEntry, now_s, by=by, purpose=purpose, items=opened, recordings=part)

    def acknowledged(self, consumer: str, era: str, n: int, now_s: float) -> None:
        """Write that a subscriber says that it has forgotten."""
        self._append(ledger.AcknowledgedEntry, now_s, consumer=consumer, era=era, n=n)

    def expire(self, now_s: float) -> None:
        """Drop the entries whose end date has come, and say so in a new one."""
        last = self._index.db.execute(
            "SELECT seq, body, signature FROM ledger WHERE ends_at_s <= ? ORDER BY seq DESC LIMIT 1", [now_s]
        ).fetchone()
        if last is None:
            return
        self._append(ledger.Checkpoint, now_s, dropped=last[0], dropped_hash=Signed(last[1], last[2]).hash)
        self._index.db.execute("DELETE FROM ledger WHERE seq <= ?", [last[0]])

    def count(self) -> int:
        """Return the number of entries."""
        return int(self._index.db.table("ledger").count)

    def entries(self, after: int = 0, limit: int = -1) -> list[Signed]:
        """Return the entries after one, oldest first; at most `limit`, if it is given."""
        rows = self._index.db.execute(
            "SELECT body, signature FROM ledger WHERE seq > ? ORDER BY seq LIMIT ?", [after, limit]
        ).fetchall()
        return [Signed(*row) for row in rows]

    def erasure(self, seq: int) -> ledger.ErasedEntry | None:
        """Return a receipt by its number; None: it has ended."""
        row = self._index.db.execute("SELECT body, signature FROM ledger WHERE seq = ?", [seq]).fetchone()
        entry = None if row is None else Signed(*row).decode()
        return entry if isinstance(entry, ledger.ErasedEntry) else None

    def sign(self, text: bytes) -> str:
        """Sign something that begins with a label of its own; in hex."""
        return self._signer.sign_text(text).hex()

    def first_seq(self) -> int:
        """Return the number of the oldest entry."""
        return int(self._index.db.execute("SELECT min(seq) FROM ledger").fetchone()[0])

    def head(self, now_s: float, nonce: str) -> Signed:
        """Return a signed statement of which entries there are at this hour."""
        first, first_key = self._index.db.execute(
            "SELECT seq, public_key FROM ledger ORDER BY seq LIMIT 1"
        ).fetchone()
        last, last_hash = self._last()
        head = {
            "v": ledger.VERSION, "what": "head", "first": first, "first_key": first_key, "last": last,
            "hash": last_hash, "hour": ledger.hour_of(now_s), "nonce": nonce, "public_key": self.public_key,
        }  # fmt: skip
        return self._signer.sign_head(head)

    def last_seq(self) -> int:
        """Return the number of the last entry."""
        return self._last()[0]

    def receipts_after(self, seq: int) -> tuple[int, ...]:
        """Return the numbers of the receipts after an entry."""
        rows = self._index.db.execute(
            "SELECT seq FROM ledger WHERE what = 'erased' AND seq > ? ORDER BY seq", [seq]
        )
        return tuple(row[0] for row in rows)

    def erasure_of(self, recording: str) -> ledger.ErasedEntry | None:
        """Return the last receipt that names a recording by the start of its id."""
        rows = self._index.db.execute(
            "SELECT body, signature FROM ledger WHERE what = 'erased' ORDER BY seq DESC"
        )
        for row in rows:
            entry = Signed(*row).decode()
            if isinstance(entry, ledger.ErasedEntry) and any(
                name.startswith(recording) for name in entry.recordings
            ):
                return entry
        return None

    def _last(self) -> tuple[int, str]:
        """Return the number and the hash of the last entry."""
        row = self._index.db.execute(
            "SELECT seq, body, signature FROM ledger ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return (0, ledger.NO_HASH) if row is None else (row[0], Signed(row[1], row[2]).hash)

    def _append(self, kind: type[ledger.Entry], now_s: float, **fields: Any) -> int:  # noqa: ANN401 - the kind's
        seq, prev = self._last()
        entry = msgspec.convert(
            {
                "what": kind.__struct_config__.tag, "v": ledger.VERSION, "seq": seq + 1, "prev": prev,
                "hour": ledger.hour_of(now_s), **fields,
            },
            kind,
        )  # fmt: skip
        signed = self._signer.sign(entry)
        self._index.db.table("ledger").insert(
            {
                "seq": seq + 1, "what": kind.__struct_config__.tag, "body": signed.body,
                "signature": signed.signature, "public_key": self.public_key,
                "ends_at_s": ledger.hour_of(now_s + self._keep_s),
            }
        )  # fmt: skip
        return seq + 1
