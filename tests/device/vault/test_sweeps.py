"""When the next sweep is needed, without anything to sweep."""

from __future__ import annotations

import pytest

from fadeout_device.vault.sweeps import OK, Sweeps


@pytest.mark.parametrize(
    ("outcome", "next_end_s", "expected_s"),
    [
        pytest.param(OK, None, 800.0, id="nothing is held"),
        pytest.param(OK, 5_000.0, 800.0, id="the first end is far away"),
        pytest.param(OK, 1_250.0, 150.0, id="the first end comes before"),
        pytest.param(OK, 1_050.0, -50.0, id="something is overdue"),
        pytest.param("input/output error", 1_050.0, -40.0, id="what failed is tried again after a minute"),
        pytest.param("none yet", 1_050.0, -40.0, id="the process before this one had not come to its end"),
    ],
)
def test_the_next_sweep_is_needed_at_the_first_end_and_once_in_a_while(
    outcome: str, next_end_s: float | None, expected_s: float
) -> None:
    sweeps = Sweeps(900)
    sweeps.take_over(1_000.0, outcome)
    assert sweeps.seconds_to_next(1_100.0, next_end_s) == expected_s


def test_what_failed_is_not_tried_again_in_a_busy_loop() -> None:
    sweeps = Sweeps(900)
    sweeps.begin(1_000.0)
    sweeps.fail("input/output error")
    assert sweeps.seconds_to_next(1_000.0, 0.0) == 60.0
    sweeps.begin(1_060.0)
    sweeps.end()
    assert (sweeps.count, sweeps.outcome, sweeps.seconds_to_next(1_060.0, None)) == (2, OK, 900.0)


def test_the_first_sweep_is_needed_at_once() -> None:
    assert Sweeps(900).seconds_to_next(1_000.0, None) <= 0
