"""fadeout under test: its processes, its output as it comes, and its command's answers.

Everything is the real thing, started as a user or an init system would start it.
Output is kept as text for assertions about it, and as bytes for those who search it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

import pytest

import rig_processes
from fadeout_device import answers, questions, wire
from fadeout_device.errors import UnavailableError, WireError
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLI = (sys.executable, "-m", "fadeout_device.cli")
STOP_S = 60.0
_VERB_S = 120.0


CANARIES = 9
"""Items that a living vault has at all times (vault/canary.py); a replay has none."""


class Home(NamedTuple):
    """Where one test's fadeout lives: short paths, because sockets need them."""

    folder: Path

    @property
    def state(self) -> Path:
        """Return the state folder."""
        return self.folder / "state"

    @property
    def config(self) -> Path:
        """Return the configuration file: always one of our own, never this machine's."""
        return self.folder / "fadeout.toml"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment for processes: nothing of the user's fadeout in it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FADEOUT_")}
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        places = {"FADEOUT_STATE": str(self.state), "FADEOUT_CONFIG": str(self.config)}
        return {**kept, **places, "TMPDIR": str(temporary), **more}

    def verb(
        self, *arguments: str | Path, wrapper: Sequence[str] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one verb of the `fadeout` command to its end."""
        return subprocess.run(
            [*wrapper, *CLI, *(str(argument) for argument in arguments)],
            env=self.environment(**environment), cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_VERB_S, check=False,
        )  # fmt: skip

    def ask(self, *arguments: str | Path) -> Any:  # noqa: ANN401 - JSON
        """Run one verb that must succeed, and return its JSON answer."""
        answer = self.verb(*arguments, "--json")
        assert answer.returncode == 0, f"fadeout {arguments[0]}: exit {answer.returncode}: {answer.stderr}"
        return json.loads(answer.stdout)

    def ask_lines(self, *arguments: str | Path) -> list[Any]:
        """Run one verb that must succeed, and return its answer of one JSON object per line."""
        answer = self.verb(*arguments, "--json")
        assert answer.returncode == 0, f"fadeout {arguments[0]}: exit {answer.returncode}: {answer.stderr}"
        return [json.loads(line) for line in answer.stdout.splitlines()]

    def held(self) -> list[str]:
        """Return the ids of the recordings that are held, newest first."""
        return [row["recording"] for row in self.ask("list")]

    def connect(self, socket: str, timeout_s: float | None = 10.0) -> wire.Connection:
        """Connect to one of the vault's sockets: `control`, `ear` or `reporter`."""
        return wire.connect(self.state / "run" / f"{socket}.sock", timeout_s)

    def status(self) -> answers.StatusReport | None:
        """Return the status, asked as the command does, without the command's start; None: no answer."""
        try:
            connection = self.connect("control")
        except UnavailableError:
            return None
        try:
            connection.send(questions.Status())
            answer = connection.receive()
            return None if answer is None else answer.message(answers.StatusReport)
        except WireError:
            return None
        finally:
            connection.close()


class Process:
    """A program under test, whose output is read as it comes."""

    def __init__(self, home: Home, command: Sequence[str | Path], **environment: str) -> None:
        self.home = home
        self.out: list[str] = []
        self.err: list[str] = []
        self.process = subprocess.Popen(
            command, env=home.environment(**environment), cwd=home.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._readers = [
            threading.Thread(target=self._read, args=pipe)
            for pipe in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(pipe: IO[bytes], lines: list[str]) -> None:
        with pipe:
            lines.extend(line.decode(errors="replace").rstrip("\n") for line in iter(pipe.readline, b""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End it, gently if it lets us, with everything that it has started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                for process_id in [*rig_processes.children(self.process.pid), self.process.pid]:
                    os.kill(process_id, signal.SIGKILL)
        self.finish()

    def finish(self, timeout_s: float = STOP_S) -> int:
        """Wait for the end and for all output; return the exit code."""
        code = self.process.wait(timeout_s)
        for reader in self._readers:
            reader.join(timeout_s)
        return code

    def wait_for_line(self, part: str, *, after: int = 0) -> str:
        """Return the first line of either output that holds `part`, `after` so many of them."""

        def look() -> str | None:
            found = [line for line in [*self.out, *self.err] if part in line]
            if len(found) <= after and self.process.poll() is not None:
                self.finish()
                found = [line for line in [*self.out, *self.err] if part in line]
                assert len(found) > after, f"it ended with {self.process.returncode} without saying: {part}"
            return found[after] if len(found) > after else None

        return wait_for(look, f"a line with: {part}")


class Run(Process):
    """`fadeout run`, or the same under a wrapper such as strace."""

    def __init__(
        self, home: Home, *arguments: str | Path, wrapper: Sequence[str] = (), **environment: str
    ) -> None:
        words = [str(argument) for argument in arguments]
        super().__init__(home, [*wrapper, *CLI, "run", "--json", *words], **environment)
        self.is_wrapped = bool(wrapper)

    @property
    def pid(self) -> int:
        """Return the process id of `fadeout run` itself, not of its wrapper."""
        if not self.is_wrapped:
            return self.process.pid
        return wait_for(
            lambda: next(
                (child for child in rig_processes.children(self.process.pid)
                 if "fadeout_device.cli" in rig_processes.arguments(child)),
                None,
            ),
            "fadeout run under its wrapper",
        )  # fmt: skip

    def rooms(self) -> dict[str, int]:
        """Return the process ids of its rooms."""
        return rig_processes.rooms(self.process.pid)

    def wait_for_rooms(self, *, but: int = 0) -> dict[str, int]:
        """Wait until all three rooms run, none of them as process `but`."""

        def look() -> dict[str, int] | None:
            found = self.rooms()
            return found if len(found) == len(rig_processes.ROOMS) and but not in found.values() else None

        return wait_for(look, "all three rooms run")

    def broker(self) -> tuple[str, int]:
        """Return the host and port of the local broker that it has started."""
        line = json.loads(self.wait_for_line("Mosquitto listens on"))
        host, _, port = line["text"].rpartition(" ")[2].rpartition(":")
        return host, int(port)

    def wait_until_up(self, timeout_s: float = LONG_S) -> None:
        """Wait until ear, vault, reporter and broker have found each other."""

        def look() -> bool:
            status = self.home.status()
            return status is not None and status.broker == "connected" and status.listening

        wait_for(look, "listening and connected to the broker", timeout_s)


def hear(home: Home, *paths: Path, wrapper: Sequence[str] = (), **environment: str) -> list[dict[str, Any]]:
    """Have an ear of our own replay files to the running vault, as fast as it can; return its utterances."""
    where = ("--state", str(home.state), "--config", str(home.config))
    heard = subprocess.run(
        [
            *(*wrapper, sys.executable, "-m", "fadeout_device.ear"),
            *(*where, "--replay", *map(str, paths), "--speed", "max"),
        ], env=home.environment(**environment),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_VERB_S, check=False,
    )  # fmt: skip
    assert heard.returncode == 0, f"the ear ended with {heard.returncode}: {heard.stderr}"
    said = [json.loads(line) for line in heard.stdout.splitlines()]
    return [line for line in said if line["type"] == "utterance"]


def seal_beforehand(home: Home, path: Path, count: int) -> list[str]:
    """Have an utterance heard and sealed so many times, before fadeout runs; return the ids, newest first."""
    utterances = home.verb("replay", "--json", "--state", home.state, *[path] * count)
    assert utterances.returncode == 0, utterances.stderr
    kept = [[item["kind"] for item in json.loads(line)["kept"]] for line in utterances.stdout.splitlines()]
    assert kept == [["audio", "action"]] * count
    with Process(home, vault_command(home)) as vault:
        wait_for(home.status, "the vault answers")
        held = home.held()
        vault.end()
    assert len(held) == count
    return held


def vault_command(home: Home, *arguments: str) -> list[str]:
    """Return the command of a vault without a supervisor, as an init system starts it."""
    where = ["--state", str(home.state), "--config", str(home.config)]
    return [sys.executable, "-m", "fadeout_device.vault", *where, *arguments]


def assert_refused(
    answer: subprocess.CompletedProcess[str], code: int, *parts: str, has_hint: bool = True
) -> None:
    """Check that a command ended with this exit code, and with one clear line and a next step."""
    lines = answer.stderr.splitlines()
    assert answer.returncode == code, f"exit {answer.returncode}: {lines}"
    assert [line.partition(":")[0] for line in lines] == ["error", *["hint"] * has_hint], lines
    for part in parts:
        assert part in lines[0], f"not said: {part}: {lines[0]}"


@contextmanager
def new_home() -> Iterator[Home]:
    """Give a place for one fadeout, with an empty configuration: the defaults."""
    with tempfile.TemporaryDirectory(prefix="fo-") as folder:
        place = Home(Path(folder))
        place.config.write_text("")
        yield place


@pytest.fixture
def home() -> Iterator[Home]:
    """Give a place for one test's fadeout."""
    with new_home() as place:
        yield place


@pytest.fixture(scope="session")
def mosquitto() -> None:
    """Skip where Mosquitto is missing."""
    if shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("Mosquitto is not installed: sudo apt-get install mosquitto")


@pytest.fixture(scope="session")
def as_root() -> None:
    """Skip where the tests do not run as root."""
    if os.geteuid() != 0:
        pytest.skip("this needs root")
