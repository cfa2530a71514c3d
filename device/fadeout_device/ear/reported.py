"""What an ear prints for whoever replays files through it: one line of JSON for each thing.

The same of an utterance wherever its audio came from. Of a microphone, `LiveReport` says
besides how far it has listened, and where a sound began after digital silence: so who plays
a file into it finds the file in what was heard. An ear that nobody replays through prints
nothing. No samples and no words, ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np

from fadeout_device.ear.capture import RATE_HZ
from fadeout_device.errors import UnavailableError
from fadeout_device.messages import NotSealed

if TYPE_CHECKING:
    from fadeout_device.ear.adapters.microphone import Microphone
    from fadeout_device.ear.adapters.vault_link import Delivery
    from fadeout_device.ear.capture import UtteranceFinished
    from fadeout_device.messages import EarState, Sealed, Utterance

QUIET_SAMPLES = RATE_HZ // 4
"""A sound begins where at least so much quiet was before it."""
LOUD = 256
"""Samples below this, 42 dB below full scale, are quiet: a loop through software is silent to the bit."""
_TELL_EVERY_SAMPLES = RATE_HZ // 4


def utterance_fields(
    finished: UtteranceFinished, utterance: Utterance, answer: Sealed | NotSealed
) -> dict[str, Any]:
    """Return what is said of an utterance once it is sealed or dropped; positions are seconds."""
    kept: list[Any] = [] if isinstance(answer, NotSealed) else msgspec.to_builtins(answer.kept)
    return {
        "start_s": round(finished.start_sample / RATE_HZ, 3),
        "wake_s": round(finished.detection.sample / RATE_HZ, 3),
        "wake_word": utterance.wake_word,
        "score": round(utterance.score, 3),
        "duration_s": round(utterance.duration_s, 3),
        "speech_s": round(utterance.speech_s, 3),
        "speech_start_s": _seconds(finished.speech_span, 0),
        "speech_end_s": _seconds(finished.speech_span, 1),
        "outcome": utterance.outcome,
        "action": utterance.action,
        "kept": kept,
        **({"error": answer.reason} if isinstance(answer, NotSealed) else {}),
        **({} if answer.told is None else {"told": msgspec.to_builtins(answer.told)}),
    }


def say(out: BinaryIO, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON values
    """Print one line. Raises UnavailableError: nobody reads it any more."""
    try:
        out.write(msgspec.json.encode({"type": kind, **fields}) + b"\n")
        out.flush()
    except BrokenPipeError as err:
        raise UnavailableError("nobody reads the report any more") from err


class LiveReport:
    """The report of an ear at a microphone.

    Args:
        out: where the lines go; None: nowhere, and nothing is looked for.
    """

    def __init__(self, out: BinaryIO | None = None) -> None:
        self._out = out
        self._onsets = Onsets()
        self._told_sample = 0
        self._handed_over: list[tuple[UtteranceFinished, Utterance, Delivery]] = []

    @property
    def is_wanted(self) -> bool:
        """Somebody reads it."""
        return self._out is not None

    def opened(self, microphone: Microphone) -> None:
        """A microphone is open; positions count from here."""
        self._onsets, self._told_sample = Onsets(), 0
        if self._out is not None:
            say(
                self._out, "listening",
                source=microphone.name, rate_hz=microphone.rate_hz, channels=microphone.channels,
            )  # fmt: skip

    def heard(self, pcm: bytes, counted: EarState, *, is_idle: bool) -> None:
        """A block has been heard, and what came of it was handed over.

        Args:
            pcm: the block.
            counted: what was counted until now.
            is_idle: nothing is recorded, recognised or sealed.
        """
        if self._out is None:
            return
        for sample in self._onsets.hear(pcm):
            say(self._out, "sound", sample=sample)
        self.tell()
        position = self._onsets.position
        if position - self._told_sample >= _TELL_EVERY_SAMPLES:
            self._told_sample = position
            say(
                self._out, "heard", sample=position, idle=is_idle and not self._handed_over,
                overflows=counted.overflows, behind=counted.behind,
                reopened=counted.reopened, clipped=counted.clipped,
            )  # fmt: skip

    def handed_over(self, finished: UtteranceFinished, utterance: Utterance, delivery: Delivery) -> None:
        """An utterance is on its way to the vault; it is reported once that has answered."""
        if self._out is not None:
            self._handed_over.append((finished, utterance, delivery))

    def tell(self) -> None:
        """Report what the vault has answered."""
        while self._out is not None and self._handed_over and self._handed_over[0][2].answer is not None:
            finished, utterance, delivery = self._handed_over.pop(0)
            assert delivery.answer is not None  # noqa: S101 - looked at above
            say(self._out, "utterance", **utterance_fields(finished, utterance, delivery.answer))


class Onsets:
    """Finds where sound begins after quiet, in a stream of s16le."""

    def __init__(self) -> None:
        self.position = 0
        """Samples heard so far."""
        self._quiet_since = 0

    def hear(self, pcm: bytes) -> list[int]:
        """Take the next samples; return the positions at which a sound begins in them."""
        samples = np.frombuffer(pcm, "<i2")
        # Not np.abs: the lowest sample has no positive counterpart.
        loud = np.flatnonzero((samples >= LOUD) | (samples <= -LOUD)) + self.position
        self.position += len(samples)
        if not loud.size:
            return []
        before = np.concatenate(([self._quiet_since - 1], loud[:-1]))
        self._quiet_since = int(loud[-1]) + 1
        return [int(sample) for sample in loud[loud - before > QUIET_SAMPLES]]


def _seconds(span: tuple[int, int] | None, end: int) -> float | None:
    return None if span is None else round(span[end] / RATE_HZ, 3)
