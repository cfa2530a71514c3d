#!/usr/bin/env python3
"""Verify an exported ledger, without fadeout: nothing but Python and `cryptography`.

usage: fadeout ledger --json --nonce 5eed | python3 scripts/verify_receipts.py - --nonce 5eed
       python3 scripts/verify_receipts.py receipts.jsonl     (payloads of event/receipt, one a line)

It checks that every entry is signed, that none was changed, left out, moved or cut
off, that entries which are missing at the beginning had reached their end date, and
that the whole is what the device says it is now. Of receipts that came over MQTT it checks that each
is signed, and says which are missing in between. The format is docs/format.md's, "Ledger".

One file, though it is a long one, and none of fadeout's code: whoever does not believe the device
copies it to a machine of his own, and reads it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    print(
        "error: the Python package cryptography is missing\nhint: pip install cryptography", file=sys.stderr
    )
    sys.exit(os.EX_UNAVAILABLE)

ENTRY_LABEL = b"fadeout ledger v1\n"
HEAD_LABEL = b"fadeout ledger head v1\n"
RECEIPT_LABEL = b"fadeout receipt v1\n"
NO_HASH = "0" * 64
HOUR_S = 3600
TOLERANCE_S = 2 * HOUR_S
"""The head tells the hour only, and clocks differ."""
MAX_RECORDINGS = 100
WORDS = {
    "erased": ("expired", "user", "update", "size", "panic", "recovered"),
    "failed": ("disk_full", "read_only", "io_error", "other"),
    "purpose": ("show", "play", "event", "export", "erase_since"),
    "by": ("person", "reporter"),
    "after": ("nothing", "keys_erased"),
}
"""The closed words of docs/format.md, "Ledger"."""


class LedgerError(Exception):
    """The ledger is not what it claims to be."""


class NotALedgerError(LedgerError):
    """What was given has not the form of a ledger."""


def _is_text(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_whole(value: Any) -> bool:  # noqa: ANN401 - whatever stood in the JSON
    return type(value) is int and 0 <= value < 2**63


def _is_hour(value: Any) -> bool:  # noqa: ANN401 - the same
    return _is_whole(value) and value % HOUR_S == 0


def _one_of(*words: object) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, str) and value in words


def _are_recordings(value: Any) -> bool:  # noqa: ANN401 - the same
    return isinstance(value, list) and len(value) <= MAX_RECORDINGS and all(map(_is_id, value))


def _are_classes(value: Any) -> bool:  # noqa: ANN401 - the same
    return isinstance(value, dict) and all(map(_is_class, value)) and all(map(_is_whole, value.values()))


_is_key = _is_text("[0-9a-f]{64}")
_is_id = _is_text("[0-9a-f]{1,64}")
_is_class = _is_text(r"(served|failed|false_wake)\.(audio|words|action)")
Form = dict[str, Callable[[Any], bool]]
_EVERY: Form = {"v": _one_of(1), "seq": _is_whole, "prev": _is_key, "hour": _is_hour}
FORMS: dict[str, Form] = {
    "begun": {**_EVERY, "public_key": _is_key, "after": _one_of(*WORDS["after"])},
    "erased": {
        **_EVERY, "reason": _one_of(*WORDS["erased"]), "items": _is_whole, "classes": _are_classes,
        "recordings": _are_recordings, "generation": _is_whole,
        "root_store": _is_text("[a-z][a-z0-9_-]{0,31}"),
    },
    "failed": {**_EVERY, "reason": _one_of(*WORDS["failed"]), "items": _is_whole},
    "opened": {
        **_EVERY, "by": _one_of(*WORDS["by"]), "purpose": _one_of(*WORDS["purpose"]), "items": _is_whole,
        "recordings": _are_recordings,
    },
    "acknowledged": {
        **_EVERY, "consumer": _is_text("[a-z0-9][a-z0-9_-]{0,31}"), "era": _is_text("[0-9a-v]{8}"),
        "n": _is_whole,
    },
    "checkpoint": {**_EVERY, "dropped": _is_whole, "dropped_hash": _is_key},
    "rekeyed": {**_EVERY, "public_key": _is_key},
}  # fmt: skip
"""What each kind of entry has beside `what`: exactly these fields."""
HEAD_FORM: Form = {
    "v": _one_of(1), "first": _is_whole, "first_key": _is_key, "last": _is_whole, "hash": _is_key,
    "hour": _is_hour, "nonce": _is_text("([0-9a-f]{2}){0,32}"), "public_key": _is_key,
}  # fmt: skip


RECEIPT_FORM: Form = {
    "v": _one_of(1), "n": _is_whole, "items": _is_whole, "reason": _one_of(*WORDS["erased"]),
    "hour": _is_hour, "root": _one_of("file", "nvmem", "tpm"), "key": _is_key,
    "signature": _is_text("[0-9a-f]{128}"), "ttl": _is_whole,
}  # fmt: skip
"""What a payload of `event/receipt` has beside `type`: exactly these fields."""
RECEIPT_SIGNED = ("hour", "items", "n", "reason", "root", "v")


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
    acknowledged: dict[str, int]
    """By subscriber: up to which erasure he says that he has forgotten, in the last era that he named."""
    is_failing: bool
    """Whether the last erasure failed and none has succeeded since."""
    breaks: list[str]
    """Where a key took over that no earlier one vouches for: a panic that signed nothing, or a forgery."""
    seen: str | None
    """What became of the entry that was seen earlier: `contained`, or `dropped` at its end date."""


def parse(text: str) -> tuple[Line, list[Line]]:
    """Return the head and the entries of an export."""
    lines = [parse_line(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines or lines[0][0] != "head":
        raise NotALedgerError("the first line is no head: is this the output of `fadeout ledger --json`?")
    if any(name != "body" for name, _ in lines[1:]):
        raise NotALedgerError("there is more than one head")
    if not lines[1:]:
        raise LedgerError("there is no entry at all")
    return lines[0][1], [line for _, line in lines[1:]]


def parse_line(number: int, text: str) -> tuple[str, Line]:
    """Return one line and whether it is a `head` or a `body`."""
    try:
        outer = json.loads(text)
        (name,) = set(outer) - {"signature"}
        body = outer[name].encode()
        line = Line(body, bytes.fromhex(outer["signature"]), dict(json.loads(body)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise NotALedgerError(f"line {number} is no line of a ledger") from err
    fields = dict(line.fields)
    what = fields.pop("what", None)
    known = {"head": HEAD_FORM} if name == "head" else FORMS
    form = known.get(what) if isinstance(what, str) else None
    if form is None or set(form) != set(fields) or not all(form[key](fields[key]) for key in form):
        raise NotALedgerError(f"line {number} is of no form that version 1 of the format has")
    if json.dumps(line.fields, sort_keys=True, separators=(",", ":")).encode() != body:
        # Two readers might otherwise understand one signed text in two ways.
        raise NotALedgerError(f"line {number} is not written in the one way the format allows")
    if what == "erased" and fields["items"] != sum(fields["classes"].values()):
        raise NotALedgerError(f"line {number} counts other items in all than by class")
    return name, line


class Receipts(NamedTuple):
    """What receipts that hold say."""

    receipts: int
    items: int
    public_key: str
    missing: list[int]
    """Numbers between the first and the last one that are not here."""


def are_receipts(text: str) -> bool:
    """Say whether this is a list of receipts that came over MQTT, and no ledger."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    try:
        return bool(json.loads(first)["type"] == "receipt")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def verify_receipts(text: str, *, key: str | None) -> Receipts:
    """Verify receipts, one a line, all under one key; raises LedgerError with what is wrong."""
    found: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            fields = parse_receipt(number, line)
            if key is not None and fields["key"] != key:
                raise LedgerError(f"line {number} is signed by another key than the one you know")
            key = fields["key"]
            if found.setdefault(fields["n"], fields)["signature"] != fields["signature"]:
                raise LedgerError(f"there are two receipts with the number {fields['n']}")
    items = sum(fields["items"] for fields in found.values())
    missing = sorted(set(range(min(found), max(found))) - set(found))
    return Receipts(len(found), items, key or "", missing)


def parse_receipt(number: int, text: str) -> dict[str, Any]:
    """Return the fields of one receipt whose signature holds."""
    try:
        fields = dict(json.loads(text))
        kind = fields.pop("type")
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise NotALedgerError(f"line {number} is no receipt") from err
    is_whole = set(fields) == set(RECEIPT_FORM) and all(RECEIPT_FORM[name](fields[name]) for name in fields)
    if kind != "receipt" or not is_whole:
        raise NotALedgerError(f"line {number} is of no form that version 1 of the contract has")
    signed = {name: fields[name] for name in RECEIPT_SIGNED}
    body = json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()
    line = Line(body, bytes.fromhex(fields["signature"]), fields)
    check_signature(RECEIPT_LABEL, fields["key"], line, f"the receipt on line {number}")
    return fields


def check_signature(label: bytes, key: str, line: Line, what: str) -> None:
    """Check one signature."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(line.signature, label + line.body)
    except (InvalidSignature, ValueError) as err:
        raise LedgerError(
            f"{what} is not signed by the device's key: it was changed, or is another's"
        ) from err


def verify(text: str, *, nonce: str | None, key: str | None, seen: str | None, now_s: float | None) -> Report:
    """Verify an export; raises LedgerError with what is wrong.

    Breaks are returned and not raised: whether to believe the key after one is the caller's
    decision, and with `key` it has been made.
    """
    head, entries = parse(text)
    told = head.fields
    check_signature(HEAD_LABEL, told["public_key"], head, "the head")
    check_head(told, entries, nonce=nonce, now_s=now_s)
    current = told["first_key"]
    vouched = {current}
    """The keys that lead to the present one, each signed for by the one before."""
    breaks: list[str] = []
    previous: Line | None = None
    for entry in entries:
        broken = len(breaks)
        current = check_entry(entry, previous, current, breaks)
        vouched = {current} if len(breaks) > broken else {*vouched, current}
        previous = entry
    if current != told["public_key"]:
        raise LedgerError("the head is signed by another key than the last entry")
    if key is not None and key not in vouched:
        raise LedgerError(
            "the ledger is signed by another key than the one you know, which does not vouch for it"
        )
    check_beginning(entries)
    found = None if seen is None else check_seen(entries, seen, is_key_known=key is not None)
    return summarise(told, entries, breaks, found)


def check_head(told: dict[str, Any], entries: list[Line], *, nonce: str | None, now_s: float | None) -> None:
    """Check that the entries are those that the head names, and that the head is of now."""
    last = entries[-1]
    if (told["first"], told["last"]) != (entries[0].fields["seq"], last.fields["seq"]):
        raise LedgerError(
            f"the device has entries {told['first']} to {told['last']}, here are"
            f" {entries[0].fields['seq']} to {last.fields['seq']}: some were cut off"
        )
    if told["hash"] != last.hash:
        raise LedgerError("the last entry is not the device's")
    if nonce is not None and told["nonce"] != nonce:
        raise LedgerError("the head does not carry your nonce: this is an old export, shown again")
    hours = 0 if now_s is None else int((now_s - told["hour"]) / HOUR_S)
    if hours >= TOLERANCE_S // HOUR_S:
        raise LedgerError(f"the head is {hours} hours old: an old export, or the device's clock is behind")
    if hours <= -TOLERANCE_S // HOUR_S:
        # Such a head would look fresh for that long, however often it is shown.
        raise LedgerError(
            f"the head is of {-hours} hours from now: a clock is wrong, this one's or the device's"
        )


def check_entry(entry: Line, previous: Line | None, key: str, breaks: list[str]) -> str:
    """Check one entry against the one before; returns the key that must have signed the next."""
    fields = entry.fields
    seq, what = fields["seq"], fields["what"]
    name = f"entry {seq}"
    if previous is not None:
        if seq != previous.fields["seq"] + 1:
            raise LedgerError(f"{name} follows entry {previous.fields['seq']}: entries are missing or moved")
        if fields["prev"] != previous.hash:
            raise LedgerError(f"{name} does not name the entry before it: that one was changed or replaced")
    if what == "begun":
        if previous is None and key != fields["public_key"]:
            raise LedgerError(f"the head names another key for {name} than that entry itself")
        key = str(fields["public_key"])
        if previous is not None or fields["after"] == "keys_erased":
            breaks.append(f"{name}: a new key, which no earlier one vouches for (every key was erased)")
    check_signature(ENTRY_LABEL, key, entry, name)
    return str(fields["public_key"]) if what == "rekeyed" else key


def check_beginning(entries: list[Line]) -> None:
    """Check that whatever is missing before the first entry was dropped at its end date."""
    first = entries[0].fields
    checkpoints = [entry.fields for entry in entries if entry.fields["what"] == "checkpoint"]
    if first["seq"] == 1:
        if first["what"] != "begun" or first["prev"] != NO_HASH:
            raise LedgerError("entry 1 does not begin a ledger")
        if checkpoints:
            raise LedgerError(f"entry {checkpoints[-1]['seq']} says that entries were dropped which are here")
        return
    # The device drops entries as it writes the checkpoint, so the last one says where the rest begins.
    if not checkpoints:
        raise LedgerError(
            f"entries before {first['seq']} are missing, and no checkpoint says that their end date had come"
        )
    point = checkpoints[-1]
    if (point["dropped"], point["dropped_hash"]) != (first["seq"] - 1, first["prev"]):
        raise LedgerError(
            f"checkpoint {point['seq']} says that entries to {point['dropped']} were dropped, but"
            f" the first one here is {first['seq']}, or follows another entry"
        )


def check_seen(entries: list[Line], seen: str, *, is_key_known: bool) -> str:
    """Check that a head which somebody saw earlier is still part of the chain; returns what became of it."""
    text, _, known = seen.partition(":")
    number = int(text)
    if number > entries[-1].fields["seq"]:
        raise LedgerError(f"you have seen entry {number}, this ledger ends before: it is an older one")
    hashes = {entry.fields["seq"]: entry.hash for entry in entries}
    for entry in entries:
        if entry.fields["what"] == "checkpoint":
            hashes[entry.fields["dropped"]] = entry.fields["dropped_hash"]
    if hashes.get(number, known) != known:
        raise LedgerError(f"entry {number} is not the one you have seen: the ledger was rewritten")
    if number >= entries[0].fields["seq"]:
        return "contained"
    if not is_key_known:
        # Anybody can make up a ledger that claims to have dropped whatever you saw.
        raise LedgerError(
            f"entry {number}, which you have seen, is not here any more: only with --key can be told"
            " whether this is the same ledger"
        )
    return "dropped"


def summarise(told: dict[str, Any], entries: list[Line], breaks: list[str], seen: str | None) -> Report:
    """Count what the entries say."""
    ends = [entry.fields["what"] for entry in entries if entry.fields["what"] in ("erased", "failed")]

    def total(what: str) -> int:
        return sum(entry.fields["items"] for entry in entries if entry.fields["what"] == what)

    return Report(
        len(entries), told["first"], told["last"], told["hash"], told["public_key"],
        total("erased"), sum(what == "failed" for what in ends), total("opened"),
        {
            entry.fields["consumer"]: entry.fields["n"]
            for entry in entries if entry.fields["what"] == "acknowledged"
        },
        ends[-1:] == ["failed"],
        breaks, seen,
    )  # fmt: skip


def print_report(report: Report) -> None:
    """Print what holds."""
    since = ", under the key you know" if report.breaks else ""
    print(
        f"holds: entries {report.first} to {report.last}, every one signed, none missing, none changed{since}"
    )
    print(f"  keys destroyed      {report.erased} (items)")
    print(
        f"  erasures failed     {report.failed}" + (" and NOT MADE UP FOR YET" if report.is_failing else "")
    )
    print(f"  items opened        {report.opened}")
    for consumer, number in sorted(report.acknowledged.items()):
        print(f"  {consumer:<19} says that it has forgotten, up to erasure {number}")
    for each in report.breaks:
        print(f"  break               {each}")
    if report.seen == "dropped":
        print("  seen earlier        its end date has come; the key you know vouches for what is left")
    print(f"  public key          {report.public_key}")
    print(f"  remember for later  --key {report.public_key} --seen {report.last}:{report.hash}")


def print_receipts(report: Receipts, *, is_key_known: bool) -> None:
    """Print what the receipts say."""
    print(f"holds: {report.receipts} receipts, every one signed")
    print(f"  keys destroyed      {report.items} (items)")
    if report.missing:
        print(f"  missing between     {len(report.missing)}: they were not received, or withheld")
    print(f"  public key          {report.public_key}{'' if is_key_known else ' (compare it at the device)'}")


def _argument(pattern: str, example: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text.lower()):
            raise argparse.ArgumentTypeError(f"given {text[:40]!r}, allowed: {example}")
        return text.lower()

    return read


def arguments_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Without --key or --seen, a ledger that somebody made up as a whole holds too: compare the\n"
        "public key with what `fadeout ledger --key` prints at the device, and remember the line that\n"
        "is printed for later. With a break, --key is needed.\n\n"
        "exit codes: 0 it holds, 1 it does not, 64 wrong usage, 65 it is no ledger, 66 it cannot be read,\n"
        "69 the package cryptography is missing",
    )
    parser.add_argument("file", help="the output of `fadeout ledger --json`; - for standard input")
    parser.add_argument(
        "--nonce", metavar="HEX", type=_argument("([0-9a-f]{2}){1,32}", "2 to 64 hex digits, like 5eed"),
        help="what you gave to `fadeout ledger --nonce`: proves that it is no old one",
    )  # fmt: skip
    parser.add_argument(
        "--key", metavar="HEX", type=_argument("[0-9a-f]{64}", "64 hex digits"),
        help="the device's public key, as you know it; a key that it has signed for since is believed too",
    )  # fmt: skip
    parser.add_argument(
        "--seen", metavar="SEQ:HASH",
        type=_argument("[1-9][0-9]{0,17}:[0-9a-f]{64}", "SEQ:HASH, as an earlier verification printed them"),
        help="the last entry that you saw earlier: it must still be there, or have ended (then give --key)",
    )  # fmt: skip
    parser.add_argument(
        "--any-age", action="store_true", help="do not mind that the head is hours old, or of hours from now"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def read_text(name: str) -> str:
    """Read a file, or standard input; raises OSError, or NotALedgerError if it is no text."""
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        raise NotALedgerError("it is no text") from err


def refuse_breaks(report: Report, key: str | None) -> None:
    """Refuse a key that nobody vouches for, neither an earlier one nor the person who asks."""
    if report.breaks and key is None:
        # Whoever has an export can write on under a key of his own, and call it a panic.
        raise LedgerError(f"{report.breaks[-1]}; give --key if you know the new key from the device itself")


def main() -> int:
    """Verify a file or standard input; returns the exit code that --help tells."""
    try:
        arguments = arguments_parser().parse_args()
    except SystemExit as stop:
        return os.EX_USAGE if stop.code else 0
    now_s = None if arguments.any_age else time.time()
    try:
        text = read_text(arguments.file)
        if are_receipts(text):
            receipts = verify_receipts(text, key=arguments.key)
            if arguments.json:
                print(json.dumps({"holds": True, **receipts._asdict()}))
            else:
                print_receipts(receipts, is_key_known=arguments.key is not None)
            return 0
        report = verify(text, nonce=arguments.nonce, key=arguments.key, seen=arguments.seen, now_s=now_s)
        refuse_breaks(report, arguments.key)
    except OSError as err:
        print(f"error: {arguments.file}: cannot be read: {err.strerror}", file=sys.stderr)
        return os.EX_NOINPUT
    except LedgerError as err:
        if arguments.json:
            print(json.dumps({"holds": False, "reason": str(err)}))
        is_none = isinstance(err, NotALedgerError)
        print(f"{'NO LEDGER' if is_none else 'DOES NOT HOLD'}: {err}", file=sys.stderr)
        return os.EX_DATAERR if is_none else 1
    if arguments.json:
        print(json.dumps({"holds": True, **report._asdict()}))
    else:
        print_report(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
