"""The recogniser on speech that was synthesised: right, wrong, cost, and plain grammar decoding beside it.

200 sentences, half of them outside of the list, by four voices of flite and two of espeak-ng;
by flite's also with noise and in rooms. An action counts as right when it is the sentence's own,
and as false when the sentence has none. Takes some ten minutes on two cores; --quick a tenth.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from measured import Measurement, at_most
from pocketsphinx import Config, Decoder, get_model_path
from recogniser_speech import CONDITIONS, ESPEAK, FLITE, PROGRAMS, Clip, clips
from rich.progress import track

from fadeout_device.actions_file import load_actions
from fadeout_device.config import RecogniserSettings
from fadeout_device.ear.adapters.decoder_line import DecoderLine
from fadeout_device.ear.adapters.sphinx import Sphinx
from fadeout_device.ear.recognition import judged

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

SUMMARY = "how often the recogniser is right, and what it costs"
SETTINGS = RecogniserSettings(engine="pocketsphinx", timeout_s=60.0)
ACTIONS = load_actions(SETTINGS)
LEAST_RIGHT, MOST_FALSE, MOST_CPU = 95.0, 2.0, 0.05
_BYTES_PER_SECOND = 32_000


class Result(NamedTuple):
    """What came of one clip."""

    clip: Clip
    found: str | None
    plain: str | None
    """By plain grammar decoding, without rejection."""
    ratio: float
    beside: float
    cpu_s: float
    plain_cpu_s: float
    length_s: float


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--raw", type=Path, metavar="FILE", help="write a line of JSON for each clip")


def measure(arguments: argparse.Namespace) -> list[Measurement]:
    """Say everything, listen, and count."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise SystemExit(f"not installed: {', '.join(missing)}: see scripts/setup")
    results = list(_results(clips(ACTIONS, is_quick=arguments.quick)))
    if arguments.raw:
        _write(arguments.raw, results)
    clean = [result for result in results if result.clip.condition == "clean"]
    flite = [result for result in clean if result.clip.voice in FLITE]
    rows = [
        _right("flite, four voices: right", flite, LEAST_RIGHT),
        _false("flite, four voices: false actions", flite, MOST_FALSE),
        _right("  plain grammar: right", flite, plain=True),
        _false("  plain grammar: false actions", flite, plain=True),
    ]
    for voice in (*FLITE, *ESPEAK):
        own = [result for result in clean if result.clip.voice == voice]
        rows += [_right(f"{voice}: right", own), _false(f"{voice}: false actions", own)]
    for condition in list(CONDITIONS)[1:]:
        own = [result for result in results if result.clip.condition == condition]
        rows += [
            _right(f"{condition}: right", own),
            _false(f"{condition}: false actions", own),
            _right(f"{condition}, plain: right", own, plain=True),
            _false(f"{condition}, plain: false actions", own, plain=True),
        ]
    length_s = sum(result.length_s for result in clean)
    cpu = sum(result.cpu_s for result in clean) / length_s
    plain_cpu = sum(result.plain_cpu_s for result in clean) / length_s
    return [
        *rows,
        at_most("processor time, by second of audio", cpu, "s/s", MOST_CPU),
        Measurement("  plain grammar", plain_cpu, "s/s"),
        Measurement("memory of the process", _memory_mb(), "MB"),
    ]


def _results(said: list[Clip]) -> Iterable[Result]:
    with ProcessPoolExecutor(os.cpu_count(), initializer=_begin) as pool:
        yield from track(pool.map(_listen, said, chunksize=8), "listening", total=len(said), transient=True)


_DECODERS: dict[str, Any] = {}
"""Of this process: `sphinx` and `plain`."""


def _begin() -> None:
    model = get_model_path("en-us")
    plain = Decoder(
        Config(hmm=f"{model}/en-us", dict=f"{model}/cmudict-en-us.dict", lm=None, loglevel="FATAL")
    )
    plain.add_jsgf_string("plain", ACTIONS.grammar)
    plain.activate_search("plain")
    _DECODERS.update(plain=plain, sphinx=Sphinx(ACTIONS.grammar, ACTIONS.pronunciations))


def _listen(clip: Clip) -> Result:
    pcm = clip.make()
    sphinx, plain = _DECODERS["sphinx"], _DECODERS["plain"]
    began_s = time.process_time()
    likeness = sphinx.likeness(pcm)
    cpu_s = time.process_time() - began_s
    began_s = time.process_time()
    plain.start_utt()
    plain.process_raw(pcm, full_utt=True)
    plain.end_utt()
    plain_cpu_s = time.process_time() - began_s
    hypothesis = plain.hyp()
    heard = judged(likeness, ACTIONS, SETTINGS)
    return Result(
        clip,
        None if heard.action == "none" else heard.action,
        ACTIONS.action(hypothesis.hypstr) if hypothesis else None,
        likeness.ratio, likeness.beside, cpu_s, plain_cpu_s, len(pcm) / _BYTES_PER_SECOND,
    )  # fmt: skip


def _right(
    what: str, results: list[Result], least: float | None = None, *, plain: bool = False
) -> Measurement:
    inside = [result for result in results if result.clip.action]
    right = [result for result in inside if (result.plain if plain else result.found) == result.clip.action]
    percent = 100 * len(right) / max(1, len(inside))
    aim = f"at least {least:g}" if least else ""
    return Measurement(what, percent, f"% of {len(inside)}", aim, percent >= least if least else None)


def _false(
    what: str, results: list[Result], most: float | None = None, *, plain: bool = False
) -> Measurement:
    outside = [result for result in results if not result.clip.action]
    false = [result for result in outside if (result.plain if plain else result.found)]
    percent = 100 * len(false) / max(1, len(outside))
    unit = f"% of {len(outside)}"
    return Measurement(what, percent, unit) if most is None else at_most(what, percent, unit, most)


def _memory_mb() -> float:
    """Return what the recogniser's own process holds after an utterance."""
    line = DecoderLine(ACTIONS, SETTINGS)
    try:
        line.recognise(Clip(FLITE[0], "clean", "turn on the lights", None).make())
        rollup = Path(f"/proc/{line.pid}/smaps_rollup").read_text(encoding="ascii")
    finally:
        line.close()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) / 1000 if found else 0.0


def _write(path: Path, results: list[Result]) -> None:
    import json  # noqa: PLC0415 - seldom

    with path.open("w", encoding="utf-8") as file:
        for result in results:
            row = {**result._asdict(), "clip": result.clip._asdict()}
            file.write(json.dumps(row) + "\n")
