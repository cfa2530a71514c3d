"""`fadeout subscribers` and `fadeout forget`: who has forgotten what, and leaving the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fadeout_device import answers, questions
from fadeout_device.cli import shown
from fadeout_device.cli.vault_client import ask

if TYPE_CHECKING:
    import argparse


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser(
        "subscribers",
        help="say who has acknowledged which erasures",
        description="What is erased here is gone; that somebody else has forgotten it, only he can say."
        " Those of [mqtt] subscribers are expected to.",
    )
    verb.set_defaults(run=subscribers)

    verb = verbs.add_parser(
        "forget",
        help="leave the broker: nothing of this device stands there any more",
        description="Clears what this device has retained at the broker, Home Assistant's entities too, and"
        " reports nothing until --undo. What is held here stays. `fadeout erase` erases recordings.",
    )
    verb.add_argument("--undo", action="store_true", help="report again")
    verb.set_defaults(run=forget)


def subscribers(arguments: argparse.Namespace) -> int:
    """Show who has acknowledged what."""
    answer, _ = ask(arguments, questions.ListSubscribers(), answers.Subscribers)
    if arguments.json:
        shown.print_json(answer)
        return 0
    if not answer.subscribers:
        shown.print_lines("nobody has acknowledged an erasure, and [mqtt] subscribers names nobody")
        return 0
    rows = [_row(each) for each in answer.subscribers]
    title = f"erasures told to subscribers: {answer.erasures}"
    shown.print_table(title, ["subscriber", "", "acknowledged", "behind", "said so"], rows)
    return 0


def _row(row: answers.SubscriberRow) -> list[str]:
    expected = "expected" if row.is_expected else "not in the configuration"
    acknowledged = "nothing yet" if row.acknowledged is None else f"up to {row.acknowledged}"
    said = "" if row.hour_s is None else shown.clock_time(row.hour_s)[:13] + "h"
    return [row.consumer, expected, acknowledged, str(row.behind), said]


def forget(arguments: argparse.Namespace) -> int:
    """Leave the broker, or come back."""
    answer, _ = ask(arguments, questions.Forget(is_undone=arguments.undo), answers.Departed)
    if arguments.json:
        shown.print_json(answer)
    elif not answer.departure:
        shown.print_lines("this device reports again")
    elif answer.departure == "done":
        shown.print_lines(
            "the broker holds nothing of this device any more; fadeout forget --undo reports again"
        )
    else:
        shown.print_lines(
            f"nothing is reported any more; the broker is not there ({answer.broker}):",
            "it is cleared of this device when it comes back",
        )
    return 0
