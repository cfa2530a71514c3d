"""The scores that the engines give to whole files, for `tuning.py`: one pass, several files at once.

Each process loads the engines once. Files are often cut close to the word, and an
engine needs a while before it scores, so each is heard with silence around it. A second
stage is asked about what rises at the first stage's cutoffs; files in which something does
are read once more for it.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.wakeword import engine, engines
from fadeout_device.ear.capture import RATE_HZ, SAMPLE_BYTES
from fadeout_device.ear.tuning import Questions, Trace, rises
from fadeout_device.ear.waking import ASKED_STEPS, PATIENCE_STEPS, STEP_SAMPLES
from fadeout_device.errors import AudioDataError
from fadeout_device.wake_words import second_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fadeout_device.ear.adapters.labelled import Labelled
    from fadeout_device.ear.waking import Engine
    from fadeout_device.wake_words import WakeSettings

_BEFORE, _AFTER = (bytes(int(seconds * RATE_HZ) * SAMPLE_BYTES) for seconds in (2.0, 1.5))


class Scored(NamedTuple):
    """The traces of one file, by word."""

    duration_s: float
    traces: dict[str, Trace]
    questions: dict[str, Questions]
    """Of the words that a second stage is asked about."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be heard to its end: nothing of it counts."""

    error: str
    hint: str | None


class Scorer:
    """The engines of one configuration, for one file after another.

    Raises:
        PolicyError: a model that cannot be run.
    """

    def __init__(self, settings: WakeSettings) -> None:
        self._engines: list[Engine] = []
        self.cutoffs: dict[str, float] = {}
        """What each word is set to now."""
        for each in engines(settings):
            self._engines.append(each)
            self.cutoffs |= each.cutoffs
        asked = second_models(settings)
        self._second = engine("openwakeword", asked, ASKED_STEPS) if asked else None
        self.asked = tuple(model.word for model in asked)
        """The words that a second stage is asked about."""

    def score(self, labelled: Labelled) -> Scored | Unreadable:
        """Hear one file to its end."""
        try:
            return self._scored(labelled)
        except AudioDataError as err:
            return Unreadable(str(err), err.hint)

    def _scored(self, labelled: Labelled) -> Scored:
        found: dict[str, list[tuple[int, float]]] = {word: [] for word in self.cutoffs}
        heard = 0
        for each in self._engines:
            each.reset()
        for pcm in _padded(labelled.path):
            heard += len(pcm) // SAMPLE_BYTES
            for each in self._engines:
                for score in each.scores(pcm):
                    found[score.word].append((score.sample, score.value))
        duration_s = heard / RATE_HZ - (len(_BEFORE) + len(_AFTER)) / SAMPLE_BYTES / RATE_HZ
        traces = {
            word: Trace(
                labelled.words.count(word),
                duration_s,
                np.array([sample for sample, _ in scores], np.int64),
                np.array([value for _, value in scores], np.float32),
            )
            for word, scores in found.items()
        }
        return Scored(duration_s, traces, self._asked_about(labelled.path, traces))

    def _asked_about(self, path: Path, traces: dict[str, Trace]) -> dict[str, Questions]:
        if self._second is None:
            return {}
        risen = {word: rises(traces[word], self.cutoffs[word]) for word in self.asked}
        every = sorted((int(sample), word) for word, samples in risen.items() for sample in samples)
        best: dict[str, list[float]] = {word: [] for word in self.asked}
        for (_, word), pcm in zip(every, _around(path, [sample for sample, _ in every]), strict=True):
            self._second.reset()
            scores = [score.value for score in self._second.scores(pcm) if score.word == word]
            best[word].append(max(scores, default=0.0))
        return {
            word: Questions(
                traces[word].expected, traces[word].duration_s, samples, np.array(best[word], np.float32)
            )
            for word, samples in risen.items()
        }


def _padded(path: Path) -> Iterator[bytes]:
    """Yield a file's blocks with silence around them. Raises AudioDataError."""
    file = AudioFile(path)
    try:
        yield from chain((_BEFORE,), file.blocks(), (_AFTER,))
    finally:
        file.close()


def _around(path: Path, samples: Sequence[int]) -> Iterator[bytes]:
    """Yield the audio that a second stage is given when a word has risen at these samples, in order."""
    if not samples:
        return
    before = ASKED_STEPS * STEP_SAMPLES
    size_bytes = (ASKED_STEPS + PATIENCE_STEPS) * STEP_SAMPLES * SAMPLE_BYTES
    # Before the first block there was silence, as for whom is asked.
    kept, start = bytearray(before * SAMPLE_BYTES), -before
    blocks = _padded(path)
    for sample in samples:
        while True:
            gone = min(sample - before - start, len(kept) // SAMPLE_BYTES)
            del kept[: gone * SAMPLE_BYTES]
            start += gone
            if len(kept) >= size_bytes or not (pcm := next(blocks, b"")):
                break
            kept += pcm
        yield bytes(kept[:size_bytes])


def score_all(settings: WakeSettings, files: Sequence[Labelled], jobs: int) -> Iterator[Scored | Unreadable]:
    """Yield what `Scorer.score` says of each file, in their order, from so many processes."""
    if jobs == 1:
        yield from map(Scorer(settings).score, files)
        return
    # Not forked: a process that shows a progress bar has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _prepare, (settings,)) as pool:
        try:
            yield from pool.map(_score, files)
        finally:
            pool.shutdown(cancel_futures=True)


_scorer: Scorer | None = None


def _prepare(settings: WakeSettings) -> None:
    global _scorer  # noqa: PLW0603 - a pool's processes have no other place
    _scorer = Scorer(settings)


def _score(labelled: Labelled) -> Scored | Unreadable:
    assert _scorer is not None  # noqa: S101 - the pool has prepared it
    return _scorer.score(labelled)
