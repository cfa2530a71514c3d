"""The clock, stored: what is believed of the time survives restarts, and end dates move with it.

When a jump of the clock is confirmed, the end dates of what was captured since the
machine started move by as much, in the transaction that stores the new time: no item
then lives longer or shorter than was promised, whatever cut off the power.

The caller holds the service's lock.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_device.errors import StorageError
from fadeout_device.vault.clock import LIVE, REPLAYED
from fadeout_device.vault.errors import TimeError

if TYPE_CHECKING:
    from fadeout_device.answers import ClockReport
    from fadeout_device.vault.belief import Belief
    from fadeout_device.vault.clock import Clock, Step
    from fadeout_device.vault.index import Index, Item

log = logging.getLogger(__name__)

_JUMPED = "jumped"
"""A fact: the last start of the machine in which a jump was confirmed."""


class View(NamedTuple):
    """What time it is, as items see it."""

    clock: Clock
    belief: Belief
    proven_s: float
    ahead_s: float
    """How far the wall clock is ahead of it."""

    def remaining_s(self, item: Item) -> float:
        """Return how much longer an item may be read, if the wall clock is right; not above zero: no more."""
        moved_s = self.clock.moved_s(item.era, item.ahead_s, self.belief, self.ahead_s)
        return item.ends_at_s + moved_s - (self.proven_s + self.ahead_s)

    def is_closed(self, item: Item) -> bool:
        """Say whether nobody knows how old an item is."""
        return not self.belief.is_known and item.era != self.belief.era

    def is_locked(self, item: Item) -> bool:
        """Say whether an item is held and may not be read as long as the time is not certain."""
        is_over = item.ends_at_s <= self.proven_s
        return not is_over and (self.is_closed(item) or self.remaining_s(item) <= 0)


class Timekeeper:
    """What time it is for the items of one index."""

    def __init__(self, index: Index, clock: Clock) -> None:
        """Go on from what is stored. Raises StorageError."""
        self._index = index
        self._clock = clock
        self._ahead_s = 0.0
        clock.restore(index.get_meta(LIVE), index.get_meta(REPLAYED))

    # ---- looking at the clocks

    def look(self) -> None:
        """Look at the machine's clocks, and store what has changed."""
        step = self._clock.look()
        try:
            self._take(step, must_be_stored=step.is_worth_storing)
        except StorageError as err:
            # A jump is not believed before the end dates have moved with it; the rest holds in memory.
            if not step.shift_s:
                self._clock.accept(step, is_stored=False)
            log.warning("what is known of the time cannot be stored: %s", err)
        self._tell()

    def confirm(self) -> None:
        """Believe the wall clock: somebody at the device says that it is right.

        Raises:
            StorageError: it cannot be stored, and is not believed.
        """
        self._take(self._clock.look(is_person=True), must_be_stored=True)
        self._tell()

    def note(self) -> None:
        """Store the time as it is now; inside the caller's transaction."""
        self._index.set_meta(self._clock.stored_as, _encoded(self._clock.present()))

    def _take(self, step: Step, *, must_be_stored: bool) -> None:
        if must_be_stored:
            with self._index.transaction():
                self._index.set_meta(self._clock.stored_as, _encoded(step))
                if step.shift_s:
                    self._move(step)
                elif step.is_withdrawn:
                    self._index.forget_ahead(step.belief.era)
        self._clock.accept(step, is_stored=must_be_stored)

    def _move(self, step: Step) -> None:
        """Move end dates by the whole second: rather a part of one too early."""
        for item in self._index.items("mark IS NULL OR mark != 'canary'"):
            moved_s = int(self._clock.moved_s(item.era, item.ahead_s, step.belief, step.shift_s))
            if moved_s > 0 or item.ahead_s:
                self._index.move_end(item, item.ends_at_s + moved_s, max(0, item.ahead_s - moved_s))
        self._index.move_memory(int(step.shift_s))
        self._index.set_meta(_JUMPED, str(step.belief.era))

    def is_cut_short(self, item: Item) -> bool:
        """Say whether an item may end earlier than was said of it.

        How long the machine was off is known since a jump was confirmed; whoever was told of
        an older item before that was told of a longer life.
        """
        jumped = self._index.get_meta(_JUMPED)
        return jumped is not None and item.era < int(jumped)

    def _tell(self) -> None:
        before_s, self._ahead_s = self._ahead_s, self._clock.report().ahead_s
        if self._ahead_s and not before_s:
            log.warning("the clock is ahead, which is not confirmed: seconds=%d", self._ahead_s)
        elif before_s and not self._ahead_s:
            log.info("the clock's jump is confirmed or withdrawn")

    # ---- what it means for an item

    def proven(self) -> float:
        """Return the time for whatever cannot be undone."""
        return self._clock.proven()

    def captured(self) -> tuple[int, int]:
        """Return what a row remembers of its capture: the era, and how far ahead the wall clock is."""
        return self._clock.era(), int(self.view().ahead_s)

    def view(self) -> View:
        """Return what time it is, for any number of items."""
        now_s, proven_s = self._clock.now(), self._clock.proven()
        return View(self._clock, self._clock.present().belief, proven_s, max(0.0, now_s - proven_s))

    def remaining_s(self, item: Item) -> float:
        """Return as `View.remaining_s`."""
        return self.view().remaining_s(item)

    def is_locked(self, item: Item) -> bool:
        """Return as `View.is_locked`."""
        return self.view().is_locked(item)

    def refuse_locked(self, item: Item) -> None:
        """Raise a TimeError for an item that is locked."""
        view = self.view()
        if not view.is_locked(item):
            return
        if view.is_closed(item):
            raise TimeError(
                "nobody knows for how long the device was off: what was held before stays closed",
                "wait until its clock is synchronised; or, if date is right: fadeout clock --confirm",
            )
        raise TimeError(
            "by a clock that has jumped ahead its time is over, which is not confirmed yet",
            "fadeout clock says what is waited for; if date is right: fadeout clock --confirm",
        )

    def report(self) -> ClockReport:
        """Return what is believed, and why."""
        view = self.view()
        locked = sum(view.is_locked(item) for item in self._index.live())
        return msgspec.structs.replace(self._clock.report(), locked=locked)


def _encoded(step: Step) -> str:
    return msgspec.json.encode(step.anchored).decode()
