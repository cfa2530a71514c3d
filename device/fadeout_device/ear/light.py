"""When the light is on: while something is recorded, and while the vault opens something (P8).

The vault says for how long, so that a light never stays on because a vault died. What
the light is made of, a lamp on a pin or a line in a terminal, is a `Light`'s to know.
The time is handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fadeout_device.messages import Lit

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.messages import LightKind, LitFor, Opening


class Light(Protocol):
    """A light."""

    kind: LightKind

    def show(self, shows: tuple[LitFor, ...]) -> None:
        """Be on for these reasons; without any, be off."""
        ...

    def close(self) -> None:
        """Switch it off, and let it go."""
        ...


class Terminal:
    """No lamp: whoever watches is told."""

    kind: LightKind = "terminal"

    def show(self, shows: tuple[LitFor, ...]) -> None:
        """Nothing to switch: the vault tells those who watch what it is told."""

    def close(self) -> None:
        """Nothing to let go."""


class Indicator:
    """Keeps a light as it should be, and the vault told.

    Args:
        light: the light.
        tell: called with every change, and with an answer to every `Opening`.
        clock: monotonic seconds.
    """

    def __init__(self, light: Light, tell: Callable[[Lit], None], clock: Callable[[], float]) -> None:
        self._light = light
        self._tell = tell
        self._clock = clock
        self._is_recording = False
        self._opening_until_mono_s = 0.0
        self._answers = 0
        self._told = Lit(light.kind)
        light.show(())
        tell(self._told)

    def look(self, *, is_recording: bool) -> None:
        """Take note whether something is recorded, and switch what is over."""
        self._is_recording = is_recording
        self._show()

    def opening(self, asked: Opening) -> None:
        """Show that something is opened, from now on and for so long; the answer comes after the light."""
        until_mono_s = self._clock() + asked.for_ms / 1000
        self._opening_until_mono_s = max(self._opening_until_mono_s, until_mono_s)
        self._answers = asked.n
        self._show()

    def close(self) -> None:
        """Let the light go."""
        self._light.close()

    def _show(self) -> None:
        shows: tuple[LitFor, ...] = ("recording",) if self._is_recording else ()
        if self._clock() < self._opening_until_mono_s:
            shows += ("opening",)
        if shows == self._told.shows and self._answers == self._told.answers:
            return
        if shows != self._told.shows:
            self._light.show(shows)
        # Only now: that it is on is what the vault waits for.
        self._told = Lit(self._light.kind, shows, self._answers)
        self._tell(self._told)
