"""A real broker of another make that does not speak MQTT 5: what the operator is told. See docs/fleet.md."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from fadeout_broker import local
from fadeout_broker.arrow import BrokerSettings
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broker.fake_vault import FakeVault

pytestmark = pytest.mark.system

_PATH = "/usr/local/bin:/usr/bin:/usr/sbin:/usr/local/sbin"


def listens(port: int) -> bool:
    try:
        with closing(socket.create_connection((local.HOST, port), timeout=1.0)):
            return True
    except OSError:
        return False


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[int]:
    """Run NATS, which speaks MQTT 3.1.1; give the port."""
    program = shutil.which("nats-server", path=_PATH)
    if program is None:
        pytest.skip("NATS is not installed: sudo apt-get install nats-server")
    ours, mqtt = local._free_port(), local._free_port()
    config = tmp_path / "nats.conf"
    config.write_text(
        f'listen: "{local.HOST}:{ours}"\nserver_name: "house"\n'
        f'jetstream {{ store_dir: "{tmp_path / "nats"}" }}\nmqtt {{ listen: "{local.HOST}:{mqtt}" }}\n'
    )
    with (tmp_path / "nats.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None or listens(mqtt), "NATS listens")
        assert process.poll() is None, (tmp_path / "nats.log").read_text()
        yield mqtt
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("reporter")
def test_nats_does_not_speak_our_language_and_that_is_said(vault: FakeVault, nats: int) -> None:
    vault.configure(BrokerSettings(host=local.HOST, port=nats))
    assert "does not speak MQTT 5" in vault.expect_link(connected=False).detail
