"""`fadeout explain`: why a recording is still here, and when it goes."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from fadeout_device import answers, questions
from fadeout_device.cli import shown
from fadeout_device.cli.held import add_recording
from fadeout_device.cli.vault_client import ask

if TYPE_CHECKING:
    import argparse

_RULES = {
    "promise": "as promised when it was captured",
    "shorter policy": "the policy has become shorter since then, which applies at once",
    "debug capture": "debug capture was on; no rule keeps it",
}
_MB = 1_000_000


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser(
        "explain",
        help="say why a recording is still here and when it goes; opens nothing",
        description="Exit code 66 if nothing of it is held.",
    )
    add_recording(verb)
    verb.set_defaults(run=explain)


def explain(arguments: argparse.Namespace) -> int:
    """Explain one recording."""
    answer, _ = ask(arguments, questions.Explain(arguments.recording), answers.Explanation)
    if arguments.json:
        shown.print_json(answer)
    elif not answer.items:
        shown.print_lines(_gone(answer))
    else:
        now = time.time()
        title = f"recording {answer.recording}, {answer.outcome}"
        rows = [row for item in answer.items for row in _rows(item, now, answer)]
        shown.print_table(title, ["", "", ""], rows)
        shown.print_lines(
            f"{answer.held_bytes / _MB:.1f} of {answer.max_size_bytes / _MB:.0f} MB are used;"
            " beyond that the oldest items go early"
        )
    return 0 if answer.items else os.EX_NOINPUT


def _gone(answer: answers.Explanation) -> str:
    held = f"nothing of recording {answer.recording} is held"
    if answer.erased is None:
        return f"{held}, and no receipt names it: it never was, or that was long ago"
    hour = shown.clock_time(answer.erased.hour_s)
    return f"{held}: erased in the hour from {hour} ({answer.erased.reason}), receipt {answer.erased.seq}"


def _rows(item: answers.ItemReason, now: float, answer: answers.Explanation) -> list[list[str]]:
    end = f"{shown.clock_time(item.expires_at_s)}, {shown.ending(item.expires_at_s, now)}"
    if item.state == "erasing":
        end = f"as soon as its key can be destroyed ({item.because}); nothing opens it any more"
        if answer.last_sweep not in ("ok", "none yet"):
            end += f"; ERASING FAILED, will be tried again: {answer.last_sweep}"
    elif item.state == "overdue":
        end = "with the next sweep: its time is over, and nothing opens it any more"
    elif item.state == "locked":
        end += "; closed until the time is certain: see fadeout clock"
    allowed = "would not keep it" if item.allowed_s is None else f"keeps it for {shown.span(item.allowed_s)}"
    rows = [
        [item.kind, "goes", end],
        ["", "promised", f"{shown.span(item.promised_s)} from its capture"],
        ["", "policy now", allowed],
        ["", "what rules", f"{shown.span(item.period_s)}: {_RULES[item.ruled_by]}"],
    ]
    if item.ends_on_update:
        rows.append(["", "update", "goes earlier, when a new version of fadeout starts"])
    if item.age_rank:
        rows.append(["", "size cap", f"number {item.age_rank} of {answer.held_items} to go, oldest first"])
    return rows
