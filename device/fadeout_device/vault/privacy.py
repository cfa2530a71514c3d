"""The modes of `modes.py` in the running vault: asked of the clocks, kept in the index.

A switch that cannot be stored still holds in this process; whoever pressed it is told
that it will not survive a restart.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_device.errors import StorageError, UsageError
from fadeout_device.policy import DEBUG_LASTS_S
from fadeout_device.vault import modes
from fadeout_device.vault.time_sources import boot_id, boottime_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.messages import MutedBy, Utterance
    from fadeout_device.policy import Policy
    from fadeout_device.vault.clock import Clock
    from fadeout_device.vault.index import Index

log = logging.getLogger(__name__)

_KEY = "modes"
_PRIVATE = {"guest": "guest mode is on", "quiet": "these are quiet hours", "muted": "it is muted"}


def local_minute(at_s: float) -> int:
    """Return the minute of the day that the clock on the wall shows."""
    shown = time.localtime(at_s)
    return shown.tm_hour * 60 + shown.tm_min


class Around(NamedTuple):
    """What the vault is told by the machine around it, besides its clock."""

    running_s: Callable[[], float]
    boot: str
    minute_of: Callable[[float], int]


class Privacy:
    """What may be stored now. The caller holds the service's lock."""

    def __init__(
        self,
        index: Index,
        policy: Policy,
        clock: Clock,
        around: Around | None = None,
        *,
        has_microphone: bool = True,
    ) -> None:
        """Take what is stored; without a microphone (a replay) there is nothing that a mute could close."""
        self._has_microphone = has_microphone
        self._index = index
        self._policy = policy
        self._clock = clock
        self._running_s, self._boot, minute_of = around or Around(boottime_s, boot_id(), local_minute)
        self._day = modes.Day(policy.quiet_hours, minute_of)
        stored = index.get_meta(_KEY)
        self._state = modes.State() if stored is None else _decoded(stored)

    def moment(self) -> modes.Moment:
        """Return what time it is."""
        proven_s = self._clock.proven() if self._clock.is_known() else None
        return modes.Moment(self._clock.now(), proven_s, self._running_s(), self._boot)

    @property
    def state(self) -> modes.State:
        """What is switched on now."""
        self._become(modes.settled(self._state, self.moment(), self._day), must_be_stored=False)
        return self._state

    @property
    def is_muted(self) -> bool:
        """Whether the microphone is muted."""
        return bool(self._state.muted_by)

    def private(self) -> modes.Private:
        """Say whether nothing may be stored now, and why."""
        return modes.private(self._heeded(), self.moment(), self._day)

    def private_during(self, utterance: Utterance) -> modes.Private:
        """Say whether this utterance must not be stored, and why."""
        ages_s = utterance.age_s, max(0.0, utterance.age_s - utterance.duration_s)
        return modes.private_during(self._heeded(), self.moment(), self._day, ages_s)

    def modes_by_name(self) -> dict[str, bool]:
        """Return what is on now of all that people can switch on and times can begin, by its name."""
        private = self.private()
        return {
            "guest mode": private == "guest",
            "mute": self.is_muted,
            "a quiet time": private == "quiet",
            "debug capture": self.debug_left_s() is not None,
        }

    def _heeded(self) -> modes.State:
        return self.state if self._has_microphone else modes.without_mute(self.state)

    def obey(self, policy: Policy) -> None:
        """Keep no more than a policy that is in force from now on."""
        self._policy = policy

    # ---- the process after this one, and another owner

    def take_over(self, state: modes.State) -> None:
        """Go on with what the process before this one knew, whether it could store it or not."""
        self._become(state, must_be_stored=False)

    def forget(self) -> None:
        """Switch everything off that another owner has switched on; the index is empty."""
        self._state = modes.State()

    # ---- the switches

    def mute(self, by: MutedBy) -> None:
        """Mute the microphone.

        Raises:
            StorageError: it is muted, and that will not survive a restart of the vault.
        """
        try:
            self._become(modes.mute(self.state, by), must_be_stored=True)
        except StorageError as err:
            raise StorageError(f"muted, but not beyond a restart: {err}", err.hint) from err

    def unmute(self) -> None:
        """End the mute.

        Raises:
            StorageError: it is over, and comes back with a restart of the vault.
        """
        try:
            self._become(modes.unmute(self.state, self.moment()), must_be_stored=True)
        except StorageError as err:
            raise StorageError(f"unmuted, but only until a restart: {err}", err.hint) from err

    def debug_left_s(self) -> float | None:
        """Return how much longer debug capture lasts; None: it is off."""
        return modes.debug_left_s(self.state, self.moment())

    def debug_period_s(self) -> int | None:
        """Return how long what has no rule is kept now; None: not at all."""
        return None if self.debug_left_s() is None else self._policy.debug_capture_s

    def guest_on(self, for_s: float | None) -> None:
        """Begin guest mode, until it is switched off or for a time.

        Raises:
            StorageError: it is on, and will not survive a restart.
        """
        self._become(modes.guest_on(self.state, self._clock.now(), for_s), must_be_stored=True)

    def guest_off(self) -> None:
        """End guest mode; raises StorageError if that will not survive a restart."""
        self._become(modes.guest_off(self.state, self.moment()), must_be_stored=True)

    def debug_on(self, for_s: float) -> None:
        """Begin debug capture.

        Raises:
            UsageError: the policy does not allow it, it is a private time, or it would last too long.
        """
        if self._policy.debug_capture_s is None:
            raise UsageError(
                "the policy does not allow debug capture",
                'set [retention] debug_capture to a period of at most "1d", and start fadeout again',
            )
        if not 0 < for_s <= DEBUG_LASTS_S:
            raise UsageError(f"--for: given {for_s:g} s", 'allowed: a period of at most "1h", like "30m"')
        private = self.private()
        if private:
            raise UsageError(
                f"nothing is stored now: {_PRIVATE[private]}",
                "debug capture can be switched on when that is over",
            )  # fmt: skip
        self._become(modes.debug_on(self.state, self.moment(), for_s), must_be_stored=True)

    def debug_off(self) -> None:
        """End debug capture; raises StorageError if that will not survive a restart."""
        self._become(modes.debug_off(self.state), must_be_stored=True)

    def _become(self, state: modes.State, *, must_be_stored: bool) -> None:
        if state == self._state:
            return
        self._state = state
        try:
            with self._index.transaction():
                self._index.set_meta(_KEY, msgspec.json.encode(state).decode())
        except StorageError as err:
            log.warning("a change of guest mode, mute or debug capture is not stored: %s", err)
            if must_be_stored:
                raise


def _decoded(stored: str) -> modes.State:
    try:
        return msgspec.json.decode(stored, type=modes.State)
    except msgspec.DecodeError:
        log.warning("what is stored of guest mode and mute cannot be read; they are on")
        return modes.State(is_guest=True, muted_by="unknown")
