"""End dates: never later than promised, and batched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.vault.due import end_date, shortened

TIMES = st.floats(0, 4e9, allow_nan=False)
PERIODS = st.integers(1, 30 * 86400)
SWEEPS = st.integers(1, 86400)


@given(captured_at_s=TIMES, period_s=PERIODS, sweep_s=SWEEPS)
def test_no_item_outlives_its_period(captured_at_s: float, period_s: int, sweep_s: int) -> None:
    ends_at_s = end_date(captured_at_s, period_s, sweep_s)
    assert ends_at_s <= captured_at_s + period_s
    assert ends_at_s > captured_at_s + period_s - min(sweep_s, max(1, period_s / 10)) - 1


@given(captured_at_s=TIMES, sweep_s=SWEEPS)
def test_items_of_one_quarter_of_an_hour_end_together(captured_at_s: float, sweep_s: int) -> None:
    del sweep_s
    assert end_date(captured_at_s, 7 * 86400, 900) % 900 == 0


@given(captured_at_s=TIMES, promised_s=PERIODS, allowed_s=st.integers(0, 30 * 86400))
def test_a_changed_policy_never_lengthens_and_always_shortens(
    captured_at_s: float, promised_s: int, allowed_s: int
) -> None:
    before = end_date(captured_at_s, promised_s, 900)
    after = shortened(before, promised_s, allowed_s)
    assert after <= before
    assert after <= captured_at_s + max(allowed_s, 0) or allowed_s >= promised_s
