"""P5 and P1: what the kernel refuses the ear and the vault, seen from inside them and from outside."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import rig_processes
from rig_fadeout import Home, Run, new_home
from rig_speech import silence, write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.system

# Asks the kernel for sockets in every way there is, and says what came of it.
ATTEMPTS = """
import errno, json, os, socket, threading

def attempt(family, kind=socket.SOCK_STREAM):
    try:
        socket.socket(family, kind).close()
    except OSError as err:
        return errno.errorcode[err.errno]
    return "made"

def everything():
    families = [name for name in dir(socket) if name.startswith("AF_") and name != "AF_UNSPEC"]
    got = {name: attempt(getattr(socket, name)) for name in families}
    got["AF_INET datagram"] = attempt(socket.AF_INET, socket.SOCK_DGRAM)
    got["AF_INET raw"] = attempt(socket.AF_INET, socket.SOCK_RAW)
    try:
        socket.create_connection(("127.0.0.1", 1), 1)
    except OSError as err:
        got["a connection"] = errno.errorcode[err.errno]
    return got

def in_a_thread():
    got = {}
    thread = threading.Thread(target=lambda: got.update(everything()))
    thread.start()
    thread.join()
    return got

def in_a_child():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(everything()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        got = json.load(pipe)
    os.waitpid(child, 0)
    return got
"""

CONFINED = f"""{ATTEMPTS}
from fadeout_device.confine import confine
confine()
pair = socket.socketpair()
print(json.dumps({{"itself": everything(), "thread": in_a_thread(), "child": in_a_child()}}))
"""

# Put into the real rooms: runs when they import what they import right after they were confined.
INSIDE = f"""
import sys
{ATTEMPTS}
ROOM = next((name for name in ("ear", "vault") if f"fadeout_device.{{name}}" in sys.orig_argv), None)

class Probe:
    def find_spec(self, name, path, target=None):
        if name == "fadeout_device.logs":
            with open(os.environ["PROBE_FOLDER"] + "/" + ROOM, "w") as file:
                json.dump({{"itself": everything(), "thread": in_a_thread()}}, file)

if ROOM is not None:
    sys.meta_path.insert(0, Probe())
"""


def assert_all_refused(attempts: dict[str, dict[str, str]]) -> None:
    for who, got in attempts.items():
        assert got.pop("AF_UNIX") == "made", f"{who} must have Unix sockets"
        assert got["AF_INET"] == got["AF_INET6"] == got["a connection"] == "EAFNOSUPPORT"
        made = [name for name, answer in got.items() if answer == "made"]
        assert not made, f"{who} could make {made}"


def test_a_confined_process_its_threads_and_children_get_no_network_socket(home: Home) -> None:
    said = subprocess.run(
        [sys.executable, "-c", CONFINED], env=home.environment(), capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert_all_refused(json.loads(said.stdout))


def test_the_same_attempts_succeed_where_nothing_is_confined(home: Home) -> None:
    code = f"{ATTEMPTS}\nprint(json.dumps(everything()))"
    said = subprocess.run(
        [sys.executable, "-c", code], env=home.environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout)["AF_INET"] == "made"


def open_sockets(kind: str, process_id: int) -> list[str]:
    """Return the lines of /proc/PID/net about one kind of socket."""
    return Path(f"/proc/{process_id}/net/{kind}").read_text().splitlines()[1:]


def descriptors(process_id: int) -> list[str]:
    """Return what a process's descriptors are."""
    found = []
    for path in Path(f"/proc/{process_id}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(path.readlink()))
    return found


class Running:
    """A fadeout that listens to silence, and what its rooms found when they tried."""

    def __init__(self, run: Run, probes: Path) -> None:
        self.rooms = run.wait_for_rooms()
        self._probes = probes

    def attempts(self, room: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads((self._probes / room).read_text())


@pytest.fixture(scope="module")
def running(mosquitto: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:  # noqa: ARG001 - it skips
    folder = tmp_path_factory.mktemp("probe")
    (folder / "sitecustomize.py").write_text(INSIDE)
    quiet = write_wav(folder / "quiet.wav", silence(60))
    inside = {"PYTHONPATH": str(folder), "PROBE_FOLDER": str(folder)}
    with new_home() as home, Run(home, "--local-broker", "--replay", quiet, **inside) as run:
        run.wait_until_up()
        yield Running(run, folder)


@pytest.mark.parametrize("room", ["ear", "vault"])
def test_the_running_room_gets_no_network_socket(running: Running, room: str) -> None:
    assert_all_refused(running.attempts(room))


@pytest.mark.parametrize("room", ["ear", "vault"])
def test_every_thread_of_the_running_room_is_filtered(running: Running, room: str) -> None:
    assert set(rig_processes.status(running.rooms[room], "Seccomp")) == {"2"}
    assert set(rig_processes.status(running.rooms[room], "NoNewPrivs")) == {"1"}


@pytest.mark.usefixtures("as_root")  # nobody else may look into processes that refuse debuggers
@pytest.mark.parametrize("room", ["ear", "vault"])
def test_the_running_room_has_no_network_socket_open(running: Running, room: str) -> None:
    unix = {line.split()[6] for line in open_sockets("unix", running.rooms[room])}
    targets = descriptors(running.rooms[room])
    sockets = {target[len("socket:[") : -1] for target in targets if target.startswith("socket:[")}
    assert sockets
    assert sockets <= unix


@pytest.mark.usefixtures("as_root")  # nobody else may lock memory without a limit
@pytest.mark.parametrize("room", ["ear", "vault"])
def test_the_running_room_dumps_no_core_and_is_not_swapped(running: Running, room: str) -> None:
    limits = Path(f"/proc/{running.rooms[room]}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
    locked = rig_processes.status(running.rooms[room], "VmLck")
    assert all(int(size.split()[0]) > 0 for size in locked)


def test_the_reporter_has_the_network(running: Running) -> None:
    assert set(rig_processes.status(running.rooms["reporter"], "Seccomp")) == {"0"}
    internet = {f"socket:[{line.split()[9]}]" for line in open_sockets("tcp", running.rooms["reporter"])}
    assert internet & set(descriptors(running.rooms["reporter"]))
