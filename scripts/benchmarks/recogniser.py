"""The recogniser on speech that was synthesised: right, wrong, cost, and plain grammar decoding beside it.

200 sentences, half of them outside of the list, by four voices of flite and two of espeak-ng;
by flite's also with noise and in rooms. An action counts as right when it is the sentence's own,
and as false when the sentence has none. Takes some ten minutes on two cores; --quick a tenth.
Plain grammar is what the grammar came up with before anything was rejected.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import recogniser_development
import recogniser_orders
from measured import Measurement, at_most
from pocketsphinx import Config, Decoder, get_model_path
from recogniser_speech import CONDITIONS, FLITE, NEAR_DATA, PROGRAMS, Clip, clips
from rich.progress import track

from fadeout_device.actions import ABOUT_DATA
from fadeout_device.actions_file import load_actions
from fadeout_device.config import RecogniserSettings
from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.decoder_line import DecoderLine
from fadeout_device.ear.adapters.sphinx import Sphinx
from fadeout_device.ear.recognition import judged
from fadeout_device.errors import AudioDataError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

SUMMARY = "how often the recogniser is right, and what it costs"
SETTINGS = RecogniserSettings(engine="pocketsphinx", timeout_s=60.0)
ACTIONS = load_actions(SETTINGS)
LEAST_RIGHT, MOST_FALSE, MOST_CPU = 95.0, 2.0, 0.05
PEOPLE = "people"
_ORDERS_STEP = 6
AUDIO = {".wav", ".flac", ".ogg", ".mp3"}
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
    parser.add_argument(
        "--development",
        action="store_true",
        help="what the thresholds were chosen on, instead (needs festival)",
    )
    parser.add_argument(
        "--clips",
        type=Path,
        metavar="DIR",
        help="recordings of people, too, none of whom says a sentence of the list",
    )
    parser.add_argument(
        "--orders",
        type=Path,
        metavar="DIR",
        help="commands by people: see scripts/benchmarks/recogniser_orders.py",
    )
    parser.add_argument("--raw", type=Path, metavar="FILE", help="write a line of JSON for each clip")


def measure(arguments: argparse.Namespace) -> list[Measurement]:
    """Say everything, listen, and count."""
    programs = (*PROGRAMS, recogniser_development.PROGRAM) if arguments.development else PROGRAMS
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise SystemExit(
            f"not installed: {', '.join(missing)}: see scripts/setup, and for text2wave festival"
        )
    voices: tuple[str, ...] = FLITE
    if arguments.development:
        voices, said = recogniser_development.VOICES, recogniser_development.clips(ACTIONS)
    else:
        said = clips(ACTIONS, is_quick=arguments.quick)
    results = list(_results(said))
    if arguments.raw:
        _write(arguments.raw, results)
    orders = recogniser_orders.measure(arguments.orders, _ORDERS_STEP) if arguments.orders else []
    return [*_heard(results, voices), *orders, *_of_people(arguments.clips), *_cost(results)]


def _heard(results: list[Result], voices: tuple[str, ...]) -> list[Measurement]:
    near = [result for result in results if result.clip.text in NEAR_DATA]
    results = [result for result in results if result.clip.text not in NEAR_DATA]
    clean = [result for result in results if result.clip.condition == "clean"]
    own = [result for result in clean if result.clip.voice in voices]
    rows = _rows(f"{len(voices)} voices, clean", own, aims=(LEAST_RIGHT, MOST_FALSE), plain=True)
    for voice in dict.fromkeys(result.clip.voice for result in clean):
        of_voice = [result for result in clean if result.clip.voice == voice]
        rows += _rows(voice, of_voice, aims=(None, MOST_FALSE), plain=True)
    for condition in list(CONDITIONS)[1:]:
        under = [result for result in results if result.clip.condition == condition]
        rows += _rows(condition, under, aims=(None, MOST_FALSE), plain=True)
    about_data = [result for result in own if (result.clip.action or "").startswith(ABOUT_DATA)]
    rows += [
        _right("actions data.…, clean: right", about_data),
        _data("  false, of all outside", results),
        _data("  false, of what is nearly one of them", near),
    ]
    return rows


def _of_people(folder: Path | None) -> list[Measurement]:
    if folder is None:
        return []
    paths = sorted(path for path in folder.rglob("*") if path.suffix in AUDIO)
    heard = _results([Clip(PEOPLE, str(path), "", None) for path in paths])
    results = [result for result in heard if result.length_s]
    return [
        _false("people, other words: false actions", results, MOST_FALSE),
        _data("  data.…", results),
        _false("  plain grammar: false actions", results, plain=True),
    ]


def _cost(results: list[Result]) -> list[Measurement]:
    clean = [result for result in results if result.clip.condition == "clean"]
    timed = [result for result in clean if result.plain_cpu_s]
    cpu = sum(result.cpu_s for result in clean) / sum(result.length_s for result in clean)
    plain_cpu = sum(result.plain_cpu_s for result in timed) / sum(result.length_s for result in timed)
    return [
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
    pcm = clip.make() if clip.voice != PEOPLE else _recorded(Path(clip.condition))
    began_s = time.process_time()
    likeness = _DECODERS["sphinx"].likeness(pcm)
    cpu_s = time.process_time() - began_s
    plain_cpu_s = 0.0
    if clip.voice in (FLITE[0], recogniser_development.VOICES[0]) and clip.condition == "clean":
        plain = _DECODERS["plain"]
        began_s = time.process_time()
        plain.start_utt()
        plain.process_raw(pcm, full_utt=True)
        plain.end_utt()
        plain_cpu_s = time.process_time() - began_s
    heard = judged(likeness, ACTIONS, SETTINGS)
    return Result(
        clip,
        None if heard.action == "none" else heard.action,
        ACTIONS.action(likeness.words),
        likeness.ratio, likeness.beside, cpu_s, plain_cpu_s, len(pcm) / _BYTES_PER_SECOND,
    )  # fmt: skip


def _recorded(path: Path) -> bytes:
    """Return what is in a file; nothing if it cannot be decoded."""
    file = None
    try:
        file = AudioFile(path)
        return b"".join(file.blocks())
    except AudioDataError:
        return b""
    finally:
        if file is not None:
            file.close()


def _rows(
    what: str, results: list[Result], *, aims: tuple[float | None, float | None], plain: bool = False
) -> list[Measurement]:
    least, most = aims
    inside = [result for result in results if result.clip.action]
    other = [result for result in inside if result.found and result.found != result.clip.action]
    rows = [
        _right(f"{what}: right", results, least),
        Measurement("  another action", 100 * len(other) / max(1, len(inside)), f"% of {len(inside)}"),
        _false(f"{what}: false actions", results, most),
    ]
    if plain:
        rows += [_right("  plain grammar: right", results, plain=True)]
        rows += [_false("  plain grammar: false actions", results, plain=True)]
    return rows


def _data(what: str, results: list[Result]) -> Measurement:
    outside = [result for result in results if not result.clip.action]
    false = [result for result in outside if (result.found or "").startswith(ABOUT_DATA)]
    return Measurement(what, 100 * len(false) / max(1, len(outside)), f"% of {len(outside)}")


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
