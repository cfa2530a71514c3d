"""`fadeout tune`: which cutoff suits a wake word, measured on audio of which it is known what is in it.

The files are the user's own and are only read; no vault is asked, and nothing is kept.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fadeout_device import config
from fadeout_device.cli import shown
from fadeout_device.cli.places import config_file
from fadeout_device.errors import AudioDataError, UnavailableError, UsageError
from fadeout_device.policy import PolicyError
from fadeout_device.replaying.expectations import MANIFEST
from fadeout_device.wake_words import WakeModel, WakeSettings, check_files, first_models

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fadeout_device.cli.tune_report import Tuned, TunedSecond, Tuning
    from fadeout_device.ear.adapters.labelled import Labelled
    from fadeout_device.ear.scoring import Scored

_T = TypeVar("_T")


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verb to the command line."""
    verb = verbs.add_parser(
        "tune",
        help="measure which cutoff suits a wake word, on labelled audio",
        description=(
            "Hears audio files below folders called wake (each holds the word once) and other (none does),"
            " or named in an expect.toml or labels.json beside them, and says for each cutoff how many of"
            " the words it detects and how often an hour it wakes for nothing; for a second stage as well,"
            " with the first one as it is set. Engine and words are those of the configuration. The files"
            " are only read."
        ),
    )
    verb.add_argument(
        "paths", nargs="+", metavar="PATH", help="audio files, folders of them, or an expect.toml"
    )
    verb.add_argument("--word", help="only this word: of the configuration, a bundled one, or a model's path")
    verb.add_argument(
        "--second-stage",
        action="store_true",
        help="measure openwakeword as a second stage, also where the configuration has none",
    )
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
    from fadeout_device.cli import tune_report  # noqa: PLC0415
    from fadeout_device.replaying.labels import find_labelled  # noqa: PLC0415

    try:
        if arguments.second_stage:
            settings = msgspec.structs.replace(settings, second_stage="openwakeword")
        words = tuple(model.word for model in first_models(settings))
        check_files(settings)
        files = [file for given in arguments.paths for file in find_labelled(Path(given), words)]
        _check(files, words)
        tuned = _measured(settings, files, arguments)
    except PolicyError as err:
        is_mine = arguments.word or arguments.second_stage
        raise config.located(err, None if is_mine else path) from err
    if arguments.png:
        from fadeout_device.cli import tune_chart  # noqa: PLC0415 - loads matplotlib

        tune_chart.draw(tuned, Path(arguments.png))
    if arguments.json:
        shown.print_json(tuned)
    else:
        tune_report.show(tuned)
    tune_report.tell_unreadable(tuned)
    return AudioDataError.exit_code if tuned.unreadable else 0


def _check(files: Sequence[Labelled], words: tuple[str, ...]) -> None:
    """Check that there is something to measure on, before anything is heard."""
    listened, among = " or ".join(words), shown.count(len(files), "file")
    if not any(word in words for file in files for word in file.words):
        named = sorted({word for file in files for word in file.words})
        hint = f"put files below wake, or name them in {MANIFEST} with wake_word"
        if named:
            hint = f"the files hold {', '.join(named)}: say --word WORD, or change the labels"
        raise AudioDataError(f"no file in which {listened} is said, among {among}", hint)
    if not any(set(words) - set(file.words) for file in files):
        hint = "put talk, television, music below other: the longer, the better"
        raise AudioDataError(f"no file without {listened}, among {among}", hint)


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
    return msgspec.structs.replace(
        only,
        cutoffs=_of(model, settings.cutoffs),
        second_stage=settings.second_stage if model.engine == "microwakeword" else "none",
        second_stage_models=_of(model, settings.second_stage_models),
    )


def _of(model: WakeModel, given: dict[str, _T]) -> dict[str, _T]:
    return {word: value for word, value in given.items() if word == model.word}


def _measured(settings: WakeSettings, files: Sequence[Labelled], arguments: argparse.Namespace) -> Tuning:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    from fadeout_device.cli.tune_report import Tuned, Tuning  # noqa: PLC0415
    from fadeout_device.ear import scoring, tuning  # noqa: PLC0415

    jobs = min(arguments.jobs or os.cpu_count() or 1, len(files))
    # Loaded here first: a model that cannot be run is told before any process starts.
    scorer = scoring.Scorer(settings)
    every = scoring.score_all(settings, files, jobs)
    console = Console(stderr=True)
    heard = list(
        track(every, "hearing", len(files), console=console, transient=True, disable=not console.is_terminal)
    )
    scored = [each for each in heard if isinstance(each, scoring.Scored)]
    words = []
    for word, cutoff in scorer.cutoffs.items():
        traces = [each.traces[word] for each in scored]
        points = tuning.sweep(traces, (*tuning.CUTOFFS, cutoff), settings.refractory_ms)
        best = tuning.recommended(points)
        other_s = sum(trace.duration_s for trace in traces if not trace.expected)
        words.append(
            Tuned(
                word=word,
                spoken=sum(trace.expected for trace in traces),
                other_s=other_s,
                cutoff=cutoff,
                recommended=None if best is None else best.cutoff,
                limits=tuning.limits(points, other_s),
                points=points,
            )
        )
    return Tuning(
        words,
        _second(settings, [word for word in words if word.word in scorer.asked], scored),
        [each for each in heard if isinstance(each, scoring.Unreadable)],
    )


def _second(settings: WakeSettings, words: Sequence[Tuned], scored: Sequence[Scored]) -> TunedSecond | None:
    from fadeout_device.cli.tune_report import TunedSecond  # noqa: PLC0415
    from fadeout_device.ear import tuning  # noqa: PLC0415

    if not words:
        return None
    cutoff = settings.second_stage_cutoff
    spoken = [word.spoken for word in words]
    asked = [[each.questions[word.word] for each in scored] for word in words]
    points = tuning.sweep_second(asked, (*tuning.SECOND_CUTOFFS, cutoff), settings.refractory_ms)
    now = [next(point for point in word.points if point.cutoff == word.cutoff) for word in words]
    alone = tuning.pooled(now, spoken)
    best = tuning.recommended(points, alone.detected)
    # Rates of several words are summed, so what can be told is what the shortest audio tells.
    other_s = min(word.other_s for word in words)
    return TunedSecond(
        words=[word.word for word in words],
        spoken=sum(spoken),
        alone=alone,
        cutoff=cutoff,
        recommended=None if best is None else best.cutoff,
        limits=tuning.limits(points, other_s),
        points=points,
    )
