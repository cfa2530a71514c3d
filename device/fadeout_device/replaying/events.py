"""What happens in a replay, as it is told; and what an ear at a microphone listens to."""

from __future__ import annotations

from typing import Any, NamedTuple


class Event(NamedTuple):
    """Something that happened: to a file, or (`note`, `microphone`) to all."""

    file: int
    """Which one, counted from 0; -1: to all."""
    what: str
    """`file` (it begins), `utterance`, `progress`, `bad_file`, `done`; `note`, `microphone`."""
    said: dict[str, Any]


class Stream(NamedTuple):
    """What an ear listens to."""

    source: str
    """The microphone's name."""
    rate_hz: int
    channels: int
