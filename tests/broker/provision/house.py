"""A provisioned house with a running Mosquitto, as Debian would run it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fadeout_broker.__main__ import main
from fadeout_broker.arrow import BrokerSettings
from fadeout_broker.provision.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "127.0.0.1"
START_S = 20.0
PATIENCE_S = 20.0
"""Longer than any answer takes on a machine that is busy with other tests."""
FETCHED = Path(__file__).parents[3] / ".brokers"
VERSIONS = {"2.0.11 or this system's": None, "2.0.21": "trixie", "2.1": "forky"}


def program(suite: str | None) -> str | None:
    """Return a Mosquitto; None: it is not here."""
    if suite is None:
        return shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    fetched = FETCHED / suite / "mosquitto"
    return str(fetched) if fetched.exists() else None


def version(mosquitto: str) -> str:
    said = subprocess.run([mosquitto, "-h"], capture_output=True, text=True, check=False, timeout=30)
    return said.stdout.split("\n", 1)[0].removeprefix("mosquitto version ")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until a broker answers. One that only listens has not settled what signals do to it."""
    deadline_s = time.monotonic() + START_S
    while process is None or process.poll() is None:
        try:
            with socket.create_connection((HOST, port), timeout=START_S) as sock:
                sock.sendall(b"this is no TLS")
                sock.recv(1)  # an alert, or the end
        except ConnectionResetError:
            return
        except OSError:
            assert time.monotonic() < deadline_s, "nobody listens"
            time.sleep(0.02)  # nothing tells when another process listens
        else:
            return
    raise AssertionError("it has ended")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class House:
    """A folder that `provision` made, and the broker that runs with it."""

    def __init__(self, root: Path, mosquitto: str, extra: Sequence[str] = ()) -> None:
        self.mosquitto = mosquitto
        self.port = free_port()
        self.path = root / "house"
        self.log = root / "mosquitto.log"
        self._main = root / "mosquitto.conf"
        self.process: subprocess.Popen[bytes] | None = None
        self.run(
            "provision", "--host", HOST, "--port", str(self.port), "--bind", HOST,
            "--mosquitto", version(mosquitto), "--broker-folder", str(self.path / "broker"), *extra,
        )  # fmt: skip
        # Debian's own file, with other places.
        (root / "run").mkdir()
        self._main.write_text(
            f"pid_file {root}/run/mosquitto.pid\n"
            "persistence true\n"
            f"persistence_location {root}/run/\n"
            f"log_dest file {self.log}\n"
            "log_type information\n"
            + ("user root\n" if os.geteuid() == 0 else "")
            + f"include_dir {self.path}/broker\n",
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, verb: str, *arguments: str) -> None:
        code = main([verb, str(self.path), *arguments])
        assert code == 0, f"{verb} {arguments}: {code}"

    def start(self) -> None:
        output = self.log.with_suffix(".out").open("wb")
        with output:
            self.process = subprocess.Popen(
                [self.mosquitto, "-c", str(self._main)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_for(self.port, self.process)
        except AssertionError as err:
            self.stop()
            raise AssertionError(f"mosquitto does not start: {self.says()}") from err

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        """Send SIGHUP, and wait until the broker has worked on it."""
        assert self.process is not None
        before = self.log.read_text(encoding="utf-8").count("Reloading config")
        self.process.send_signal(signal.SIGHUP)
        deadline_s = time.monotonic() + START_S
        while self.log.read_text(encoding="utf-8").count("Reloading config") == before:
            assert time.monotonic() < deadline_s, "SIGHUP was not heeded"
            time.sleep(0.02)  # nothing tells
        # One thread does everything: whoever gets an answer now was served after the reload.
        with socket.create_connection((HOST, self.port), timeout=5):
            pass

    def says(self) -> str:
        texts = [
            path.read_text(encoding="utf-8")
            for path in (self.log, self.log.with_suffix(".out"))
            if path.exists()
        ]
        return "\n".join(texts)

    def home(self, name: str) -> Path:
        homes = [self.path / kind / name for kind in ("devices", "subscribers")]
        return next(home for home in homes if home.exists())

    def settings(self, name: str) -> BrokerSettings:
        home = self.home(name)
        return BrokerSettings(
            host=HOST,
            port=self.port,
            node=name if home.parent.name == "devices" else None,
            tls=True,
            ca_file=str(home / "ca.crt"),
            cert_file=str(home / "client.crt"),
            key_file=str(home / "client.key"),
        )

    def probe(self, name: str, settings: BrokerSettings | None = None) -> Probe:
        probe = Probe(settings or self.settings(name), f"test-{name}", PATIENCE_S)
        probe.open()
        return probe
