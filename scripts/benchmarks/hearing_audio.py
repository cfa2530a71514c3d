"""Audio that holds no wake word, and audio that nearly does: synthesised, the same for the same seed.

The voices are Debian's flite and espeak-ng, the sentences random ones of a household. No
recording of a person, so what is measured here is not what a household would measure;
but everybody can measure it again.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr

if TYPE_CHECKING:
    from collections.abc import Callable

Samples = np.ndarray[Any, np.dtype[np.int16]]

RATE_HZ = 16_000
VOICES = ("flite:rms", "flite:slt", "flite:awb", "flite:kal16", "espeak:en-gb", "espeak:en-us")
_PEAK = 20_000

WAKE_WORDS = {
    "okay nabu": "okay_nabu", "hey jarvis": "hey_jarvis", "hey mycroft": "hey_mycroft", "alexa": "alexa",
}  # fmt: skip
NEAR_MISSES = (
    "okay nobody", "okay, now boo", "okay navy", "okay the menu", "a lazy cactus", "hey Microsoft",
    "they make croft", "hey my craft", "hey my cross", "hey jarring", "hey service", "hey Charlie",
    "stay jealous", "a lexus", "election", "alexander", "I like sir", "electra", "a letter",
    "hey, my car is off",
)  # fmt: skip
"""Said as they are, alone, which hardly anybody does: the worst that speech can be."""

_WHO = (
    "my sister", "the neighbour", "our teacher", "a friend of mine", "the woman next door", "your brother",
    "the man at the counter", "nobody here", "the whole family", "someone from work", "grandmother",
    "the doctor",
)  # fmt: skip
_DID = (
    "wanted to see", "was looking for", "has forgotten", "brought back", "talked about", "is going to buy",
    "could not find", "put away", "asked me for", "was quite happy with", "would rather have", "never liked",
)  # fmt: skip
_WHAT = (
    "the green bicycle", "a ticket to the coast", "the last piece of cake", "those wooden chairs",
    "an old radio", "the key to the garden shed", "some very good coffee", "the newspaper from Tuesday",
    "a larger umbrella", "the photographs of the wedding", "another cup of tea", "the lexicon on the shelf",
    "two pounds of apples",
)  # fmt: skip
_WHEN = (
    "before the train left", "after dinner", "in the middle of the night", "when it began to rain",
    "last summer",
    "on the way to the market", "because of the weather", "and then went home", "at a quarter past seven",
    "while we were away", "as far as I remember", "and okay, that was it", "but hey, who cares",
)  # fmt: skip


def say(voice: str, text: str) -> Samples:
    """Return what a voice makes of a text, at 16 kHz."""
    engine, name = voice.split(":")
    with tempfile.TemporaryDirectory(prefix="fadeout-bench-") as folder:
        path = Path(folder) / "said.wav"
        command: list[str | Path] = (
            ["flite", "-voice", name, "-t", text, "-o", path]
            if engine == "flite"
            else ["espeak-ng", "-v", name, "-s", "150", "-w", path, text]
        )
        subprocess.run(command, check=True)
        samples, rate_hz = soundfile.read(path, dtype="float32")
    if rate_hz != RATE_HZ:
        samples = soxr.resample(samples, rate_hz, RATE_HZ)
    scaled: Samples = (samples * (_PEAK / max(float(np.abs(samples).max()), 1e-6))).astype(np.int16)
    return scaled


def silence(seconds: float) -> Samples:
    """Return digital silence."""
    return np.zeros(int(seconds * RATE_HZ), np.int16)


def talk(seed: int) -> Samples:
    """Return half a minute or so of talk by one voice, without any wake word."""
    draw = random.Random(seed)  # noqa: S311 - a seed, not a secret
    sentences = [
        " ".join((draw.choice(_WHO), draw.choice(_DID), draw.choice(_WHAT), draw.choice(_WHEN)))
        for _ in range(10)
    ]
    return np.concatenate([say(VOICES[seed % len(VOICES)], ". ".join(sentences)), silence(0.5)])


def noise_and_music(seed: int) -> Samples:
    """Return half a minute of one kind of sound: noises of three colours, knocks, hum, chords, a tune."""
    rng = np.random.default_rng(seed)
    kinds: tuple[Callable[[np.random.Generator, int], np.ndarray], ...] = (
        lambda rng, n: _coloured(rng, n, 0), lambda rng, n: _coloured(rng, n, 0.5),
        lambda rng, n: _coloured(rng, n, 1.0), _knocks, _hum, _chords, _tune,
    )  # fmt: skip
    sound = kinds[seed % len(kinds)](rng, 30 * RATE_HZ)
    level = rng.uniform(0.05, 0.9) * 32_767
    shaped: Samples = (sound / max(float(np.abs(sound).max()), 1e-6) * level).astype(np.int16)
    return shaped


def steady(kind: str, rng: np.random.Generator, count: int) -> np.ndarray:
    """Return a steady noise with an effective value of 1: white, pink, brown or hum."""
    powers = {"white": 0.0, "pink": 0.5, "brown": 1.0}
    sound = _hum(rng, count) if kind == "hum" else _coloured(rng, count, powers[kind])
    return np.asarray(sound / sound.std())


def _coloured(rng: np.random.Generator, count: int, power: float) -> np.ndarray:
    spectrum = np.fft.rfft(rng.normal(size=count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / RATE_HZ), 20.0)
    return np.fft.irfft(spectrum / frequencies**power, count)


def _knocks(rng: np.random.Generator, count: int) -> np.ndarray:
    sound = np.zeros(count)
    length = RATE_HZ // 4
    decay = np.exp(-np.arange(length) / (0.02 * RATE_HZ))
    for at in rng.integers(0, count - length, 60):
        sound[at : at + length] += rng.normal(size=length) * decay * rng.uniform(0.2, 1)
    return sound


def _hum(rng: np.random.Generator, count: int) -> np.ndarray:
    t = np.arange(count) / RATE_HZ
    sound = sum(np.sin(2 * np.pi * 50 * n * t) / n for n in range(1, 12))
    return np.asarray(sound + rng.normal(size=count) * 0.05)


def _notes(rng: np.random.Generator, count: int, at_once: int) -> np.ndarray:
    sound = np.zeros(count)
    at = 0
    while at < count:
        length = min(int(rng.choice((0.15, 0.3, 0.6, 1.2)) * RATE_HZ), count - at)
        t = np.arange(length) / RATE_HZ
        for _ in range(at_once):
            pitch_hz = 110 * 2 ** (rng.integers(0, 36) / 12)
            tone = sum(np.sin(2 * np.pi * pitch_hz * n * t) / n**1.5 for n in range(1, 8))
            sound[at : at + length] += tone * np.exp(-t * 3) * np.minimum(t * 100, 1)
        at += length
    return sound


def _chords(rng: np.random.Generator, count: int) -> np.ndarray:
    return _notes(rng, count, 4)


def _tune(rng: np.random.Generator, count: int) -> np.ndarray:
    return _notes(rng, count, 1)
