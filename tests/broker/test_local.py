"""The throw-away broker, as a class and as a command."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from broker.subscriber import Subscriber
from fadeout_broker import local
from fadeout_broker.errors import UnavailableError
from fadeout_broker.local import LocalBroker

WAIT_S = 30.0

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]

LOCAL = [sys.executable, "-m", "fadeout_broker", "local", "--json"]


def _address(output: IO[str] | None) -> tuple[str, int]:
    assert output is not None
    shown = json.loads(output.readline())
    return shown["host"], shown["port"]


def _child_of(command: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text()
    return int(children.split()[0])


def _is_reachable(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1.0).close()
    except OSError:
        return False
    return True


def test_it_keeps_its_port_and_nothing_else(broker: LocalBroker) -> None:
    port = broker.port
    with Subscriber(broker):
        pass
    broker.stop()
    broker.stop()
    broker.start()
    assert broker.port == port
    with Subscriber(broker) as house:
        assert house.rest() == []


def test_it_writes_into_its_folder_only(broker: LocalBroker, tmp_path: Path) -> None:
    with Subscriber(broker):
        broker.stop()
    assert sorted(p.name for p in (tmp_path / "broker").iterdir()) == ["mosquitto.conf", "mosquitto.log"]


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server((local.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}: .*Address already in use") as caught:
            LocalBroker(tmp_path, port).start()
    assert caught.value.hint is not None
    assert "mosquitto.log" in caught.value.hint


def test_a_port_that_is_taken_in_between_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((local.HOST, 0)) as taken:
        ports = iter([taken.getsockname()[1], local._free_port()])
        monkeypatch.setattr(local, "_free_port", lambda: next(ports))
        with LocalBroker(tmp_path) as broker:
            assert broker.port != taken.getsockname()[1]


def test_a_missing_mosquitto_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="mosquitto is not installed") as caught:
        LocalBroker(tmp_path).start()
    assert caught.value.hint == "sudo apt-get install mosquitto"


def test_the_command_runs_until_its_input_closes() -> None:
    with subprocess.Popen(LOCAL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as command:
        address = _address(command.stdout)
        assert _is_reachable(address)
        assert command.stdin is not None
        command.stdin.write("a line is not the end\n")
        command.stdin.close()
        assert command.wait(WAIT_S) == 0
        assert not _is_reachable(address)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_stops_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "by it"
    with subprocess.Popen(
        [*LOCAL, "--folder", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as command:
        address = _address(command.stdout)
        command.send_signal(number)
        assert command.wait(WAIT_S) == 0
        assert not _is_reachable(address)
    assert (folder / "mosquitto.conf").exists()


def test_a_killed_command_takes_its_broker_along() -> None:
    with subprocess.Popen(LOCAL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as command:
        address = _address(command.stdout)
        broker = os.pidfd_open(_child_of(command))
        command.kill()
        ended, _, _ = select.select([broker], [], [], WAIT_S)
        os.close(broker)
        assert ended
        assert not _is_reachable(address)


def test_a_broker_that_dies_ends_the_command_with_an_error() -> None:
    with subprocess.Popen(
        LOCAL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        _address(command.stdout)
        os.kill(_child_of(command), signal.SIGKILL)
        assert command.wait(WAIT_S) == 69
        assert command.stderr is not None
        errors = command.stderr.read()
        assert errors.startswith("error: mosquitto ended by itself\nhint: ")
