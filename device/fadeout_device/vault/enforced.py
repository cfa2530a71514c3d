"""The policy in force: the configured one and what was shortened by command since, durably.

The caller holds the service's lock.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from fadeout_device.errors import StorageError
from fadeout_device.vault import caps
from fadeout_device.vault.index import IndexFullError
from fadeout_device.vault.recovery import obey_shorter_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.messages import Kind, Outcome
    from fadeout_device.policy import Policy
    from fadeout_device.vault.index import Index
    from fadeout_device.vault.reserve import Reserve

log = logging.getLogger(__name__)

_KEY = "caps"


class Enforced:
    """What is in force for the items of one index."""

    def __init__(self, index: Index, configured: Policy, reserve: Reserve) -> None:
        """Go on with the stored caps.

        Raises:
            StorageError: they cannot be read. Without them more would be kept than was promised.
        """
        self._index = index
        self._reserve = reserve
        self.configured = configured
        self._is_stored = True
        stored = index.get_meta(_KEY)
        try:
            self.caps = caps.NO_CAPS if stored is None else caps.decode(stored)
        except msgspec.DecodeError as err:
            raise StorageError(
                "what was shortened by command cannot be read",
                "start the version of fadeout that was here before; or put a copy of the index back",
            ) from err
        self.policy = caps.capped(configured, self.caps)

    def obey(self) -> None:
        """Move the end dates of what is held to what is in force; inside the caller's transaction."""
        obey_shorter_policy(self._index, self.policy)

    def shorten(self, keep_s: int, outcome: Outcome | None, kind: Kind | None) -> bool:
        """Keep these items no longer than this from now on, and what is held of them; says if that is new.

        Raises:
            StorageError: it is so for what is captured from now on, and not beyond a restart. It is
                tried again.
        """
        new = caps.shortened(self.caps, caps.chosen(outcome, kind), keep_s)
        if new == self.caps:
            return False
        self._use(new)
        self._is_stored = False
        self._store()
        return True

    def restore(self) -> None:
        """Take all caps away, for what is captured from now on; what is held keeps its end.

        Raises:
            StorageError: it cannot be stored, and nothing is changed.
        """
        with self._index.transaction():
            self._index.set_meta(_KEY, caps.encode(caps.NO_CAPS))
        self._use(caps.NO_CAPS)
        self._is_stored = True

    def settle(self) -> None:
        """Try again to store what could not be stored."""
        if not self._is_stored:
            try:
                self._store()
            except StorageError as err:
                log.warning("what was shortened by command is not stored yet: %s", err)

    def take_over(self, known: caps.Caps) -> None:
        """Go on with what the process before this one had in force, whether it could store it or not."""
        if known != self.caps:
            self._use(known)
            self._is_stored = False
            self.settle()

    def forget(self) -> None:
        """Another owner's device has no caps; the index is empty."""
        self._use(caps.NO_CAPS)
        self._is_stored = True

    def _use(self, new: caps.Caps) -> None:
        self.caps, self.policy = new, caps.capped(self.configured, new)

    def _store(self) -> None:
        def store() -> None:
            with self._index.transaction():
                self._index.set_meta(_KEY, caps.encode(self.caps))
                self.obey()

        self._with_room(store)
        self._is_stored = True

    def _with_room(self, store: Callable[[], None]) -> None:
        try:
            store()
        except IndexFullError:
            # A full disk must not keep anything alive for longer.
            self._reserve.give_up()
            store()
