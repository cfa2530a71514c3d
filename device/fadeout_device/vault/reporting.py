"""What people at the device ask about reporting: who has forgotten what; and to leave the broker."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fadeout_device.answers import Departed, SubscriberRow, Subscribers
from fadeout_device.errors import StorageError

if TYPE_CHECKING:
    from fadeout_device.questions import Forget
    from fadeout_device.vault.service import Service

PATIENCE_S = 10.0
"""So long an answer waits for the broker."""


def subscribers(service: Service) -> Subscribers:
    """Return who has acknowledged which erasures."""
    with service.lock:
        last = service.store.outbox.notices.given()
        rows = [
            SubscriberRow(
                row.consumer, row.is_expected, row.acknowledged, last - (row.acknowledged or 0), row.hour_s
            )
            for row in service.subscribers.all()
        ]
        return Subscribers(last, tuple(rows))


def forget(service: Service, command: Forget, patience_s: float = PATIENCE_S) -> Departed:
    """Leave the broker, or come back; waits a while for a broker that is there.

    Raises:
        StorageError: it cannot be stored, and nothing has changed.
    """
    with service.lock:
        outbox = service.store.outbox
        if command.is_undone:
            with service.store.index.transaction():
                outbox.depart("")
        elif not outbox.departure:
            with service.store.index.transaction():
                outbox.depart("asked")
        service.on_change()
        if not command.is_undone and service.broker == "connected":
            service.has_left.wait_for(lambda: outbox.departure == "done", patience_s)
        return Departed(outbox.departure, service.broker)


def leave_for_good(service: Service, patience_s: float = PATIENCE_S) -> str:
    """Clear the broker of this device before it becomes another one; returns what was not done, in words."""
    with service.lock:
        if not service.is_reporter_here and service.broker == "not configured":
            return ""
        outbox = service.store.outbox
        with contextlib.suppress(StorageError):
            with service.store.index.transaction():
                outbox.depart("asked")
            service.on_change()
            if service.broker == "connected":
                service.has_left.wait_for(lambda: outbox.departure == "done", patience_s)
            if outbox.departure == "done":
                return ""
        # Whoever is to clear it later would have to keep the name, and the next owner's device with it.
        node = service.store.index.get_meta("node") or "NODE"
        return (
            "the broker could not be cleared of this device: what was retained there stays. By hand, with its"
            " address and what you may log in with: mosquitto_sub -h BROKER -W 2 --remove-retained"
            f" -t 'fadeout/{node}/#' -t homeassistant/device/{node}/config"
        )
