"""How well the ear hears, and what that costs: wakes for nothing, missed words, time, delay, memory.

Speech is synthesised (six voices of flite and espeak-ng), random and without any wake word; noise and
music are computed. Near misses are said on purpose and counted apart: nobody says one all day. Four
words are listened for, which is the worst; the default is okay_nabu alone. Processor time is that of
the real ear beside the bare engine, in turns; the time of the first second, which loads everything, is
taken off. The same at a microphone, in real time, beside another project's whole pipeline too, where that
can be installed: wyoming-satellite with wyoming-microwakeword.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import hearing_audio
import hearing_live
import hearing_peer
import hearing_quiet
import numpy as np
import pipeline
from hearing_audio import NEAR_MISSES, RATE_HZ, VOICES, WAKE_WORDS
from measured import Measurement, at_most
from rich.console import Console
from rich.progress import track

from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.labelled import find_labelled
from fadeout_device.ear.adapters.wakeword import wake_words
from fadeout_device.policy import PolicyError
from fadeout_device.wake_words import WakeSettings, check_files

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from fadeout_device.ear.capture import Detection
    from fadeout_device.ear.waking import WakeWords

SUMMARY = "wakes for nothing, missed words, processor time, delay and memory of the ear"
DEFAULT = "okay_nabu"
MAX_RATIO = 1.5
MAX_SECOND_RATIO = 1.3
MAX_GROWTH_KIB = 256.0
BLOCK = 1_440
PARTS = ("hearing", "quiet", "files", "memory", "delay", "live")
_PIECE_S = 30.0
_WORDS = tuple(WAKE_WORDS.values())

_MEMORY = """
import sys, numpy as np
from fadeout_device.config import parse
from fadeout_device.ear.listening import Listening
path, minutes, text = sys.argv[1], int(sys.argv[2]), sys.argv[3]
listening = Listening(parse(text, "bench"))
minute = np.load(path).tobytes()
def resident_kib():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("Rss:", "Swap:")))
listening.begin()
for number in range(minutes):
    for at in range(0, len(minute), 2880):
        listening.hear(minute[at : at + 2880])
    if number == max(1, minutes // 10) - 1:
        early = resident_kib()
print(resident_kib() - early)
"""


class Heard(NamedTuple):
    """What one piece of audio woke: alone, and with a second stage."""

    duration_s: float
    first: tuple[str, ...]
    second: tuple[str, ...] | None
    """None: there is no second engine here."""
    first_ms: float | None = None
    """From the end of the audio's speech to the first wake."""
    second_ms: float | None = None


def add_options(verb: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    verb.add_argument("--hours", type=float, default=1.0, help="of talk, and of noise and music (default 1)")
    verb.add_argument("--runs", type=int, default=5, help="the median of so many runs counts (default 5)")
    verb.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    verb.add_argument(
        "--clips", type=Path, metavar="DIR", help="recordings of people, too, labelled as for fadeout tune"
    )
    verb.add_argument(
        "--peer", nargs=2, default=hearing_peer.SOURCES, metavar=("SATELLITE", "MICROWAKEWORD"),
        help="what pip installs of the peer instead: a folder, a file or a URL of each",
    )  # fmt: skip
    verb.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
        help=f"of it all: {', '.join(PARTS)}",
    )  # fmt: skip
    verb.add_argument("--no-peer", action="store_true", help="measure no peer, install nothing")
    verb.add_argument("--quick", action="store_true", help="a minute or two of everything: does it work?")


def measure(arguments: argparse.Namespace) -> list[Measurement]:
    """Measure everything."""
    hours = 0.02 if arguments.quick else arguments.hours
    runs = 1 if arguments.quick else arguments.runs
    minutes = 2 if arguments.quick else 10
    windows, window_s = (1, 5.0) if arguments.quick else (max(runs, 5), 30.0)
    peer_sources = () if arguments.no_peer else arguments.peer
    with tempfile.TemporaryDirectory(prefix="fadeout-bench-") as name:
        folder = Path(name)
        busy = _busy(folder, 1, np.random.default_rng(4))
        parts = {
            "hearing": lambda: _hearing(hours, arguments.jobs, arguments.clips, quick=arguments.quick),
            "quiet": lambda: hearing_quiet.measure(
                arguments.jobs, _spoken_clips(arguments.clips), quick=arguments.quick
            ),
            "files": lambda: _processor(folder, minutes, runs, peer_sources),
            "memory": lambda: _memory(folder, 3 if arguments.quick else 60),
            "delay": lambda: _delay(folder),
            "live": lambda: hearing_live.measure(
                folder, busy[: 15 * RATE_HZ] if arguments.quick else busy, windows, window_s, peer_sources
            ),
        }
        return [row for part in arguments.only for row in parts[part]()]


# ---- what wakes


def _hearing(hours: float, jobs: int, folder: Path | None, *, quick: bool) -> list[Measurement]:
    count = max(1, round(hours * 3600 / _PIECE_S))
    voices = VOICES[:2] if quick else VOICES
    misses = NEAR_MISSES[:4] if quick else NEAR_MISSES
    tasks = {
        "talk": [("talk", str(seed), "") for seed in range(count)],
        "noise and music": [("noise", str(seed), "") for seed in range(count)],
        "near misses": [("said", voice, text) for text in misses for voice in voices],
        "wake words": [("said", voice, text) for text in WAKE_WORDS for voice in voices],
    }
    clips = [] if folder is None else find_labelled(folder, _WORDS)
    tasks["clips"] = [("clip", str(clip.path), "") for clip in clips]
    context = multiprocessing.get_context("spawn")
    every = [task for part in tasks.values() for task in part]
    with ProcessPoolExecutor(jobs, context, _prepare) as pool:
        console = Console(stderr=True)
        results = iter(
            list(track(pool.map(_hear, every), "hearing", len(every), console=console, transient=True,
                       disable=not console.is_terminal))
        )  # fmt: skip
    heard = {name: [next(results) for _ in part] for name, part in tasks.items()}
    rows = [row for name in ("talk", "noise and music") for row in _false(name, heard[name])]
    rows += _missed(heard["near misses"], "near misses that wake")
    rows += _detected(
        [WAKE_WORDS[text] for _, _, text in tasks["wake words"]], heard["wake words"], "wake words"
    )
    if clips:
        labelled = list(zip(clips, heard["clips"], strict=True))
        rows += _false("clips without a word", [each for clip, each in labelled if not clip.words])
        spoken = [(clip.words[0], each) for clip, each in labelled if clip.words]
        rows += _detected([word for word, _ in spoken], [each for _, each in spoken], "clips with a word")
    return rows


def _spoken_clips(folder: Path | None) -> list[Path]:
    return [] if folder is None else [clip.path for clip in find_labelled(folder, _WORDS) if clip.words]


def _false(name: str, heard: list[Heard]) -> Iterator[Measurement]:
    hours = sum(each.duration_s for each in heard) / 3600
    if not hours:
        return
    yield Measurement(f"{name}", hours, "hours")
    woken = [word for each in heard for word in each.first]
    yield Measurement(f"{name}: {DEFAULT}", woken.count(DEFAULT) / hours, "wakes an hour")
    yield Measurement(f"{name}: four words", len(woken) / hours, "wakes an hour")
    if all(each.second is not None for each in heard):
        asked = [word for each in heard for word in each.second or ()]
        yield Measurement(f"{name}: four words, second stage", len(asked) / hours, "wakes an hour")


def _missed(heard: list[Heard], what: str) -> Iterator[Measurement]:
    first = sum(bool(each.first) for each in heard)
    yield Measurement(what, 100 * first / len(heard), f"% of {len(heard)}")
    if heard[0].second is not None:
        second = sum(bool(each.second) for each in heard)
        yield Measurement(f"{what}, second stage", 100 * second / len(heard), f"% of {len(heard)}")


def _detected(words: list[str], heard: list[Heard], what: str) -> Iterator[Measurement]:
    if not words:
        return
    first = [word in each.first for word, each in zip(words, heard, strict=True)]
    yield Measurement(f"{what}, heard", 100 * sum(first) / len(words), f"% of {len(words)}")
    delays = [each.first_ms for each in heard if each.first_ms is not None]
    if delays:
        yield Measurement("end of the word to its wake", statistics.median(delays), "ms of audio")
    if heard[0].second is None:
        return
    second = [word in (each.second or ()) for word, each in zip(words, heard, strict=True)]
    yield Measurement(f"{what}, heard, second stage", 100 * sum(second) / len(words), f"% of {len(words)}")
    delays = [each.second_ms for each in heard if each.second_ms is not None]
    if delays:
        row = "end of the word to its wake, second stage"
        yield Measurement(row, statistics.median(delays), "ms of audio")


_engines: tuple[WakeWords, WakeWords | None] | None = None


def _prepare() -> None:
    global _engines  # noqa: PLW0603 - a pool's processes have no other place
    settings = WakeSettings(words=_WORDS, second_stage="openwakeword")
    try:
        check_files(settings)
        second = wake_words(settings)
    except PolicyError:
        second = None
    _engines = (wake_words(WakeSettings(words=_WORDS)), second)


def _hear(task: tuple[str, str, str]) -> Heard:
    assert _engines is not None  # noqa: S101 - the pool has prepared it
    kind, which, text = task
    end = 0
    if kind == "talk":
        audio = hearing_audio.talk(int(which))
    elif kind == "noise":
        audio = hearing_audio.noise_and_music(int(which))
    elif kind == "clip":
        audio = _clip(Path(which))
    else:
        said = hearing_audio.say(which, text)
        end = 2 * RATE_HZ + int(np.flatnonzero(np.abs(said) > 400)[-1])  # noqa: PLR2004 - 2 % of the peak
        audio = np.concatenate([hearing_audio.silence(2), said, hearing_audio.silence(2)])
    first, second = (None if each is None else _woken(each, audio.tobytes()) for each in _engines)
    return Heard(
        len(audio) / RATE_HZ,
        tuple(found.word for found in first or ()),
        None if second is None else tuple(found.word for found in second),
        1000 * (first[0].sample - end) / RATE_HZ if first and end else None,
        1000 * (second[0].sample - end) / RATE_HZ if second and end else None,
    )


def _clip(path: Path) -> hearing_audio.Samples:
    """Return a clip with silence around it: collections are cut close to the word."""
    file = AudioFile(path)
    try:
        samples = np.frombuffer(b"".join(file.blocks()), "<i2")
    finally:
        file.close()
    return np.concatenate([hearing_audio.silence(2), samples, hearing_audio.silence(1.5)])


def _woken(words: WakeWords, pcm: bytes) -> list[Detection]:
    words.reset()
    return [
        found for at in range(0, len(pcm), 2 * BLOCK) for found in words.process(pcm[at : at + 2 * BLOCK])
    ]


# ---- processor time


def _has_second() -> bool:
    try:
        check_files(WakeSettings(second_stage="openwakeword"))
    except PolicyError:
        return False
    return True


def _processor(folder: Path, minutes: int, runs: int, peer_sources: Sequence[str]) -> list[Measurement]:
    rng = np.random.default_rng(1)
    idle, active, short = (folder / f"{name}.wav" for name in ("idle", "active", "short"))
    alone, second = (folder / f"{name}.toml" for name in ("alone", "second"))
    # What a recogniser costs is measured by a verb of its own.
    alone.write_text(hearing_live.CONFIG)
    second.write_text(alone.read_text() + '[wake]\nsecond_stage = "openwakeword"\n')
    # Longer, because it costs so little that starting the ear would hide it.
    idle_minutes = 3 * minutes
    pipeline.write_audio(idle, pipeline.quiet_room(idle_minutes * 60 * RATE_HZ, rng))
    pipeline.write_audio(active, _busy(folder, minutes, rng))
    requests = len(_starts(minutes))
    pipeline.write_audio(short, pipeline.quiet_room(RATE_HZ, rng))
    seconds = {idle: idle_minutes * 60 - 1, active: minutes * 60 - 1}
    cases = {"idle": (idle, alone), "active": (active, alone)}
    if _has_second():
        cases |= {"idle, second stage": (idle, second), "active, second stage": (active, second)}
    try:
        peer = hearing_peer.installed(peer_sources)
    except hearing_peer.UnavailableError:
        peer = None
    taken: dict[str, list[float]] = {name: [] for name in ("bare", *cases)}
    for run in range(runs):
        # In turns, so that whatever else the machine does hits all.
        taken["bare"].append((pipeline.bare_s(idle) - pipeline.bare_s(short)) / seconds[idle])
        for name, (path, given) in cases.items():
            state = folder / f"state-{run}-{name.replace(', ', '-').replace(' ', '-')}"
            whole = pipeline.ear_s(state / "long", path, given) - pipeline.ear_s(
                state / "short", short, given
            )
            taken[name].append(whole / seconds[path])
        if peer is not None:
            long_s, short_s = (hearing_peer.file_s(peer, path) for path in (idle, short))
            taken.setdefault("peer", []).append((long_s - short_s) / seconds[idle])
    ms = {name: 1000 * statistics.median(each) for name, each in taken.items()}
    rows = [Measurement("bare wake-word engine", ms["bare"], "CPU-ms per second of audio")]
    rows += [Measurement(f"ear, {name}", ms[name], "CPU-ms per second of audio") for name in cases]
    rows.append(at_most("ear, idle / bare engine", ms["idle"] / ms["bare"], "times", MAX_RATIO))
    rows.append(at_most("ear, active / bare engine", ms["active"] / ms["bare"], "times", MAX_RATIO))
    if "peer" in ms:
        rows.append(Measurement("peer, idle, without a microphone", ms["peer"], "CPU-ms per second of audio"))
        rows.append(Measurement("ear / peer, idle, without a microphone", ms["idle"] / ms["peer"], "times"))
    if _has_second():
        ratio = ms["idle, second stage"] / ms["idle"]
        rows.append(at_most("ear, idle, second stage / without", ratio, "times", MAX_SECOND_RATIO))
        ratio = ms["active, second stage"] / ms["active"]
        rows.append(Measurement("ear, active, second stage / without", ratio, "times"))
        more = {name: ms[f"{name}, second stage"] - ms[name] for name in ("idle", "active")}
        question_ms = (more["active"] - more["idle"]) * seconds[active] / requests
        rows.append(Measurement("one question to the second stage", question_ms, "CPU-ms"))
        ratio = (ms["idle, second stage"] + question_ms / 3600) / ms["idle"]
        what = "ear, a request an hour, second stage / idle without"
        rows.append(at_most(what, ratio, "times", MAX_SECOND_RATIO))
    return rows


def _busy(folder: Path, minutes: int, rng: np.random.Generator) -> hearing_audio.Samples:
    """Return audio in which somebody asks for something every ten seconds."""
    spoken = pipeline.spoken_request(folder)
    audio = pipeline.quiet_room(minutes * 60 * RATE_HZ, rng)
    for start in _starts(minutes):
        audio[start : start + len(spoken)] += spoken
    return audio


def _starts(minutes: int) -> range:
    return range(2 * RATE_HZ, (minutes * 60 - 10) * RATE_HZ, 10 * RATE_HZ)


# ---- memory and delay


def _memory(folder: Path, minutes: int) -> list[Measurement]:
    minute = folder / "minute.npy"
    np.save(minute, _busy(folder, 1, np.random.default_rng(3)))
    rows = []
    cases = {"": ""} | ({", second stage": '[wake]\nsecond_stage = "openwakeword"'} if _has_second() else {})
    for name, config in cases.items():
        command = [sys.executable, "-c", _MEMORY, str(minute), str(minutes), config]
        grown_kib = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        what = f"memory grown in {minutes} min{name}"
        rows.append(at_most(what, grown_kib, "KiB", MAX_GROWTH_KIB))
    return rows


def _delay(folder: Path) -> list[Measurement]:
    rows = pipeline.memory_and_delay(folder, pipeline.spoken_request(folder))
    return [row for row in rows if row.unit == "ms" and "subscriber" not in row.what]
