"""A provisioned house on each Mosquitto that is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.provision import house

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=[pytest.param(suite, id=name) for name, suite in house.VERSIONS.items()])
def mosquitto(request: pytest.FixtureRequest) -> str:
    """Each version in turn; skip where it is missing."""
    program = house.program(request.param)
    if program is None:
        how = "sudo apt-get install mosquitto" if request.param is None else "scripts/fetch_brokers"
        pytest.skip(f"Mosquitto of {request.param or 'this system'} is not here: {how}")
    return program


@pytest.fixture
def running(mosquitto: str, tmp_path: Path) -> Iterator[house.House]:
    """A house with two devices and a subscriber of each kind."""
    with house.House(tmp_path, mosquitto, ["--node", "sp-1"]) as started:
        started.run("add-device", "sp-2")
        started.run("add-subscriber", "nodered")
        started.run("add-subscriber", "display", "--read-only")
        started.run("add-subscriber", "ha", "--home-assistant")
        started.reload()
        yield started
