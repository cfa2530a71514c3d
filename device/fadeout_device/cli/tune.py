"""`fadeout tune`: which cutoff suits a wake word, measured on audio of which it is known what is in it.

The files are the user's own and are only read; no vault is asked, and nothing is kept.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_device import config
from fadeout_device.cli import shown
from fadeout_device.cli.places import config_file
from fadeout_device.errors import AudioDataError, UnavailableError, UsageError
from fadeout_device.policy import PolicyError
from fadeout_device.wake_words import WakeModel, WakeSettings, first_models

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fadeout_device.ear.adapters.labelled import Labelled
    from fadeout_device.ear.scoring import Scored
    from fadeout_device.ear.tuning import Point


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was measured of one word: `fadeout tune --json`."""

    word: str
    spoken: int
    """How often it is in the audio."""
    other_s: float
    """Seconds of audio without it."""
    cutoff: float
    """What it is set to."""
    recommended: float | None
    points: list[Point]


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verb to the command line."""
    verb = verbs.add_parser(
        "tune",
        help="measure which cutoff suits a wake word, on labelled audio",
        description=(
            "Hears audio files below folders called wake (each holds the word once) and other (none does),"
            " or named in a labels.json beside them, and says for each cutoff how many of the words it"
            " detects and how often an hour it wakes for nothing. Engine and words are those of the"
            " configuration; a second stage is not asked. The files are only read."
        ),
    )
    verb.add_argument("paths", nargs="+", metavar="PATH", help="audio files, or folders of them")
    verb.add_argument("--word", help="only this word: of the configuration, a bundled one, or a model's path")
    verb.add_argument(
        "--png", metavar="FILE", help="draw detection against false accepts (needs fadeout[tune])"
    )
    verb.add_argument("--jobs", type=int, metavar="N", help="processes; one for each processor if not given")
    verb.set_defaults(run=tune)


def tune(arguments: argparse.Namespace) -> int:
    """Measure."""
    if arguments.png and importlib.util.find_spec("matplotlib") is None:
        raise UnavailableError("matplotlib is not installed, which draws", "pip install 'fadeout[tune]'")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"--jobs: given {arguments.jobs}", "allowed: 1 or more")
    path = config_file(arguments)
    settings = _only(config.load(path).wake, arguments.word)
    # Late: numpy, libsndfile and the engines.
    from fadeout_device.ear.adapters.labelled import find_labelled  # noqa: PLC0415

    words = tuple(model.word for model in first_models(settings))
    files = [file for given in arguments.paths for file in find_labelled(Path(given), words)]
    try:
        tuned = _measured(settings, files, arguments)
    except PolicyError as err:
        raise config.located(err, None if arguments.word else path) from err
    if arguments.png:
        from fadeout_device.cli import tune_chart  # noqa: PLC0415 - loads matplotlib

        tune_chart.draw(tuned, Path(arguments.png))
    if arguments.json:
        shown.print_json(tuned)
    else:
        for word in tuned:
            _show(word)
    return 0


def _only(settings: WakeSettings, word: str | None) -> WakeSettings:
    """Return the settings with one word only, if one was asked for."""
    if word is None:
        return settings
    given = {model.word: text for model, text in zip(first_models(settings), settings.words, strict=True)}
    only = msgspec.structs.replace(
        settings, words=(given.get(word, word),), cutoffs={}, second_stage="none", second_stage_models={}
    )
    try:
        (model,) = first_models(only)
    except PolicyError as err:
        raise UsageError(f"--word: {err}", err.hint) from err
    return msgspec.structs.replace(only, cutoffs=_cutoff_of(settings, model))


def _cutoff_of(settings: WakeSettings, model: WakeModel) -> dict[str, float]:
    return {model.word: settings.cutoffs[model.word]} if model.word in settings.cutoffs else {}


def _measured(
    settings: WakeSettings, files: Sequence[Labelled], arguments: argparse.Namespace
) -> list[Tuned]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    from fadeout_device.ear import scoring, tuning  # noqa: PLC0415

    jobs = min(arguments.jobs or os.cpu_count() or 1, len(files))
    # Loaded here first: a model that cannot be run is told before any process starts.
    cutoffs = scoring.Scorer(settings).cutoffs
    every = scoring.score_all(settings, files, jobs)
    console = Console(stderr=True)
    scored: list[Scored] = list(
        track(every, "hearing", len(files), console=console, transient=True, disable=not console.is_terminal)
    )
    tuned = []
    for word, cutoff in cutoffs.items():
        traces = [each.traces[word] for each in scored]
        points = tuning.sweep(traces, (*tuning.CUTOFFS, cutoff), settings.refractory_ms)
        best = tuning.recommended(points)
        tuned.append(
            Tuned(
                word=word,
                spoken=sum(trace.expected for trace in traces),
                other_s=sum(trace.duration_s for trace in traces if not trace.expected),
                cutoff=cutoff,
                recommended=None if best is None else best.cutoff,
                points=points,
            )
        )
    if not any(word.spoken for word in tuned) and not any(word.other_s for word in tuned):
        raise AudioDataError("no audio to measure on")
    return tuned


def _show(tuned: Tuned) -> None:
    rows = [
        [
            f"{point.cutoff:.2f}",
            "-" if point.detection is None else f"{point.detected} of {tuned.spoken}",
            "-" if point.detection is None else f"{100 * point.detection:.1f} %",
            "-" if point.false_accepts_per_hour is None else str(point.false_accepts),
            "-" if point.false_accepts_per_hour is None else f"{point.false_accepts_per_hour:.2f}",
            _remark(tuned, point),
        ]
        for point in tuned.points
    ]
    columns = ["cutoff", "detected", "", "false accepts", "per hour", ""]
    spoken = shown.count(tuned.spoken, "time", "times")
    shown.print_table(f"{tuned.word}: {spoken}, and {shown.span(tuned.other_s)} without it", columns, rows)
    if tuned.recommended is None:
        missing = "files with the word" if not tuned.spoken else "files without the word"
        if tuned.spoken and tuned.other_s:
            missing = "a file in which the word is detected"
        shown.print_lines(f"no recommendation: it takes {missing}")
    else:
        shown.print_lines(
            f"recommended: [wake] cutoffs = {{ {tuned.word} = {tuned.recommended:g} }}",
            "the fewest false accepts among the cutoffs that lose at most 1 % of what the best detects",
        )


def _remark(tuned: Tuned, point: Point) -> str:
    remarks = ["now"] if point.cutoff == tuned.cutoff else []
    return ", ".join(remarks + (["recommended"] if point.cutoff == tuned.recommended else []))
