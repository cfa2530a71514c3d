"""`fadeout guest`, `mute`, `unmute`, `debug-capture`: when nothing is heard or stored, and when more is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fadeout_device import answers, questions
from fadeout_device.cli import shown
from fadeout_device.cli.vault_client import ask
from fadeout_device.errors import UnavailableError, UsageError
from fadeout_device.policy import PolicyError, parse_period

if TYPE_CHECKING:
    import argparse


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser(
        "guest",
        help="guest mode: store nothing at all, until it is switched off or for a time",
        description="No recording is stored and no event is sent. It survives restarts, and ends by itself"
        " only when it is certain that its time is over. Without on, off or --for: says what is on.",
    )
    verb.add_argument("switch", nargs="?", choices=["on", "off"], help="begin or end it")
    verb.add_argument("--for", dest="period", metavar="PERIOD", help="begin it for 90s, 30m, 3h, 2d …")
    verb.set_defaults(run=guest)

    verb = verbs.add_parser(
        "mute",
        help="close the microphone, until fadeout unmute",
        description="The microphone is closed, what is being recorded is dropped, and nothing is stored. It"
        " survives restarts. A mute that came over MQTT is ended with fadeout unmute, too: nothing from afar"
        " can end it. fadeout replay, which has no microphone, takes no notice.",
    )
    verb.set_defaults(run=mute)

    verb = verbs.add_parser("unmute", help="let the microphone open again")
    verb.set_defaults(run=unmute)

    verb = verbs.add_parser(
        "debug-capture",
        help="for a short while, keep also what the policy does not keep",
        description="Only where [retention] debug_capture allows it, and for at most 1 h. It ends with a"
        " start of the machine, with guest mode and with quiet hours. Without on or off: says what is on.",
    )
    verb.add_argument("switch", nargs="?", choices=["on", "off"], help="begin or end it")
    verb.add_argument("--for", dest="period", metavar="PERIOD", default="30m", help="how long (default: 30m)")
    verb.set_defaults(run=debug_capture)


def guest(arguments: argparse.Namespace) -> int:
    """Begin or end guest mode."""
    if arguments.period is not None and arguments.switch == "off":
        raise UsageError("guest off takes no --for", "fadeout guest off ends it now")
    is_on = {"on": True, "off": False}.get(arguments.switch)
    for_s = None
    if arguments.period is not None:
        is_on, for_s = True, _seconds(arguments.period)
        if for_s > questions.MAX_GUEST_S:
            raise UsageError(f"--for: given {arguments.period}", "without --for it stays on")
    return _show(arguments, questions.Guest(is_on, for_s))


def debug_capture(arguments: argparse.Namespace) -> int:
    """Begin or end debug capture."""
    is_on = {"on": True, "off": False}.get(arguments.switch)
    return _show(arguments, questions.DebugCapture(is_on, _seconds(arguments.period) if is_on else 0.0))


def mute(arguments: argparse.Namespace) -> int:
    """Mute the microphone."""
    answer, _ = ask(arguments, questions.Mute(), answers.Muting)
    if answer.microphone == "open":
        raise UnavailableError(
            "muted, but the ear has not closed the microphone yet",
            "nothing is stored meanwhile; fadeout status says whether it listens",
        )
    if arguments.json:
        shown.print_json(answer)
    else:
        is_away = answer.microphone == "away"
        shown.print_lines("muted: " + ("no ear is running" if is_away else "the microphone is closed"))
    return 0


def unmute(arguments: argparse.Namespace) -> int:
    """Let the microphone open again."""
    answer, _ = ask(arguments, questions.Unmute(), answers.Muting)
    if arguments.json:
        shown.print_json(answer)
    else:
        shown.print_lines("not muted")
    return 0


_MUTED_BY = {
    "mqtt": "by a command over MQTT", "control": "with fadeout mute", "button": "with the button",
    "voice": "by voice", "unknown": "because what is stored of it cannot be read",
}  # fmt: skip


def lines(modes: answers.Modes) -> list[list[str]]:
    """Return what is on as rows of a table."""
    rows = []
    if modes.muted_by:
        end = "the button" if modes.muted_by == "button" else "fadeout unmute"
        rows.append(["MUTED", f"{_MUTED_BY[modes.muted_by]}; {end} ends it"])
    if modes.is_guest:
        until = "until it is switched off"
        if modes.guest_until_s is not None:
            until = f"until {shown.clock_time(modes.guest_until_s)}"
        rows.append(["GUEST MODE", f"nothing is stored, {until}"])
    if modes.is_quiet:
        rows.append(["QUIET", f"nothing is stored: quiet hours ({modes.quiet_hours})"])
    elif modes.quiet_hours:
        rows.append(["quiet hours", modes.quiet_hours])
    if modes.debug_left_s is not None:
        left = shown.span(modes.debug_left_s)
        rows.append(["DEBUG CAPTURE", f"what has no rule is kept too, for another {left}"])
    return rows


def _show(arguments: argparse.Namespace, command: questions.Guest | questions.DebugCapture) -> int:
    answer, _ = ask(arguments, command, answers.Modes)
    if arguments.json:
        shown.print_json(answer)
        return 0
    said = [f"{what.lower()}: {words}" for what, words in lines(answer)]
    if not answer.is_guest:
        said.insert(0, "guest mode is off")
    if isinstance(command, questions.DebugCapture) and answer.debug_left_s is None:
        said.append("debug capture is off")
    shown.print_lines(*said)
    return 0


def _seconds(period: str) -> float:
    try:
        parsed = parse_period(period)
    except PolicyError as err:
        raise UsageError(f"--for: {err}", 'allowed: a period like "90s", "30m", "3h"') from err
    if parsed.ends_on_update:
        raise UsageError(f"--for: given {period}", 'allowed: a period like "90s", "30m", "3h"')
    return float(parsed.seconds)
