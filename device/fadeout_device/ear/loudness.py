"""How loud a stretch of audio is. Pure: numbers in, decibels out.

Decibels are relative to full scale: 0 dBFS is the loudest that a sample can be.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fadeout_device.ear.capture import BLOCK_SAMPLES, RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOTHING_DBFS = -120.0
"""What is told of silence without a single bit in it; a bit of 16 is worth -90."""
FULL_SCALE = 32_768


def dbfs(amplitude: float) -> float:
    """Return an amplitude, full scale 1.0, in decibels."""
    return max(NOTHING_DBFS, 20 * math.log10(amplitude)) if amplitude > 0 else NOTHING_DBFS


class Loudness:
    """The level of a stream of 16 kHz mono s16le, from when this was made."""

    def __init__(self) -> None:
        self.heard_s = 0.0
        """Seconds of audio."""
        self._most = 0.0

    def hear(self, pcm: bytes) -> None:
        """Take the next block, or several; each counts as one moment."""
        if not pcm:
            return
        # Not std(), which costs five times as much; all sums are exact in 64 bits. The operations are those
        # of `quiet.py`: what the processor has just run costs a tenth of what it has not.
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
        moments = samples.reshape(-1, samples.size if samples.size % BLOCK_SAMPLES else BLOCK_SAMPLES)
        length = moments.shape[1]
        variances = (moments * moments).sum(axis=1) / length - (moments.sum(axis=1) / length) ** 2
        self.heard_s += samples.size / RATE_HZ
        self._most = max(self._most, math.sqrt(max(0.0, float(variances.max()))) / FULL_SCALE)

    @property
    def peak_dbfs(self) -> int:
        """How loud the loudest moment was, without its constant part, in whole decibels."""
        return min(0, round(dbfs(self._most)))


def rms(samples: NDArray[np.float32]) -> float:
    """Return the effective value of s16 samples without their constant part, full scale 1.0."""
    return float(samples.std()) / FULL_SCALE
