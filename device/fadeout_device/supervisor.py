"""Starts the rooms, starts them again when they die, stops them in order. Knows not what they do.

`fadeout run` and `fadeout replay` use it in the foreground; on a device systemd does
the same with three units. A room that refuses to run (it ends with one of
`sysexits.h`'s codes, having said why) ends everything: starting it again would
change nothing. A room that dies in any other way is started again, after a pause
that doubles up to `MAX_PAUSE_S`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

from fadeout_device.bell import Bell
from fadeout_device.confine import PARENT_PID_VARIABLE, STARTED_AGAIN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MIN_PAUSE_S = 0.2
MAX_PAUSE_S = 10.0
HEALTHY_AFTER_S = 30.0
"""A room that has lived so long is started again at once."""
STOP_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 0.1

# EX_SOFTWARE is a broken invariant, EX_OSERR and EX_IOERR may pass: those are tried again.
_REFUSALS = frozenset(range(os.EX_USAGE, os.EX_CONFIG + 1)) - {os.EX_SOFTWARE, os.EX_OSERR, os.EX_IOERR}

What = Literal["started", "died", "refused", "ended"]


class Room(NamedTuple):
    """A process to keep running."""

    name: str
    arguments: tuple[str, ...]
    """Of `python -m`."""
    reads: Callable[[IO[bytes]], None] | None = None
    """Reads its standard output, in a thread of its own."""
    may_end: bool = False
    """Whether it may be through at some time, with exit code 0 or that of bad data."""
    opens: bool = False
    """The rooms after it start once it has printed a line; what it prints is not shown."""
    environment: Mapping[str, str] = {}
    """What it gets besides the supervisor's own."""


class Refused(NamedTuple):
    """Why the supervisor gave up."""

    room: str
    exit_code: int


class _Running:
    """One room and its process."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.process: subprocess.Popen[bytes] | None = None
        self.has_ended = False
        self._is_first = True
        self.has_opened = threading.Event()
        if not room.opens:
            self.has_opened.set()
        self._reader: threading.Thread | None = None
        self._started_mono_s = 0.0
        self._pause_s = MIN_PAUSE_S
        self.due_mono_s = 0.0

    def start(self, environment: Mapping[str, str]) -> None:
        reads = self._wait_for_line if self.room.opens else self.room.reads
        self.process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", *self.room.arguments],
            stdin=subprocess.DEVNULL,
            stdout=None if reads is None else subprocess.PIPE,
            env={
                **environment,
                **self.room.environment,
                **({} if self._is_first else {STARTED_AGAIN_VARIABLE: "1"}),
            },
            # Ctrl-C is for the supervisor, which stops the rooms in order.
            start_new_session=True,
        )
        self._is_first = False
        self._started_mono_s = time.monotonic()
        if reads is not None and self.process.stdout is not None:
            self._reader = threading.Thread(target=_read, args=(reads, self.process.stdout), daemon=True)
            self._reader.start()

    def _wait_for_line(self, lines: IO[bytes]) -> None:
        for _ in lines:
            self.has_opened.set()

    def finish_reading(self) -> None:
        """Wait until everything that the room has printed is read."""
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT_S)

    def plan_restart(self) -> None:
        now = time.monotonic()
        if now - self._started_mono_s > HEALTHY_AFTER_S:
            self._pause_s = MIN_PAUSE_S
        self.due_mono_s = now + self._pause_s
        self._pause_s = min(MAX_PAUSE_S, 2 * self._pause_s)
        self.process = None


class Supervisor:
    """Keeps rooms running until it is told to stop."""

    def __init__(self, rooms: Sequence[Room], tell: Callable[[What, str, str], None]) -> None:
        """Take the rooms in the order in which they start; they stop in the reverse order.

        Args:
            rooms: what to run.
            tell: called with what happened, the room's name, and a word on how.
        """
        self._running = [_Running(room) for room in rooms]
        self._tell = tell
        self._end_code = 0
        # Plain values and a bell: they are set by signal handlers.
        self._is_stopping = False
        self._stops_at_once = False
        self._bell = Bell()
        self._environment = {**os.environ, PARENT_PID_VARIABLE: str(os.getpid())}

    def stop_on_signals(self) -> None:
        """First SIGINT or SIGTERM: stop in order. Second: stop waiting."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stop())

    def stop(self) -> None:
        """Ask `run` to stop everything and return; a second time, to stop waiting."""
        if self._is_stopping:
            self._stops_at_once = True
        self._is_stopping = True
        self._bell.ring()

    def process_id(self, name: str) -> int | None:
        """Return the process id of a room, None while it is not running."""
        process = next(running.process for running in self._running if running.room.name == name)
        return None if process is None else process.pid

    def run(self, on_stopping: Callable[[], None] = lambda: None) -> Refused | int:
        """Run until `stop`, or until a room refuses.

        Args:
            on_stopping: called once the last room that was started is stopped, before the others are.

        Returns:
            the exit code of the room that may end, if it did; else 0; or which room refused.
        """
        try:
            while not self._is_stopping:
                for running in self._running:
                    refused = self._tend(running)
                    if refused is not None:
                        return refused
                    if not running.has_opened.is_set():
                        break
                self._bell.wait(_LOOK_EVERY_S)
            return self._end_code
        finally:
            self._stop_all(on_stopping)

    def _tend(self, running: _Running) -> Refused | None:
        """Start or restart a room if needed; returns why everything must stop, if it must."""
        if running.has_ended:
            return None
        if running.process is None:
            if time.monotonic() >= running.due_mono_s:
                running.start(self._environment)
                self._tell("started", running.room.name, "")
            return None
        exit_code = running.process.poll()
        if exit_code is None:
            return None
        if running.room.may_end and exit_code in (os.EX_OK, os.EX_DATAERR):
            running.finish_reading()
            running.has_ended = True
            self._end_code = exit_code
            self._tell("ended", running.room.name, "")
            return None
        if exit_code in _REFUSALS:
            self._tell("refused", running.room.name, f"exit code {exit_code}")
            return Refused(running.room.name, exit_code)
        self._tell("died", running.room.name, _how(exit_code))
        running.plan_restart()
        return None

    def _stop_all(self, on_stopping: Callable[[], None]) -> None:
        for position, running in enumerate(reversed(self._running)):
            if running.process is not None:
                self._stop_one(running.process)
                running.finish_reading()
            if position == 0 and not self._stops_at_once:
                on_stopping()

    def _stop_one(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        deadline_mono_s = time.monotonic() + STOP_TIMEOUT_S
        while process.poll() is None:
            if not self._stops_at_once:
                self._bell.wait(_LOOK_EVERY_S / 5)
            if self._stops_at_once or time.monotonic() > deadline_mono_s:
                process.kill()
                process.wait()


def _read(reads: Callable[[IO[bytes]], None], lines: IO[bytes]) -> None:
    with lines:
        reads(lines)


def _how(exit_code: int) -> str:
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
