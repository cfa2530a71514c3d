"""One measured number, its unit, and the aim it is held against."""

from __future__ import annotations

from typing import NamedTuple


class Measurement(NamedTuple):
    """One row."""

    what: str
    value: float | None
    """None: not measured; `unit` then says why."""
    unit: str
    aim: str = ""
    is_met: bool | None = None
    """None: there is no aim."""


def at_most(what: str, value: float, unit: str, limit: float) -> Measurement:
    """Return a row with an aim that is an upper limit."""
    return Measurement(what, value, unit, f"at most {limit:g}", value <= limit)


def not_measured(what: str, why: Exception) -> Measurement:
    """Return the row of what could not be measured here, with the reason in place of the unit."""
    return Measurement(what, None, f"not measured: {why}")
