"""The whole way: from spoken words, through all of fadeout, to Home Assistant and back."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from home_assistant.instance import NotSeenError, wait_for

from fadeout_broker import discovery_payload

if TYPE_CHECKING:
    from home_assistant.scenario import Room

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / ".fadeout-try/fixtures"
SPOKEN = "command_rms.wav"
NODE, SLUG = "sp-0e2e01", "fadeout_sp_0e2e01"
ENTITIES = 11
UNRECORDED = f"*.{SLUG}_*"
CONFIGURATION = f"""[mqtt]
node = "{NODE}"
actions = ["light.on"]
"""
_STOP_S = 60.0


def speaks(room: Room) -> str:
    """A real fadeout hears a sentence, tells of it, erases at a press, and leaves on `fadeout forget`."""
    make = [sys.executable, str(ROOT / "scripts/make_fixtures"), str(FIXTURES)]
    subprocess.run(make, check=True, capture_output=True, timeout=300)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "fadeout.toml").write_text(CONFIGURATION, encoding="utf-8")
        where = ["--config", f"{folder}/fadeout.toml", "--state", f"{folder}/state"]
        run = [
            "run",
            *where,
            "--mqtt",
            f"{room.broker.host}:{room.broker.port}",
            "--replay",
            str(FIXTURES / SPOKEN),
        ]
        with subprocess.Popen(
            _fadeout(*run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            try:
                _is_heard_and_erased(room)
                subprocess.run(_fadeout("forget", *where), check=True, capture_output=True, timeout=_STOP_S)
                wait_for(lambda: not room.home.entities(SLUG), "no entity is left")
            except subprocess.CalledProcessError as err:
                raise NotSeenError(f"fadeout forget failed with {err.returncode}") from err
            finally:
                running.send_signal(signal.SIGTERM)
                running.wait(_STOP_S)
    return ""


def _is_heard_and_erased(room: Room) -> None:
    wait_for(lambda: len(room.home.entities(SLUG)) == ENTITIES, "it appears")
    wait_for(lambda: _event_type(room) == "light.on", "the event of the action that was asked for", 120.0)
    wait_for(lambda: _says(room, f"sensor.{SLUG}_held", "1"), "one recording is held")
    wait_for(lambda: _says(room, f"binary_sensor.{SLUG}_forgetting", "off"), "forgetting works")
    room.home.call("button", "press", entity_id=f"button.{SLUG}_erase_last")
    wait_for(lambda: _says(room, f"sensor.{SLUG}_held", "0"), "none is held")
    wait_for(lambda: _event_type(room) == discovery_payload.FORGOTTEN, "the event is taken back")


def _fadeout(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fadeout_device.cli", *arguments]


def _says(room: Room, entity: str, value: str) -> bool:
    state = room.home.state(entity)
    return state is not None and state["state"] == value


def _event_type(room: Room) -> str | None:
    state = room.home.state(f"event.{SLUG}_action")
    found: str | None = None if state is None else state["attributes"].get("event_type")
    return found
