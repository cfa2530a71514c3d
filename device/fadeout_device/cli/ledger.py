"""`fadeout ledger`: what was erased, what could not be, what was opened; signed, for whoever doubts it."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from fadeout_device.cli import shown
from fadeout_device.cli.vault_client import ledger_parts
from fadeout_device.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from fadeout_device import answers

_NONCE = re.compile(r"([0-9a-f]{2}){1,32}")
_SHOWN_IDS = 3


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verb to the command line."""
    verb = verbs.add_parser(
        "ledger",
        help="show what was erased and opened; with --json, signed",
        description="Shows receipts for erasures, failures, and every opening of a recording."
        " What --json prints can be checked elsewhere, without fadeout:"
        " fadeout ledger --json | scripts/verify_receipts.py -",
    )
    verb.add_argument(
        "--nonce", default="", metavar="HEX", help="have it signed for you: proves that it is of now"
    )
    verb.add_argument("--key", action="store_true", help="print the public key only, to know it again later")
    verb.set_defaults(run=ledger)


def ledger(arguments: argparse.Namespace) -> int:
    """Show or export the ledger."""
    if arguments.nonce and not _NONCE.fullmatch(arguments.nonce):
        raise UsageError(f"--nonce: given {arguments.nonce[:40]}", "allowed: 2 to 64 hex digits, like 5eed")
    parts = ledger_parts(arguments, arguments.nonce)
    if arguments.key:
        answer, _ = next(parts)
        if arguments.json:
            shown.print_json({"public_key": answer.public_key})
        else:
            shown.print_lines(answer.public_key)
    elif arguments.json:
        for _, lines in parts:
            sys.stdout.buffer.write(lines)
        sys.stdout.flush()
    else:
        _print(list(parts))
    return 0


def _print(parts: list[tuple[answers.LedgerReport, bytes]]) -> None:
    answer = parts[0][0]
    lines = b"".join(payload for _, payload in parts).splitlines()[1:]
    rows = [_row(json.loads(json.loads(line)["body"])) for line in lines]
    title = shown.count(answer.entries, "entry", "entries")
    shown.print_table(title, ["", "hour", "what", "why", "recordings"], rows)
    shown.print_lines(f"signed by {answer.public_key}")


def _row(entry: dict[str, Any]) -> list[str]:
    what, why = _DESCRIBED[entry["what"]](entry)
    recordings = entry.get("recordings", [])
    ids = ", ".join(name[:8] for name in recordings[:_SHOWN_IDS])
    if len(recordings) > _SHOWN_IDS:
        ids += f" and {len(recordings) - _SHOWN_IDS} more"
    return [str(entry["seq"]), shown.clock_time(entry["hour"])[:13] + "h", what, why, ids]


_DESCRIBED: dict[str, Any] = {
    "begun": lambda entry: ("begun", "a key signs" if entry["after"] == "nothing" else "keys were erased"),
    "erased": lambda entry: (f"{shown.count(entry['items'], 'key')} destroyed", entry["reason"]),
    "failed": lambda entry: (f"ERASING {shown.count(entry['items'], 'item')} FAILED", entry["reason"]),
    "opened": lambda entry: (
        f"{shown.count(entry['items'], 'item')} opened", f"{entry['purpose']}, by the {entry['by']}",
    ),
    "acknowledged": lambda entry: (
        f"forgotten up to erasure {entry['n']}", f"says {entry['consumer']}",
    ),
    "checkpoint": lambda entry: (f"entries to {entry['dropped']} dropped", "their end date came"),
    "rekeyed": lambda _: ("key changed", "every key was erased at once"),
}  # fmt: skip
