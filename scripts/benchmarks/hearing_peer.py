"""The whole of another project's pipeline, as its users run it: wyoming-satellite with wyoming-microwakeword.

Each is installed into a virtual environment of its own, as their instructions have it (the
two ask for different versions of a library), which stays in .peers/. It is not announced to
the network, which they do and which costs them a twentieth more. A program in place of
Home Assistant connects to the satellite, without which no model is run; its time does not count.

Source: the READMEs of https://github.com/rhasspy/wyoming-satellite and
https://github.com/rhasspy/wyoming-microwakeword.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SOURCES = (
    # 1.4.1, and the commit after its tag that made it installable.
    "https://github.com/rhasspy/wyoming-satellite/archive/7a3ba2bc23fc6699adae4f5bbac4ce529fe2a623.zip",
    "https://github.com/rhasspy/wyoming-microwakeword/archive/refs/tags/v2.1.0.zip",
)
PLACE = Path(__file__).parents[2] / ".peers"
_INSTALL_S = 300.0
_START_S = 30.0
_LOOK_S, _REST_CPU_S, _AT_REST = 0.25, 0.002, 4
_REQUEST_CHUNKS = 47  # of 64 ms: what somebody says after the wake word


class UnavailableError(Exception):
    """The peer cannot be had here."""


class Installed(NamedTuple):
    """The interpreters of both environments."""

    satellite: Path
    wake: Path


def installed(sources: Sequence[str]) -> Installed:
    """Install both where they are not yet.

    Raises:
        UnavailableError: one cannot be installed.
    """
    if not sources:
        raise UnavailableError("not asked for")
    if shutil.which("arecord") is None:
        raise UnavailableError("apt-get install alsa-utils")
    satellite, wake = (_environment(source) for source in sources)
    return Installed(satellite, wake)


def _environment(source: str) -> Path:
    name = hashlib.sha256(f"{source} {sys.version}".encode()).hexdigest()[:12]
    folder = PLACE / name
    python = folder / "bin" / "python"
    if (folder / "installed").exists():
        return python
    print(f"bench: installing {source}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", source],
            check=True, capture_output=True, timeout=_INSTALL_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as err:
        shutil.rmtree(folder, ignore_errors=True)
        raise UnavailableError(f"{source} cannot be installed") from err
    (folder / "installed").touch()
    return python


@contextlib.contextmanager
def running(
    peer: Installed, listen: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[list[int]]:
    """Run both for the length of a `with` block; yield the processes: satellite, wake service, `listen`.

    Args:
        peer: what is installed.
        listen: the program that the satellite starts for a microphone.
        environment: besides ours.
    """
    wake, satellite = _free_port(), _free_port()
    with contextlib.ExitStack() as stack:

        def run(*command: str | Path) -> int:
            process = subprocess.Popen(
                [*map(str, command)], env={**os.environ, **environment}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process.pid

        wake_pid = run(peer.wake, "-m", "wyoming_microwakeword", "--uri", f"tcp://127.0.0.1:{wake}")
        _connected(wake).close()
        satellite_pid = run(
            peer.satellite, "-m", "wyoming_satellite", "--name", "bench", "--uri", f"tcp://127.0.0.1:{satellite}",
            "--mic-command", listen,
            "--wake-uri", f"tcp://127.0.0.1:{wake}", "--no-zeroconf", "--wake-word-name", "okay_nabu",
        )  # fmt: skip
        connection = stack.enter_context(_connected(satellite))
        connection.sendall(b'{"type": "run-satellite"}\n')
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()
        yield [satellite_pid, wake_pid, *_children(satellite_pid)]


def arecord(microphone: str) -> str:
    """Return what their instructions have for a microphone."""
    return f"arecord -D {microphone} -r 16000 -c 1 -f S16_LE -t raw"


def file_s(peer: Installed, path: Path) -> float:
    """Return the processor time of satellite and wake service for a file of samples, as fast as they go."""
    # A microphone's program that ends is started again.
    with running(peer, f"sh -c 'cat {path}; exec sleep 1000'") as (satellite, wake, *_):
        taken_s, at_rest = 0.0, 0
        while at_rest < _AT_REST:
            time.sleep(_LOOK_S)
            now_s = cpu_s(satellite) + cpu_s(wake)
            at_rest = at_rest + 1 if now_s - taken_s < _REST_CPU_S else 0
            taken_s = now_s
    return taken_s


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, of all threads that it has and had."""
    # CPUCLOCK_SCHED of another process: clock_getcpuclockid(3), which Python has not.
    return time.clock_gettime((~pid << 3) | 2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _connected(port: int) -> socket.socket:
    deadline_mono_s = time.monotonic() + _START_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError as err:
            if time.monotonic() > deadline_mono_s:
                raise UnavailableError("it does not start") from err
            time.sleep(0.1)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    deadline_mono_s = time.monotonic() + _START_S
    while not (found := path.read_text().split()):
        if time.monotonic() > deadline_mono_s:
            raise UnavailableError("the satellite starts no arecord")
        time.sleep(0.1)
    return [int(child) for child in found]


def _answer(connection: socket.socket) -> None:
    """Be Home Assistant: after a wake word take a request, and say that it was understood."""
    chunks = 0
    with contextlib.suppress(OSError, ValueError), connection.makefile("rb") as lines:
        for line in lines:
            event = json.loads(line)
            lines.read((event.get("data_length") or 0) + (event.get("payload_length") or 0))
            if event["type"] == "ping":
                connection.sendall(b'{"type": "pong"}\n')
            chunks += event["type"] == "audio-chunk"
            if chunks >= _REQUEST_CHUNKS:
                chunks = 0
                connection.sendall(b'{"type": "transcript", "data": {"text": "bench"}}\n')
