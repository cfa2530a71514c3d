"""The vault's end of the arrow, and the reporter as a process: what the reporter's tests talk to."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from fadeout_broker import arrow

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 30.0
GONE = "gone"

T = TypeVar("T")


class FakeVault:
    """Listens on a real Unix socket, sends what it is told, and queues what the reporter says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: queue.Queue[arrow.FromReporter | str] = queue.Queue()
        self._peer: socket.socket | None = None
        self._connected = threading.Event()
        path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self._peer = peer
            self._connected.set()
            self.came()
            with peer, peer.makefile("rb") as lines, contextlib.suppress(OSError, ValueError):
                for line in lines:
                    self.said.put(msgspec.json.decode(line, type=arrow.FromReporter))
            self._connected.clear()
            self.said.put(GONE)

    def came(self) -> None:
        """Be told, in another thread, that a reporter came: for whoever wants to know."""

    def hang_up(self) -> None:
        """End the connection, and take new ones."""
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._peer.shutdown(socket.SHUT_RDWR)

    def wait_for_reporter(self) -> None:
        assert self._connected.wait(WAIT_S), "the reporter did not connect"

    def send_raw(self, data: bytes) -> None:
        self.wait_for_reporter()
        assert self._peer is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._peer.sendall(data)

    def send(self, line: arrow.ToReporter) -> None:
        self.send_raw(msgspec.json.encode(line) + b"\n")

    def configure(self, settings: arrow.BrokerSettings, node: str = "sp-test") -> None:
        self.send(arrow.Configure(settings, node))

    def next(self) -> arrow.FromReporter | str:
        """Return what is said next."""
        return self.said.get(timeout=WAIT_S)

    def expect(self, kind: type[T]) -> T:
        """Return the next thing of this kind; others in between are dropped."""
        while True:
            said = self.said.get(timeout=WAIT_S)
            if isinstance(said, kind):
                return said

    def expect_link(self, *, connected: bool) -> arrow.BrokerLink:
        """Return the next link that is (dis)connected, for another reason than that it has just begun."""
        while True:
            link = self.expect(arrow.BrokerLink)
            if link.connected is connected and not link.detail.startswith("connecting"):
                return link

    def die(self) -> None:
        """End as a killed vault does: every socket is gone at once."""
        self._server.close()
        self.hang_up()


class ReporterProcess:
    """`python -m fadeout_broker.reporter`, with short waits between attempts."""

    def __init__(self, socket_path: Path, log: Path, *options: str) -> None:
        self._log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "fadeout_broker.reporter", "--socket", str(socket_path)),
                    *("--backoff-unit-s", "0.05", "--backoff-cap-s", "0.2", *options),
                ],
                stderr=errors,
                env={**os.environ, "FADEOUT_LOG": "DEBUG"},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def resident_kb(self) -> int:
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:  # noqa: PTH123 - not a file
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
