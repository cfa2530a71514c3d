"""Runs ears and vaults over files, one pair or several at once, and tells what happens in order.

A round is one ear and one vault, and the files they take, one after the other. Each
pair gets files that follow each other, and a file's lines are told when those of the
files before it are through. So what is told does not depend on which pair was faster.
Knows not what is done with the lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from fadeout_device import questions, wire
from fadeout_device.config import load
from fadeout_device.errors import UsageError
from fadeout_device.replaying.events import Event
from fadeout_device.replaying.performance import Performance
from fadeout_device.replaying.sound_loop import Devices, Loop, missing_plug_in, opened
from fadeout_device.supervisor import Refused, Room, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from fadeout_device.supervisor import What

THROW_AWAY_START_S = 1_577_836_800.0
"""2020-01-01T00:00:00Z: a replay into a throw-away state gives the same end dates every time."""

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, for us alone
_MAX_NAMES_BYTES = 1_000_000
"""Linux takes 2 MB of arguments and environment in most places."""
_MOST_DEATHS = 2
"""An ear that dies so often of one file goes on without it."""
_LAST_LINES_S = 10.0
_UNMUTE_S = 60.0


class Job(NamedTuple):
    """How files are replayed."""

    config: Path | None
    state: Path | None = None
    """None: a throw-away state, and 2020-01-01T00:00:00Z."""
    speed: str = "max"
    start_at_s: float = THROW_AWAY_START_S
    through_microphone: bool = False
    """Played into a loop of sound, and heard at a microphone."""
    devices: Devices | None = None
    """Such a loop that is there already; None: one of our own."""


class Replaying:
    """All files of one replay.

    Args:
        files: what to replay; what is no file gets an error of its own.
        job: how.
        pairs: how many at once, at most.
    """

    def __init__(self, files: Sequence[Path], job: Job, pairs: int = 1) -> None:
        self._files = files
        self._job = job
        self._shares = shares([_size(file) for file in files], pairs)
        for share in self._shares:
            if sum(len(os.fsencode(files[index])) for index in share) > _MAX_NAMES_BYTES:
                raise UsageError(f"{len(share)} files are too many for one ear", "use more --jobs")
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._supervisors: set[Supervisor] = set()
        self._is_stopping = False
        self._refusal: int | None = None

    @property
    def refusal(self) -> int | None:
        """The exit code of a room that refused to run; None: none did."""
        return self._refusal

    def stop(self) -> None:
        """Stop everything; a second time, without waiting. May be called from a signal handler."""
        self._is_stopping = True
        for supervisor in tuple(self._supervisors):
            supervisor.stop()

    def events(self) -> Iterator[Event]:
        """Run, and yield what happens, in order of the files. Files that were not reached have no `done`."""
        with ThreadPoolExecutor(len(self._shares) + 1, thread_name_prefix="replay") as pool:
            working = [pool.submit(self._work, share) for share in self._shares]
            pool.submit(self._finish, working)
            try:
                yield from _in_order(iter(self._events.get, None))
                for one in working:
                    one.result()
            finally:
                self.stop()

    def _finish(self, working: Sequence[Future[None]]) -> None:
        wait(working)
        self._events.put(None)

    def _work(self, indexes: list[int]) -> None:
        """Replay files through one ear and one vault; again, without the file, if the ear dies of one."""
        with contextlib.ExitStack() as stack:
            state = self._job.state
            if state is None:
                # Sealed like everything; in memory all the same, where there is such a folder.
                memory = str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
                folder = tempfile.TemporaryDirectory(prefix="fadeout-replay-", dir=memory)
                state = Path(stack.enter_context(folder))
            if self._job.through_microphone:
                loop = stack.enter_context(opened(self._job.devices, load(self._job.config).microphone))
                self._perform(indexes, state, loop)
                return
            while indexes and not self._is_stopping:
                indexes = self._round(indexes, state)

    def _perform(self, indexes: list[int], state: Path, loop: Loop) -> None:
        """Play files to an ear that listens to a loop."""
        performance = Performance(indexes, self._files, self._events.put, loop.play, lambda: _unmute(state))

        def tell(what: What, room: str, how: str) -> None:
            if what == "died":
                self._events.put(Event(-1, "note", {"text": f"the {room} died ({how}); it is started again"}))
                if room == "ear":
                    performance.died()

        vault, ear = self._common("vault", state), self._common("ear", state)
        ear += ("--microphone", loop.microphone, "--report")
        supervisor = Supervisor(
            [
                Room("vault", vault, opens=True),
                Room("ear", ear, reads=performance.read, environment=loop.environment),
            ],
            tell,
        )
        with ThreadPoolExecutor(1, thread_name_prefix="performance") as pool:
            performing = pool.submit(performance.run)
            performing.add_done_callback(lambda _: supervisor.stop())
            try:
                is_heard = self._supervise(supervisor)
                hint = None if is_heard or self._job.devices else missing_plug_in()
                if hint is not None:
                    self._events.put(Event(-1, "note", {"text": f"hint: {hint}"}))
            finally:
                performance.stop()
            performing.result()

    def _supervise(self, supervisor: Supervisor) -> bool:
        """Run rooms to their end; return whether none refused."""
        with self._lock:
            self._supervisors.add(supervisor)
        try:
            if self._is_stopping:
                return False
            outcome = supervisor.run()
        finally:
            with self._lock:
                self._supervisors.discard(supervisor)
        if isinstance(outcome, Refused):
            self._refusal = outcome.exit_code
            self.stop()
            return False
        return True

    def _round(self, indexes: list[int], state: Path) -> list[int]:
        """Run one ear and one vault to their end; return the files that are left."""
        lines = _Lines(indexes, self._files, self._events)

        def tell(what: What, room: str, how: str) -> None:
            if what == "ended":
                supervisor.stop()
            elif what == "died":
                self._events.put(Event(-1, "note", {"text": f"the {room} died ({how}); it is started again"}))
                if room == "ear" and lines.died() >= _MOST_DEATHS:
                    supervisor.stop()

        supervisor = Supervisor(self._rooms(indexes, state, lines), tell)
        if not self._supervise(supervisor):
            return []
        return lines.left()

    def _rooms(self, indexes: list[int], state: Path, lines: _Lines) -> list[Room]:
        start = str(self._job.start_at_s)
        audio = [str(self._files[index]) for index in indexes]
        ear = ("--speed", self._job.speed, "--start-at", start, "--replay", *audio)
        return [
            Room("vault", (*self._common("vault", state), "--replay-clock", start), opens=True),
            Room("ear", (*self._common("ear", state), *ear), reads=lines.read, may_end=True),
        ]

    def _common(self, room: str, state: Path) -> tuple[str, ...]:
        """Return the arguments that start a room, whatever it is to do."""
        config = () if self._job.config is None else ("--config", str(self._job.config.absolute()))
        return (f"fadeout_device.{room}", "--state", str(state), *config)


def _unmute(state: Path) -> None:
    """Let a vault's microphone open again."""
    connection = wire.connect(state / "run" / "control.sock", _UNMUTE_S, wire.MAX_ANSWER_BYTES)
    try:
        connection.send(questions.Unmute())
        connection.receive()
    finally:
        connection.close()


def shares(sizes: Sequence[int], pairs: int) -> list[list[int]]:
    """Return which files each pair takes: some that follow each other, of about the same size together."""
    whole = sum(sizes) or 1
    found: dict[int, list[int]] = {}
    before = 0
    for index, size in enumerate(sizes):
        # By where the middle of the file lies.
        found.setdefault(min(pairs - 1, (2 * before + size) * pairs // (2 * whole)), []).append(index)
        before += size
    return list(found.values())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        # The ear says so.
        return 0


class _Lines:
    """Turns what an ear prints into events: which file each line belongs to."""

    def __init__(
        self, indexes: list[int], files: Sequence[Path], events: queue.SimpleQueue[Event | None]
    ) -> None:
        self._indexes = indexes
        self._files = files
        self._events = events
        self._at = -1
        self._begun: str | None = None
        self._heard = 0
        self._told: dict[int, int] = {}
        self._done = 0
        self._deaths: dict[int, int] = {}
        self._lost: int | None = None
        self._is_read = threading.Event()

    def read(self, lines: IO[bytes]) -> None:
        """Read what the ear prints, from its start. A restarted ear starts anew."""
        self._at, self._begun = -1, None
        self._is_read.clear()
        try:
            for line in lines:
                said = json.loads(line)
                self._take(said.pop("type"), said)
        finally:
            self._is_read.set()

    def _take(self, what: str, said: dict[str, Any]) -> None:
        if what == "end":
            self._move_to(len(self._indexes))
            return
        if what == "file":
            self._move_to(self._at + 1)
            self._begun = said["file"]
        elif what == "bad_file":
            # Either the one that has begun cannot be heard to its end, or the next one not at all.
            if said["file"] != self._begun:
                self._move_to(self._at + 1)
            self._begun = None
        if what == "utterance":
            # An ear that died and was started again tells what was told before: once is enough.
            self._heard += 1
            if self._heard <= self._told.get(self._at, 0):
                return
            self._told[self._at] = self._heard
        if self._at >= self._done:
            self._put(self._at, what, said)

    def _move_to(self, position: int) -> None:
        self._at, self._heard = position, 0
        while self._done < position:
            self._put(self._done, "done", {})
            self._done += 1

    def _put(self, position: int, what: str, said: dict[str, Any]) -> None:
        self._events.put(Event(self._indexes[position], what, said))

    def died(self) -> int:
        """Count a death of the ear; return how often it has died of the same file."""
        # Its last lines may still be on their way.
        self._is_read.wait(_LAST_LINES_S)
        at = max(self._at, self._done)
        self._deaths[at] = self._deaths.get(at, 0) + 1
        if self._deaths[at] >= _MOST_DEATHS and at < len(self._indexes):
            file = self._files[self._indexes[at]]
            error = f"{file}: the ear died of it, {_MOST_DEATHS} times"
            hint = "keep the file, and report it: no file should do that"
            self._put(at, "bad_file", {"file": str(file), "error": error, "hint": hint})
            self._move_to(at + 1)
            self._lost = at + 1
        return self._deaths[at]

    def left(self) -> list[int]:
        """Return the files after the one that the ear died of; none when it died of none."""
        return [] if self._lost is None else self._indexes[self._lost :]


def _in_order(events: Iterator[Event]) -> Iterator[Event]:
    """Hold back what happens to a file until the files before it are done."""
    head = 0
    waiting: dict[int, list[Event]] = {}
    for event in events:
        if event.file < 0:
            yield event
            continue
        if event.file > head:
            # Progress is for those who look on: what is held back is told too late for them.
            if event.what != "progress":
                waiting.setdefault(event.file, []).append(event)
            continue
        yield event
        is_done = event.what == "done"
        while is_done:
            head += 1
            held = waiting.pop(head, [])
            yield from held
            is_done = bool(held) and held[-1].what == "done"
