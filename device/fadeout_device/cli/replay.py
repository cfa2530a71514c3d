"""`fadeout replay`: what would be heard, done and kept of audio files, and whether it is what should be.

The same ear and the same vault as ever, without microphone or broker; but the audio's time
is the clock: so an hour takes minutes, and the results are the same at every speed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fadeout_device import config
from fadeout_device.cli import shown
from fadeout_device.cli.new_file import NewFile
from fadeout_device.cli.places import config_file
from fadeout_device.cli.replay_report import Report
from fadeout_device.errors import AudioDataError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fadeout_device.replaying.heard import HeardFile
    from fadeout_device.replaying.rounds import Replaying
    from fadeout_device.replaying.sound_loop import Devices
    from fadeout_device.replaying.verdicts import Asked, Verdict

_EXIT_MISMATCH = 1
_EXIT_INTERRUPTED = 130


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verb to the command line."""
    verb = verbs.add_parser(
        "replay",
        help="see what would be heard, done and kept of audio files, or check that it is what should be",
        description=(
            "Sends WAV, FLAC, OGG or MP3 files (of any rate and channel count), folders of them or patterns"
            " through the ear and the vault, and prints one line for each utterance. Where an expect.toml"
            " stands beside them, what came is held against it, and a difference is exit code 1. Time is the"
            " audio's: it starts at 2020-01-01T00:00:00Z in a throw-away state, and now in one you name with"
            " --state. docs/replay.md has the rest."
        ),
    )
    verb.add_argument("paths", nargs="+", metavar="PATH", help="audio files, folders, patterns, manifests")
    verb.add_argument("--speed", choices=["max", "real"], help="as fast as can be, or in real time")
    verb.add_argument(
        "--through-microphone",
        action="store_true",
        help="play the files into a loop of sound, and listen to them with the real microphone path",
    )
    play = verb.add_argument(
        "--play-device", metavar="ALSA", help="play into this end of a loop that is there: hw:Loopback,0"
    )
    microphone = verb.add_argument(
        "--microphone", metavar="NAME", help="listen at this end of it: a name from fadeout devices"
    )
    jobs = verb.add_argument(
        "--jobs", type=_jobs, default=1, metavar="N",
        help="share the files among so many ears, each with a vault of its own, that hear at the same time",
    )  # fmt: skip
    verb.add_argument("--junit", metavar="FILE", type=Path, help="write a JUnit XML report")
    verb.add_argument("--unchecked", action="store_true", help="take no notice of any expect.toml")
    verb.add_argument(
        "--record-expectations",
        action="store_true",
        help="write expect.toml from what comes, beside the files",
    )
    verb.add_argument("--force", action="store_true", help="replace an expect.toml that is there")
    for option in (play, microphone, jobs):
        # No file is meant, which is what would be offered.
        option.completer = _nothing
    verb.set_defaults(run=replay)


def _nothing(**_: object) -> tuple[str, ...]:
    return ()


def _jobs(given: str) -> int:
    if not given.isdecimal() or not 1 <= int(given) <= 64:  # noqa: PLR2004 - more is a mistake
        raise argparse.ArgumentTypeError("a number from 1 to 64")
    return int(given)


def replay(arguments: argparse.Namespace) -> int:
    """Replay files."""
    # Here: other verbs need none of it.
    from fadeout_device.replaying.rounds import Job, Replaying  # noqa: PLC0415
    from fadeout_device.replaying.verdicts import look_up  # noqa: PLC0415

    _refuse_what_does_not_fit(arguments)
    path = config_file(arguments)
    config.load(path)
    is_recording = arguments.record_expectations
    asked = look_up(arguments.paths, is_checked=not arguments.unchecked)
    if is_recording:
        # What is gone goes from the manifest, too, unless it was asked for by name.
        asked = [one for one in asked if one.path.exists() or not one.is_expected]
        _refuse_what_cannot_be_written(asked, may_replace=arguments.force)
    job = Job(path, speed=arguments.speed or "max")
    if arguments.through_microphone:
        job = job._replace(through_microphone=True, devices=_devices(arguments))
    elif arguments.state:
        job = job._replace(state=Path(arguments.state).absolute(), start_at_s=time.time())
    replaying = Replaying([one.path for one in asked], job, arguments.jobs)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: replaying.stop())
    report = Report(
        [str(one.path) for one in asked],
        as_json=arguments.json,
        through_microphone=job.through_microphone,
    )
    with contextlib.ExitStack() as stack:
        # Begun first: who cannot write the report learns it before the audio is through.
        junit = arguments.junit and stack.enter_context(_junit_file(arguments.junit))
        with report:
            for event in replaying.events():
                report.take(event)
        return _conclude(arguments, asked, replaying, report, junit)


def _conclude(
    arguments: argparse.Namespace,
    asked: Sequence[Asked],
    replaying: Replaying,
    report: Report,
    junit: NewFile | None,
) -> int:
    """Hold what came against what was expected, and write what was asked for; return the exit code."""
    from fadeout_device.replaying.verdicts import MICROPHONE_TOLERANCE_S, judge  # noqa: PLC0415

    if replaying.refusal is not None:
        return replaying.refusal
    if not report.is_complete:
        # What is missing was not replayed: no verdict, no report and no manifest.
        return _EXIT_INTERRUPTED
    report.summarise()
    if arguments.record_expectations:
        _record(asked, report.files, report)
        return AudioDataError.exit_code if any(heard.error for heard in report.files) else os.EX_OK
    least_s = MICROPHONE_TOLERANCE_S if arguments.through_microphone else 0.0
    verdicts = [judge(one, heard, least_s) for one, heard in zip(asked, report.files, strict=True)]
    report.show_verdicts(verdicts)
    if junit is not None:
        from fadeout_device.replaying.junit import junit_xml  # noqa: PLC0415

        junit.write(junit_xml(verdicts, through_microphone=arguments.through_microphone))
        junit.commit()
    return _exit_code(verdicts)


def _refuse_what_does_not_fit(arguments: argparse.Namespace) -> None:
    if arguments.state and arguments.jobs > 1:
        raise UsageError("--state with --jobs: one state folder is for one vault", "leave one of them out")
    if arguments.force and not arguments.record_expectations:
        raise UsageError("--force without --record-expectations: nothing would be replaced")
    if arguments.junit and arguments.record_expectations:
        raise UsageError("--junit with --record-expectations: nothing is checked", "leave one of them out")
    if arguments.through_microphone:
        _refuse_what_no_microphone_does(arguments)
        return
    for option in ("play_device", "microphone"):
        if getattr(arguments, option) is not None:
            shown = option.replace("_", "-")
            raise UsageError(f"--{shown} without --through-microphone: nothing would be played")


def _refuse_what_no_microphone_does(arguments: argparse.Namespace) -> None:
    if arguments.record_expectations:
        raise UsageError(
            "--record-expectations with --through-microphone: no two runs of it are alike",
            "record without it, and check with it",
        )
    if arguments.speed == "max":
        raise UsageError("--speed max with --through-microphone: a microphone hears in real time")
    if arguments.state:
        raise UsageError(
            "--state with --through-microphone: its state is thrown away", "leave one of them out"
        )
    if (arguments.play_device is None) != (arguments.microphone is None):
        raise UsageError(
            "--play-device and --microphone belong together: the two ends of one loop",
            "leave both out for a loop of its own",
        )
    if arguments.play_device is not None and arguments.jobs > 1:
        raise UsageError("--jobs with --play-device: one loop is for one ear", "leave one of them out")


def _devices(arguments: argparse.Namespace) -> Devices | None:
    from fadeout_device.replaying.sound_loop import Devices  # noqa: PLC0415 - where it is used

    if arguments.play_device is None:
        return None
    return Devices(arguments.play_device, arguments.microphone)


def _refuse_what_cannot_be_written(asked: Sequence[Asked], *, may_replace: bool) -> None:
    """Refuse before anything is replayed."""
    from fadeout_device.replaying.expectations import MANIFEST  # noqa: PLC0415

    for folder in dict.fromkeys(one.folder for one in asked):
        if not may_replace and os.path.lexists(folder / MANIFEST):
            raise UsageError(f"{folder / MANIFEST} is there already", "replace it with --force")
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise StorageError(f"{folder / MANIFEST}: permission denied", "it is written beside the files")


def _record(asked: Sequence[Asked], came: Sequence[HeardFile], report: Report) -> None:
    """Write the manifests, each in one step.

    One that is replaced keeps its tolerances, and the entries of files that are there and were not replayed.
    """
    from fadeout_device.replaying.expectations import (  # noqa: PLC0415
        MANIFEST,
        Manifest,
        dump,
        from_heard,
        load,
    )

    # Of what is not there nothing can be expected.
    there = [pair for pair in zip(asked, came, strict=True) if pair[0].path.is_file()]
    for folder in dict.fromkeys(one.folder for one, _ in there):
        path = folder / MANIFEST
        before = None
        if path.exists():
            old = load(path)
            kept = {name: file for name, file in old.files.items() if (folder / name).exists()}
            before = Manifest(path, kept, old.tolerance)
        files = {one.name: heard for one, heard in there if one.folder == folder}
        manifest = from_heard(files, before, path)
        with NewFile(path, may_replace=path.exists(), hint="it is written beside the files") as file:
            file.write(dump(manifest).encode())
            file.commit()
        report.note(f"{path} expects what came of {shown.count(len(files), 'file')}")


def _junit_file(path: Path) -> NewFile:
    return NewFile(path, may_replace=True, hint="choose another file with --junit")


def _exit_code(verdicts: Sequence[Verdict]) -> int:
    results = {verdict.result for verdict in verdicts}
    if "failed" in results:
        return _EXIT_MISMATCH
    return AudioDataError.exit_code if "bad" in results else os.EX_OK
