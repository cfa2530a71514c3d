"""How recordings and recipients are named on a command line, and how a shell completes their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fadeout_device import answers, questions
from fadeout_device.cli.vault_client import ask
from fadeout_device.errors import FadeoutError, UsageError
from fadeout_device.policy import PolicyError, parse_period

if TYPE_CHECKING:
    import argparse


def add_naming(verb: argparse.ArgumentParser) -> None:
    """Add the four ways to name recordings; the vault sees to it that one of them is used."""
    named = verb.add_argument("recordings", nargs="*", metavar="ID", help="ids, or the starts of them")
    named.completer = complete_recordings  # type: ignore[attr-defined]  # how argcomplete is told
    verb.add_argument("--last", type=int, metavar="N", help="the newest N recordings")
    verb.add_argument("--since", metavar="PERIOD", help="everything captured in the last 90s, 15m, 1h, 7d …")
    verb.add_argument("--all", action="store_true", dest="everything", help="everything")


def since_s(arguments: argparse.Namespace) -> float | None:
    """Return `--since` in seconds, and refuse a `--last` that names nothing. Raises UsageError."""
    if arguments.last is not None and arguments.last < 1:
        raise UsageError(f"--last: given {arguments.last}", "allowed: 1 or more")
    if arguments.since is None:
        return None
    try:
        return float(parse_period(arguments.since).seconds)
    except PolicyError as err:
        raise UsageError(f"--since: {err}", 'allowed: a period like "90s", "15m", "1h", "7d"') from err


def complete_recordings(prefix: str, parsed_args: argparse.Namespace, **_options: object) -> list[str]:
    """Return the ids that a shell may complete `prefix` to; none if no fadeout answers."""
    try:
        answer, _ = ask(parsed_args, questions.ListRecordings(), answers.Recordings)
    except FadeoutError:
        return []
    return [row.recording for row in answer.recordings if row.recording.startswith(prefix)]


def complete_recipients(prefix: str, parsed_args: argparse.Namespace, **_options: object) -> list[str]:
    """Return the names of recipients that a shell may complete `prefix` to."""
    try:
        answer, _ = ask(parsed_args, questions.ListRecipients(), answers.Recipients)
    except FadeoutError:
        return []
    return [row.name for row in answer.recipients if row.name.startswith(prefix)]
