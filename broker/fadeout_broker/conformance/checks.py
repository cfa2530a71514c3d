"""What a subscriber must do, one check for each: docs/subscribers.md has the same list in words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fadeout_broker.conformance.trial import Owed
from fadeout_broker.conformance.verdict import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fadeout_broker.conformance.trial import Trial

_MANY = 20
"""More notices than a watermark can name."""
Ids = tuple[str, ...]


def all_checks(trial: Trial, ttl_s: int) -> Iterator[Result]:
    """Try a subscriber; yields each result as it comes."""
    yield _notice(trial)
    yield _twice(trial)
    yield _end(trial, ttl_s)
    yield _watermark(trial)
    yield _gap(trial)
    yield _unreached(trial)
    yield _era(trial)
    yield _unknown(trial)
    yield _away(trial)
    yield _long_away(trial)
    yield trial.nothing_came_back()
    yield from trial.blind_places()


def _notice(trial: Trial) -> Result:
    def act(ids: Ids) -> Owed:
        trial.played.notice(ids[:2])
        trial.played.watermark(trial.played.n, ids[:2])
        return Owed(ids[:2], lives=ids[2:])

    return trial.check("a notice", 3, act)


def _twice(trial: Trial) -> Result:
    def act(ids: Ids) -> Owed:
        trial.played.event(ids[0], 3600)
        trial.played.notice(ids)
        trial.played.watermark(trial.played.n, ids)
        return Owed(ids)

    return trial.check("an event that came twice", 1, act)


def _end(trial: Trial, ttl_s: int) -> Result:
    planted_s = time.monotonic()

    def act(ids: Ids) -> Owed:
        return Owed(ids, may_acknowledge=False, from_mono_s=planted_s + ttl_s)

    return trial.check("the end of its ttl", 1, act, ttl_s)


def _watermark(trial: Trial) -> Result:
    def act(ids: Ids) -> Owed:
        trial.played.n += 1  # a notice that nobody gets
        trial.played.watermark(trial.played.n, ids)
        return Owed(ids)

    return trial.check("a watermark without its notice", 1, act)


def _gap(trial: Trial) -> Result:
    def act(ids: Ids) -> Owed:
        trial.played.n += 1  # a notice that nobody gets
        other = (trial.played.new_id(),)
        trial.played.notice(other)
        trial.played.watermark(trial.played.n, other)
        return Owed(ids)

    return trial.check("a notice that was skipped", 2, act)


def _unreached(trial: Trial) -> Result:
    def act(ids: Ids) -> Owed:
        trial.played.n += _MANY
        trial.played.watermark(trial.played.n, (trial.played.new_id(),))
        return Owed(ids)

    return trial.check("a watermark that does not reach back", 2, act)


def _era(trial: Trial) -> Result:
    def act(ids: Ids) -> Owed:
        trial.played.begin_era()
        trial.played.watermark(1)
        return Owed(ids)

    return trial.check("another era", 2, act)


def _unknown(trial: Trial) -> Result:
    def act(ids: Ids) -> Owed:
        trial.played.garble()
        trial.played.event(ids[0], 3600, mood="merry", rooms=[1, 2])
        trial.played.notice(ids, reason={"by": "a later version"})
        trial.played.watermark(trial.played.n, ids)
        return Owed(ids)

    return trial.check("what it does not know", 1, act)


def _away(trial: Trial) -> Result:
    name = "an erasure while it is away"
    if trial.absence is None:
        return _not_tried(name)
    absence = trial.absence

    def act(ids: Ids) -> Owed:
        absence.pause()
        trial.played.notice(ids)
        trial.played.watermark(trial.played.n, ids)
        absence.resume()
        return Owed(ids)

    return trial.check(name, 1, act)


def _long_away(trial: Trial) -> Result:
    name = "more erasures than can be named while it is away"
    if trial.absence is None:
        return _not_tried(name)
    absence = trial.absence

    def act(ids: Ids) -> Owed:
        absence.pause()
        for _ in range(_MANY):
            other = (trial.played.new_id(),)
            trial.played.notice(other)
        trial.played.watermark(trial.played.n, other)
        absence.resume()
        return Owed(ids)

    return trial.check(name, 2, act)


def _not_tried(name: str) -> Result:
    return Result(name, "not tried", None, "needs --target, or --pause and --resume")
