"""What the vault knows of the ear, and the line on which it is told something.

The ear speaks first on everything but one thing: that it is muted. Its arrow leaves a
line here on which it can be told so. The caller holds the service's lock.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from fadeout_device.errors import WireError
from fadeout_device.messages import EarState, Mute, Ready, Unmute

if TYPE_CHECKING:
    from collections.abc import Callable

    TellEar = Callable[[Ready | Mute | Unmute], None]

EAR_AWAY = EarState(listening=False, source="")


class EarLine:
    """One ear, or none."""

    def __init__(self, lock: threading.RLock) -> None:
        self._changed = threading.Condition(lock)
        self._tell: TellEar | None = None
        self.state: EarState | None = None
        """What the ear does; None: it is away."""

    def arrive(self, tell: TellEar, *, is_new: bool, is_muted: bool) -> None:
        """An ear is here: greet it, unless the process before this one has.

        Raises:
            WireError: there is one already, or it is gone.
        """
        if is_new and self.state is not None:
            raise WireError("a second ear came while the first is here")
        if is_new:
            tell(Ready(is_muted))
            self.state = EAR_AWAY
        self._tell = tell

    def leave(self) -> None:
        """The ear's connection is gone."""
        self.state = self._tell = None
        self._changed.notify_all()

    def hear(self, state: EarState) -> bool:
        """Take note of what the ear does; return whether it does something else now, not only counts on."""
        is_other = self.state is None or _doing(self.state) != _doing(state)
        self.state = state
        self._changed.notify_all()
        return is_other

    def tell_mute(self, *, is_muted: bool) -> None:
        """Tell the ear; one that is gone asks when it comes back."""
        if self._tell is not None:
            with contextlib.suppress(WireError):
                self._tell(Mute() if is_muted else Unmute())

    def wait_until_closed(self, timeout_s: float) -> None:
        """Wait until nobody listens, but no longer than this; lets the lock go meanwhile."""
        self._changed.wait_for(lambda: self.state is None or not self.state.listening, timeout_s)


def _doing(state: EarState) -> tuple[object, ...]:
    return state.listening, state.source, state.problem, state.wake_words
