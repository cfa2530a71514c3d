"""A real Mosquitto for each test that asks for one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from broker.fake_vault import FakeVault, ReporterProcess
from fadeout_broker.arrow import BrokerSettings
from fadeout_broker.local import LocalBroker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def mosquitto() -> None:
    """Skip where Mosquitto is missing."""
    if shutil.which("mosquitto", path="/usr/local/bin:/usr/bin:/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("Mosquitto is not installed: sudo apt-get install mosquitto")


@pytest.fixture
def broker(mosquitto: None, tmp_path: Path) -> Iterator[LocalBroker]:  # noqa: ARG001 - it skips
    """A running broker that lets everybody in."""
    folder = tmp_path / "broker"
    folder.mkdir()
    with LocalBroker(folder) as running:
        yield running


@pytest.fixture
def settings(broker: LocalBroker) -> BrokerSettings:
    """How to reach that broker."""
    return BrokerSettings(host=broker.host, port=broker.port)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[FakeVault]:
    """The vault's end, listening."""
    with FakeVault(tmp_path / "reporter.sock") as listening:
        yield listening


@pytest.fixture
def reporter(vault: FakeVault, tmp_path: Path) -> Iterator[ReporterProcess]:
    """A reporter that connects to that vault."""
    with ReporterProcess(vault.path, tmp_path / "reporter.log") as running:
        yield running
