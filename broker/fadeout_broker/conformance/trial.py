"""One subscriber on trial: plants events, waits, looks, and says what was proven.

Every wait is for a condition, with `patience_s` as its end. Nothing is believed to be
gone that was not seen before, and after each check a new event must be seen again, so
that a subscriber that has died, or a look that has gone blind, does not pass for one that
forgets.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from fadeout_broker.conformance.places import PlaceError
from fadeout_broker.conformance.verdict import Result, Seen, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fadeout_broker.conformance.places import Place
    from fadeout_broker.conformance.played import PlayedDevice
    from fadeout_broker.conformance.target import Absence

_LOOK_EVERY_S = 0.1
_SAY_AGAIN_S = 1.0
_SEE_S = 60.0
"""How long an event is waited for, at least."""
_OTHERS_S = 3.0
"""How much longer the other places are waited for, once one has shown the events."""
_ACK_S = 5.0
"""How much longer an acknowledgement is waited for, once the events are gone."""
LONG_TTL_S = 86400


class Owed(NamedTuple):
    """What a check has asked the subscriber for."""

    ids: Sequence[str]
    """Must be forgotten."""
    may_acknowledge: bool = True
    lives: Sequence[str] = ()
    """Need not be forgotten; that they were is no mistake."""
    from_mono_s: float = 0.0
    """Not before then must they be gone."""


class Trial:
    """What the checks work with.

    Args:
        played: the device.
        places: where to look.
        absence: how to have the subscriber away; None: not at all.
        patience_s: the longest wait for anything.
        consumer: whose acknowledgements count; None: anybody's.
        is_alone: nobody else subscribes; otherwise, without a consumer, no acknowledgement counts, because
            it may be somebody else's.
    """

    def __init__(  # noqa: PLR0913 - what a trial is made of
        self,
        played: PlayedDevice,
        places: Sequence[Place],
        absence: Absence | None,
        *,
        patience_s: float,
        consumer: str | None,
        is_alone: bool = True,
    ) -> None:
        self.played = played
        self.absence = absence
        self._places = places
        self._patience_s = patience_s
        self._consumer = consumer
        self._counts_acks = is_alone or consumer is not None
        self._proven: set[str] = set()
        self._gone: list[str] = []
        self._trouble = ""
        self._is_tried = False

    def check(
        self, name: str, count: int, act: Callable[[tuple[str, ...]], Owed], ttl_s: int = LONG_TTL_S
    ) -> Result:
        """Plant so many events, wait until they are seen, do something about them, and see what goes."""
        ids = tuple(self.played.new_id() for _ in range(count))
        seen = self.plant(ids, ttl_s)
        if not seen:
            return Result(name, "cannot tell", None, self._never_seen())
        owed = act(ids)
        if not self._counts_acks:
            owed = owed._replace(may_acknowledge=False)
        there_at_ack, found = self._wait_until_gone(owed, seen)
        trouble = self._trouble
        probe = self.played.new_id()
        after = seen <= self.plant((probe,), LONG_TTL_S, seen)
        verdict = judge(Seen(True, after, there_at_ack, bool(found), trouble))
        if verdict == "forgot":
            self._gone += owed.ids
        acknowledged = there_at_ack is not None if owed.may_acknowledge else None
        return Result(name, verdict, acknowledged, self._detail(owed, seen, found, trouble, after=after))

    def plant(self, ids: tuple[str, ...], ttl_s: int, wanted: frozenset[str] | None = None) -> frozenset[str]:
        """Say events until they are seen; return the names of the places that show all of them."""
        places = [place for place in self._places if wanted is None or place.name in wanted]
        begun_s = time.monotonic()
        # Whoever has only just been started takes its time; whoever never showed anything will not now.
        is_blind = self._is_tried and not self._proven
        self._is_tried = True
        until_s = begun_s + min(self._patience_s if is_blind else max(self._patience_s, _SEE_S), ttl_s - 1)
        said_s = -_SAY_AGAIN_S
        seen: frozenset[str] = frozenset()
        while (now_s := time.monotonic()) < until_s and len(seen) < len(places) and not self._ended():
            if now_s - said_s >= _SAY_AGAIN_S:
                # Whoever has only just subscribed has missed the first time; the same id is the same event.
                said_s = now_s
                for one in ids:
                    self.played.event(one, max(1, ttl_s - int(now_s - begun_s)))
            shown = frozenset(place.name for place in places if set(ids) <= set(self._look(place, ids)))
            if shown and not seen:
                until_s = min(until_s, now_s + _OTHERS_S)
            seen = shown
            time.sleep(_LOOK_EVERY_S)  # nothing tells when somebody else has written
        self._proven |= seen
        return seen

    def nothing_came_back(self) -> Result:
        """Look once more for all that was forgotten."""
        name = "nothing came back"
        if not self._gone:
            return Result(name, "not tried", None, "nothing was forgotten")
        found: dict[str, str] = {}
        self._trouble = ""
        for place in self._places:
            found |= self._look(place, self._gone)
        if found:
            return Result(name, "still there", None, f"again in {_some(found)}")
        if self._trouble:
            return Result(name, "cannot tell", None, self._trouble)
        return Result(name, "forgot", None, f"{len(self._gone)} events that were forgotten before")

    def blind_places(self) -> list[Result]:
        """Return a result for each place that never showed anything: it proves nothing."""
        return [
            Result(place.name, "cannot tell", None, "never showed an event: is it the right place?")
            for place in self._places
            if place.name not in self._proven
        ]

    def _wait_until_gone(self, owed: Owed, seen: frozenset[str]) -> tuple[bool | None, dict[str, str]]:
        """Return whether they were there when they were acknowledged, and where they are at the end."""
        places = [place for place in self._places if place.name in seen]
        era, n = self.played.era, self.played.n
        there_at_ack: bool | None = None
        until_s = max(time.monotonic(), owed.from_mono_s) + self._patience_s
        gone_s: float | None = None
        while True:
            is_new_ack = (
                owed.may_acknowledge
                and there_at_ack is None
                and self.played.acknowledged(era, n, self._consumer)
            )
            self._trouble = ""
            found: dict[str, str] = {}
            for place in places:
                found |= self._look(place, owed.ids)
            now_s = time.monotonic()
            if is_new_ack and not self._trouble:
                there_at_ack = bool(found)
            if there_at_ack:
                return there_at_ack, found  # nothing that follows makes it true
            is_gone = not found and not self._trouble
            gone_s = (now_s if gone_s is None else gone_s) if is_gone else None
            is_owed = owed.may_acknowledge and there_at_ack is None
            if gone_s is not None and (not is_owed or now_s - gone_s > min(_ACK_S, self._patience_s)):
                return there_at_ack, found
            if gone_s is None and now_s > until_s:
                return there_at_ack, found
            time.sleep(_LOOK_EVERY_S)

    def _look(self, place: Place, ids: Sequence[str]) -> dict[str, str]:
        try:
            return place.find(ids)
        except PlaceError as err:
            self._trouble = str(err)
            return {}

    def _never_seen(self) -> str:
        unseen = "never seen, before anything was erased: so its absence proves nothing"
        return self._ended() or self._trouble or unseen

    def _ended(self) -> str:
        return "" if self.absence is None else self.absence.ended()

    def _detail(
        self, owed: Owed, seen: frozenset[str], found: dict[str, str], trouble: str, *, after: bool
    ) -> str:
        if found:
            return f"in {_some(found)}"
        if trouble:
            return trouble
        if not after:
            return self._ended() or "a new event was not seen afterwards: does it still run?"
        told = [f"looked at {', '.join(sorted(seen))}"]
        if owed.lives:
            kept = {
                one for place in self._places if place.name in seen for one in self._look(place, owed.lives)
            }
            told.append("kept what lives" if kept == set(owed.lives) else "forgot what lives, too")
        return "; ".join(told)


def _some(found: dict[str, str]) -> str:
    return ", ".join(sorted(set(found.values()))[:3])
