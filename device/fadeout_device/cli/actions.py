"""`fadeout actions`: what the recogniser understands, and what a sentence would do."""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fadeout_device import config
from fadeout_device.actions import spoken
from fadeout_device.actions_file import file_of, parse_actions, read_text
from fadeout_device.cli import shown
from fadeout_device.cli.places import config_file
from fadeout_device.ear.adapters.dictionary import phones_of
from fadeout_device.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from fadeout_device.actions import Actions

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
    verb.add_argument(
        "--sound", metavar="WORDS",
        help='print the phones of words, as [pronunciations] takes them: --sound "room bar"',
    )  # fmt: skip
    verb.set_defaults(run=show)


def show(arguments: argparse.Namespace) -> int:
    """List the actions, try a sentence, or say how words sound."""
    if arguments.sound is not None:
        return _sound(arguments)
    settings = config.load(config_file(arguments)).recogniser
    path = file_of(settings)
    found = parse_actions(read_text(path), str(path))
    if arguments.text is not None:
        return _try(arguments, found)
    ways = Counter(found.by_words.values())
    if arguments.json:
        shown.print_json({"file": str(path), "engine": settings.engine, "actions": dict(ways)})
        return 0
    rows = [[action, str(ways[action])] for action in found.ids]
    shown.print_table(shown.count(len(rows), "action"), ["action", "ways to say it"], rows)
    off = ' (not used: engine = "none" under [recogniser])' if settings.engine == "none" else ""
    shown.print_lines(f"from {path}{off}")
    return 0


def _try(arguments: argparse.Namespace, found: Actions) -> int:
    words = spoken(arguments.text)
    action = found.action(words)
    if arguments.json:
        shown.print_json({"words": words, "action": action})
    elif action:
        shown.print_lines(action)
    else:
        shown.print_lines("no action: it would be a failed request")
        unknown = [word for word in words.split() if word not in found.words]
        if unknown:
            shown.print_lines(f"in no sentence of the file: {', '.join(dict.fromkeys(unknown))}")
        near = get_close_matches(words, found.by_words, n=1)
        if near:
            shown.print_lines(f"the nearest sentence: {near[0]}")
    return 0 if action else _EXIT_NO_ACTION


def _sound(arguments: argparse.Namespace) -> int:
    words = spoken(arguments.sound).split()
    known = phones_of(words)
    missing = next((word for word in words if word not in known), None)
    if not words or missing is not None:
        raise ConfigError(
            f'the recogniser does not know how "{missing}" sounds' if words else "no words",
            'write it as English words that together sound like it: --sound "room bar"',
        )
    phones = " ".join(known[word] for word in words)
    if arguments.json:
        shown.print_json({"words": " ".join(words), "phones": phones})
    else:
        shown.print_lines(phones)
    return 0
