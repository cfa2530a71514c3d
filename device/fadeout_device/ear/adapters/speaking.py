"""Says sentences, one after the other, by a program that reads them on its standard input.

No shell, and nothing of the sentence in the program's arguments, which every process of
the machine can read. One that takes too long is ended; why one does not work is told
once, without the sentence, and kept until it works. Waits for nothing: whoever holds this calls `tend` often.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import subprocess
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

LONGEST_S = 30.0
"""A sentence takes no longer."""
ECHO_S = 0.5
"""So long after the program's end its voice is still in the room, or on its way through the sound system."""
MAX_WAITING = 4


def argv_of(speak: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the program and its arguments; empty: nothing is said."""
    argv = (speak,) if isinstance(speak, str) else speak
    return () if argv in {(), ("none",), ("",)} else argv


def why_missing(argv: tuple[str, ...]) -> str:
    """Say that the program is not there, and what to do; empty: it is, or nothing is to be said."""
    if not argv or shutil.which(argv[0]) is not None:
        return ""
    install = "; install it with: sudo apt-get install espeak-ng" if argv[0] == "espeak-ng" else ""
    return f"answers are not spoken: there is no program {argv[0]}{install}; see speak under [voice]"


class Speaking:
    """Says sentences. Not for two threads.

    Args:
        argv: the program and its arguments; empty: nothing is said.
        clock: monotonic seconds.
    """

    def __init__(self, argv: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._argv = argv
        self._clock = clock
        self._waiting: deque[str] = deque(maxlen=MAX_WAITING)
        self._process: subprocess.Popen[bytes] | None = None
        self._began_mono_s = -math.inf
        self.problem = why_missing(argv)
        """Why the last sentence was not said, or the next will not be, in words; empty: all is well."""
        self._is_told = False
        self._heard_until_mono_s = -math.inf

    def say(self, sentence: str) -> None:
        """Say a sentence, after those that are being said."""
        if self._argv:
            self._waiting.append(sentence)
            self.tend()

    def tend(self) -> None:
        """Begin the next sentence, or end one that takes too long."""
        if self._process is not None:
            code = self._process.poll()
            if code is None and self._clock() - self._began_mono_s > LONGEST_S:
                _kill(self._process)
                self._end(f"{self._argv[0]} took more than {LONGEST_S:g} s, and was ended")
            elif code is None:
                return
            else:
                self._end(f"{self._argv[0]} ended with exit code {code}" if code else "")
        if self._waiting:
            self._begin(self._waiting.popleft())

    def is_heard_at(self, at_mono_s: float) -> bool:
        """Say whether a microphone may hear this speaking in what arrives at a time that is not to come."""
        self.tend()
        return self._process is not None or at_mono_s <= self._heard_until_mono_s

    def close(self) -> None:
        """Be silent."""
        self._waiting.clear()
        if self._process is not None:
            _kill(self._process)
            self._process = None

    def _begin(self, sentence: str) -> None:
        try:
            self._process = process = subprocess.Popen(  # noqa: S603 - what the configuration names
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                process_group=0,
            )  # fmt: skip
        except OSError as err:
            why = f"{self._argv[0]}: {os.strerror(err.errno or 0).lower()}"
            self._note(why_missing(self._argv) or _not_spoken(why))
            return
        self._began_mono_s = self._clock()
        assert process.stdin is not None  # noqa: S101 - a pipe
        try:
            # A sentence fits into a pipe, whether it is read or not.
            process.stdin.write(sentence.encode() + b"\n")
            process.stdin.close()
        except BrokenPipeError:
            pass  # its exit code tells

    def _end(self, why: str) -> None:
        """Note that the program has ended; `why` not as it should, empty: it did."""
        self._process = None
        self._heard_until_mono_s = self._clock() + ECHO_S
        self._note(_not_spoken(why) if why else "")

    def _note(self, problem: str) -> None:
        if problem and not self._is_told:
            log.warning("%s", problem)
        self.problem, self._is_told = problem, bool(problem)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program with all that it has started: a shell is silent, and what it runs would speak on."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _not_spoken(why: str) -> str:
    return f"answers are not spoken: {why}; see speak under [voice]"
