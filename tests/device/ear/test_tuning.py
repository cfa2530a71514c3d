"""What the sweep counts, and which cutoff it recommends."""

from __future__ import annotations

import numpy as np
import pytest

from fadeout_device.ear.tuning import (
    CUTOFFS,
    SECOND_CUTOFFS,
    Limit,
    Point,
    Questions,
    Trace,
    confirmed,
    limits,
    recommended,
    sweep,
    sweep_second,
    wakes,
)
from fadeout_device.ear.waking import PATIENCE_STEPS, STEP_SAMPLES

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


# ---- the second stage


def questions(*rises: tuple[int, float], expected: int = 0, duration_s: float = 3600.0) -> Questions:
    """Give where a word rose, and what the second stage thought of it."""
    samples, values = [sample for sample, _ in rises], [value for _, value in rises]
    return Questions(expected, duration_s, np.array(samples, np.int64), np.array(values, np.float32))


PATIENCE = PATIENCE_STEPS * STEP_SAMPLES


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(questions(), 0, id="nothing rose"),
        pytest.param(questions((100, 0.3)), 0, id="at the cutoff it does not agree"),
        pytest.param(questions((100, 0.31)), 1, id="above it it does"),
        pytest.param(questions((100, 0.9), (16_099, 0.9)), 1, id="within the refractory time"),
        pytest.param(questions((100, 0.9), (16_100, 0.9)), 2, id="and after it"),
        pytest.param(questions((100, 0.1), (99 + PATIENCE, 0.9)), 0, id="while the same word is asked about"),
        pytest.param(questions((100, 0.1), (100 + PATIENCE, 0.9)), 1, id="and asked about again"),
    ],
)
def test_a_question_wakes_when_the_second_stage_agrees(asked: Questions, expected: int) -> None:
    assert confirmed(asked, 0.3, 1_000) == expected


def test_words_that_are_asked_about_are_counted_together() -> None:
    first = [questions((1, 0.9), expected=1), questions((1, 0.5), duration_s=1800)]
    other = [questions((1, 0.7)), questions((1, 0.2), expected=1, duration_s=1800)]
    low, high = sweep_second([first, other], (0.6, 0.1), 1_000)
    assert (low.cutoff, low.detected, low.detection, low.false_accepts) == (0.1, 2, 1.0, 2)
    # Two in an hour of one word, and one in an hour of the other.
    assert low.false_accepts_per_hour == 3.0
    assert (high.cutoff, high.detected, high.false_accepts) == (0.6, 1, 1)


def test_a_second_stage_is_held_against_the_first_one_alone() -> None:
    points = [point(0.01, 98, 4), point(0.1, 97, 0)]
    assert recommended(points) == points[0]
    assert recommended([point(0.01, 100, 4), point(0.1, 99, 0), point(0.3, 98, 0)], 100) == point(0.1, 99, 0)
    # Where it always loses more than a hundredth, as little as can be.
    assert recommended(points, 100) == points[0]
    fewer = [point(0.01, 980, 4), point(0.1, 971, 0)]
    assert (recommended(fewer), recommended(fewer, 1_000)) == (fewer[1], fewer[0])


def test_the_middle_of_equally_good_cutoffs_is_that_of_the_odds() -> None:
    points = [point(cutoff, 100, 0) for cutoff in SECOND_CUTOFFS if cutoff <= 0.1]
    best = recommended(points)
    assert best is not None
    assert best.cutoff == 0.01


def test_for_each_bound_the_cutoff_that_detects_most() -> None:
    points = [
        point(0.1, 100, 40),
        point(0.3, 100, 9),
        point(0.5, 97, 2),
        point(0.7, 97, 1),
        point(0.9, 50, 0),
    ]
    assert limits(points, 3600) == [Limit(10.0, points[1]), Limit(1.0, points[3]), Limit(0.0, points[4])]
    # Of less than an hour nobody knows how many there are in one, only that there was none.
    assert limits(points, 1800) == [Limit(10.0, points[1]), Limit(3.0, points[3]), Limit(0.0, points[4])]
    assert limits(points, 100) == [Limit(0.0, points[4])]


def test_a_bound_that_costs_everything_is_not_told() -> None:
    assert limits([point(0.5, 100, 40), point(0.9, 0, 0)], 36_000) == []
    assert limits([Point(0.5, 0, 0, None, 0.0), Point(0.9, 1, 0, 1.0, None)], 36_000) == []
