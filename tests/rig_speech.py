"""A phrase that nobody says by accident, spoken by flite: what the tests listen for, and search for.

The wake word fires the real engine; the words after it are rare, so that finding
one of them in a file or a log is no coincidence.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

RATE_HZ = 16_000
WAKE = "okay nabu"
RARE_WORDS = ("walrus", "marmalade")
PHRASE = f"tell the {RARE_WORDS[0]} about {RARE_WORDS[1]}"
_VOICE = "awb"
_PEAK = 20_000
LEAD_S, PAUSE_S, _TAIL_S = 1.0, 0.4, 1.4


class Speech(NamedTuple):
    """The spoken phrase as a file, and its samples."""

    path: Path
    pcm: bytes

    def __repr__(self) -> str:
        """Say how long it is, not what is said."""
        return f"Speech({self.path}, {len(self.pcm)} B)"

    @property
    def length_s(self) -> float:
        """Return how long it takes to play."""
        return len(self.pcm) / 2 / RATE_HZ


def write_wav(path: Path, pcm: bytes) -> Path:
    """Write 16 kHz mono s16le samples to a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm)
    return path


def read_wav(path: Path) -> bytes:
    """Return the samples of a 16 kHz mono s16le WAV file."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        return file.readframes(file.getnframes())


def silence(seconds: float) -> bytes:
    """Return so much digital silence."""
    return bytes(2 * int(seconds * RATE_HZ))


def say(text: str, voice: str = _VOICE) -> bytes:
    """Return what a voice of flite makes of a text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", path], check=True)
        samples = np.frombuffer(read_wav(path), "<i2").astype(np.float64)
    scaled: np.ndarray = samples * (_PEAK / np.abs(samples).max())
    return scaled.astype("<i2").tobytes()


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    """Give the wake word and the phrase, with room before and after."""
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed: sudo apt-get install flite")
    pcm = silence(LEAD_S) + say(WAKE) + silence(PAUSE_S) + say(PHRASE) + silence(_TAIL_S)
    return Speech(write_wav(tmp_path_factory.mktemp("speech") / "one.wav", pcm), pcm)
