"""What each cutoff would have detected, and woken for nothing, in audio of which that is known. Pure.

One pass of the engine over the audio gives scores; every cutoff is then judged by
them, as `waking.py` does it: a word rises, and after a wake comes the refractory time.

Detection is counted in the files that hold the word, at most as often as it is in
there; false accepts in those that do not, per hour of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fadeout_device.ear.capture import RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CUTOFFS = (*(n / 100 for n in range(10, 95, 5)), *(n / 100 for n in range(91, 100)))
"""Closer together where models are usually set."""
MAX_LOSS = 0.01
"""Detection that may be given up for fewer false accepts: a share of the best."""


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
class Point:
    """What one cutoff comes to."""

    cutoff: float
    detected: int
    false_accepts: int
    detection: float | None
    """Share of the words that are in the audio; None: there are none."""
    false_accepts_per_hour: float | None
    """None: there is no audio without the word."""


def wakes(trace: Trace, cutoff: float, refractory_ms: int) -> int:
    """Return how often a word wakes in a file."""
    above = trace.values > cutoff
    rises = above & ~np.concatenate(([False], above[:-1]))
    count, deaf_until = 0, 0
    for sample in trace.samples[rises]:
        if sample >= deaf_until:
            count += 1
            deaf_until = int(sample) + refractory_ms * RATE_HZ // 1000
    return count


def sweep(traces: Sequence[Trace], cutoffs: Iterable[float], refractory_ms: int) -> list[Point]:
    """Return a point for each cutoff, lowest first."""
    expected = sum(trace.expected for trace in traces)
    other_h = sum(trace.duration_s for trace in traces if not trace.expected) / 3600
    points = []
    for cutoff in sorted(set(cutoffs)):
        counts = [(trace.expected, wakes(trace, cutoff, refractory_ms)) for trace in traces]
        detected = sum(min(count, held) for held, count in counts)
        false = sum(count for held, count in counts if not held)
        points.append(
            Point(
                cutoff,
                detected,
                false,
                detected / expected if expected else None,
                false / other_h if other_h else None,
            )
        )
    return points


def recommended(points: Sequence[Point]) -> Point | None:
    """Return the cutoff with the fewest false accepts that loses next to no detection.

    Of several that are equally good, the one in the middle: the next voice will be a little
    different. None: the audio cannot tell.
    """
    if not points or any(p.detection is None or p.false_accepts_per_hour is None for p in points):
        return None
    best = max(point.detected for point in points)
    if not best:
        return None
    good = [point for point in points if point.detected >= best * (1 - MAX_LOSS)]
    fewest = min(point.false_accepts for point in good)
    good = [point for point in good if point.false_accepts == fewest]
    middle = (good[0].cutoff + good[-1].cutoff) / 2
    return min(good, key=lambda point: abs(point.cutoff - middle))
