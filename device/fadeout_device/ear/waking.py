"""From the scores of wake-word engines to the few moments that wake the ear. Pure: no engine, no clock.

Theory of operation. An engine gives each word a score, many times a second. A word
*rises* when its score passes its cutoff; while it stays above, it is the same word
still. What rises wakes, unless a word that woke rose just before (`refractory_ms`): two
engines, or two models, that hear one word wake once.

With a second stage, what rises is only a question. The second engine hears nothing all
day; asked, it is given the last seconds, and then what follows, for as long as such an
engine may be behind the first. If its score for the same word passes its cutoff
meanwhile, the word wakes, at the sample up to which the second engine had heard. If not,
nothing happened. The seconds are kept in RAM alone, and the second engine forgets what it
was given as soon as nothing is asked. What could not wake, because another word has
just done so, is not asked about, or not any longer.

Every decision depends on positions in the audio alone, which may be cut into blocks anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fadeout_device.ear.capture import RATE_HZ, SAMPLE_BYTES, Detection
from fadeout_device.ear.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

STEP_SAMPLES = 1_280
"""What openWakeWord takes at once: 80 ms."""
ASKED_STEPS = 32
"""2.6 seconds: two that the second engine needs before it scores, and the end of the word."""
PATIENCE_STEPS = 10
"""0.8 s: in speech by six voices the second engine rose up to 0.6 s after the first."""

PATIENCE_SAMPLES = (PATIENCE_STEPS + 1) * STEP_SAMPLES
"""A word that rises while another one is asked about waits for a step that is whole."""

_STEP_BYTES = STEP_SAMPLES * SAMPLE_BYTES
_ASKED_BYTES = ASKED_STEPS * _STEP_BYTES


@dataclass(frozen=True, slots=True)
class Score:
    """What an engine thinks of one word at one moment."""

    sample: int
    """Samples that the engine had heard by then, since it was reset."""
    word: str
    value: float
    """Probability, 0 to 1."""


class Engine(Protocol):
    """Hears words in a stream of 16 kHz mono s16le."""

    def scores(self, pcm: bytes) -> Iterable[Score]:
        """Take the next audio and return what follows from it, in order of position."""
        ...

    def reset(self) -> None:
        """Forget all audio, as if nothing had been heard yet: the next sample is number 0."""
        ...


class WakeWords:
    """Several words on one stream.

    Args:
        engines: who listens always.
        cutoffs: of each word that they hear.
        refractory_ms: how long after a wake nothing wakes again.
        second: who is asked about words, if anybody is.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        cutoffs: Mapping[str, float],
        refractory_ms: int,
        second: SecondStage | None = None,
    ) -> None:
        self.words = tuple(cutoffs)
        self.engines = tuple(engines)
        self._cutoffs = dict(cutoffs)
        self._above: set[str] = set()
        self._second = second
        self._refractory_samples = refractory_ms * RATE_HZ // 1000
        self._deaf_until = 0

    def process(self, pcm: bytes) -> list[Detection]:
        """Take the next audio and return what wakes in it, in order of position."""
        risen = [
            Detection(score.sample, score.word, min(score.value, 1.0))
            for engine in self.engines
            for score in engine.scores(pcm)
            if self._rises(score)
        ]
        risen.sort(key=lambda detection: detection.sample)
        if self._second is None:
            return [detection for detection in risen if self._wakes(detection)]
        # One by one: what has woken decides what is still asked about.
        confirmed = self._second.sift(pcm, risen, lambda rose: rose.rose_sample >= self._deaf_until)
        return [detection for detection in confirmed if self._wakes(detection)]

    @property
    def patience_samples(self) -> int:
        """How long after a word rose it wakes at the latest."""
        return 0 if self._second is None else PATIENCE_SAMPLES

    def reset(self) -> None:
        """Start afresh: the next sample is number 0."""
        for engine in self.engines:
            engine.reset()
        if self._second is not None:
            self._second.reset()
        self._above.clear()
        self._deaf_until = 0

    def _rises(self, score: Score) -> bool:
        was_above = score.word in self._above
        if score.value <= self._cutoffs[score.word]:
            self._above.discard(score.word)
            return False
        self._above.add(score.word)
        return not was_above

    def _wakes(self, detection: Detection) -> bool:
        if detection.rose_sample < self._deaf_until:
            return False
        self._deaf_until = detection.rose_sample + self._refractory_samples
        return True


class SecondStage:
    """Another engine, asked about the seconds that woke the first.

    Args:
        engine: hears in steps of `STEP_SAMPLES`; is not given anything while nothing is asked.
        cutoffs: above which it agrees, of each word that it is asked about; others wake without it.
    """

    def __init__(self, engine: Engine, cutoffs: Mapping[str, float]) -> None:
        self._engine = engine
        self._cutoffs = dict(cutoffs)
        self._recent = Ring(_ASKED_BYTES)
        # What came since the engine was given something; while anything is asked.
        self._rest = bytearray()
        self._position = 0
        self._given_to = 0
        self._best: dict[str, float] = {}
        self._asked: dict[str, Detection] = {}

    def sift(
        self, pcm: bytes, risen: Sequence[Detection], may_wake: Callable[[Detection], bool]
    ) -> Iterator[Detection]:
        """Take the next audio and what rose in it; yield what is confirmed, maybe of earlier audio.

        Args:
            pcm: the audio.
            risen: what rose in it, in order.
            may_wake: whether there is anything to ask; the answer may change with all that is yielded.
        """
        start, taken = self._position, 0
        for detection in risen:
            upto = (detection.sample - start) * SAMPLE_BYTES
            yield from self._take(pcm[taken:upto], may_wake)
            taken = upto
            if may_wake(detection):
                yield from self._ask(detection)
        yield from self._take(pcm[taken:] if taken else pcm, may_wake)

    def reset(self) -> None:
        """Start afresh: the next sample is number 0, and there was silence before."""
        self._end()
        self._recent.clear()
        self._position = 0

    def _ask(self, detection: Detection) -> Iterator[Detection]:
        if detection.word not in self._cutoffs:
            yield detection
            return
        if not self._asked:
            self._engine.reset()
            self._best = {}
            self._hear(bytes(self._recent.last(_ASKED_BYTES).rjust(_ASKED_BYTES, b"\0")))
            self._given_to = self._position
        self._asked.setdefault(detection.word, detection)
        yield from self._answers()

    def _take(self, pcm: bytes, may_wake: Callable[[Detection], bool]) -> Iterator[Detection]:
        self._position += len(pcm) // SAMPLE_BYTES
        self._recent.add(pcm)
        if self._asked:
            self._rest += pcm
        while self._is_asked(may_wake) and len(self._rest) >= _STEP_BYTES:
            self._hear(bytes(self._rest[:_STEP_BYTES]))
            del self._rest[:_STEP_BYTES]
            self._given_to += STEP_SAMPLES
            yield from self._answers()

    def _is_asked(self, may_wake: Callable[[Detection], bool]) -> bool:
        """Whether anything is still asked, now that maybe something has woken."""
        if not self._asked:
            return False
        self._asked = {word: rose for word, rose in self._asked.items() if may_wake(rose)}
        if not self._asked:
            self._end()
        return bool(self._asked)

    def _hear(self, pcm: bytes) -> None:
        for score in self._engine.scores(pcm):
            self._best[score.word] = max(score.value, self._best.get(score.word, 0.0))

    def _answers(self) -> Iterator[Detection]:
        """Yield what is confirmed by now, and let go of what has waited long enough."""
        confirmed = []
        for word, rose in tuple(self._asked.items()):
            if self._best.get(word, 0.0) > self._cutoffs[word]:
                sample = max(rose.sample, self._given_to)
                confirmed.append(Detection(sample, word, rose.score, rose.sample))
                del self._asked[word]
            elif self._given_to - rose.sample >= PATIENCE_STEPS * STEP_SAMPLES:
                del self._asked[word]
        if not self._asked:
            self._end()
        yield from confirmed

    def _end(self) -> None:
        self._engine.reset()
        self._asked.clear()
        self._rest.clear()
        self._best = {}
