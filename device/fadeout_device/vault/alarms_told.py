"""Which alarms the broker takes for on; one event at a time tells it of a change.

Needs no lock of the service's, since one alarm is that nobody gets it: who holds it, or
the index, may be what stands still. So what the broker takes for on is in memory, too.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from fadeout_broker import arrow, contract
from fadeout_device.errors import StorageError
from fadeout_device.vault.alarms import ALARMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fadeout_device.vault.alarms import Alarms
    from fadeout_device.vault.index import Index

log = logging.getLogger(__name__)

_KEY = "alarms_told"


class AlarmsTold:
    """What the broker knows of the alarms. `tell` is thread-safe; the others need the service's lock."""

    def __init__(self, alarms: Alarms, index: Index) -> None:
        self._alarms = alarms
        self._index = index
        self._lock = threading.Lock()
        self.in_flight: tuple[int, contract.AlarmEvent] | None = None
        """The event on its way, and its number."""
        told = (index.get_meta(_KEY) or "").split()
        self._told = {alarm for alarm in ALARMS if alarm in told}

    def tell(self, numbers: Iterator[int], send: Callable[[arrow.Publish], None]) -> None:
        """Tell of one alarm that began or is over, unless one is on its way; raises as `send`."""
        with self._lock:
            changed = set(self._alarms.on) ^ self._told
            if not changed or self.in_flight:
                return
            alarm = min(changed)
            event = contract.AlarmEvent(v=contract.VERSION, alarm=alarm, on=alarm in self._alarms.on)
            number = next(numbers)
            self.in_flight = number, event
            send(arrow.Publish(number, event))

    def arrived(self, number: int) -> bool:
        """Take note that the broker has this; False: it is no alarm's number."""
        if self.in_flight is None or number != self.in_flight[0]:
            return False
        event = self.in_flight[1]
        self.in_flight = None
        if event.on:
            self._told.add(event.alarm)
        else:
            self._told.discard(event.alarm)
        try:
            with self._index.transaction():
                self._index.set_meta(_KEY, " ".join(sorted(self._told)))
        except StorageError as err:
            log.warning("which alarms were reported is not stored: %s", err)
        return True
