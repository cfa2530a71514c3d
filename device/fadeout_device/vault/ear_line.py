"""What the vault knows of the ear, and the line on which it is told something.

The ear speaks first on everything but two things: that it is muted, and that something
is about to be opened, for which its light is to be on. Its arrow leaves a line here on
which it can be told so. The caller holds the service's lock, except for `light_shows`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from fadeout_device.errors import WireError
from fadeout_device.messages import EarState, Lit, Mute, Opening, Ready, Unmute

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.messages import MutedBy

    TellEar = Callable[[Ready | Mute | Unmute | Opening], None]

LIGHT_S = 2.0
"""So long the light is on for one opening: long enough to be seen."""
BLINK_S = 0.3
"""The same where an action's name is opened for an event, just after it was said."""
LIGHT_WAIT_S = 0.5
"""So long the first opening waits for the light; a dead ear must not keep people from what is theirs."""

_LIGHTS = {"gpio": "a lamp", "ring": "a chain of LEDs", "terminal": "a line in fadeout watch"}

EAR_AWAY = EarState(listening=False, source="")


class EarLine:
    """One ear, or none."""

    def __init__(self, lock: threading.RLock, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition(lock)
        self._tell: TellEar | None = None
        self.state: EarState | None = None
        """What the ear does; None: it is away."""
        self.light: Lit | None = None
        """What its light shows; None: there is none here."""
        self._has_answered = threading.Condition()
        self._served_by = 0
        """The thread that hears the ear: it cannot wait for an answer that it would have to read."""
        self._asked = 0
        self._lit_until_mono_s = 0.0

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
        self._served_by = threading.get_ident()

    def leave(self) -> None:
        """The ear's connection is gone."""
        self.state = self._tell = self.light = None
        self._changed.notify_all()

    def hear(self, state: EarState) -> bool:
        """Take note of what the ear does; return whether it does something else now, not only counts on."""
        is_other = self.state is None or _doing(self.state) != _doing(state)
        self.state = state
        self._changed.notify_all()
        return is_other

    def light_shows(self, lit: Lit) -> bool:
        """Take note of what the light shows; return whether that is something else. Needs no lock."""
        with self._has_answered:
            before, self.light = self.light, lit
            self._has_answered.notify_all()
        return lit.shows != (() if before is None else before.shows)

    def light_up(self, *, is_short: bool) -> bool:
        """Have the light on for a while, and wait a moment until it is; return whether there is one.

        A blink is not waited for: an event would come later for it. Nor is one that the ear is late
        with, nor what the ear itself has asked for, which lights up before it reads the outcome.
        """
        light, tell = self.light, self._tell
        if light is None or tell is None:
            return False
        now, for_s = self._clock(), BLINK_S if is_short else LIGHT_S
        if self._lit_until_mono_s - now > for_s / 2:
            return True
        is_late = light.answers < self._asked
        self._asked = max(self._asked, light.answers) + 1
        self._lit_until_mono_s = now + for_s
        try:
            tell(Opening(self._asked, int(for_s * 1000)))
        except WireError:
            return False
        if not (is_short or is_late or threading.get_ident() == self._served_by):
            with self._has_answered:
                self._has_answered.wait_for(self._is_answered, LIGHT_WAIT_S)
        return True

    def _is_answered(self) -> bool:
        return self.light is None or self.light.answers >= self._asked

    def tell_mute(self, by: MutedBy) -> None:
        """Tell the ear; one that is gone asks when it comes back."""
        if self._tell is not None:
            with contextlib.suppress(WireError):
                self._tell(Mute(by) if by else Unmute())

    def wait_until_closed(self, timeout_s: float) -> None:
        """Wait until nobody listens, but no longer than this; lets the lock go meanwhile."""
        self._changed.wait_for(lambda: self.state is None or not self.state.listening, timeout_s)


def light_in_words(light: Lit | None) -> str:
    """Say what the light is and shows."""
    if light is None:
        return "none: no ear with a light is here"
    return f"{_LIGHTS[light.kind]}: {f'on, {chr(32).join(light.shows)}' if light.shows else 'off'}"


def _doing(state: EarState) -> tuple[object, ...]:
    return state.listening, state.source, state.problem, state.wake_words
