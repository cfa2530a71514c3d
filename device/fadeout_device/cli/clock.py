"""`fadeout clock`: what time it is believed to be, why, and what waits for it to be certain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fadeout_device import answers, questions
from fadeout_device.cli import shown
from fadeout_device.cli.vault_client import ask

if TYPE_CHECKING:
    import argparse

_BECAUSE = {
    "first": "it was so at the first start, and nothing has contradicted it",
    "steady": "it is the audio's",
    "synchronised": "the clock is synchronised",
    "battery": "the battery clock agreed at the start of the machine",
    "stood": "the clock has stood by it for long enough",
    "person": "somebody at the device confirmed it",
}


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verb to the command line."""
    verb = verbs.add_parser(
        "clock",
        help="say what time it is believed to be, and why; or confirm it",
        description="Nothing is erased by a time that is not certain, and nothing is opened whose time may be"
        " over. With --confirm you say that the machine's clock (see date) is right.",
    )
    verb.add_argument("--confirm", action="store_true", help="the machine's clock is right: believe it now")
    verb.set_defaults(run=clock)


def clock(arguments: argparse.Namespace) -> int:
    """Say what time it is believed to be, or confirm it."""
    answer, _ = ask(arguments, questions.LookAtClock(arguments.confirm), answers.ClockReport)
    if arguments.json:
        shown.print_json(answer)
    else:
        shown.print_table("clock", ["", ""], lines(answer))
    return 0


def lines(report: answers.ClockReport) -> list[list[str]]:
    """Return what is believed as rows of a table."""
    rows = [["time", shown.clock_time(report.proven_s)]]
    if report.because == "unknown":
        rows += [
            ["TIME UNKNOWN", "nobody knows for how long the device was off; only running time counts"],
            ["", "waits until the clock is synchronised, or for fadeout clock --confirm"],
        ]
    else:
        rows.append(["believed because", _BECAUSE[report.because]])
    if report.ahead_s:
        until = "it is confirmed: fadeout clock --confirm"
        if report.left_s is not None:
            until = f"it has stood for another {shown.span(report.left_s)}, or fadeout clock --confirm"
        rows += [
            ["CLOCK AHEAD", f"by {shown.span(report.ahead_s)}: {shown.clock_time(report.wall_s)}"],
            ["", f"not believed until {until}"],
        ]
    elif report.proven_s - report.wall_s > 1:
        rows.append(
            ["clock behind", f"by {shown.span(report.proven_s - report.wall_s)}: that delays nothing"]
        )
    if report.locked:
        rows.append(["closed", f"{shown.count(report.locked, 'item')}, until the time is certain"])
    synchronised = "synchronised" if report.is_synchronised else "not synchronised"
    battery = "a battery clock" if report.has_battery_clock else "no battery clock"
    rows.append(["sources", f"{synchronised}, {battery}"])
    return rows
