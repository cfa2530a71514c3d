"""The watchdog: a thread of its own that watches those whose work it is to forget.

It raises the alarm when a canary lives past its end, when none can be planted, when no
sweep was begun for too long, and when nobody gets the service's lock any more: then
whoever holds it stands still, and with him every sweep. It never waits without end,
and never needs what it watches.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from fadeout_device.errors import StorageError
from fadeout_device.vault.canary import GRACE_S, Canaries

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.vault.service import Service

log = logging.getLogger(__name__)

EVERY_S = 20.0
PATIENCE_S = 60.0
"""So long the service's lock may be held before that is an alarm."""
_KEY = "alarms"


class Watchdog:
    """Looks after the canaries and the sweep; `look` is one look."""

    def __init__(
        self,
        service: Service,
        sweep_s: float,
        *,
        mono_s: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.on_alarm: Callable[[], None] = lambda: None
        """Called after a change of the alarms without the service's lock: it may never be free again."""
        self._service = service
        self._patience_s = patience_s
        self._mono_s = mono_s
        self._longest_s = sweep_s + GRACE_S
        self._stop = threading.Event()
        self._swept: tuple[int, float] | None = None
        self._canaries = Canaries(service.store, mono_s)
        service.alarms.restore(service.store.index.get_meta(_KEY) or "")

    def start(self) -> None:
        """Watch until `stop`, or until the process ends; the first look is a while later."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Do not look any more; called under the service's lock, or before it is let go for good."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Look once."""
        service, before = self._service, self._service.alarms.on.keys()
        if service.lock.acquire(timeout=self._patience_s):
            try:
                if not self._stop.is_set():
                    self._look()
            finally:
                service.lock.release()
        else:
            service.alarms.set("sweep", f"the vault stands still for more than {self._patience_s:.0f} s")
        if service.alarms.on.keys() != before:
            self.on_alarm()

    def _look(self) -> None:
        service = self._service
        service.alarms.set("sweep", self._standstill())
        now_s = service.privacy.moment().proven_s
        if now_s is not None and not service.store.keyring.is_wiped:
            verdict = self._canaries.look(now_s, service.sweeps.last_s)
            service.canaries = verdict.alive
            service.alarms.set("canary", verdict.reason)
        self._remember(" ".join(service.alarms.on))

    def _standstill(self) -> str:
        """Say for how long no sweep was begun, if that is too long."""
        mono_s = self._mono_s()
        if self._swept is None or self._swept[0] != self._service.sweeps.count:
            self._swept = self._service.sweeps.count, mono_s
        waited_s = mono_s - self._swept[1]
        return f"no sweep was begun for {waited_s:.0f} s" if waited_s > self._longest_s else ""

    def _remember(self, names: str) -> None:
        index = self._service.store.index
        try:
            if (index.get_meta(_KEY) or "") != names:
                with index.transaction():
                    index.set_meta(_KEY, names)
        except StorageError as err:
            log.warning("which alarms are on is not stored: %s", err)
