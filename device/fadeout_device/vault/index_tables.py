"""The tables of the index, and how SQLite is to treat their file. What is in them is `index.py`'s."""

from __future__ import annotations

from typing import Any, Final

PRAGMAS: Final = (
    "page_size=512",  # of a new file: a commit writes each page it touches whole, and rows are small
    "locking_mode=EXCLUSIVE",  # this process is the only one: no shared-memory file
    "journal_mode=WAL",
    "synchronous=FULL",  # every commit is durable
    "secure_delete=ON",
    "temp_store=MEMORY",
    "cache_size=-256",  # KiB; the rows are few and small
)

TABLES: Final[dict[str, dict[str, Any]]] = {
    "item": {
        "columns": {
            "id": str,
            "recording": str,
            "outcome": str,
            "kind": str,
            "leaf": int,
            "state": str,
            "ends_at_s": int,
            "period_s": int,
            "promised_s": int,
            "ends_on_update": int,
            "size_bytes": int,
            "reason": str,
            "mark": str,
            "era": int,
            "ahead_s": int,
            "reported": str,
        },
        "pk": "id",
    },
    "leaf": {"columns": {"outcome": str, "kind": str, "next": int}, "pk": ("outcome", "kind")},
    "delivery": {"columns": {"token": str, "recording": str, "at_s": int}, "pk": "token"},
    "outbox": {
        "columns": {
            "seq": int,
            "what": str,
            "item": str,
            "entry": int,
            "is_handed": int,
            "ends_at_s": int,
        },
        "pk": "seq",
    },
    "notice": {"columns": {"n": int, "ids": str, "is_told": int}, "pk": "n"},
    "subscriber": {"columns": {"consumer": str, "era": str, "n": int, "hour": int}, "pk": "consumer"},
    "ledger": {
        "columns": {
            "seq": int,
            "what": str,
            "body": bytes,
            "signature": bytes,
            "public_key": str,
            "ends_at_s": int,
        },
        "pk": "seq",
    },
    "recipient": {"columns": {"name": str, "key": str, "is_confirmed": int}, "pk": "name"},
    "meta": {"columns": {"key": str, "value": str}, "pk": "key"},
}
"""A column that is new is added to the tables of older versions; none is ever taken out."""
