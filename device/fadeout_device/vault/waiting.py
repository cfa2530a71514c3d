"""What waits in memory until it is said how its action ended: bounded, and for a short time. Pure.

Times are arguments, in seconds that never go back. What comes when there is no room
makes the oldest be decided early; what waits is held by nobody else, so that to drop
it is to forget it. Knows nothing of what is decided, and of nobody who is asked.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from fadeout_device.messages import Utterance

MOST = 8
"""Utterances that wait at once."""
MOST_BYTES = 4 * 1024 * 1024
"""Of audio and words that wait at once: two of the longest utterances."""


class Pending(NamedTuple):
    """An utterance whose action is told, and whose audio and words are neither sealed nor dropped yet."""

    recording: str
    event_id: str
    utterance: Utterance
    audio: bytes
    words: bytes
    debug_s: int | None
    """How long what has no rule was kept when it was said; None: not at all."""
    began_s: float

    def __repr__(self) -> str:
        """Say only which: the rest is speech."""
        return f"Pending({self.recording})"

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return len(self.audio) + len(self.words)


class Waiting:
    """All that waits, oldest first. The caller serialises threads."""

    def __init__(self, wait_s: float, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._wait_s = wait_s
        self._most = most
        self._most_bytes = most_bytes
        self._pending: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: Pending) -> list[Pending]:
        """Have one more wait; returns what has to be decided now to make room, it itself if there is none."""
        self._pending.append(pending)
        size_bytes = sum(each.size_bytes for each in self._pending)
        crowded_out = []
        while len(self._pending) > self._most or size_bytes > self._most_bytes:
            oldest = self._pending.popleft()
            size_bytes -= oldest.size_bytes
            crowded_out.append(oldest)
        return crowded_out

    def take(self, event_id: str, now_s: float) -> Pending | None:
        """Take out the one with this event; None: it does not wait, or no more."""
        for pending in self._pending:
            if pending.event_id == event_id and self._left_s(pending, now_s) > 0:
                self._pending.remove(pending)
                return pending
        return None

    def take_due(self, now_s: float) -> list[Pending]:
        """Take out those whose time is up."""
        due = [pending for pending in self._pending if self._left_s(pending, now_s) <= 0]
        self._pending = deque(pending for pending in self._pending if pending not in due)
        return due

    def take_all(self) -> list[Pending]:
        """Take out everything."""
        taken = list(self._pending)
        self._pending.clear()
        return taken

    def drop(self, recordings: Collection[str]) -> None:
        """Forget what waits of these recordings."""
        self._pending = deque(pending for pending in self._pending if pending.recording not in recordings)

    def next_s(self, now_s: float) -> float | None:
        """Return in how many seconds the next one's time is up; None: nothing waits."""
        return min((self._left_s(pending, now_s) for pending in self._pending), default=None)

    def _left_s(self, pending: Pending, now_s: float) -> float:
        return pending.began_s + self._wait_s - now_s
