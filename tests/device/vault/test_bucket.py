"""The token bucket: so many at once, one every so often, and a level that can be handed on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.vault.bucket import Level, Limit, take

LIMIT = Limit(burst=3, every_s=10.0)


def _taken(times: list[float]) -> int:
    level, count = Level(), 0
    for now_s in times:
        after = take(level, LIMIT, now_s)
        if after is not None:
            level, count = after, count + 1
    return count


def test_so_many_at_once_and_then_one_every_so_often() -> None:
    assert _taken([100.0] * 9) == 3
    assert _taken([100.0] * 9 + [110.0] * 9) == 4
    assert _taken([100.0] * 9 + [1000.0] * 9) == 6, "never more than the burst"


def test_a_clock_that_goes_back_fills_nothing() -> None:
    assert _taken([100.0] * 3 + [0.0] * 3) == 3


@given(st.lists(st.floats(0, 1000), max_size=200))
def test_in_any_time_no_more_than_the_burst_and_what_was_filled(times: list[float]) -> None:
    times.sort()
    assert _taken(times) <= LIMIT.burst + (times[-1] - times[0] if times else 0) / LIMIT.every_s
