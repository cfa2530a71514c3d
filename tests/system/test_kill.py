"""Any of the three may be killed at any time: the others go on, it comes back, nothing is lost."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

import rig_processes
from broker.subscriber import Subscriber
from fadeout_broker import contract
from fadeout_broker.local import LocalBroker
from fadeout_device import questions
from fadeout_device.errors import WireError
from rig_fadeout import Home, Run
from rig_speech import Speech, silence, write_wav
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig_state import SealedState

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]

ROOMS = ["ear", "vault", "reporter"]
NODE = "sp-killed"
CONFIG = f'[mqtt]\nnode = "{NODE}"\n'
STOPPED_WITHIN_S = 10.0


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    """Give a long silence to listen to."""
    return write_wav(tmp_path / "quiet.wav", silence(300))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """Give a broker that outlives fadeout."""
    (tmp_path / "broker").mkdir()
    with LocalBroker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def sealed(home: Home, sealed_state: SealedState) -> list[str]:
    """Give two recordings that were sealed before fadeout started; newest first."""
    sealed_state.copy_to(home)
    return [sealed_state.newest, sealed_state.oldest]


@pytest.fixture
def run(home: Home, broker: LocalBroker, quiet: Path, sealed: list[str]) -> Iterator[Run]:  # noqa: ARG001 - before
    """Give a fadeout that is up, holds two recordings, and reports to that broker."""
    home.config.write_text(CONFIG)
    with Run(home, "--mqtt", f"{broker.host}:{broker.port}", "--replay", quiet) as running:
        running.wait_until_up()
        yield running


def kill(process_id: int) -> None:
    os.kill(process_id, signal.SIGKILL)
    wait_for(lambda: not rig_processes.is_running(process_id), "the killed process is gone")


def assert_only_one_was_replaced(run: Run, before: dict[str, int], room: str) -> None:
    after = run.wait_for_rooms(but=before[room])
    assert {name: pid for name, pid in after.items() if name != room} == {
        name: pid for name, pid in before.items() if name != room
    }


def play(home: Home, recording: str) -> int:
    return home.verb("play", recording, "-o", home.folder / "out.wav").returncode


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_killed_while_idle_comes_back_and_the_others_stay(
    run: Run, home: Home, sealed: list[str], room: str
) -> None:
    before = run.wait_for_rooms()
    kill(before[room])
    assert_only_one_was_replaced(run, before, room)
    run.wait_for_line(f"the {room} died (killed by SIGKILL)")
    run.wait_until_up()
    assert home.held() == sealed
    assert play(home, sealed[0]) == 0


@pytest.mark.parametrize("room", ROOMS)
def test_what_was_just_sealed_survives_and_its_event_arrives(
    home: Home, speech: Speech, quiet: Path, broker: LocalBroker, room: str
) -> None:
    home.config.write_text(CONFIG)
    arguments = ("--mqtt", f"{broker.host}:{broker.port}", "--replay", speech.path, quiet)
    with Subscriber(broker) as subscriber, Run(home, *arguments) as run:
        run.wait_until_up()
        before = run.wait_for_rooms()
        # A broker that says nothing: so the event is still unsent when the room is killed.
        assert broker.process is not None
        broker.process.send_signal(signal.SIGSTOP)
        run.wait_for_line('"sealed ')
        kill(before[room])
        wait_for(home.status, "the vault answers")
        (recording,) = home.held()
        assert_only_one_was_replaced(run, before, room)
        broker.process.send_signal(signal.SIGCONT)
        message = subscriber.expect(f"fadeout/{NODE}/event/action")
        assert isinstance(contract.decode(message.payload), contract.ActionEvent)
        wait_for(lambda: (status := home.status()) and status.unsent_events == 0, "the outbox is empty")
        assert recording in home.held()
        assert play(home, recording) == 0


@pytest.mark.parametrize("room", ROOMS)
def test_an_erasure_goes_through_whoever_is_killed_meanwhile(
    run: Run, home: Home, sealed: list[str], room: str
) -> None:
    doomed, kept = sealed
    before = run.wait_for_rooms()
    connection = home.connect("control", timeout_s=30.0)
    connection.send(questions.Erase((doomed,)))
    os.kill(before[room], signal.SIGKILL)
    try:
        answer = connection.receive()
    except WireError:
        answer = None
    connection.close()
    assert_only_one_was_replaced(run, before, room)
    wait_for(home.status, "the vault answers")
    if answer is None:
        # Nobody was told that it is erased: it is there whole, or gone whole.
        assert room == "vault"
        assert home.verb("erase", doomed).returncode in (0, os.EX_NOINPUT)
    assert home.held() == [kept]
    assert play(home, doomed) == os.EX_NOINPUT
    assert play(home, kept) == 0


def test_what_was_erased_stays_erased_after_every_kill(run: Run, home: Home, sealed: list[str]) -> None:
    doomed, kept = sealed
    assert home.ask("erase", doomed)["items"] == 2
    for room in ROOMS:
        before = run.wait_for_rooms()
        kill(before[room])
        assert_only_one_was_replaced(run, before, room)
        wait_for(home.status, "the vault answers")
        assert home.held() == [kept]
        assert play(home, doomed) == os.EX_NOINPUT
    assert play(home, kept) == 0


def test_when_the_supervisor_is_killed_everything_goes_and_a_new_one_works(
    home: Home, sealed: list[str], quiet: Path
) -> None:
    with Run(home, "--local-broker", "--replay", quiet) as run:
        run.wait_until_up()
        everyone = rig_processes.children(run.pid)
        assert len(everyone) >= 6, "three rooms, a listener, and a broker with its keeper"
        os.kill(run.pid, signal.SIGKILL)
        wait_for(
            lambda: not any(rig_processes.is_running(child) for child in everyone), "all children are gone"
        )
    with Run(home, "--local-broker", "--replay", quiet) as run:
        run.wait_until_up()
        assert home.held() == sealed
        assert play(home, sealed[0]) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order_and_says_so_on_mqtt(
    run: Run, home: Home, broker: LocalBroker, number: signal.Signals
) -> None:
    everyone = rig_processes.children(run.pid)
    with Subscriber(broker) as subscriber:
        os.kill(run.pid, number)
        assert run.finish(STOPPED_WITHIN_S) == 0
        said = subscriber.expect(contract.availability_topic(NODE))
        while said.payload != b"stopped":
            said = subscriber.expect(contract.availability_topic(NODE))
    assert not any(rig_processes.is_running(child) for child in everyone)
    assert home.status() is None
    with Subscriber(broker) as late:
        retained = late.expect(contract.availability_topic(NODE))
    assert (retained.payload, retained.retain) == (b"stopped", True)


def test_ctrl_c_in_a_terminal_stops_everything(home: Home, quiet: Path) -> None:
    # A terminal sends SIGINT to the whole foreground group; only the supervisor is in it.
    with Run(home, "--local-broker", "--replay", quiet) as run:
        run.wait_until_up()
        groups = {os.getpgid(child) for child in rig_processes.children(run.pid)}
        assert os.getpgid(run.pid) not in groups
        os.kill(run.pid, signal.SIGINT)
        assert run.finish(STOPPED_WITHIN_S) == 0
    assert not run.err, run.err[-1]
