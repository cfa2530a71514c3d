"""`fadeout actions`: what the recogniser understands, and what a sentence would do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fadeout_device import config
from fadeout_device.actions import spoken
from fadeout_device.actions_file import file_of, parse_actions, read_text
from fadeout_device.cli import shown
from fadeout_device.cli.places import config_file

if TYPE_CHECKING:
    import argparse

_EXIT_NO_ACTION = 1


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verb to the command line."""
    verb = verbs.add_parser(
        "actions",
        help="list what the recogniser understands",
        description="Lists the actions of the actions file, each with the number of ways to say it.",
    )
    verb.add_argument(
        "--try", dest="text", metavar="TEXT", help="say what a sentence would do; exit code 1: nothing"
    )
    verb.set_defaults(run=show)


def show(arguments: argparse.Namespace) -> int:
    """List the actions, or try a sentence."""
    settings = config.load(config_file(arguments)).recogniser
    path = file_of(settings)
    found = parse_actions(read_text(path), str(path))
    if arguments.text is not None:
        return _try(arguments, found.action(arguments.text))
    ways = Counter(found.by_words.values())
    if arguments.json:
        shown.print_json({"file": str(path), "engine": settings.engine, "actions": dict(ways)})
        return 0
    rows = [[action, str(ways[action])] for action in found.ids]
    shown.print_table(shown.count(len(rows), "action"), ["action", "ways to say it"], rows)
    off = ' (not used: engine = "none" under [recogniser])' if settings.engine == "none" else ""
    shown.print_lines(f"from {path}{off}")
    return 0


def _try(arguments: argparse.Namespace, action: str | None) -> int:
    if arguments.json:
        shown.print_json({"words": spoken(arguments.text), "action": action})
    else:
        shown.print_lines(action or "no action: it would be a failed request")
    return 0 if action else _EXIT_NO_ACTION
