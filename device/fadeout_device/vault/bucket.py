"""A token bucket: so many at once, and one every so often from then on. Pure: times are arguments.

Its level is a value, so that it can be handed to the process that follows an erasure:
else every erasure would fill the bucket that limits erasures.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Limit(NamedTuple):
    """How many are let through."""

    burst: int
    every_s: float
    """One more after so long."""


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was taken out lately."""

    taken: float = 0.0
    at_s: float = 0.0
    """When that was so; in seconds that the machine has been running."""


def take(level: Level, limit: Limit, now_s: float) -> Level | None:
    """Take one out; None: there is none."""
    passed_s = max(0.0, now_s - level.at_s)
    taken = max(0.0, level.taken - passed_s / limit.every_s)
    return Level(taken + 1, now_s) if taken + 1 <= limit.burst else None
