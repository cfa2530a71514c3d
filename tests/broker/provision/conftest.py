"""A provisioned house on each Mosquitto that is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.provision import house as houses
from fadeout_broker.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=[pytest.param(suite, id=name) for name, suite in houses.VERSIONS.items()])
def mosquitto(request: pytest.FixtureRequest) -> str:
    """Each version in turn; skip where it is missing."""
    program = houses.program(request.param)
    if program is None:
        how = "sudo apt-get install mosquitto" if request.param is None else "scripts/fetch_brokers"
        pytest.skip(f"Mosquitto of {request.param or 'this system'} is not here: {how}")
    return program


@pytest.fixture
def running(mosquitto: str, tmp_path: Path) -> Iterator[houses.House]:
    """A house with two devices and a subscriber of each kind."""
    with houses.House(tmp_path, mosquitto, ["--node", "sp-1"]) as started:
        started.run("add-device", "sp-2")
        started.run("add-subscriber", "nodered")
        started.run("add-subscriber", "display", "--read-only")
        started.run("add-subscriber", "ha", "--home-assistant")
        started.reload()
        yield started


@pytest.fixture
def house(tmp_path: Path) -> Path:
    path = tmp_path / "house"
    assert (
        main(["provision", str(path), "--host", "broker.local", "--node", "sp-1", "--mosquitto", "2.0.11"])
        == 0
    )
    return path
