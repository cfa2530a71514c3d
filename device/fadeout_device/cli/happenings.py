"""One line for people about each thing that happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fadeout_device.cli import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.answers import Happening

_REASONS = {
    "expired": "their time was over",
    "user": "somebody asked for it",
    "update": "a new version started",
    "size": "more was held than the policy allows; the oldest went early",
    "panic": "everything was to go at once",
    "recovered": "they were cut off, or the index was lost",
}
_PRIVATE = {"guest": "guest mode", "quiet": "quiet hours", "muted": "muted"}
_PLAIN = {
    "ear_away": "the ear is away",
    "reported": "the broker has the event",
    "withdrawn": "the broker has the notice to forget an event",
}


def describe(happening: Happening) -> str:
    """Return the line."""
    make = _LINES.get(happening.what)
    return _PLAIN[happening.what] if make is None else make(happening)


def _utterance(happening: Happening) -> str:
    if happening.outcome == "false_wake":
        return "false wake: nobody spoke, nothing is stored"
    return f"{happening.outcome}: {happening.speech_s:.1f} s of speech"


def _sealed(happening: Happening) -> str:
    kept = "; ".join(f"{kept.kind} until {shown.clock_time(kept.expires_at_s)}" for kept in happening.kept)
    return f"sealed {happening.recording[:8]}: {kept}"


def _erased(happening: Happening) -> str:
    why = _REASONS.get(happening.reason, happening.reason)
    return f"{shown.count(happening.items, 'key')} destroyed: {why} (keyring {happening.generation})"


_LINES: dict[str, Callable[[Happening], str]] = {
    "listening": lambda h: f"listening to {h.reason}",
    "not_listening": lambda h: f"not listening: {h.reason}",
    "wake": lambda h: f"wake word {h.wake_word} (score {h.score:.3f}); recording in memory",
    "utterance": _utterance,
    "sealed": _sealed,
    "result": lambda h: f"reported from afar, of {h.recording[:8]}: {h.outcome}",
    "not_sealed": lambda h: f"NOT sealed: {h.reason}",
    "erased": _erased,
    "erase_failed": lambda h: f"ERASING FAILED, will be tried again: {h.reason}",
    "alarm": lambda h: f"ALARM {h.reason}",
    "private": lambda h: f"{_PRIVATE[h.reason]}: nothing is stored",
    "mode": lambda h: h.reason.upper(),
    "light": lambda h: f"light {h.reason}",
    "broker": lambda h: f"broker: {h.reason}",
}
