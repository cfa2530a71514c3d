"""`fadeout list`, `show`, `play`, `erase`: what is held, and letting go of it."""

from __future__ import annotations

import sys
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fadeout_device import answers, questions
from fadeout_device.cli import shown
from fadeout_device.cli.naming import add_naming, complete_recordings, since_s
from fadeout_device.cli.places import state_folder
from fadeout_device.cli.vault_client import ask
from fadeout_device.ear.adapters import remembered
from fadeout_device.errors import StorageError, UnavailableError

if TYPE_CHECKING:
    import argparse

RATE_HZ = 16_000
SAMPLE_BYTES = 2


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser("list", help="list the recordings that are held, newest first")
    verb.set_defaults(run=list_recordings)

    verb = verbs.add_parser("show", help="show what is known about one recording; opens its envelope")
    add_recording(verb)
    verb.set_defaults(run=show)

    verb = verbs.add_parser("play", help="play one recording, or write it to a WAV file")
    add_recording(verb)
    verb.add_argument("-o", "--output", type=Path, metavar="FILE", help="write a WAV file instead")
    verb.set_defaults(run=play)

    verb = verbs.add_parser(
        "erase",
        help="erase recordings: their keys are destroyed before the command returns",
        description="Name what to erase in one way. What is erased cannot be had back by anyone.",
    )
    add_naming(verb)
    verb.add_argument(
        "--now", action="store_true",
        help="with --all: at once and without asking; the root of all keys first, whatever the disk is like",
    )  # fmt: skip
    verb.add_argument("-y", "--yes", action="store_true", help="do not ask before erasing everything")
    verb.set_defaults(run=erase)

    verb = verbs.add_parser(
        "reset",
        help="make the device as new, before another person has it",
        description="Erases every key at once, then everything that was ever stored: index, ledger, the"
        " device's name, enrolled recipients. The configuration file is yours to remove.",
    )
    verb.add_argument("-y", "--yes", action="store_true", help="do not ask")
    verb.set_defaults(run=reset)


def add_recording(verb: argparse.ArgumentParser) -> None:
    """Take the id of one recording."""
    named = verb.add_argument("recording", metavar="ID", help="its id, or the start of it")
    named.completer = complete_recordings  # type: ignore[attr-defined]  # how argcomplete is told


def list_recordings(arguments: argparse.Namespace) -> int:
    """List what is held."""
    answer, _ = ask(arguments, questions.ListRecordings(), answers.Recordings)
    if arguments.json:
        shown.print_json(answer.recordings)
        return 0
    if not answer.recordings:
        shown.print_lines("nothing is held")
        return 0
    now = time.time()
    rows = [
        [
            row.recording,
            _outcome(row),
            ", ".join(dict.fromkeys(item.kind for item in row.items)),
            "; ".join(
                dict.fromkeys(
                    f"{item.kind} {shown.ending(item.expires_at_s, now, on_update=item.ends_on_update)}"
                    for item in row.items
                )
            ),
        ]
        for row in answer.recordings
    ]
    shown.print_table(f"{len(rows)} held", ["recording", "outcome", "kept", "erased"], rows)
    return 0


def _outcome(row: answers.RecordingRow) -> str:
    return f"{row.outcome} (reported {row.reported})" if row.reported else row.outcome


def show(arguments: argparse.Namespace) -> int:
    """Show one recording's metadata."""
    answer, _ = ask(arguments, questions.Show(arguments.recording), answers.Opened)
    if arguments.json:
        shown.print_json(answer)
        return 0
    now = time.time()
    shown.print_table(
        f"recording {answer.row.recording}",
        ["", "", ""],
        [
            ["captured", shown.clock_time(answer.captured_at_s)],
            ["wake word", f"{answer.wake_word} (score {answer.score:.3f})"],
            ["length", f"{answer.duration_s:.1f} s, speech {answer.speech_s:.1f} s"],
            ["outcome", _outcome(answer.row)],
            ["action", answer.action],
            *[
                [
                    f"{item.kind}{f' of the {item.part}' if item.part else ''} erased",
                    shown.clock_time(item.expires_at_s),
                    shown.ending(item.expires_at_s, now, on_update=item.ends_on_update),
                ]
                for item in answer.row.items
            ],
        ],
    )
    return 0


def play(arguments: argparse.Namespace) -> int:
    """Play one recording, or write it to a file."""
    answer, audio = ask(arguments, questions.Play(arguments.recording), answers.Opened)
    if arguments.output is None:
        _play_aloud(audio)
    else:
        _write_wav(arguments.output, audio)
    if arguments.json:
        shown.print_json(answer)
    elif arguments.output is not None:
        shown.print_lines(
            f"wrote {arguments.output}: {len(audio) / SAMPLE_BYTES / RATE_HZ:.1f} s, in clear;"
            " fadeout does not erase this copy"
        )
    return 0


def erase(arguments: argparse.Namespace) -> int:
    """Erase recordings."""
    captured_within_s = since_s(arguments)
    if (
        arguments.everything
        and not arguments.now
        and not _is_sure(arguments, "erase everything that is held")
    ):
        return 1
    command = questions.Erase(
        tuple(arguments.recordings), arguments.last, captured_within_s, arguments.everything, arguments.now
    )
    answer, _ = ask(arguments, command, answers.Erased)
    return _report(arguments, answer)


def reset(arguments: argparse.Namespace) -> int:
    """Make the device as new."""
    if not _is_sure(arguments, "erase everything and make this device as new"):
        return 1
    answer, _ = ask(arguments, questions.Reset(), answers.Erased)
    remembered.forget(state_folder(arguments))
    return _report(arguments, answer)


def _is_sure(arguments: argparse.Namespace, what: str) -> bool:
    """Ask a person at a terminal; whoever said --yes, and a program, is sure."""
    if arguments.yes or not sys.stdin.isatty():
        return True
    answered = input(f"{what}? nobody can undo it [y/N] ")
    if answered.strip().lower() in ("y", "yes"):
        return True
    shown.print_lines("nothing was erased")
    return False


def _report(arguments: argparse.Namespace, answer: answers.Erased) -> int:
    if arguments.json:
        shown.print_json(answer)
    elif answer.items:
        shown.print_lines(
            f"erased {shown.count(len(answer.recordings), 'recording')}"
            f" ({shown.count(answer.items, 'key')} destroyed)"
        )
    else:
        shown.print_lines("nothing to erase")
    if answer.note and not arguments.json:
        shown.print_lines(f"note: {answer.note}")
    if answer.left and not arguments.json:
        shown.print_lines(f"note: {answer.left}; it is tried again every minute")
    return 0


def _write_wav(path: Path, audio: bytes) -> None:
    try:
        with path.open("wb") as file, wave.open(file) as wav:
            wav.setnchannels(1)
            wav.setsampwidth(SAMPLE_BYTES)
            wav.setframerate(RATE_HZ)
            wav.writeframes(audio)
    except OSError as err:
        raise StorageError(
            f"{path}: {(err.strerror or str(err)).lower()}", "choose another file with -o"
        ) from err


def _play_aloud(audio: bytes) -> None:
    import pyaudio  # noqa: PLC0415 - only needed here

    from fadeout_device.ear.adapters.portaudio import quiet_portaudio  # noqa: PLC0415

    with quiet_portaudio() as portaudio:
        try:
            stream = portaudio.open(RATE_HZ, 1, pyaudio.paInt16, output=True)
        except OSError as err:
            raise UnavailableError(
                f"no speaker could be opened: {err.strerror or err}", "write a WAV file with -o FILE"
            ) from err
        stream.write(audio)
        stream.stop_stream()
        stream.close()
