"""The scores that the engines give to whole files, for `tuning.py`: one pass, several files at once.

Each process loads the engines once. Files are often cut close to the word, and an
engine needs a while before it scores, so each is heard with silence around it.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.wakeword import engines
from fadeout_device.ear.capture import RATE_HZ, SAMPLE_BYTES
from fadeout_device.ear.tuning import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fadeout_device.ear.adapters.labelled import Labelled
    from fadeout_device.ear.waking import Engine
    from fadeout_device.wake_words import WakeSettings

_BEFORE, _AFTER = (bytes(int(seconds * RATE_HZ) * SAMPLE_BYTES) for seconds in (2.0, 1.5))


class Scored(NamedTuple):
    """The traces of one file, by word."""

    duration_s: float
    traces: dict[str, Trace]


class Scorer:
    """The engines of one configuration, for one file after another.

    Raises:
        PolicyError: a model that cannot be run.
    """

    def __init__(self, settings: WakeSettings) -> None:
        self._engines: list[Engine] = []
        self.cutoffs: dict[str, float] = {}
        """What each word is set to now."""
        for engine in engines(settings):
            self._engines.append(engine)
            self.cutoffs |= engine.cutoffs

    def score(self, labelled: Labelled) -> Scored:
        """Hear one file to its end.

        Raises:
            AudioDataError: it cannot be read or decoded.
        """
        found: dict[str, list[tuple[int, float]]] = {word: [] for word in self.cutoffs}
        heard = 0
        for engine in self._engines:
            engine.reset()
        file = AudioFile(labelled.path)
        try:
            for pcm in chain((_BEFORE,), file.blocks(), (_AFTER,)):
                heard += len(pcm) // SAMPLE_BYTES
                for engine in self._engines:
                    for score in engine.scores(pcm):
                        found[score.word].append((score.sample, score.value))
        finally:
            file.close()
        duration_s = heard / RATE_HZ - (len(_BEFORE) + len(_AFTER)) / SAMPLE_BYTES / RATE_HZ
        return Scored(
            duration_s,
            {
                word: Trace(
                    labelled.words.count(word),
                    duration_s,
                    np.array([sample for sample, _ in scores], np.int64),
                    np.array([value for _, value in scores], np.float32),
                )
                for word, scores in found.items()
            },
        )


def score_all(settings: WakeSettings, files: Sequence[Labelled], jobs: int) -> Iterator[Scored]:
    """Yield what `Scorer.score` says of each file, in their order, from so many processes.

    Raises:
        AudioDataError: a file cannot be read or decoded.
    """
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


def _score(labelled: Labelled) -> Scored:
    assert _scorer is not None  # noqa: S101 - the pool has prepared it
    return _scorer.score(labelled)
