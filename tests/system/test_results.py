"""Over a real broker: what an integrator reports as failed is kept as failed, and what is done is not."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import utterance
from fadeout_broker.local import LocalBroker
from fadeout_broker.subscriber import Event, Subscriber
from fadeout_device import answers, messages, questions
from rig_fadeout import Home, Process, vault_command
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]

AUDIO = b"\x05\x06" * 16000
SECRET = b"marmalade for the walrus"
CONFIG = """
[outcome]
wait_s = {wait_s}
[mqtt]
node = "sp-result"
port = {port}
[retention.served]
audio = {{ keep = "{served}", purpose = "test" }}
"""


@contextlib.contextmanager
def running(home: Home, folder: Path, wait_s: int, served: str) -> Iterator[Subscriber]:
    """Run a vault, a reporter, a broker and an integrator."""
    with LocalBroker(folder) as broker:
        home.config.write_text(CONFIG.format(wait_s=wait_s, port=broker.port, served=served))
        reporter = [sys.executable, "-m", "fadeout_broker.reporter", "--socket"]
        with (
            Process(home, vault_command(home), FADEOUT_LOG="debug") as vault,
            Process(home, [*reporter, home.state / "run/reporter.sock"]),
            Subscriber("lights", host=broker.host, port=broker.port) as house,
        ):
            assert house.wait_until_connected(LONG_S)
            wait_for(lambda: (now := home.status()) and now.broker == "connected", "the broker")
            yield house
        assert SECRET.decode() not in "\n".join(vault.err)


def ask_for(home: Home, house: Subscriber, action: str) -> tuple[str, Event]:
    """Have the ear deliver a request; returns its recording and its event."""
    with contextlib.closing(home.connect("ear")) as ear:
        assert ear.receive() is not None
        said = utterance(outcome="served", action=action, request_bytes=len(SECRET))
        ear.send(said, AUDIO + SECRET)
        frame = ear.receive()
        assert frame is not None
        sealed = frame.message(messages.ToEar)
    assert isinstance(sealed, messages.Sealed)
    event = house.next(LONG_S)
    assert event is not None
    house.done(event)
    return sealed.recording, event


def kept(home: Home, recording: str) -> tuple[str, str, list[str]]:
    """Return the outcome of a recording, what was reported of it, and what is held."""
    with contextlib.closing(home.connect("control")) as control:
        control.send(questions.ListRecordings())
        frame = control.receive()
        assert frame is not None
        rows = frame.message(answers.Recordings).recordings
    row = next(row for row in rows if row.recording == recording)
    return row.outcome, row.reported, [item.kind for item in row.items]


def test_the_integrator_s_outcome_is_the_recording_s(home: Home, tmp_path: Path) -> None:
    with running(home, tmp_path, wait_s=30, served="1h") as house:
        assert home.ask("status")["result_s"] == 30
        wrong, event = ask_for(home, house, "light.on")
        assert kept(home, wrong) == ("served", "", ["action"])
        house.report(event, "failed")
        wait_for(lambda: kept(home, wrong)[1], "the report to arrive")
        assert kept(home, wrong) == ("failed", "failed", ["audio", "words", "action"])
        assert home.verb("play", wrong, "-o", tmp_path / "said.wav").returncode == 0

        right, event = ask_for(home, house, "light.off")
        house.report(event, "done")
        wait_for(lambda: kept(home, right)[1], "the report to arrive")
        assert kept(home, right) == ("served", "done", ["audio", "action"]), "as the rules for served say"

        erased, event = ask_for(home, house, "light.on")
        another, _ = ask_for(home, house, "light.off")
        assert home.ask("erase", erased)["items"] == 1
        wait_for(
            lambda: "audio" in kept(home, another)[2], "the next process, which knows of nobody's waiting"
        )
        house.report(event, "failed")
        unsaid, _ = ask_for(home, house, "light.off")
        assert erased not in home.held()
        assert kept(home, unsaid)[2] == ["action"], "it waits still"
    for path in home.state.rglob("*"):
        assert not path.is_file() or SECRET not in path.read_bytes()
    with Process(home, vault_command(home)):
        wait_for(home.status, "the vault answers")
        assert kept(home, unsaid) == ("served", "", ["audio", "action"]), "decided when it was stopped"


def test_silence_is_served_when_the_time_is_up(home: Home, tmp_path: Path) -> None:
    with running(home, tmp_path, wait_s=1, served="1h") as house:
        recording, _ = ask_for(home, house, "light.on")
        wait_for(lambda: "audio" in kept(home, recording)[2], "its time to be up")
        assert kept(home, recording) == ("served", "", ["audio", "action"])
