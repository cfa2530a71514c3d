"""Speech from nothing, for tests: Debian's flite and espeak-ng, cut, mixed and converted by sox.

No recording of a person, and the same files on every machine with the same packages.
Only the standard library, so that it runs before anything is installed.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from pathlib import Path
from typing import NamedTuple

PROGRAMS = ("flite", "espeak-ng", "sox")
MONO_16K = ("-r", "16000", "-c", "1", "-b", "16")


class Said(NamedTuple):
    """A piece of speech: `flite:VOICE` or `espeak:VOICE`, and the words."""

    voice: str
    words: str


class Fixture(NamedTuple):
    """One file: what is in it, one after the other, and what should come of it."""

    name: str
    parts: tuple[Said | float, ...]
    """Speech, and silence in seconds."""
    expected: tuple[tuple[str, str], ...] = ()
    """Wake word and outcome of each utterance, in order."""
    effects: tuple[str, ...] = ()
    """sox effects on the whole."""
    form: tuple[str, ...] = MONO_16K
    """sox options for rate, channels and encoding."""
    noise: str = ""
    """sox effects that make a background noise from nothing."""


TRIMMED = ("silence", "1", "0.01", "1%", "reverse") * 2
"""sox effects that take the silence from both ends, so that it is known where speech starts and ends."""


def make(fixture: Fixture, folder: Path, *, is_trimmed: bool = False) -> list[float]:
    """Make one file; return the seconds of each of its parts, or nothing if the file is there already."""
    target = folder / fixture.name
    if target.exists():
        return []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        effects = TRIMMED if is_trimmed else ()
        pieces = [
            make_part(part, Path(scratch) / f"{n}.wav", effects) for n, part in enumerate(fixture.parts)
        ]
        lengths = [_seconds(piece) for piece in pieces]
        speech = Path(scratch) / "speech.wav"
        sox(*pieces, *MONO_16K, speech, *fixture.effects)
        if fixture.noise:
            noise, clean = Path(scratch) / "noise.wav", speech
            length_s = subprocess.run(
                ["soxi", "-D", clean], check=True, capture_output=True, text=True
            ).stdout.strip()
            sox("-n", *MONO_16K, noise, "synth", length_s, *fixture.noise.split())
            speech = Path(scratch) / "noisy.wav"
            sox("-m", "-v", "1", clean, "-v", "1", noise, *MONO_16K, speech)
        whole = Path(scratch) / f"whole{target.suffix}"
        sox(speech, *fixture.form, whole)
        # In one step, so that an interrupted run leaves no half file that the next one keeps.
        whole.replace(target)
    return lengths


def _seconds(path: Path) -> float:
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


def make_part(part: Said | float, target: Path, effects: tuple[str, ...] = ()) -> Path:
    """Make a piece of speech or of silence."""
    if not isinstance(part, Said):
        sox("-n", *MONO_16K, target, "trim", "0", str(part))
        return target
    engine, voice = part.voice.split(":")
    raw = target.with_suffix(".raw.wav")
    if engine == "flite":
        subprocess.run(["flite", "-voice", voice, "-t", part.words, "-o", raw], check=True)
    else:
        subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", raw, part.words], check=True)
    # Peaks of -3 dB, whatever the voice; no dither: silence stays silent, and files stay the same.
    sox("-D", raw, *MONO_16K, target, "gain", "-n", "-3", *effects)
    return target


def sox(*arguments: str | Path) -> None:
    """Run sox, repeatably (-R), silent about what it clips on purpose (-V1)."""
    subprocess.run(["sox", "-R", "-D", "-V1", *arguments], check=True)
