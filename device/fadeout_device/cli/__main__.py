"""The `fadeout` command: argv, verbs, exit codes."""

# PYTHON_ARGCOMPLETE_OK
from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import argcomplete

from fadeout_device import __version__
from fadeout_device.cli import (
    actions,
    checks,
    clock,
    explain,
    export,
    health,
    held,
    ledger,
    microphones,
    modes,
    replay,
    reporting,
    root,
    run,
    tune,
)
from fadeout_device.errors import FadeoutError

_EXIT_INTERRUPTED = 130

_EPILOG = """\
first steps:
  fadeout devices                 which microphones are there
  fadeout doctor audio            speak for two seconds: is the microphone as it should be?
  fadeout run                     listen, seal, report, forget (Ctrl-C stops)
  fadeout replay FILE             see what would be kept of a WAV, FLAC, OGG or MP3 file
  fadeout list                    what is held, and until when
  fadeout erase --last 1          destroy the newest recording's keys

exit codes: 0 done, 1 a replay is not as expected, 64 wrong usage, 65 bad audio,
66 no such recording, 67 no such recipient, 69 something does not answer, 73 cannot write, 74 erasing failed,
75 the time is not certain, 78 configuration
"""


class _Parser(argparse.ArgumentParser):
    """A parser with the options that every verb takes."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(**options)
        group = self.add_argument_group("everywhere")
        # SUPPRESS: an option given before the verb must not be reset by the verb's default.
        for flag, metavar, words in (
            ("--state", "DIR", "the state folder (or FADEOUT_STATE)"),
            ("--config", "FILE", "the configuration file (or FADEOUT_CONFIG)"),
        ):
            group.add_argument(flag, metavar=metavar, default=argparse.SUPPRESS, help=words)
        words = "print JSON for machines"
        group.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=words)


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    whole = _Parser(
        prog="fadeout",
        description="A voice recorder that forgets.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"fadeout {__version__}")
    verbs = whole.add_subparsers(metavar="VERB", required=True, title="verbs", parser_class=_Parser)
    for group_of_verbs in (
        run,
        replay,
        held,
        export,
        ledger,
        explain,
        modes,
        reporting,
        health,
        clock,
        root,
        actions,
        checks,
        microphones,
        tune,
    ):
        group_of_verbs.add_verbs(verbs)
    return whole


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    grammar = parser()
    argcomplete.autocomplete(grammar)
    try:
        arguments = grammar.parse_args(argv, argparse.Namespace(state=None, config=None, json=False))
    except SystemExit as stop:
        # argparse says 2; the table above says 64.
        return os.EX_USAGE if stop.code == 2 else int(stop.code or 0)  # noqa: PLR2004 - argparse's number
    try:
        return int(arguments.run(arguments))
    except FadeoutError as err:
        print(*err.lines(), sep="\n", file=sys.stderr)  # noqa: T201 - this is a command
        return err.exit_code
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader had enough (`fadeout watch | head`): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
