"""A throw-away Mosquitto of one's own: on loopback, remembering nothing, gone with its parent.

For a first try and for tests; not how a household's broker is set up. Writes
its configuration and log into the folder it is given and nowhere else.

Source: mosquitto.conf(5).
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fadeout_broker.errors import UnavailableError
from fadeout_broker.lifetime import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0
_PORT_ATTEMPTS = 5
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))

# MQTT 5.0, section 3.1: CONNECT, clean start, keep alive 5 s, no properties, empty client id.
_CONNECT = bytes.fromhex("100d 0004 4d515454 05 02 0005 00 0000")
# CONNACK; a TLS listener answers with an alert record or closes. All show a listener at work.
_ANSWERS = (b"\x20", b"\x15", b"")


class LocalBroker:
    """A Mosquitto as a child process.

    Start it from a thread that outlives it: the kernel ends it with that thread.

    Args:
        folder: where its configuration and log go; must exist.
        port: None: a free one.
        password_file: made by mosquitto_passwd; None lets everybody in.
        extra: more lines of mosquitto.conf(5), after the listener's.
        instead: other values for our own lines, by their keyword.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        password_file: Path | None = None,
        extra: Sequence[str] = (),
        instead: Mapping[str, str] | None = None,
    ) -> None:
        self.host = HOST
        self.port = port or 0
        self._folder = folder
        self._attempts = _PORT_ATTEMPTS if port is None else 1
        self._password_file = password_file
        self._extra = extra
        self._instead = instead or {}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker and wait until it answers MQTT; the next start uses the same port.

        Raises:
            UnavailableError: Mosquitto is not installed, or does not start; its log's last line says why.
        """
        mosquitto = _program("mosquitto")
        for attempt in range(1, self._attempts + 1):
            if attempt > 1 or not self.port:
                self.port = _free_port()
            self._write_config()
            if self._try_start(mosquitto):
                self._attempts = 1
                return
            # Between our look for a free port and its listen() somebody else may have taken it.
            if not self._port_was_taken():
                break
        raise UnavailableError(
            f"mosquitto does not start on {HOST}:{self.port}: {self._last_log_line()}",
            f"see {self._log}, or choose another port",
        )

    def stop(self) -> None:
        """Stop the broker; stopping twice is harmless."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the broker as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def _log(self) -> Path:
        return self._folder / "mosquitto.log"

    def _write_config(self) -> None:
        ours = {
            "allow_anonymous": "true" if self._password_file is None else "false",
            # Broken in Mosquitto 2.0.21, which is Debian 13's: queues stay empty and wills unsent.
            "per_listener_settings": "false",
            "persistence": "false",
            "sys_interval": "0",
            # The contract's largest packet is below 4 kB; none of this is ever reached in good faith.
            "max_packet_size": "65536",
            "max_connections": "64",
            "max_queued_messages": "1000",
        }
        lines = [
            f"listener {self.port} {HOST}",
            *self._extra,
            *(f"{keyword} {value}" for keyword, value in {**ours, **self._instead}.items()),
            *([f"password_file {self._password_file}"] if self._password_file is not None else []),
            "log_dest stderr",
            "log_type error",
            "log_type warning",
        ]
        if os.geteuid() == 0:
            # Started by root it would become the user `mosquitto`, who may not read this folder; and
            # a change of user undoes the wish to die with the parent: prctl(2).
            lines.append("user root")
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _try_start(self, mosquitto: str) -> bool:
        with self._log.open("wb") as log:
            # setpriv(1) becomes mosquitto, after asking the kernel to end it when we are gone.
            self.process = subprocess.Popen(  # noqa: S603 - our own configuration, no shell
                [
                    *(_program("setpriv"), "--pdeathsig", "TERM", "--"),
                    *(mosquitto, "-c", str(self._folder / "mosquitto.conf")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while self.process.poll() is None:
            if _answers(self.port) and self.process.poll() is None:
                return True
            if time.monotonic() > deadline_s:
                self.kill()
                return False
            time.sleep(0.02)  # nothing tells when another process listens
        return False

    def _port_was_taken(self) -> bool:
        return "Address already in use" in self._log.read_text(encoding="utf-8", errors="replace")

    def _last_log_line(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it says nothing"


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        package = "mosquitto" if name == "mosquitto" else "util-linux"
        raise UnavailableError(f"{name} is not installed", f"sudo apt-get install {package}")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as sock:
            sock.sendall(_CONNECT)
            return sock.recv(1) in _ANSWERS
    except ConnectionResetError:
        return True  # a TLS listener again: somebody took the connection and did not like it
    except OSError:
        return False


def run(folder: Path | None, port: int | None, *, as_json: bool) -> int:
    """Run a broker until standard input closes or SIGTERM comes; return the exit code.

    Raises:
        UnavailableError: it does not start, or ended by itself.
    """
    die_with_parent()
    wake_reader, wake_writer = socket.socketpair()
    wake_writer.setblocking(False)
    stops: list[int] = []
    signal.set_wakeup_fd(wake_writer.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stops.append(got))
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
    with tempfile.TemporaryDirectory(prefix="fadeout-broker-") as temporary:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with LocalBroker(folder or Path(temporary), port) as broker:
            _announce(broker, as_json=as_json)
            while not stops:
                if broker.process is None or broker.process.poll() is not None:
                    raise UnavailableError("mosquitto ended by itself", "start it again; its log may say why")
                ready, _, _ = select.select([sys.stdin, wake_reader], [], [])
                if wake_reader in ready:
                    wake_reader.recv(64)
                if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
                    break
    return 0


def _announce(broker: LocalBroker, *, as_json: bool) -> None:
    address = {"host": broker.host, "port": broker.port}
    shown = json.dumps(address) if as_json else f"MQTT broker at {broker.host}:{broker.port}; Ctrl-D stops it"
    sys.stdout.write(shown + "\n")
    sys.stdout.flush()
