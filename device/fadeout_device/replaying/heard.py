"""What a replay found in one file: the ear's lines, gathered."""

from __future__ import annotations

from typing import Any

import msgspec

from fadeout_device.messages import Told


class Utterance(msgspec.Struct, frozen=True):
    """One utterance, and what became of it; positions are seconds from the start of the file."""

    wake_word: str
    wake_s: float
    """Where the wake word was recognised."""
    score: float
    start_s: float
    """Where the recording starts, pre-roll included."""
    duration_s: float
    speech_s: float
    outcome: str
    action: str
    speech_start_s: float | None
    """Where the first speech after the wake word starts, and the last ends; None: nobody spoke."""
    speech_end_s: float | None
    kept: tuple[str, ...]
    """The kinds of items that were sealed."""
    error: str | None = None
    """Why it could not be sealed."""
    told: Told | None = None
    """What a voice command was answered; None: it was none."""


class HeardFile(msgspec.Struct):
    """One file, and everything that was heard in it."""

    name: str
    """As it was asked for."""
    duration_s: float = 0.0
    utterances: list[Utterance] = []
    error: str | None = None
    """Why it could not be replayed, or not to its end."""
    hint: str | None = None


def utterance_of(said: dict[str, Any]) -> Utterance:
    """Return an utterance as the ear's line tells it."""
    kinds = tuple(item["kind"] for item in said["kept"])
    return msgspec.convert({**said, "kept": kinds}, Utterance)
