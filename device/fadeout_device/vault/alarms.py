"""Which alarms are on: that forgetting does not work, or cannot be watched.

`canary`: a dummy item lives past its end, or none can be planted. `sweep`: nothing
sweeps. `erase`: an erasure failed. Each is told once when it begins and once when it
is over. Has a lock of its own, since one alarm is that nobody gets the service's.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, get_args

from fadeout_broker.contract import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

ALARMS: tuple[Alarm, ...] = get_args(Alarm)


class Alarms:
    """The alarms that are on, each with its reason. Thread-safe."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._lock = threading.Lock()
        self._on: dict[Alarm, str] = {}
        self._tell = tell

    @property
    def on(self) -> dict[Alarm, str]:
        """What is on, and why."""
        with self._lock:
            return dict(self._on)

    def restore(self, names: str) -> None:
        """Begin with what was on before this process, separated by spaces; told already."""
        with self._lock:
            self._on = {name: "it was on before" for name in ALARMS if name in names.split()}

    def set(self, alarm: Alarm, reason: str) -> bool:
        """Begin an alarm, or end it where the reason is empty; says whether that is a change."""
        with self._lock:
            was_on = alarm in self._on
            if reason:
                self._on[alarm] = reason
            else:
                self._on.pop(alarm, None)
        if bool(reason) == was_on:
            return False
        if reason:
            log.error("alarm: %s: %s", alarm, reason)
            self._tell(f"{alarm}: {reason}")
        else:
            log.warning("alarm is over: %s", alarm)
            self._tell(f"{alarm}: it is over, all clear")
        return True
