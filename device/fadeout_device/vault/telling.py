"""Turns a line of the outbox into what leaves, at the moment at which it leaves.

An event has the life that its item has left, counted now; there is none of an item
that has ended. A receipt is made of the ledger's entry and signed anew, with a number
of its own: the ledger's would tell how often something was opened.
"""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, NamedTuple

from fadeout_broker import contract
from fadeout_device.errors import FadeoutError, StorageError
from fadeout_device.vault.errors import KeyErasedError

if TYPE_CHECKING:
    from fadeout_broker import arrow
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.outbox import Line
    from fadeout_device.vault.service import Service

log = logging.getLogger(__name__)

_ROOTS = ("file", "nvmem", "tpm")


class NotNow(enum.Enum):
    """Why nothing of a line is sent."""

    NEVER = "there is nothing to tell any more"
    LATER = "it cannot be told yet"


class Told(NamedTuple):
    """What leaves."""

    payload: contract.Outgoing
    ttl_s: int
    """What is left of its life."""


class Teller:
    """Makes events and receipts. The caller holds the service's lock."""

    def __init__(self, service: Service, settings: arrow.BrokerSettings) -> None:
        self._service = service
        self._is_stuck = False
        """Whether the last one could not be made, which was said."""
        self._actions = {*(settings.actions or ()), contract.NO_ACTION}

    def tell(self, line: Line) -> Told | NotNow:
        """Return what to send of a line."""
        try:
            told = self._receipt(line) if line.what == "receipt" else self._action(line)
        except KeyErasedError:
            return NotNow.NEVER
        except StorageError as err:
            # The disk is full, say: the opening cannot be written down, so nothing is opened. It will be.
            if not self._is_stuck:
                log.warning("an event cannot be made yet: %s", err)
            self._is_stuck = True
            return NotNow.LATER
        except FadeoutError as err:
            log.warning("an event cannot be made: %s", err)
            return NotNow.NEVER
        self._is_stuck = False
        return told

    def _action(self, line: Line) -> Told | NotNow:
        store = self._service.store
        found = store.index.items("id = ?", [line.about])
        if not found:
            return NotNow.NEVER
        (item,) = found
        if store.timekeeper.is_locked(item):
            return NotNow.LATER  # whether its time has come is not certain
        ttl_s = int(store.timekeeper.remaining_s(item))
        outcome = item.item_class.outcome
        if ttl_s < 1 or outcome == "false_wake":
            return NotNow.NEVER
        event_id, action = self._open(item)
        event = contract.ActionEvent(
            v=contract.VERSION, id=event_id, action=action, outcome=outcome, ttl=ttl_s
        )
        return Told(event, ttl_s)

    def _open(self, item: Item) -> tuple[str, str]:
        """Return an action item's event id, and its action as far as that may be told."""
        event_id = self._service.store.event_id(item)
        action = self._service.store.metadata(item, "event", "reporter").action
        return event_id, action if action in self._actions else contract.OTHER_ACTION

    def _receipt(self, line: Line) -> Told | NotNow:
        store = self._service.store
        ttl_s = int(line.ends_at_s - store.timekeeper.proven())
        entry = store.ledger.erasure(line.entry)
        if ttl_s < 1 or entry is None or entry.root_store not in _ROOTS:
            return NotNow.NEVER
        n = int(line.about)
        signed = contract.receipt_signed(n, entry.items, entry.reason, entry.hour, entry.root_store)
        receipt = contract.ReceiptEvent(
            v=contract.VERSION, n=n, items=entry.items, reason=entry.reason, hour=entry.hour,
            root=entry.root_store,  # type: ignore[arg-type]  # it is one of these three
            key=store.ledger.public_key, signature=store.ledger.sign(signed),
            ttl=ttl_s,
        )  # fmt: skip
        return Told(receipt, ttl_s)
