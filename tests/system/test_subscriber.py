"""The integrators' library and a real device: erased here, forgotten there, and acknowledged."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from fadeout_broker.local import LocalBroker
from fadeout_broker.subscriber import Subscriber
from rig_fadeout import Home, Process, hear, vault_command
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from rig_speech import Speech

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]

CONFIG = """
[mqtt]
node = "sp-device"
port = {port}
subscribers = ["lights"]
"""


def acknowledged(home: Home) -> int | None:
    """Return what the device knows of our subscriber."""
    (row,) = home.ask("subscribers")["subscribers"]
    assert row["consumer"] == "lights"
    number: int | None = row["acknowledged"]
    return number


def told(home: Home) -> int:
    answer: dict[str, Any] = home.ask("subscribers")
    count: int = answer["erasures"]
    return count


def test_what_is_erased_here_is_forgotten_there_and_acknowledged(
    home: Home, speech: Speech, tmp_path: Path
) -> None:
    database = tmp_path / "lights.db"
    reporter = [sys.executable, "-m", "fadeout_broker.reporter"]
    with LocalBroker(tmp_path) as broker:
        home.config.write_text(CONFIG.format(port=broker.port), encoding="utf-8")

        def listen() -> Subscriber:
            return Subscriber("lights", host=broker.host, port=broker.port, database=database)

        with (
            Process(home, vault_command(home)),
            Process(home, [*reporter, "--socket", home.state / "run/reporter.sock"]),
        ):
            wait_for(home.status, "the vault to answer")
            with listen() as house:
                assert house.wait_until_connected(LONG_S)
                wait_for(lambda: house.devices.get("sp-device"), "the device to be heard of")
                hear(home, speech.path, speech.path)
                events = wait_for(lambda: len(held := house.events()) == 2 and held, "two events")
                assert {(event.node, event.action, event.outcome) for event in events} == {
                    ("sp-device", "none", "failed")
                }
                assert home.verb("erase", "--last", "1", "--yes").returncode == 0
                (kept,) = wait_for(lambda: len(held := house.events()) == 1 and held, "one event to go")
                wait_for(lambda: (acknowledged(home) or 0) == told(home) > 0, "the device to know that")
                (gone,) = {event.id for event in events} - {kept.id}
                assert gone.encode() not in database.read_bytes()
            before = told(home)
            assert home.verb("erase", "--all", "--yes").returncode == 0
            wait_for(lambda: told(home) > before, "the broker to have the notice")
            assert acknowledged(home) == before
            with listen() as house:
                wait_for(lambda: acknowledged(home) == told(home), "the one who was away to know")
                assert house.events() == []
            assert kept.id.encode() not in database.read_bytes()
