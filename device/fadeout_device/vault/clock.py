"""The vault's clocks: the machine's, as far as `belief.py` believes it, and a replay's, which is the audio's.

A clock holds what is believed and says what would be believed next; `timekeeper.py`
stores it, and hands it back once it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from fadeout_device.answers import ClockReport
from fadeout_device.vault.belief import Belief, Rules, is_worth_storing
from fadeout_device.vault.time_sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.vault.belief import Reading

LIVE, REPLAYED = "clock", "clock_replayed"
_STORE_EVERY_S = 900.0


class Step(NamedTuple):
    """What a look at the machine's clocks has come to."""

    belief: Belief
    anchored: Belief
    """The same, as it is to be stored."""
    shift_s: float = 0.0
    """By so much proven time moves ahead, because a jump is confirmed."""
    is_withdrawn: bool = False
    """The clock has come back from a jump."""
    is_worth_storing: bool = False


class Clock(Protocol):
    """What time it is."""

    stored_as: str
    """Under which name the index has it."""

    def now(self) -> float:
        """Return the time for reading, in Unix seconds, UTC; goes back when an unconfirmed jump does."""

    def proven(self) -> float:
        """Return the time for end dates and for whatever cannot be undone; never less than before."""

    def raise_floor(self, at_s: float) -> None:
        """Replay: move on to this time, unless it has passed."""

    def era(self) -> int:
        """Return which start of the machine this is."""

    def is_known(self) -> bool:
        """Say whether what was captured before this start may be read."""

    def moved_s(self, era: int, captured_ahead_s: float, belief: Belief, ahead_s: float) -> float:
        """Return by how much an item's end date moves when proven time moves ahead by `ahead_s`."""

    def restore(self, stored: str | None, replayed: str | None) -> None:
        """Go on from what was stored, which may be nothing, and not before the time of a replay."""

    def present(self) -> Step:
        """Return what is believed now."""

    def look(self, *, is_person: bool = False) -> Step:
        """Say what is to be believed next. Changes nothing.

        Args:
            is_person: somebody at the device says that the wall clock is right.
        """

    def accept(self, step: Step, *, is_stored: bool) -> None:
        """Believe it."""

    def report(self) -> ClockReport:
        """Return what is believed, and why."""


class SystemClock:
    """The machine's clocks, believed by the rules."""

    stored_as = LIVE

    def __init__(self, read: Callable[[], Reading] | None = None, rules: Rules | None = None) -> None:
        self._read = read or Sources().read
        self._rules = rules or Rules()
        self._belief = self._rules.begin(self._read())
        self._stored: Belief | None = None

    def now(self) -> float:
        """Return the time for reading."""
        return self._rules.now_s(self._belief, self._read())

    def proven(self) -> float:
        """Return the proven time."""
        return self._rules.proven_s(self._belief, self._read())

    def raise_floor(self, at_s: float) -> None:
        """Do nothing: nobody tells this clock the time."""

    def era(self) -> int:
        """Return which start of the machine this is."""
        return self._belief.era

    def is_known(self) -> bool:
        """Say whether the time is known."""
        return self._belief.is_known

    def moved_s(self, era: int, captured_ahead_s: float, belief: Belief, ahead_s: float) -> float:
        """Return by how much an item's end date moves when proven time moves ahead by `ahead_s`."""
        return self._rules.moved_s(era, captured_ahead_s, belief, ahead_s)

    def restore(self, stored: str | None, replayed: str | None) -> None:
        """Go on from what was stored; without it nothing can contradict the wall clock."""
        try:
            if stored is not None:
                self._belief = self._stored = msgspec.json.decode(stored, type=Belief)
        except msgspec.DecodeError:
            # There was a floor: that is no fresh start, but one without any clock.
            self._belief = msgspec.structs.replace(self._belief, because="unknown")
        if replayed is not None:
            belief = self._rules.anchored(self._belief, self._read())
            floor_s = max(belief.floor_s, _floor_s(replayed))
            self._belief = msgspec.structs.replace(belief, floor_s=floor_s)

    def present(self) -> Step:
        """Return what is believed now."""
        return Step(self._belief, self._rules.anchored(self._belief, self._read()))

    def look(self, *, is_person: bool = False) -> Step:
        """Say what is to be believed next."""
        reading = self._read()
        take = self._rules.confirm if is_person else self._rules.look
        belief, shift_s = take(self._belief, reading)
        is_withdrawn = (
            belief.jump is None
            and self._belief.jump is not None
            and belief.era == self._belief.era
            and not shift_s
        )
        worth = shift_s > 0 or is_worth_storing(self._stored, belief, reading, _STORE_EVERY_S)
        return Step(belief, self._rules.anchored(belief, reading), shift_s, is_withdrawn, worth)

    def accept(self, step: Step, *, is_stored: bool) -> None:
        """Believe it."""
        if is_stored:
            self._belief = self._stored = step.anchored
        else:
            self._belief = step.belief

    def report(self) -> ClockReport:
        """Return what is believed, and why."""
        belief, reading = self._belief, self._read()
        jump, left_s = belief.jump, None
        if jump is not None and (belief.is_known or reading.is_synchronised):
            left_s = max(0.0, self._rules.left_s(belief, jump, reading))
        return ClockReport(
            now_s=self._rules.now_s(belief, reading),
            proven_s=self._rules.proven_s(belief, reading),
            wall_s=reading.wall_s,
            because=belief.because,
            is_synchronised=reading.is_synchronised,
            has_battery_clock=reading.rtc_s is not None,
            ahead_s=0.0 if jump is None else jump.ahead_s,
            left_s=left_s,
            locked=0,
        )


class ReplayClock:
    """The audio's time: moves when the ear says how far the audio has come. Nothing contradicts it."""

    stored_as = REPLAYED

    def __init__(self, start_s: float) -> None:
        self.now_s = start_s

    def now(self) -> float:
        """Return the audio's time."""
        return self.now_s

    def proven(self) -> float:
        """Return the audio's time."""
        return self.now_s

    def raise_floor(self, at_s: float) -> None:
        """Move on to this time, unless it has passed."""
        self.now_s = max(self.now_s, at_s)

    def era(self) -> int:
        """Return the only one there is."""
        return 0

    def is_known(self) -> bool:
        """Say that it is."""
        return True

    def moved_s(self, era: int, captured_ahead_s: float, belief: Belief, ahead_s: float) -> float:
        """Return nothing: there are no jumps."""
        del era, captured_ahead_s, belief, ahead_s
        return 0.0

    def restore(self, stored: str | None, replayed: str | None) -> None:
        """Never be earlier than what was held is."""
        for one in (stored, replayed):
            if one is not None:
                self.raise_floor(_floor_s(one))

    def present(self) -> Step:
        """Return the audio's time."""
        belief = Belief(self.now_s, 0.0, "replay", 0, "steady")
        return Step(belief, belief)

    def look(self, *, is_person: bool = False) -> Step:
        """Say that nothing changes."""
        del is_person
        return self.present()

    def accept(self, step: Step, *, is_stored: bool) -> None:
        """Do nothing."""
        del step, is_stored

    def report(self) -> ClockReport:
        """Return the audio's time."""
        return ClockReport(
            self.now_s, self.now_s, self.now_s, "steady",
            is_synchronised=False, has_battery_clock=False, ahead_s=0.0, left_s=None, locked=0,
        )  # fmt: skip


def _floor_s(stored: str) -> float:
    try:
        return msgspec.json.decode(stored, type=Belief).floor_s
    except msgspec.DecodeError:
        return 0.0
