"""When an item's life ends. Pure arithmetic: times are arguments.

An end date is never later than the capture plus the period (P2), so it is rounded
*down*, to a grid as coarse as the sweep: items that end together are erased
together, which spares the root store's cells, and the end date that stands in the
index does not tell to the second when somebody spoke. A period that is short
beside the sweep has a finer grid, so that an item never loses more than a tenth of
its life. docs/adr/0001-end-dates-round-down.md has the reasons.
"""

from __future__ import annotations


def end_date(captured_at_s: float, period_s: int, sweep_s: int) -> int:
    """Return the Unix second from which the item must not be readable."""
    grid_s = max(1, min(sweep_s, period_s // 10))
    return int(captured_at_s + period_s) // grid_s * grid_s


def shortened(ends_at_s: int, period_s: int, allowed_s: int) -> int:
    """Return an item's end date under a policy that now allows only `allowed_s`; never a later one.

    `period_s` is what the end date was computed from until now.
    """
    return ends_at_s - max(0, period_s - allowed_s)
