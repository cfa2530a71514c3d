#!/usr/bin/env python3
"""Verify an exported ledger, without fadeout: nothing but Python and `cryptography`.

usage: fadeout ledger --json --nonce 5eed | python3 scripts/verify_receipts.py - --nonce 5eed

It checks that every entry is signed, that none was changed, left out, moved or cut
off, that entries which are missing at the beginning had reached their end date, and
that the whole is what the device says it is now. The format is docs/format.md's, "Ledger".
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ENTRY_LABEL = b"fadeout ledger v1\n"
HEAD_LABEL = b"fadeout ledger head v1\n"
NO_HASH = "0" * 64
HOUR_S = 3600
KINDS = ("begun", "erased", "failed", "opened", "checkpoint", "rekeyed")


class LedgerError(Exception):
    """The ledger is not what it claims to be."""


class Line(NamedTuple):
    """One line of the export."""

    body: bytes
    signature: bytes
    fields: dict[str, Any]

    @property
    def hash(self) -> str:
        """What the next entry must name."""
        return hashlib.sha256(self.body + self.signature).hexdigest()


class Report(NamedTuple):
    """What a ledger that holds says."""

    entries: int
    first: int
    last: int
    hash: str
    public_key: str
    erased: int
    failed: int
    opened: int
    is_failing: bool
    """Whether the last erasure failed and none has succeeded since."""
    breaks: list[str]
    """Where a key took over that no earlier one vouched for: a panic that could not be signed."""


def parse(text: str) -> tuple[Line, list[Line]]:
    """Return the head and the entries of an export."""
    lines = [parse_line(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines or lines[0][0] != "head":
        raise LedgerError("the first line is no head: is this the output of `fadeout ledger --json`?")
    if any(name != "body" for name, _ in lines[1:]):
        raise LedgerError("there is more than one head")
    return lines[0][1], [line for _, line in lines[1:]]


def parse_line(number: int, text: str) -> tuple[str, Line]:
    """Return one line and whether it is a `head` or a `body`."""
    try:
        outer = json.loads(text)
        (name,) = set(outer) - {"signature"}
        body = outer[name].encode()
        return name, Line(body, bytes.fromhex(outer["signature"]), dict(json.loads(body)))
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise LedgerError(f"line {number} is no line of a ledger") from err


def check_signature(label: bytes, key: str, line: Line, what: str) -> None:
    """Check one signature."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(line.signature, label + line.body)
    except (InvalidSignature, ValueError) as err:
        raise LedgerError(
            f"{what} is not signed by the device's key: it was changed, or is another's"
        ) from err


def verify(text: str, *, nonce: str | None, key: str | None, seen: str | None, now_s: float | None) -> Report:
    """Verify an export; raises LedgerError with what is wrong."""
    head, entries = parse(text)
    told = head.fields
    if not entries:
        raise LedgerError("there is no entry at all")
    check_signature(HEAD_LABEL, str(told.get("public_key")), head, "the head")
    check_head(told, entries, nonce=nonce, key=key, now_s=now_s)
    # The first entry's own key, if it begins a chain; else the head vouches for it.
    current = str(told.get("first_key"))
    breaks: list[str] = []
    previous: Line | None = None
    for entry in entries:
        current = check_entry(entry, previous, current, breaks)
        previous = entry
    if current != told["public_key"]:
        raise LedgerError("the head is signed by another key than the last entry")
    check_beginning(entries)
    check_seen(entries, seen)
    return summarise(told, entries, breaks)


def check_head(
    told: dict[str, Any], entries: list[Line], *, nonce: str | None, key: str | None, now_s: float | None
) -> None:
    """Check that the entries are those that the head names, and that the head is of now."""
    last = entries[-1]
    if (told.get("first"), told.get("last")) != (entries[0].fields.get("seq"), last.fields.get("seq")):
        raise LedgerError(
            f"the device has entries {told.get('first')} to {told.get('last')}, here are"
            f" {entries[0].fields.get('seq')} to {last.fields.get('seq')}: some were cut off"
        )
    if told.get("hash") != last.hash:
        raise LedgerError("the last entry is not the device's")
    if nonce is not None and told.get("nonce") != nonce:
        raise LedgerError("the head does not carry your nonce: this is an old export, shown again")
    if key is not None and told.get("public_key") != key:
        raise LedgerError("the ledger is signed by another key than the one you know")
    if now_s is not None and told.get("hour", 0) < now_s - 2 * HOUR_S:
        hours = int((now_s - told.get("hour", 0)) // HOUR_S)
        raise LedgerError(f"the head is {hours} hours old: an old export, or the device's clock is behind")


def check_entry(entry: Line, previous: Line | None, key: str, breaks: list[str]) -> str:
    """Check one entry against the one before; returns the key that must have signed the next."""
    fields = entry.fields
    seq, what = fields.get("seq"), fields.get("what")
    name = f"entry {seq}"
    if what not in KINDS or not isinstance(seq, int) or not isinstance(fields.get("hour"), int):
        raise LedgerError(f"{name} is of no known form")
    if previous is not None:
        if seq != previous.fields["seq"] + 1:
            raise LedgerError(f"{name} follows entry {previous.fields['seq']}: entries are missing or moved")
        if fields.get("prev") != previous.hash:
            raise LedgerError(f"{name} does not name the entry before it: that one was changed or replaced")
    if what == "begun":
        key = str(fields["public_key"])
        if previous is not None or fields.get("after") == "keys_erased":
            breaks.append(f"{name}: a new key, which no earlier one vouches for (every key was erased)")
    check_signature(ENTRY_LABEL, key, entry, name)
    return str(fields["public_key"]) if what == "rekeyed" else key


def check_beginning(entries: list[Line]) -> None:
    """Check that whatever is missing before the first entry was dropped at its end date."""
    first = entries[0].fields
    if first["seq"] == 1:
        if first["what"] != "begun" or first["prev"] != NO_HASH:
            raise LedgerError("entry 1 does not begin a ledger")
        return
    checkpoints = [entry.fields for entry in entries if entry.fields["what"] == "checkpoint"]
    if not any(
        point["dropped"] == first["seq"] - 1 and point["dropped_hash"] == first["prev"]
        for point in checkpoints
    ):
        raise LedgerError(
            f"entries before {first['seq']} are missing, and no checkpoint says that their end date had come"
        )


def check_seen(entries: list[Line], seen: str | None) -> None:
    """Check that a head which somebody saw earlier is still part of the chain."""
    if seen is None:
        return
    number, _, known = seen.partition(":")
    if not number.isdecimal() or not known:
        raise LedgerError("--seen takes SEQ:HASH, as an earlier verification has printed them")
    for entry in entries:
        if entry.fields["seq"] == int(number):
            if entry.hash != known:
                raise LedgerError(f"entry {number} is not the one you have seen: the ledger was rewritten")
            return
    if int(number) > entries[-1].fields["seq"]:
        raise LedgerError(f"you have seen entry {number}, this ledger ends before: it is an older one")


def summarise(told: dict[str, Any], entries: list[Line], breaks: list[str]) -> Report:
    """Count what the entries say."""
    ends = [entry.fields["what"] for entry in entries if entry.fields["what"] in ("erased", "failed")]

    def total(what: str) -> int:
        return sum(entry.fields["items"] for entry in entries if entry.fields["what"] == what)

    return Report(
        len(entries), told["first"], told["last"], told["hash"], told["public_key"],
        total("erased"), sum(what == "failed" for what in ends), total("opened"), ends[-1:] == ["failed"],
        breaks,
    )  # fmt: skip


def print_report(report: Report) -> None:
    """Print what holds."""
    print(f"holds: entries {report.first} to {report.last}, every one signed, none missing, none changed")
    print(f"  keys destroyed      {report.erased} (items)")
    print(
        f"  erasures failed     {report.failed}" + (" and NOT MADE UP FOR YET" if report.is_failing else "")
    )
    print(f"  items opened        {report.opened}")
    for each in report.breaks:
        print(f"  break               {each}")
    print(f"  public key          {report.public_key}")
    print(f"  remember for later  --key {report.public_key} --seen {report.last}:{report.hash}")


def main() -> int:
    """Verify a file or standard input; exit code 0: it holds, 1: it does not, 65: it is no ledger."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="exit codes: 0 it holds, 1 it does not hold, 64 wrong usage, 66 no such file",
    )
    parser.add_argument("file", help="the output of `fadeout ledger --json`; - for standard input")
    parser.add_argument(
        "--nonce",
        metavar="HEX",
        help="what you gave to `fadeout ledger --nonce`: proves that it is no old one",
    )
    parser.add_argument("--key", metavar="HEX", help="the device's public key, as you know it")
    parser.add_argument("--seen", metavar="SEQ:HASH", help="the last entry that you saw earlier")
    parser.add_argument("--any-age", action="store_true", help="do not mind that the head is hours old")
    parser.add_argument("--json", action="store_true", help="print JSON")
    try:
        arguments = parser.parse_args()
    except SystemExit as stop:
        return os.EX_USAGE if stop.code else 0
    try:
        text = sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        print(
            f"error: {arguments.file}: cannot be read: {getattr(err, 'strerror', None) or 'no text'}",
            file=sys.stderr,
        )
        return os.EX_NOINPUT
    now_s = None if arguments.any_age else time.time()
    try:
        report = verify(text, nonce=arguments.nonce, key=arguments.key, seen=arguments.seen, now_s=now_s)
    except LedgerError as err:
        if arguments.json:
            print(json.dumps({"holds": False, "reason": str(err)}))
        print(f"DOES NOT HOLD: {err}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"holds": True, **report._asdict()}))
    else:
        print_report(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
