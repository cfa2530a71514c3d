"""From blocks of audio and wake words to utterances, in RAM. Pure: no clock, no engine, no file.

Theory of operation. There are two states. While IDLE, the last `pre_roll_ms` of
audio are kept and everything older is forgotten. A wake word turns IDLE into
RECORDING: the pre-roll becomes the start of the utterance, and from the sample
at which the word was recognised every 30 ms of audio are judged (`endpoint.py`)
until the utterance ends. It ends with the last judged frame; what follows in
the same block is the next pre-roll. So no sample is ever part of two
utterances: whoever erases one has erased all of it.

A wake word may be confirmed some time after it rose (`waking.py`, second stage).
The utterance is then what it would have been without the waiting: pre-roll and
judgement are counted from where the word rose, and what was said meanwhile is
speech. For so long, audio before the pre-roll is kept as well.

A wake word that is said while RECORDING belongs to the utterance and starts
nothing, also when it is confirmed after the end. Whoever stops feeding audio (end
of a file, a lost microphone, a shutdown) says `cut`, which ends the utterance as
if it had become too long.

`TABLE` is all of it; a pair of state and input that is not listed is a bug in
this module, and stops the program. Positions are counted in samples from the
first one fed, and every effect depends on positions alone: audio may be cut
into blocks anywhere.

Audio is 16 kHz mono s16le everywhere.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fadeout_device.ear.endpoint import FRAME_MS, Endpoint
from fadeout_device.ear.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fadeout_device.config import UtteranceSettings

RATE_HZ = 16_000
SAMPLE_BYTES = 2
BLOCK_SAMPLES = 1_440
"""Samples in every block, from every source: 90 ms, three frames of the VAD, nine of the wake-word engine."""
BLOCK_BYTES = BLOCK_SAMPLES * SAMPLE_BYTES

_BYTES_PER_MS = RATE_HZ // 1000 * SAMPLE_BYTES
_FRAME_BYTES = FRAME_MS * _BYTES_PER_MS


class SpeechDetector(Protocol):
    """Says of each frame of one utterance, in order, whether somebody speaks in it."""

    def is_speech(self, frame: bytes) -> bool:
        """Judge the next 30 ms of audio."""
        ...


@dataclass(frozen=True, slots=True)
class Detection:
    """The wake-word engine recognised a word."""

    sample: int
    """Samples that had been heard when it was certain."""
    word: str
    score: float
    """Mean probability, 0 to 1."""
    rose_at: int | None = None
    """Samples that the first engine had heard, if another one had to confirm it; None: `sample`."""

    @property
    def rose_sample(self) -> int:
        """Samples that the engine which heard it first had heard by then: the word has just ended."""
        return self.sample if self.rose_at is None else self.rose_at


@dataclass(frozen=True, slots=True)
class WakeHeard:
    """Effect: recording has begun."""

    detection: Detection


@dataclass(frozen=True, slots=True)
class UtteranceFinished:
    """Effect: an utterance is complete, and only the receiver holds its audio now."""

    detection: Detection
    start_sample: int
    """Position of the first sample of `pcm`, the pre-roll included."""
    speech_s: float
    """Seconds of speech after the wake word; 0 when there was none worth the name."""
    pcm: bytes = field(repr=False)
    speech_span: tuple[int, int] | None = None
    """Positions at which that speech starts and ends, in samples; None when there was none."""

    @property
    def end_sample(self) -> int:
        """Position just after the last sample."""
        return self.start_sample + len(self.pcm) // SAMPLE_BYTES

    @property
    def duration_s(self) -> float:
        """Length of the whole recording in seconds."""
        return len(self.pcm) / SAMPLE_BYTES / RATE_HZ


Effect = WakeHeard | UtteranceFinished


class State(enum.Enum):
    """See the theory of operation."""

    IDLE = enum.auto()
    RECORDING = enum.auto()


class Input(enum.Enum):
    """What changes the state; audio alone does not."""

    WAKE = enum.auto()
    END = enum.auto()
    CUT = enum.auto()


class Step(enum.Enum):
    """What is done on the way from one state to the next."""

    NOTHING = enum.auto()
    BEGIN = enum.auto()
    FINISH = enum.auto()


TABLE: dict[tuple[State, Input], tuple[State, Step]] = {
    (State.IDLE, Input.WAKE): (State.RECORDING, Step.BEGIN),
    (State.IDLE, Input.CUT): (State.IDLE, Step.NOTHING),
    (State.RECORDING, Input.WAKE): (State.RECORDING, Step.NOTHING),
    (State.RECORDING, Input.END): (State.IDLE, Step.FINISH),
    (State.RECORDING, Input.CUT): (State.IDLE, Step.FINISH),
}


class Capture:
    """One uninterrupted stream of audio, from its first sample to `cut`.

    Args:
        settings: where utterances start and end.
        new_detector: called once per utterance; detectors adapt to what they hear, and a fresh one
            makes an utterance independent of the one before.
        patience_samples: how long after a word rose it may be confirmed at the latest.
    """

    def __init__(
        self,
        settings: UtteranceSettings,
        new_detector: Callable[[], SpeechDetector],
        patience_samples: int = 0,
    ) -> None:
        self._settings = settings
        self._new_detector = new_detector
        self._state = State.IDLE
        self._position = 0
        self._ended_at = 0
        self._pre_roll_bytes = settings.pre_roll_ms * _BYTES_PER_MS
        self._patience_bytes = patience_samples * SAMPLE_BYTES
        # While IDLE, what may become the start of an utterance; while RECORDING, the utterance so far.
        self._before = Ring(self._pre_roll_bytes + self._patience_bytes)
        self._audio = bytearray()
        self._judged_bytes = 0
        self._detection = Detection(0, "", 0.0)
        self._endpoint = Endpoint(settings)
        self._detector = new_detector()

    @property
    def state(self) -> State:
        """Where the machine is."""
        return self._state

    def feed(self, pcm: bytes, detections: Sequence[Detection] = ()) -> list[Effect]:
        """Take the next block of audio and the wake words recognised in it, in order of position.

        Raises:
            ValueError: a detection lies outside the block, or rose too long before.
        """
        effects: list[Effect] = []
        start = self._position
        taken = 0
        for detection in detections:
            upto = (detection.sample - start) * SAMPLE_BYTES
            if not taken <= upto <= len(pcm):
                raise ValueError(f"a detection at sample {detection.sample}, outside the block at {start}")
            if not 0 <= detection.sample - detection.rose_sample <= self._patience_bytes // SAMPLE_BYTES:
                raise ValueError(f"a detection at sample {detection.sample} of {detection.rose_sample}")
            effects += self._take(pcm[taken:upto])
            taken = upto
            # What rose within the utterance before belongs to it.
            if detection.rose_sample >= self._ended_at:
                effects += self._input(Input.WAKE, detection)
        return effects + self._take(pcm[taken:] if taken else pcm)

    def cut(self) -> list[Effect]:
        """End the utterance that is being recorded, if there is one: no more audio will come."""
        return self._input(Input.CUT)

    def _take(self, pcm: bytes) -> list[Effect]:
        self._position += len(pcm) // SAMPLE_BYTES
        if self._state is State.IDLE:
            self._before.add(pcm)
            return []
        self._audio += pcm
        return self._input(Input.END) if self._judge() else []

    def _judge(self) -> bool:
        """Judge the frames that are complete; True when the utterance ended with the last one judged."""
        while len(self._audio) - self._judged_bytes >= _FRAME_BYTES:
            frame = bytes(self._audio[self._judged_bytes : self._judged_bytes + _FRAME_BYTES])
            self._judged_bytes += _FRAME_BYTES
            if self._endpoint.add(is_speech=self._detector.is_speech(frame)):
                return True
        return False

    def _input(self, given: Input, detection: Detection | None = None) -> list[Effect]:
        after = TABLE.get((self._state, given))
        if after is None:
            raise RuntimeError(f"{given.name} cannot happen while {self._state.name}")
        self._state, step = after
        if step is Step.BEGIN and detection is not None:
            self._begin(detection)
            return [WakeHeard(detection)]
        if step is Step.FINISH:
            # At an END the utterance stops with the judged frame; a CUT takes all there is.
            return [self._finish(self._judged_bytes if given is Input.END else len(self._audio))]
        return []

    def _begin(self, detection: Detection) -> None:
        self._detection = detection
        waited_bytes = (detection.sample - detection.rose_sample) * SAMPLE_BYTES
        self._audio = self._before.last(self._pre_roll_bytes + waited_bytes)
        self._before.clear()
        self._judged_bytes = len(self._audio) - waited_bytes
        self._endpoint = Endpoint(self._settings)
        self._detector = self._new_detector()

    def _finish(self, length_bytes: int) -> UtteranceFinished:
        start_sample = self._position - len(self._audio) // SAMPLE_BYTES
        pcm = bytes(self._audio[:length_bytes])
        self._before.add(bytes(self._audio[length_bytes:]))
        self._audio = bytearray()
        self._ended_at = start_sample + length_bytes // SAMPLE_BYTES
        span_ms = self._endpoint.speech_span_ms
        spoken = None
        if span_ms is not None:
            first, last = (self._detection.rose_sample + ms * RATE_HZ // 1000 for ms in span_ms)
            spoken = (first, last)
        return UtteranceFinished(self._detection, start_sample, self._endpoint.speech_ms / 1000, pcm, spoken)
