"""Whether a wake-word engine that is spared in a quiet room hears what it would have heard.

Each word is said after twelve seconds of a steady noise, in which the gate has closed: at
several levels, down to a peak 60 dB below full scale, and in noise as loud as the speech. The
same samples go to an engine that is asked always; what counts is what one hears and the other not.
"""

from __future__ import annotations

import multiprocessing
import statistics
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import hearing_audio
import numpy as np
from hearing_audio import NEAR_MISSES, RATE_HZ, VOICES, WAKE_WORDS
from measured import Measurement, at_most

from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.wakeword import wake_words
from fadeout_device.ear.quiet import Spared
from fadeout_device.wake_words import WakeSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fadeout_device.ear.waking import WakeWords

_LEAD_S, _TAIL_S = 12.0, 2.5
_KNOWN_S = 6
_BLOCK_BYTES = 2_880
_FULL_SCALE = 32_768


class Case(NamedTuple):
    """A room, and how loud somebody speaks in it."""

    noise: str
    snr_db: float
    peak_dbfs: float


CASES = (
    Case("silence", 0, -12), Case("silence", 0, -60), Case("white", 10, -12), Case("white", 0, -12),
    Case("white", 5, -60), Case("pink", 10, -20), Case("pink", 0, -12), Case("pink", 5, -60),
    Case("brown", 5, -40), Case("brown", -5, -12), Case("hum", 10, -30), Case("hum", 0, -12),
)  # fmt: skip
CLIP_CASES = (Case("white", 30, -20), Case("pink", 10, -12), Case("brown", 0, -50))


class Compared(NamedTuple):
    """What both engines heard of one piece."""

    always: tuple[tuple[str, int], ...]
    """Words, and the positions at which they were recognised."""
    spared: tuple[tuple[str, int], ...]
    asked: float
    """Share of the noise before the word that the spared engine was given."""


def measure(jobs: int, clips: Sequence[Path], *, quick: bool) -> list[Measurement]:
    """Compare both engines.

    Args:
        jobs: processes.
        clips: recordings of people who say a word, too.
        quick: a few only.
    """
    voices, texts = (VOICES[:2], NEAR_MISSES[:2]) if quick else (VOICES, NEAR_MISSES)
    cases = CASES[:2] if quick else CASES
    said = [("say", voice, text) for voice in voices for text in WAKE_WORDS]
    tasks = {
        "words": [(*each, case) for case in cases for each in said],
        "near misses": [("say", voice, text, CASES[2]) for voice in voices for text in texts],
        "clips": [("clip", str(clip), "", case) for clip in clips for case in CLIP_CASES],
    }
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _prepare) as pool:
        compared = {name: list(pool.map(_compare, each, chunksize=4)) for name, each in tasks.items()}
    shares = [each.asked for each in compared["words"]]
    return [
        *(row for name, each in compared.items() for row in _rows(name, each)),
        Measurement("steady noise: share that the engine is asked", 100 * statistics.fmean(shares), "%"),
    ]


_ears: tuple[WakeWords, WakeWords] | None = None


def _prepare() -> None:
    global _ears  # noqa: PLW0603 - a pool's processes have no other place
    words = tuple(WAKE_WORDS.values())
    always, spared = WakeSettings(words=words, idle_gate=False), WakeSettings(words=words)
    _ears = (wake_words(always), wake_words(spared))


def _compare(task: tuple[str, str, str, Case]) -> Compared:
    """Have both hear what somebody says in a room."""
    assert _ears is not None  # noqa: S101 - the pool has prepared it
    kind, which, text, case = task
    said = hearing_audio.say(which, text) if kind == "say" else _clip(which)
    audio, start = _in_a_room(said, case, np.random.default_rng(zlib.crc32(repr(task).encode())))
    always, spared = _ears
    (gate,) = spared.engines
    assert isinstance(gate, Spared)  # noqa: S101 - what the settings ask for
    # Not what it hears before it knows the room.
    known = _KNOWN_S * RATE_HZ * 2
    pcm = audio.tobytes()
    spared.reset()
    _process(spared, pcm[:known])
    heard, asked = gate.heard_samples, gate.asked_samples
    _process(spared, pcm[known : 2 * start])
    share = (gate.asked_samples - asked) / (gate.heard_samples - heard)
    return Compared(_woken(always, pcm), _woken(spared, pcm), share)


def _clip(path: str) -> hearing_audio.Samples:
    file = AudioFile(Path(path))
    try:
        return np.frombuffer(b"".join(file.blocks()), "<i2")
    finally:
        file.close()


def _rows(name: str, compared: list[Compared]) -> Iterator[Measurement]:
    if not compared:
        return
    of = f"of {len(compared)}"
    yield Measurement(f"{name} in noise, asked always: wake", sum(bool(each.always) for each in compared), of)
    yield Measurement(f"{name} in noise, spared: wake", sum(bool(each.spared) for each in compared), of)
    lost = sum(bool(set(_names(each.always)) - set(_names(each.spared))) for each in compared)
    yield at_most(f"{name} in noise, lost by sparing", lost, of, 0)
    apart = [
        1000 * abs(at - other) / RATE_HZ
        for each in compared
        if _names(each.always) == _names(each.spared)
        for (_, at), (_, other) in zip(each.always, each.spared, strict=True)
    ]
    yield Measurement(f"{name} in noise, recognised at another time", max(apart, default=0.0), "ms at most")


def _names(found: tuple[tuple[str, int], ...]) -> list[str]:
    return [word for word, _ in found]


def _in_a_room(
    said: hearing_audio.Samples, case: Case, rng: np.random.Generator
) -> tuple[hearing_audio.Samples, int]:
    """Return noise with what is said in it, and where that begins."""
    speech = said / max(float(np.abs(said).max()), 1.0) * 10 ** (case.peak_dbfs / 20) * _FULL_SCALE
    voiced = speech[np.abs(speech) > np.abs(speech).max() / 50]
    start = int(_LEAD_S * RATE_HZ) // (_BLOCK_BYTES // 2) * (_BLOCK_BYTES // 2)
    audio = np.zeros(start + len(speech) + int(_TAIL_S * RATE_HZ))
    if case.noise != "silence":
        noise = hearing_audio.steady(case.noise, rng, len(audio))
        # Rounded as a sound card does it: with a noise of less than a bit.
        audio = noise * float(voiced.std()) * 10 ** (-case.snr_db / 20) + rng.uniform(-0.5, 0.5, len(audio))
    audio[start : start + len(speech)] += speech
    return np.rint(np.clip(audio, -_FULL_SCALE, _FULL_SCALE - 1)).astype("<i2"), start


def _woken(words: WakeWords, pcm: bytes) -> tuple[tuple[str, int], ...]:
    words.reset()
    return _process(words, pcm)


def _process(words: WakeWords, pcm: bytes) -> tuple[tuple[str, int], ...]:
    return tuple(
        (found.word, found.sample)
        for at in range(0, len(pcm), _BLOCK_BYTES)
        for found in words.process(pcm[at : at + _BLOCK_BYTES])
    )
