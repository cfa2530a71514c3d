"""Spares the wake-word engine a quiet room. Pure: no clock, no library but numbers.

Theory of operation. Every frame of 90 ms is measured in two bands. Each band has a
floor: the least that it had in any frame of the last ten seconds. While no band rises
above its floor, the room is *quiet*, and the engine is not asked. As soon as one does,
the engine is given what it missed, and then all audio until no frame has risen for two
seconds. What it missed is given to it whole if that is not much; else it is reset and
given the last six seconds, after which it is in the state that it would have been in
had it heard everything. So what is held is never more than six quiet seconds.

A steady noise that begins is a rise, until it has lasted as long as the floor looks
back. The rise asked for is less than what speech adds that the engine could still hear.

Every decision depends on positions in the audio alone, which may be cut into blocks anywhere.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from fadeout_device.ear.capture import BLOCK_SAMPLES, RATE_HZ, SAMPLE_BYTES
from fadeout_device.ear.waking import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fadeout_device.ear.waking import Engine

FLOOR_FRAMES = 111
"""Ten seconds: nobody speaks for so long without a pause of one frame."""
FIRST_FRAMES = 22
"""Two seconds before anything can be called quiet."""
RISE = 10 ** (2.5 / 10)
"""2.5 dB. Of what the engine heard in noise as loud as the speech, nothing was lost at 3 dB, some at 4."""
HOLD_SAMPLES = 22 * BLOCK_SAMPLES
"""Two seconds: the engine recognises a word 0.2 s after its end, and its score falls 0.6 s later."""
CATCH_UP_SAMPLES = 6 * RATE_HZ
"""After so much, scores were the very same in five kinds of noise; after 4 s they differed by 0.03."""
ALIGNED_SAMPLES = 3_840
"""Engines step by 10, 30 or 80 ms; from a multiple of all, they step as they would have."""

_DECIMATED = 4


class Room:
    """Says of each frame of a stream, in order, whether something rises above the noise of the room."""

    def __init__(self) -> None:
        self._bands = tuple(deque[float](maxlen=FLOOR_FRAMES) for _ in range(2))

    def rises(self, frames: bytes) -> list[bool]:
        """Judge the next frames, each 90 ms of 16 kHz mono s16le."""
        # All sums are exact in 64 bits, so that every machine decides alike.
        samples = np.frombuffer(frames, "<i2").astype(np.float64).reshape(-1, BLOCK_SAMPLES)
        high = samples[:, 1:] - samples[:, :-1]
        low = samples.reshape(-1, BLOCK_SAMPLES // _DECIMATED, _DECIMATED).sum(axis=2)
        low = low[:, 1:] - low[:, :-1]
        energies = ((band * band).sum(axis=1).tolist() for band in (low, high))
        return [self._is_risen(each) for each in zip(*energies, strict=True)]

    def _is_risen(self, energies: tuple[float, ...]) -> bool:
        has_risen = False
        for band, energy in zip(self._bands, energies, strict=True):
            has_risen |= len(band) < FIRST_FRAMES or energy > RISE * min(band)
            band.append(energy)
        return has_risen


class Spared:
    """An engine that is asked only while something rises above the noise of the room.

    Args:
        engine: what is spared.
        new_room: called for every stream.
    """

    def __init__(self, engine: Engine, new_room: Callable[[], Room] = Room) -> None:
        self._engine = engine
        self._new_room = new_room
        self.heard_samples = 0
        self.asked_samples = 0
        """Of those heard, over all streams, those that the engine was given."""
        self.reset()

    @property
    def is_quiet(self) -> bool:
        """The engine is not asked, because nothing rises; false before anything was heard."""
        return 0 < self._open_until <= self._judged

    def reset(self) -> None:
        """Start afresh, as if nothing had been heard yet: the next sample is number 0."""
        self._engine.reset()
        self._room = self._new_room()
        # Audio that the engine may still be given, and its position.
        self._recent = bytearray()
        self._recent_from = 0
        self._position = 0
        self._judged = 0
        self._open_until = 0
        self._given = 0
        self._engine_from = 0

    def scores(self, pcm: bytes) -> list[Score]:
        """Take the next audio and return what the engine thinks of it, in order of position."""
        start = self._position
        self._recent += pcm
        self._position += len(pcm) // SAMPLE_BYTES
        self.heard_samples += len(pcm) // SAMPLE_BYTES
        scores: list[Score] = []
        end = self._position - (self._position - self._judged) % BLOCK_SAMPLES
        for has_risen in self._room.rises(self._piece(self._judged, end)):
            frame_start = self._judged
            self._judged += BLOCK_SAMPLES
            if has_risen:
                self._open_until = self._judged + HOLD_SAMPLES
            scores += self._give(min(self._judged, self._open_until), frame_start)
        scores += self._give(min(self._position, self._open_until), self._judged)
        self._forget()
        # Of a frame that came in pieces and opened the gate, what is of earlier pieces comes too late.
        return [score for score in scores if score.sample > start]

    def _give(self, upto: int, wanted_from: int) -> Iterator[Score]:
        """Have the engine hear all up to a position; yield what it thinks of what is wanted."""
        if upto <= self._given:
            return
        catch_up_from = (wanted_from - CATCH_UP_SAMPLES) // ALIGNED_SAMPLES * ALIGNED_SAMPLES
        if catch_up_from > self._given:
            self._engine.reset()
            self._given = self._engine_from = catch_up_from
        piece = self._piece(self._given, upto)
        self.asked_samples += upto - self._given
        self._given = upto
        for score in self._engine.scores(piece):
            sample = self._engine_from + score.sample
            # What it thinks of audio that was taken for quiet comes too late.
            if sample > wanted_from:
                yield Score(sample, score.word, score.value)

    def _piece(self, start: int, end: int) -> bytes:
        first, last = ((at - self._recent_from) * SAMPLE_BYTES for at in (start, end))
        return bytes(self._recent[first:last])

    def _forget(self) -> None:
        """Let go of what the engine was given, and of what is too old to be."""
        keep_from = max(min(self._given, self._judged), self._judged - CATCH_UP_SAMPLES - ALIGNED_SAMPLES)
        del self._recent[: (keep_from - self._recent_from) * SAMPLE_BYTES]
        self._recent_from = keep_from
