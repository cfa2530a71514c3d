"""Samples of any rate and channel count become blocks of 16 kHz mono s16le.

One size of block, whatever the source gives at a time, so that what is
recognised does not depend on where audio comes from. Knows no source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from fadeout_device.ear.capture import BLOCK_BYTES, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator

    import soxr
    from numpy.typing import NDArray

_FULL_SCALE = 32_768


class Converter:
    """Converts one stream, in order.

    Args:
        rate_hz: samples per second and channel that come in.
        channels: samples per frame that come in.
        channel: the one that is heard, from 0; `mix` is the mean of all.
        gain_db: how much louder, in decibels; negative: quieter.
    """

    def __init__(
        self, rate_hz: int, channels: int, channel: int | Literal["mix"] = "mix", gain_db: float = 0.0
    ) -> None:
        self.clipped = 0
        """Samples as loud as samples can be: as they came in, of what is heard, or as they go out."""
        self._channels = channels
        self._channel = channel
        self._gain = np.float32(10 ** (gain_db / 20))
        self._resampler = _resampler(rate_hz)
        self.is_identity = channels == 1 and self._resampler is None and gain_db == 0

    def from_s16(self, data: bytes) -> bytes:
        """Convert whole frames of interleaved s16le."""
        frames = np.frombuffer(data, dtype="<i2").reshape(-1, self._channels)
        heard = frames if self._channel == "mix" else frames[:, self._channel]
        # Looked for first, in the high bytes: nearly always there is nothing to count.
        high = data[1::2]
        if b"\x7f" in high or b"\x80" in high:
            self.clipped += int(np.count_nonzero((heard == _FULL_SCALE - 1) | (heard == -_FULL_SCALE)))
        if self.is_identity:
            return data
        return self._convert(frames.astype(np.float32) / np.float32(_FULL_SCALE), last=False)

    def from_float(self, frames: NDArray[np.float32], *, last: bool) -> bytes:
        """Convert frames of shape (n, channels), full scale 1.0; `last` empties the filter."""
        return self._convert(frames, last=last)

    def _convert(self, frames: NDArray[np.float32], *, last: bool) -> bytes:
        mono = frames.mean(axis=1) if self._channel == "mix" else frames[:, self._channel]
        # What is not a number is no sound, and would stay in the filter.
        mono = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0)
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono, last=last)
        if self._gain != 1:
            mono = mono * self._gain
            self.clipped += int(np.count_nonzero(np.abs(mono) > 1.0))
        # What is louder than full scale is clipped, as a sound card would.
        scaled = np.rint(np.clip(mono, -1.0, 1.0) * _FULL_SCALE)
        return np.minimum(scaled, _FULL_SCALE - 1).astype("<i2").tobytes()


class Blocks:
    """Cuts what comes in into blocks of `BLOCK_SAMPLES`; holds less than one block."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, pcm: bytes) -> Iterator[bytes]:
        """Yield the blocks that are complete now."""
        pcm = self._rest + pcm if self._rest else pcm
        whole = len(pcm) // BLOCK_BYTES * BLOCK_BYTES
        self._rest = pcm[whole:]
        if whole == len(pcm) == BLOCK_BYTES:
            yield pcm
            return
        for start in range(0, whole, BLOCK_BYTES):
            yield pcm[start : start + BLOCK_BYTES]

    def rest(self) -> bytes:
        """Return what is left over at the end of the stream, shorter than a block."""
        rest, self._rest = self._rest, b""
        return rest


def _resampler(rate_hz: int) -> soxr.ResampleStream | None:
    if rate_hz == RATE_HZ:
        return None
    # Loaded only where a source needs it: 3 MB that a 16 kHz microphone does without.
    import soxr  # noqa: PLC0415

    return soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32")
