"""What each cutoff would have detected, and woken for nothing, in audio of which that is known. Pure.

One pass of the engine over the audio gives scores; every cutoff is then judged by
them, as `waking.py` does it: a word rises, and after a wake comes the refractory time.
With a second stage, what rises at the first stage's cutoff is a question; every cutoff of
the second stage is judged by the best score that it gave in answer.

Detection is counted in the files that hold the word, at most as often as it is in
there; false accepts in those that do not, per hour of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fadeout_device.ear.capture import RATE_HZ
from fadeout_device.ear.waking import PATIENCE_STEPS, STEP_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CUTOFFS = (*(n / 100 for n in range(10, 95, 5)), *(n / 100 for n in range(91, 100)))
"""Closer together where models are usually set."""
SECOND_CUTOFFS = (
    0.001,
    0.002,
    0.005,
    *(n / 100 for n in (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90)),
)
"""Closer together at the lower end: who is only asked about what another one heard need not be sure."""
BOUNDS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
"""False accepts an hour that somebody may want to stay below."""
MAX_LOSS = 0.01
"""Detection that may be given up for fewer false accepts: a share of the best."""
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Trace:
    """The scores of one word in one file."""

    expected: int
    """How often the word is in there."""
    duration_s: float
    samples: np.ndarray
    """Where each score was given."""
    values: np.ndarray
    """The scores, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What a second stage would have been asked about one word in one file, at the first stage's cutoff."""

    expected: int
    """How often the word is in there."""
    duration_s: float
    samples: np.ndarray
    """Where the word rose."""
    values: np.ndarray
    """The second stage's best score for it, as long as it is asked."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one cutoff comes to."""

    cutoff: float
    detected: int
    false_accepts: int
    detection: float | None
    """Share of the words that are in the audio; None: there are none."""
    false_accepts_per_hour: float | None
    """None: there is no audio without the word."""


def rises(trace: Trace, cutoff: float) -> np.ndarray:
    """Return where a word rises."""
    above = trace.values > cutoff
    found: np.ndarray = trace.samples[above & ~np.concatenate(([False], above[:-1]))]
    return found


def wakes(trace: Trace, cutoff: float, refractory_ms: int) -> int:
    """Return how often a word wakes in a file."""
    count, deaf_until = 0, 0
    for sample in rises(trace, cutoff):
        if sample >= deaf_until:
            count += 1
            deaf_until = int(sample) + refractory_ms * RATE_HZ // 1000
    return count


def confirmed(questions: Questions, cutoff: float, refractory_ms: int) -> int:
    """Return how often a word wakes in a file, if the second stage must agree."""
    count, busy_until = 0, 0
    for sample, value in zip(questions.samples, questions.values, strict=True):
        # Neither in the refractory time, nor while the same word is asked about.
        if sample >= busy_until:
            is_confirmed = value > cutoff
            count += int(is_confirmed)
            waits = refractory_ms * RATE_HZ // 1000 if is_confirmed else PATIENCE_STEPS * STEP_SAMPLES
            busy_until = int(sample) + waits
    return count


def sweep(traces: Sequence[Trace], cutoffs: Iterable[float], refractory_ms: int) -> list[Point]:
    """Return a point for each cutoff, lowest first."""
    return [
        _point(cutoff, traces, [wakes(trace, cutoff, refractory_ms) for trace in traces])
        for cutoff in sorted(set(cutoffs))
    ]


def sweep_second(
    asked: Sequence[Sequence[Questions]], cutoffs: Iterable[float], refractory_ms: int
) -> list[Point]:
    """Return a point for each cutoff of the second stage, lowest first; it is the same for all words.

    Args:
        asked: of each word, of each file.
        cutoffs: to be judged.
        refractory_ms: after a wake.
    """
    return [
        pooled(
            [
                _point(cutoff, word, [confirmed(each, cutoff, refractory_ms) for each in word])
                for word in asked
            ],
            [sum(each.expected for each in word) for word in asked],
        )
        for cutoff in sorted(set(cutoffs))
    ]


def pooled(points: Sequence[Point], expected: Sequence[int]) -> Point:
    """Return what several words come to together, of which so many are in the audio."""
    detected = sum(point.detected for point in points)
    rates = [p.false_accepts_per_hour for p in points if p.false_accepts_per_hour is not None]
    return Point(
        points[0].cutoff,
        detected,
        sum(point.false_accepts for point in points),
        detected / sum(expected) if sum(expected) else None,
        sum(rates) if rates else None,
    )


def _point(cutoff: float, files: Sequence[Trace | Questions], counts: Sequence[int]) -> Point:
    expected = sum(file.expected for file in files)
    other_h = sum(file.duration_s for file in files if not file.expected) / _HOUR_S
    detected = sum(min(count, file.expected) for file, count in zip(files, counts, strict=True))
    false = sum(count for file, count in zip(files, counts, strict=True) if not file.expected)
    return Point(
        cutoff,
        detected,
        false,
        detected / expected if expected else None,
        false / other_h if other_h else None,
    )


def recommended(points: Sequence[Point], most: int | None = None) -> Point | None:
    """Return the cutoff with the fewest false accepts that loses next to no detection.

    Of several that are equally good, the one in the middle: the next voice will be a little
    different. None: the audio cannot tell.

    Args:
        points: one for each cutoff, lowest first.
        most: of how many detections next to none may be lost; None: of those of the best cutoff.
    """
    if not points or any(p.detection is None or p.false_accepts_per_hour is None for p in points):
        return None
    best = max(point.detected for point in points)
    if not best:
        return None
    good = [point for point in points if point.detected >= (most or best) * (1 - MAX_LOSS)]
    # Where even the lowest cutoff loses more, those that lose the least.
    good = good or [point for point in points if point.detected == best]
    fewest = min(point.false_accepts for point in good)
    good = [point for point in good if point.false_accepts == fewest]
    middle = (_log_odds(good[0]) + _log_odds(good[-1])) / 2
    return min(good, key=lambda point: abs(_log_odds(point) - middle))


def _log_odds(point: Point) -> float:
    """From 0.01 to 0.1 is as far as from 0.9 to 0.99."""
    return math.log(point.cutoff / (1 - point.cutoff))


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that is detected with at most so many false accepts an hour."""

    per_hour: float
    """0: none at all in the audio that was measured."""
    point: Point


def limits(points: Sequence[Point], other_s: float) -> list[Limit]:
    """Return the cutoff that detects most for each bound on false accepts that the audio can tell of."""
    found: list[Limit] = []
    for per_hour in (*(bound for bound in BOUNDS if bound * other_s >= _HOUR_S), 0.0):
        within = [
            point
            for point in points
            if point.false_accepts_per_hour is not None and point.false_accepts_per_hour <= per_hour
        ]
        if not within or not any(point.detected for point in within):
            continue
        best = max(within, key=lambda point: (point.detected, -point.false_accepts))
        if found and found[-1].point.detected == best.detected:
            # The stricter bound costs nothing.
            found.pop()
        found.append(Limit(per_hour, best))
    return found
