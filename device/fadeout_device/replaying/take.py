"""One file, played to an ear that listens: which of what the ear says is of the file, and when it is over.

A table of lines, from the ear and from the mouth, against what is known so far. Pure:
no clock, no process. The file lies in what is heard where the mark before it was heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Step = Literal["more", "over", "again", "muted"]
"""`more`: it goes on. `over`: it is through. `again`: it was lost on the way. `muted`: it muted the ear."""

_RATE_HZ = 16_000
_REST_SAMPLES = _RATE_HZ // 2
"""Heard after its end, so that the next mark comes after quiet."""
_POSITIONS = ("start_s", "wake_s", "speech_start_s", "speech_end_s")


class Take:
    """One attempt at one file.

    Args:
        name: the file.
        put: takes what is told of it.
        told: how many of its utterances were told before, in an attempt that was lost.
    """

    def __init__(self, name: str, put: Callable[[str, dict[str, Any]], None], told: int = 0) -> None:
        self._name = name
        self._put = put
        self._mark_s: float | None = None
        self._start_s = 0.0
        self._samples: int | None = None
        self._bad: dict[str, Any] | None = None
        self._heard = 0
        self.told = told
        """How many of its utterances are told by now."""
        self.is_opened = False
        """It is audio, and is being played."""

    @property
    def is_marked(self) -> bool:
        """The mark was heard."""
        return self._mark_s is not None

    def hear(self, said: dict[str, Any], lead_s: float) -> Step:
        """Take a line; `lead_s` lies between the start of the mark and that of the file."""
        step: Step = "more"
        match said["type"]:
            case "opened":
                self.is_opened = True
                self._put("file", {"file": self._name, "duration_s": said["duration_s"]})
            case "bad":
                self._put("bad_file", {"file": self._name, "error": said["error"], "hint": said["hint"]})
                step = "over"
            case "sound":
                if self._mark_s is None and self.is_opened:
                    self._mark_s = said["sample"] / _RATE_HZ
                    self._start_s = self._mark_s + lead_s
            case "played":
                if "error" in said:
                    self._bad = {"file": self._name, "error": said["error"], "hint": said["hint"]}
                self._samples = said["samples"]
            case "utterance":
                step = self._utterance(said)
            case "heard":
                step = self._progress(said)
            case "listening" | "died":
                # Another stream: what is heard of this one is not all of it.
                step = "again"
        return step

    def _utterance(self, said: dict[str, Any]) -> Step:
        if self._mark_s is None:
            return "more"
        self._heard += 1
        if self._heard > self.told:
            self.told = self._heard
            moved = {
                key: None if said[key] is None else round(max(0.0, said[key] - self._start_s), 3)
                for key in _POSITIONS
            }
            rest = {key: value for key, value in said.items() if key != "type"}
            self._put("utterance", {"file": self._name, **rest, **moved})
        return "muted" if said.get("told", {}).get("what") in ("muted", "muted_until_restart") else "more"

    def _progress(self, said: dict[str, Any]) -> Step:
        position_s = said["sample"] / _RATE_HZ - self._start_s
        if self._mark_s is not None and position_s > 0:
            self._put("progress", {"file": self._name, "position_s": round(position_s, 3)})
        if self._mark_s is None or self._samples is None or not said["idle"]:
            return "more"
        if said["sample"] < self._start_s * _RATE_HZ + self._samples + _REST_SAMPLES:
            return "more"
        if self._bad is not None:
            self._put("bad_file", self._bad)
        return "over"
