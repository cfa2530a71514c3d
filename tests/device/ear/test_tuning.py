"""What the sweep counts, and which cutoff it recommends."""

from __future__ import annotations

import numpy as np
import pytest

from fadeout_device.ear.tuning import CUTOFFS, Point, Trace, recommended, sweep, wakes

STEP = 480


def trace(*values: float, expected: int = 0, duration_s: float = 3600.0) -> Trace:
    samples = np.arange(1, len(values) + 1) * STEP
    return Trace(expected, duration_s, samples, np.array(values, np.float32))


def point(cutoff: float, detected: int, false: int) -> Point:
    return Point(cutoff, detected, false, detected / 100, float(false))


@pytest.mark.parametrize(
    ("values", "refractory_ms", "expected"),
    [
        pytest.param((), 0, 0, id="no score at all"),
        pytest.param((0.5, 0.5), 0, 0, id="at the cutoff is not above it"),
        pytest.param((0.6, 0.7, 0.8), 0, 1, id="above it from the start, and staying"),
        pytest.param((0.6, 0.1, 0.6), 0, 2, id="twice"),
        pytest.param((0.6, 0.1, 0.6), 1_000, 1, id="twice within the refractory time"),
        pytest.param((0.6, *[0.1] * 33, 0.6), 1_000, 2, id="and after it"),
    ],
)
def test_a_word_wakes_when_it_rises(values: tuple[float, ...], refractory_ms: int, expected: int) -> None:
    assert wakes(trace(*values), 0.5, refractory_ms) == expected


def test_detection_and_false_accepts_are_counted_in_different_files() -> None:
    traces = [
        trace(0.9, 0.0, 0.9, expected=1, duration_s=10),
        trace(0.6, expected=1),
        trace(0.7, 0.0, 0.7, duration_s=1800),
    ]
    low, middle, high = sweep(traces, (0.8, 0.5, 0.65), 0)
    assert (low.cutoff, low.detected, low.detection) == (0.5, 2, 1.0)
    assert (low.false_accepts, low.false_accepts_per_hour) == (2, 4.0)
    assert (middle.detected, middle.false_accepts) == (1, 2)
    assert (high.detected, high.false_accepts_per_hour) == (1, 0.0)


def test_what_was_not_there_is_not_measured() -> None:
    (only_wake,) = sweep([trace(0.9, expected=1)], (0.5,), 0)
    assert (only_wake.detection, only_wake.false_accepts_per_hour) == (1.0, None)
    (only_other,) = sweep([trace(0.9)], (0.5,), 0)
    assert (only_other.detection, only_other.false_accepts_per_hour) == (None, 1.0)
    assert recommended([only_wake]) is recommended([only_other]) is None


def test_the_fewest_false_accepts_that_cost_at_most_a_hundredth() -> None:
    points = [point(0.3, 100, 9), point(0.5, 100, 4), point(0.7, 99, 2), point(0.9, 98, 0)]
    assert recommended(points) == points[2]


def test_of_equally_good_cutoffs_the_one_in_the_middle() -> None:
    points = [point(cutoff, 100 if cutoff < 0.9 else 0, 0) for cutoff in CUTOFFS]
    best = recommended(points)
    assert best is not None
    assert best.cutoff == pytest.approx(0.5, abs=0.051)


def test_nothing_is_recommended_when_nothing_is_detected() -> None:
    assert recommended([point(0.5, 0, 0)]) is None
    assert recommended([]) is None
