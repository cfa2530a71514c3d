"""Plays files, one after the other, to an ear that listens to a loop of sound, and tells what came of each.

In real time, by the ear's own clock: the next file begins when the ear has heard the one
before it to its end, and has nothing in hand any more. Knows what the ear and the mouth
print; what that means for a file is in `take.py`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import time
from typing import IO, TYPE_CHECKING, Any

from fadeout_device.errors import UnavailableError
from fadeout_device.replaying.events import Event, Stream
from fadeout_device.replaying.mouth import LEAD_S
from fadeout_device.replaying.take import Step, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    Play = Callable[[Path, "Stream", Callable[[IO[bytes]], None]], AbstractContextManager[None]]

_MOST_ATTEMPTS = 2
_LISTENING_S = 60.0
_MARK_S = 30.0
"""How long the mark may take from the player's start to the ear; a loaded machine is slow to start one."""
_LINE_S = 60.0
"""An ear at a microphone prints four lines a second."""
_LOOP_HINT = "is what plays connected to that microphone, nothing muted, and silent else?"
_OF_MOUTHS = ("opened", "bad", "played", "broken")
_COUNTED = ("overflows", "behind", "reopened", "clipped")


class _StoppedError(Exception):
    """Nobody wants to hear the rest."""


class Performance:
    """All files that one ear hears.

    Args:
        indexes: which of the files.
        files: all files.
        put: takes what happens.
        play: starts to play a file in a loop, for the length of a `with` block; what the mouth
            prints goes to the callable.
        unmute: has the ear's microphone opened again.
    """

    def __init__(
        self,
        indexes: Sequence[int],
        files: Sequence[Path],
        put: Callable[[Event], None],
        play: Play,
        unmute: Callable[[], None],
    ) -> None:
        self._indexes = indexes
        self._files = files
        self._put = put
        self._play = play
        self._unmute = unmute
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stream: Stream | None = None
        """What the ear listens to; None: nothing."""
        self._flows = False
        """Something of that stream was heard."""
        self._attempts = 0
        self._counted = dict.fromkeys(_COUNTED, 0)
        self._before = dict.fromkeys(_COUNTED, 0)
        """What ears that died had counted."""

    def read(self, lines: IO[bytes]) -> None:
        """Read what the ear prints."""
        for line in lines:
            self._lines.put(json.loads(line))

    def _read_mouth(self, attempt: int, lines: IO[bytes]) -> None:
        for line in lines:
            self._lines.put({**json.loads(line), "attempt": attempt})

    def died(self) -> None:
        """The ear has died, and will be started again."""
        self._lines.put({"type": "died"})

    def stop(self) -> None:
        """Have `run` return."""
        self._lines.put({"type": "stop"})

    def run(self) -> None:
        """Play all files.

        Raises:
            UnavailableError: nothing can be played, or nothing of it is heard.
        """
        with contextlib.suppress(_StoppedError):
            for index in self._indexes:
                self._perform(index)
                self._put(Event(index, "done", {}))
            counted = {name: self._before[name] + self._counted[name] for name in _COUNTED}
            stream = {} if self._stream is None else self._stream._asdict()
            self._put(Event(-1, "microphone", {**stream, **counted}))

    def _perform(self, index: int) -> None:
        def put(what: str, said: dict[str, Any]) -> None:
            self._put(Event(index, what, said))

        file = self._files[index]
        told = 0
        for _ in range(_MOST_ATTEMPTS):
            take = Take(os.fsencode(file).decode("utf-8", "replace"), put, told)
            step = self._attempt(take, file)
            if step == "muted":
                # By somebody in the file; the next one is to be heard all the same.
                self._stream = None
                self._unmute()
            if step != "again":
                return
            told = take.told
        error = f"{file}: the ear lost it, {_MOST_ATTEMPTS} times: it died, or its microphone did"
        put("bad_file", {"file": str(file), "error": error, "hint": "standard error says why"})

    def _attempt(self, take: Take, file: Path) -> Step:
        """Play a file once, until it is heard."""
        # A stream that has begun may take a while to flow; what is played before is not in it.
        while self._stream is None or not self._flows:
            self._next(_LISTENING_S, "the ear does not listen")
        self._attempts += 1
        with self._play(file, self._stream, functools.partial(self._read_mouth, self._attempts)):
            began_mono_s = time.monotonic()
            step: Step = "more"
            while step == "more":
                said = self._next(_LINE_S, "the ear says nothing any more")
                if said["type"] in _OF_MOUTHS and said["attempt"] != self._attempts:
                    # By one that played before, and was ended.
                    continue
                if said["type"] == "broken":
                    raise UnavailableError(
                        f"the file cannot be played: {said['error']}",
                        "is the device that plays still there? aplay -L lists them",
                    )
                step = take.hear(said, LEAD_S)
                is_late = time.monotonic() - began_mono_s > _MARK_S
                if step == "more" and is_late and not take.is_marked:
                    raise UnavailableError(
                        f"nothing of what is played is heard at the microphone {self._stream.source}",
                        _LOOP_HINT,
                    )
        return step

    def _next(self, limit_s: float, complaint: str) -> dict[str, Any]:
        """Return the next line, and take from it what is of no file."""
        try:
            said = self._lines.get(timeout=limit_s)
        except queue.Empty:
            raise UnavailableError(complaint, "is the machine, or the sound server, stuck?") from None
        match said["type"]:
            case "stop":
                raise _StoppedError
            case "listening":
                self._stream = Stream(said["source"], said["rate_hz"], said["channels"])
                self._flows = False
            case "died":
                self._stream = None
                self._before = {name: self._before[name] + self._counted[name] for name in _COUNTED}
                self._counted = dict.fromkeys(_COUNTED, 0)
            case "heard":
                self._flows = True
                self._counted = {name: said[name] for name in _COUNTED}
        return said
