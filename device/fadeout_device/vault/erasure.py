"""Erasing: from the decision to the last trace, in one place.

Three steps, in this order:

- *intend*: rows become `erasing`, with the reason, committed together with what
  subscribers must be told. From here on nothing opens them, also after a crash.
- *forget*: the keyring forgets the leaves of every row that is not live
  (`keyring.py`: two slots, a commit, a deletion point). When it returns, the keys are gone.
- *tidy*: files and rows go.

Everything before the keyring's deletion point can be repeated; everything after it is
tidiness. So one forgetting serves whatever was intended until then: requests that come
close together cost the root store one write.

The caller holds the service's lock.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.errors import FadeoutError, StorageError
from fadeout_device.vault.durable import is_full, next_step, reason
from fadeout_device.vault.errors import EraseError
from fadeout_device.vault.index import IndexFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from fadeout_device.messages import Reason
    from fadeout_device.vault.index import Index, Item
    from fadeout_device.vault.keyring import Keyring
    from fadeout_device.vault.ledger_book import LedgerBook
    from fadeout_device.vault.outbox import Outbox
    from fadeout_device.vault.reserve import Reserve
    from fadeout_device.vault.sealed_files import SealedFiles
    from fadeout_device.vault.timekeeper import Timekeeper

log = logging.getLogger(__name__)

_MAX_PANIC_WITHDRAWALS = 1000
"""Deriving a key takes some 50 microseconds; a panic must not wait for more of them."""
_ROOM = 20
"""A twentieth of the size cap."""
_DELIVERY_MEMORY_S = 7200
"""The ear gives an utterance up after ten minutes, and no message is older than fifteen."""


class Parts(NamedTuple):
    """What an erasure touches."""

    keyring: Keyring
    rows: Index
    outbox: Outbox
    files: SealedFiles
    reserve: Reserve
    ledger: LedgerBook


class Eraser:
    """Erases items of one state folder."""

    def __init__(self, parts: Parts, timekeeper: Timekeeper) -> None:
        self._keyring, self._index, self._outbox, self._files, self._reserve, self._ledger = parts
        self._timekeeper = timekeeper
        self._events_to_withdraw: list[tuple[Item, bytes]] = []
        self.on_erasing: Callable[[Collection[Item]], None] = lambda _: None
        """Called with what is to be erased, before anything else is done about it."""

    # ---- the three steps

    def intend(self, items: Iterable[Item], why: Reason) -> None:
        """Commit that these items are to be erased; nothing opens them any more.

        Subscribers are told to forget the events of those that end before their time;
        the others are forgotten by everybody without being told.

        Args:
            items: rows of the index, in any state.
            why: stands in the row until it goes, so that a crash does not change it.

        Raises:
            EraseError: the intent is not stored. It will be tried again where the cause still stands.
        """
        items = list(items)
        self.on_erasing(items)
        told = [item for item in items if self._is_told(item) and self._ends_early(item, why)]
        withdrawals = self._withdrawals(told)

        def commit() -> None:
            with self._index.transaction():
                self._index.intend([item.id for item in items], why)
                self._outbox.remove_actions(items)
                self._outbox.withdraw(withdrawals, is_complete=len(withdrawals) == len(told))

        with _told(items):
            self._making_room(items, commit)

    def forget(self) -> list[Item]:
        """Erase every item that is not live; on return their keys are gone. Returns those items.

        Raises:
            EraseError: the keys may still exist. Nothing can be opened any more; the next sweep tries again.
        """
        items = self._index.items("state != 'live'")
        if items:
            leaves = [(item.item_class, item.leaf) for item in items]
            self._forget(items, lambda: self._keyring.erase(leaves, self._index.floors()))
        return items

    def _forget(self, items: Sequence[Item], erase_keys: Callable[[], None]) -> None:
        with _told(items):
            self._making_room(items, erase_keys)
        # The keys are gone. What follows is tidiness; where it cannot be done, the next sweep does it.
        try:
            self._files.unlink(items)
        except OSError as err:
            log.warning("files of erased items cannot be removed yet: %s", reason(err))
            return
        with contextlib.suppress(IndexFullError), self._index.transaction():
            self._remove_rows(items)

    def _remove_rows(self, items: Sequence[Item]) -> None:
        """Remove the rows of what was erased, and write the receipt: both or neither."""
        self._index.remove([item.id for item in items])
        items = [item for item in items if not item.is_canary]
        now_s = self._timekeeper.proven()
        for entry in self._ledger.erased(items, self._keyring.generation, self._keyring.roots.name, now_s):
            self._outbox.add_receipt(entry, now_s)

    # ---- what is erased, and why

    def erase(self, items: Iterable[Item], why: Reason = "user") -> list[Item]:
        """Intend and forget these items; returns all whose keys went. Raises EraseError."""
        items = list(items)
        if items:
            self.intend(items, why)
        return self.forget()

    def erase_everything(self, why: Reason = "user") -> list[Item]:
        """Erase every key there is, used or not. Raises EraseError."""
        items = self._index.items()
        self.intend(items, why)
        items = self._index.items()
        self._forget(items, self._keyring.erase_everything)
        return items

    def panic(self) -> list[Item]:
        """Erase every key at once: the root store first, then the rest. Returns the items that there were.

        On return no key is left anywhere. What is left of rows and files, on a disk that
        cannot be written, is `finish_panic`'s.

        Raises:
            EraseError: a root may still be there. No key is in memory any more; it is tried again.
        """
        items = self._index.items()
        self.on_erasing(items)
        # In memory only, and of the newest: so that subscribers can be told what to forget.
        actions = [item for item in items if _is_reported(item)]
        self._events_to_withdraw = self._files.leaf_keys(actions[-_MAX_PANIC_WITHDRAWALS:])
        with _told(items):
            self._keyring.panic()
        return items

    def finish_panic(self) -> None:
        """Remove what a panic has left, and start anew with new keys. To be repeated until it succeeds.

        Raises:
            EraseError: something could not be written.
        """
        items = self._index.items()
        told = [item for item in items if self._is_told(item)]
        withdrawals = self._withdrawals_of_panic(told)

        def finish() -> None:
            with self._index.transaction():
                self._outbox.remove_actions(items)
                self._outbox.withdraw(withdrawals, is_complete=len(withdrawals) == len(told))
                self._remove_rows([item._replace(reason="panic") for item in items])
            self._files.unlink(items)
            self._keyring.replant()
            with self._index.transaction():
                self._index.set_meta("planting", self._keyring.planting)
                self._ledger.rekey(self._keyring.signing_seed, self._timekeeper.proven())

        try:
            self._making_room(items, finish)
        except (OSError, StorageError) as err:
            raise EraseError(
                f"every key was erased, but the rest of {_count(items)} cannot be removed: {reason(err)}",
                next_step(err),
            ) from err
        self._events_to_withdraw = []

    def _withdrawals_of_panic(self, told: Sequence[Item]) -> list[str]:
        """Compute what subscribers must forget, of those items whose leaf's key is still in memory."""
        ids = {item.id for item in told}
        found = []
        for item, leaf_key in self._events_to_withdraw:
            if item.id in ids:
                with contextlib.suppress(FadeoutError):
                    found.append(self._files.event_id_under(leaf_key, item))
        return found

    def erase_due(self) -> list[Item]:
        """Erase what is past its end date, and finish what was cut off. Raises EraseError.

        Also remembers how late it is, so that a clock that goes back later delays nothing.
        """
        now = self._timekeeper.proven()
        erased = self.erase(self._index.expired(now), "expired")
        try:
            with self._index.transaction():
                self._timekeeper.note()
                self._index.forget_deliveries(now - _DELIVERY_MEMORY_S)
                self._ledger.expire(now)
                self._outbox.remove_ended(now)
        except IndexFullError as err:
            log.warning("the time of this sweep is not stored: %s", err)
        self._reserve.keep()
        return erased

    def erase_outdated(self, version: str) -> list[Item]:
        """Erase what was kept until the next software version, if this is one. Raises EraseError."""
        if self._index.get_meta("version") == version:
            return []
        erased = self.erase([item for item in self._index.live() if item.ends_on_update], "update")
        with self._index.transaction():
            self._index.set_meta("version", version)
        return erased

    def erase_beyond(self, max_size_bytes: int) -> list[Item]:
        """Erase the oldest items before their time, where more is held than the policy allows.

        Some room is made at once: else, where the cap is reached, every sealing would cost
        the root store a write. Raises EraseError.
        """
        size_bytes = self._index.live_size_bytes()
        if size_bytes <= max_size_bytes:
            return []
        oldest = []
        for item in self._index.live():
            if size_bytes <= max_size_bytes - max_size_bytes // _ROOM:
                break
            oldest.append(item)
            size_bytes -= item.size_bytes
        return self.erase(oldest, "size")

    def overdue(self) -> int:
        """Return how many items should be gone and are not."""
        return self._index.count_due(self._timekeeper.proven())

    def note_failure(self, err: EraseError) -> None:
        """Write into the ledger that an erasure could not be completed, as far as anything can be written."""
        with contextlib.suppress(StorageError), self._index.transaction():
            self._ledger.failed(err.__cause__ or err, self.overdue(), self._timekeeper.proven())

    def are_gone(self, items: Iterable[Item]) -> bool:
        """Say whether the keys of all these items are gone for good."""
        return not any(self._keyring.is_alive(item.item_class, item.leaf) for item in items)

    # ---- how

    def _making_room(self, items: Sequence[Item], step: Callable[[], None]) -> None:
        """Take a step; on a full disk, once more, with the reserve and the dead items' own files given up."""
        try:
            step()
        except (OSError, IndexFullError) as err:
            if isinstance(err, OSError) and not is_full(err):
                raise
            log.warning("disk full while erasing; making room")
            self._reserve.give_up()
            self._files.unlink(items)
            step()

    def _is_told(self, item: Item) -> bool:
        """Say whether somebody may have an event of it."""
        return _is_reported(item) and self._outbox.may_be_told(item)

    def _ends_early(self, item: Item, why: Reason) -> bool:
        """Say whether subscribers who were told of it keep its event for longer, if nobody tells them."""
        if why != "expired" or item.period_s < item.promised_s:
            return True
        return self._timekeeper.is_cut_short(item)

    def _withdrawals(self, items: Iterable[Item]) -> list[str]:
        """Compute what subscribers must forget, while the keys still exist."""
        found = []
        for item in items:
            try:
                found.append(self._files.event_id(item))
            except FadeoutError:
                # Its file is gone or broken: no id can be had any more, and that
                # must not keep its key alive.
                continue
        return found


def _count(items: Sequence[Item]) -> str:
    """Return how many items these are; canaries only where there is nothing else."""
    held = sum(not item.is_canary for item in items)
    return f"{held} items" if held or not items else f"{len(items)} canaries"


def _is_reported(item: Item) -> bool:
    return item.item_class.kind == "action" and item.state == "live" and not item.is_canary


@contextlib.contextmanager
def _told(items: Sequence[Item]) -> Iterator[None]:
    """Turn an error of the disk or the index into one that says that nothing is erased yet."""
    try:
        yield
    except (OSError, StorageError) as err:
        raise EraseError(f"{_count(items)} are not erased yet: {reason(err)}", next_step(err)) from err
