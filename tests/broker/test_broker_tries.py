"""`scripts/try_broker` finds what Mosquitto can, and what a broker cannot do that is set up badly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import broker_tries
import pytest

from fadeout_broker.arrow import BrokerSettings
from fadeout_broker.local import LocalBroker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]


def found_on(broker: LocalBroker) -> dict[str, str]:
    """Return what does not work, by what it is."""
    settings = BrokerSettings(host=broker.host, port=broker.port)
    found = list(broker_tries.tries(settings))
    assert len(found) == len(broker_tries.NEEDED) + len(broker_tries.WISHED)
    return {each.what: each.detail for each in found if not each.works}


def test_mosquitto_can_do_all_that_is_asked(broker: LocalBroker) -> None:
    assert found_on(broker) == {}


def test_what_is_switched_off_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_tries, "WAIT_S", 1.0)
    with LocalBroker(tmp_path, instead={"retain_available": "false", "max_packet_size": "2000"}) as broker:
        missing = found_on(broker)
    assert "Retained messages can be cleared" in missing
    assert "The largest payload passes" in missing
    assert "QoS 1 arrives, in order" not in missing
