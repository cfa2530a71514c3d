"""What time it is, as far as it can be believed (P11). Pure: readings in, belief out.

Two times. *Proven* time is a stored floor plus the time that the machine has been
running since, by a clock that nobody can set: end dates are in it, and nothing
irreversible happens before it. *Now*, for reading, is the later of it and the wall
clock: so whatever looks due when the clock jumps ahead is locked at once, and is
there again when the clock comes back.

A jump ahead moves proven time only once it is confirmed. What was captured since the
machine started has an age that no jump changes: its end date moves with the jump. So
do, by what they were captured ahead of proven time, items of an earlier start.

After a start of the machine the wall clock proves nothing by itself: until it is
synchronised, or a battery clock or a person agrees with it, time is not known.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

STEP_S = 300.0
"""Forward steps are believed at once while they add up to less than this in a day: a restart of the
machine, a leap second, a drifting crystal (at most 43 s a day). In a day, not each: else a thousand small
steps were a large one."""
_STEPS_REFILL = STEP_S / 86400
AGREES_S = 300.0
"""Two clocks that differ by less say the same; the wall clock is not behind if it is by less."""
PACE_S = 60.0
"""The wall clock keeps pace with the running time if it strays by less, within a day, than this."""
SYNCHRONISED_S = 3600.0
"""A jump that a synchronised clock stands by for an hour is confirmed: a server that is wrong for a moment,
or an attacker who passes by, is not."""
STANDING_S = 6 * 3600.0
"""Without synchronisation, which a person who sets the clock by hand does not have: six."""
FAR_S = 60 * 86400.0
"""Beyond twice the longest period everything held is due: hardly ever true, and it would cost everything."""
FAR_STANDING_S = 86400.0
"""So that takes a day, in which somebody may notice; also when a battery clock agrees: they fail so."""
EARLY_S = 600.0
"""A battery clock is a second source only before the kernel copies the synchronised time into it."""

Because = Literal["first", "unknown", "steady", "synchronised", "battery", "stood", "person"]
"""Why the time is believed. `first`: there was nothing to compare it with. `steady`: no clock has
contradicted what was known. `stood`: a jump has stood long enough."""


class Reading(NamedTuple):
    """All that the machine says about the time, at one moment."""

    wall_s: float
    running_s: float
    """Since the machine started, suspended time included."""
    boot: str
    """Which start of the machine that was."""
    is_synchronised: bool
    """The kernel says that the wall clock is."""
    rtc_s: float | None
    """The battery clock; None: there is none."""


class Jump(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A jump ahead that waits for confirmation."""

    ahead_s: float
    """The wall clock is ahead of proven time by so much."""
    since_running_s: float
    synchronised_since_running_s: float | None


class Belief(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of the time; stored, so that restarts and power cuts change nothing."""

    floor_s: float
    """Proven time, when the machine had been running for `running_at_s`."""
    running_at_s: float
    boot: str
    era: int
    """Counts the starts of the machine."""
    because: Because
    steps_left_s: float = STEP_S
    """What is left, at the floor, of the steps that are believed at once."""
    jump: Jump | None = None
    is_rtc_suspect: bool = False
    """A jump that was not confirmed may have been copied into the battery clock."""

    @property
    def is_known(self) -> bool:
        """Whether the time since the last start is known, and not only the running time."""
        return self.because != "unknown"


class Rules:
    """The rules, without state; one method each, so that tests can break them one at a time."""

    def begin(self, reading: Reading) -> Belief:
        """Return what a fresh state folder believes: nothing is held, so nothing is at stake."""
        return Belief(reading.wall_s, reading.running_s, reading.boot, 1, "first")

    def proven_s(self, belief: Belief, reading: Reading) -> float:
        """Return the proven time; never less than before."""
        return belief.floor_s + self._elapsed_s(belief, reading)

    def now_s(self, belief: Belief, reading: Reading) -> float:
        """Return the time for reading."""
        return max(self.proven_s(belief, reading), reading.wall_s)

    def look(self, belief: Belief, reading: Reading) -> tuple[Belief, float]:
        """Take a reading; returns the new belief, and by how much a confirmed jump moved proven time.

        By so much the end dates of what was captured since the start must move, too.
        """
        belief = self._in_this_boot(belief, reading)
        proven_s = self.proven_s(belief, reading)
        ahead_s = reading.wall_s - proven_s
        steps_left_s = self._steps_left_s(belief, reading)
        if not belief.is_known and self.is_clock_found(reading, proven_s):
            found: Because = "synchronised" if reading.is_synchronised else "battery"
            belief = msgspec.structs.replace(belief, because=found)
        if ahead_s <= steps_left_s:
            if ahead_s > 0:
                belief = self.anchored(belief, reading)
                belief = msgspec.structs.replace(
                    belief, floor_s=reading.wall_s, steps_left_s=steps_left_s - ahead_s
                )
            is_rtc_right = reading.rtc_s is not None and abs(reading.rtc_s - proven_s) <= AGREES_S
            suspect = belief.is_rtc_suspect and not is_rtc_right
            return msgspec.structs.replace(belief, jump=None, is_rtc_suspect=suspect), 0.0
        jump = _seen(belief.jump, ahead_s, reading)
        why = self.confirmation(belief, jump, reading)
        if why is not None:
            return self._moved(belief, reading, why), ahead_s
        return msgspec.structs.replace(belief, jump=jump, is_rtc_suspect=True), 0.0

    def confirm(self, belief: Belief, reading: Reading) -> tuple[Belief, float]:
        """Believe the wall clock because a person at the device says so; returns as `look`.

        Where it is behind proven time, that stays: time never goes back.
        """
        belief = self._in_this_boot(belief, reading)
        shift_s = max(0.0, reading.wall_s - self.proven_s(belief, reading))
        return self._moved(belief, reading, "person"), shift_s

    def anchored(self, belief: Belief, reading: Reading) -> Belief:
        """Return the same belief, with its floor at this moment: what another start goes on from."""
        return msgspec.structs.replace(
            self._in_this_boot(belief, reading),
            floor_s=self.proven_s(belief, reading),
            running_at_s=reading.running_s,
            steps_left_s=self._steps_left_s(belief, reading),
        )

    def is_clock_found(self, reading: Reading, proven_s: float) -> bool:
        """Say whether, after a start, the wall clock can tell how long the machine was off."""
        if reading.wall_s < proven_s - AGREES_S:
            return False
        return reading.is_synchronised or _agrees(reading)

    def confirmation(self, belief: Belief, jump: Jump, reading: Reading) -> Because | None:
        """Return what confirms a jump; None: nothing does yet."""
        if jump.ahead_s <= FAR_S and _agrees(reading) and not belief.is_rtc_suspect:
            return "battery"
        return "stood" if self.left_s(belief, jump, reading) <= 0 else None

    def left_s(self, belief: Belief, jump: Jump, reading: Reading) -> float:
        """Return for how much longer a jump must stand, if nothing changes.

        After a start at which no clock was found, standing alone tells nothing.
        """
        since_s = jump.synchronised_since_running_s
        synchronised_s = 0.0 if since_s is None else reading.running_s - since_s
        stood_s = reading.running_s - jump.since_running_s
        if jump.ahead_s > FAR_S:
            return FAR_STANDING_S - (stood_s if belief.is_known else synchronised_s)
        left_s = SYNCHRONISED_S - synchronised_s if reading.is_synchronised else STANDING_S - synchronised_s
        return min(left_s, STANDING_S - stood_s) if belief.is_known else left_s

    def moved_s(self, era: int, captured_ahead_s: float, belief: Belief, ahead_s: float) -> float:
        """Return by how much an item's end date moves when proven time moves ahead by `ahead_s`.

        Of this start, by all of it: its age is known. Of another, by what it was captured ahead
        of proven time, and never more: so it never lives longer than by the running time alone.
        """
        return ahead_s if era == belief.era else min(captured_ahead_s, ahead_s)

    def _elapsed_s(self, belief: Belief, reading: Reading) -> float:
        if reading.boot != belief.boot:
            # At least that long, since the floor was stored.
            return max(0.0, reading.running_s)
        return max(0.0, reading.running_s - belief.running_at_s)

    def _steps_left_s(self, belief: Belief, reading: Reading) -> float:
        return min(STEP_S, belief.steps_left_s + self._elapsed_s(belief, reading) * _STEPS_REFILL)

    def _in_this_boot(self, belief: Belief, reading: Reading) -> Belief:
        if reading.boot == belief.boot:
            return belief
        return msgspec.structs.replace(
            belief, running_at_s=0.0, boot=reading.boot, era=belief.era + 1, because="unknown", jump=None
        )

    def _moved(self, belief: Belief, reading: Reading, why: Because) -> Belief:
        belief = self.anchored(belief, reading)
        floor_s = max(belief.floor_s, reading.wall_s)
        return msgspec.structs.replace(belief, floor_s=floor_s, because=why, jump=None)


def is_worth_storing(stored: Belief | None, belief: Belief, reading: Reading, every_s: float) -> bool:
    """Say whether a power cut now would lose too much.

    Every quarter of an hour, as the sweep; in a young boot earlier, so that a machine which
    never runs for longer still counts at least half of the time that it runs.
    """
    if stored is None or stored.boot != belief.boot:
        return True
    kept = (stored.era, stored.because, stored.is_rtc_suspect, _place(stored.jump))
    if kept != (belief.era, belief.because, belief.is_rtc_suspect, _place(belief.jump)):
        return True
    elapsed_s = reading.running_s - stored.running_at_s
    return elapsed_s >= min(every_s, max(30.0, stored.running_at_s))


def _place(jump: Jump | None) -> tuple[float, bool] | None:
    if jump is None:
        return None
    return jump.since_running_s, jump.synchronised_since_running_s is None


def _agrees(reading: Reading) -> bool:
    """Say whether a battery clock that nobody can have set since the start says what the wall clock says."""
    if reading.rtc_s is None or reading.is_synchronised or reading.running_s > EARLY_S:
        return False
    return abs(reading.rtc_s - reading.wall_s) <= AGREES_S


def _seen(jump: Jump | None, ahead_s: float, reading: Reading) -> Jump:
    """Return the jump that was seen before, or a new one where the wall clock has moved again."""
    running_s = reading.running_s
    if jump is None or abs(jump.ahead_s - ahead_s) > PACE_S:
        return Jump(ahead_s, running_s, running_s if reading.is_synchronised else None)
    if not reading.is_synchronised:
        return msgspec.structs.replace(jump, synchronised_since_running_s=None)
    if jump.synchronised_since_running_s is None:
        return msgspec.structs.replace(jump, synchronised_since_running_s=running_s)
    return jump
