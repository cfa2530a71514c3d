"""The supervisor, over small processes of the test's own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

import pytest

from fadeout_device.confine import STARTED_AGAIN_VARIABLE
from fadeout_device.supervisor import STOP_TIMEOUT_S, Refused, Room, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_S = 60.0


def _room(folder: Path, name: str, program: str, **options: object) -> Room:
    """A room that is a little Python module in `folder`."""
    (folder / f"{name}.py").write_text(program)
    return Room(name, (name,), **options)  # type: ignore[arg-type]  # reads and may_end


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., _Run]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return lambda *rooms: _Run(list(rooms))


class _Run:
    """A supervisor in a thread."""

    def __init__(self, rooms: list[Room]) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.supervisor = Supervisor(rooms, lambda *what: self.told.append(what))
        self.outcome: Refused | int | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.outcome = self.supervisor.run()

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.told
            time.sleep(0.02)

    def join(self) -> Refused | int | None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), self.told
        return self.outcome


SLEEP = "import time\nwhile True: time.sleep(60)\n"


def test_a_killed_room_comes_back_and_the_other_is_left_alone(
    tmp_path: Path, run: Callable[..., _Run]
) -> None:
    running = run(_room(tmp_path, "first", SLEEP), _room(tmp_path, "second", SLEEP))
    running.wait_until(lambda: running.supervisor.process_id("second"))
    first, second = (running.supervisor.process_id(name) for name in ("first", "second"))
    assert first is not None
    os.kill(first, signal.SIGKILL)
    running.wait_until(lambda: running.supervisor.process_id("first") not in (None, first))
    assert running.supervisor.process_id("second") == second
    assert ("died", "first", "killed by SIGKILL") in running.told
    running.supervisor.stop()
    assert running.join() == 0


@pytest.mark.parametrize("code", [64, 65, 69, 73, 77, 78])
def test_a_room_that_refuses_ends_everything(tmp_path: Path, run: Callable[..., _Run], code: int) -> None:
    running = run(_room(tmp_path, "other", SLEEP), _room(tmp_path, "refusing", f"raise SystemExit({code})"))
    assert running.join() == Refused("refusing", code)
    assert [what for what, *_ in running.told if what == "died"] == []


@pytest.mark.parametrize("code", [1, 70, 71, 74])
def test_a_room_that_may_have_better_luck_is_started_again(
    tmp_path: Path, run: Callable[..., _Run], code: int
) -> None:
    program = (
        f"import os, pathlib\np = pathlib.Path({str(tmp_path)!r}, 'tried')\n"
        f"if not p.exists():\n p.touch(); raise SystemExit({code})\n{SLEEP}"
    )
    running = run(_room(tmp_path, "unlucky", program))
    running.wait_until(lambda: len(running.told) == 3)
    assert [what for what, *_ in running.told] == ["started", "died", "started"]
    running.supervisor.stop()
    assert running.join() == 0


def test_a_room_is_told_that_it_is_started_again(tmp_path: Path, run: Callable[..., _Run]) -> None:
    program = (
        f"import os, pathlib, time\np = pathlib.Path({str(tmp_path)!r})\n"
        f"again = {STARTED_AGAIN_VARIABLE!r} in os.environ\n"
        "(p / f'again-{again}').touch()\n"
        "if not again: raise SystemExit(1)\n"
        f"{SLEEP}"
    )
    running = run(_room(tmp_path, "unlucky", program))
    running.wait_until((tmp_path / "again-True").exists)
    assert (tmp_path / "again-False").exists()
    running.supervisor.stop()
    assert running.join() == 0


def test_pauses_grow_between_starts(tmp_path: Path, run: Callable[..., _Run]) -> None:
    running = run(_room(tmp_path, "hopeless", "raise SystemExit(1)"))
    began = time.monotonic()
    running.wait_until(lambda: len([w for w in running.told if w[0] == "started"]) == 4)
    assert time.monotonic() - began > 0.2 + 0.4 + 0.8
    running.supervisor.stop()
    running.join()


def test_everything_a_room_printed_is_read_before_it_has_ended(
    tmp_path: Path, run: Callable[..., _Run]
) -> None:
    read: list[bytes] = []

    def reads(lines: IO[bytes]) -> None:
        read.extend(lines)

    program = "import sys\nfor n in range(5000): print(n)\nsys.exit(65)\n"
    running = run(_room(tmp_path, "ending", program, reads=reads, may_end=True))
    running.wait_until(lambda: ("ended", "ending", "") in running.told)
    assert len(read) == 5000
    running.supervisor.stop()
    assert running.join() == 65


def test_nobody_starts_before_the_room_they_need_has_opened(tmp_path: Path, run: Callable[..., _Run]) -> None:
    running = run(
        _room(tmp_path, "refusing", "import time; time.sleep(0.5); raise SystemExit(69)", opens=True),
        _room(tmp_path, "eager", SLEEP),
    )
    assert running.join() == Refused("refusing", 69)
    assert [room for what, room, _ in running.told if what == "started"] == ["refusing"]


def test_the_others_start_once_it_has(tmp_path: Path, run: Callable[..., _Run]) -> None:
    opening = f"print('ready', flush=True)\n{SLEEP}"
    running = run(_room(tmp_path, "opening", opening, opens=True), _room(tmp_path, "eager", SLEEP))
    running.wait_until(lambda: ("started", "eager", "") in running.told)
    running.supervisor.stop()
    assert running.join() == 0


def test_rooms_stop_in_the_reverse_order(tmp_path: Path, run: Callable[..., _Run]) -> None:
    program = (
        "import pathlib, signal, sys, time\n"
        f"out = pathlib.Path({str(tmp_path)!r}, 'order')\n"
        "def stop(*_):\n open(out, 'a').write(sys.argv[0][-4:-3]); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\nprint('ready', flush=True)\n" + SLEEP
    )
    ready: list[bytes] = []

    def reads(lines: IO[bytes]) -> None:
        ready.extend(lines)

    running = run(*(_room(tmp_path, f"room_{n}", program, reads=reads) for n in "abc"))
    running.wait_until(lambda: len(ready) == 3)
    running.supervisor.stop()
    running.join()
    assert (tmp_path / "order").read_text() == "cba"


def test_a_second_stop_cuts_the_waiting(tmp_path: Path, run: Callable[..., _Run]) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('x', flush=True)\n" + SLEEP
    ready: list[bytes] = []

    def reads(lines: IO[bytes]) -> None:
        ready.extend(lines)

    running = run(_room(tmp_path, "deaf", deaf, reads=reads))
    running.wait_until(lambda: ready)
    began = time.monotonic()
    running.supervisor.stop()
    running.supervisor.stop()
    running.join()
    assert time.monotonic() - began < STOP_TIMEOUT_S


def test_rooms_run_our_own_python(tmp_path: Path, run: Callable[..., _Run]) -> None:
    read: list[bytes] = []

    def reads(lines: IO[bytes]) -> None:
        read.extend(lines)

    program = "import os, sys; print(sys.executable, os.environ['FADEOUT_PARENT_PID'], os.getppid())"
    running = run(_room(tmp_path, "who", program, reads=reads, may_end=True))
    running.wait_until(lambda: ("ended", "who", "") in running.told)
    running.supervisor.stop()
    running.join()
    executable, named, parent = read[0].decode().split()
    assert executable == sys.executable
    assert named == parent == str(os.getpid())
