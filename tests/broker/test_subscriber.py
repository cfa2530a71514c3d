"""The subscriber of integrators with a real Mosquitto: hears, forgets, acknowledges, comes back."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker.model_device import NODE, Device, Message, message
from broker.subscriber import Subscriber as Listener
from fadeout_broker import contract
from fadeout_broker.backoff import Backoff
from fadeout_broker.subscriber import CallbackError, Gone, SettingsError, Subscriber
from fadeout_broker.subscriber.clocks import read_clocks
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fadeout_broker.local import LocalBroker
    from fadeout_broker.subscriber.passing import Reading

TTL_S = 3000
STATE = contract.DeviceState(
    v=1, listening=True, muted=False, held=1, overdue=0, sweep="ok", swept=0, next_end=0, forgetting=True
)


class Played:
    """A model device that a real broker hears."""

    def __init__(self, broker: LocalBroker) -> None:
        self.device = Device()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, *messages: Message, retain: bool = False) -> None:
        for topic, data in messages:
            self._client.publish(topic, data, 1, retain).wait_for_publish(LONG_S)

    def watermark(self) -> None:
        self.say(self.device.watermark(), retain=True)

    def event(self, ttl: int = TTL_S) -> str:
        name, sent = self.device.event(ttl, 0)
        self.say(sent)
        return name

    def erase(self, *names: str) -> None:
        self.say(self.device.erase(names))
        self.watermark()


def subscriber(broker: LocalBroker, **settings: object) -> Subscriber:
    quick = Backoff(lambda: 0.5, unit_s=0.1, cap_s=0.2)
    return Subscriber("lights", host=broker.host, port=broker.port, backoff=quick, **settings)  # type: ignore[arg-type]  # because a dict has one type of value


def held(house: Subscriber) -> list[str]:
    return [event.id for event in house.events()]


def acks(listener: Listener, until_n: int) -> list[int]:
    """Return the numbers acknowledged, once this one was."""
    said: list[int] = []
    while not said or said[-1] != until_n:
        heard = listener.heard.get(timeout=LONG_S)
        if heard.topic == f"fadeout/{NODE}/erase/ack/lights":
            said.append(contract.decode_ack(heard.payload).n)
    return said


def test_events_come_and_go_and_are_acknowledged(broker: LocalBroker, tmp_path: Path) -> None:
    path = tmp_path / "lights.db"
    with Listener(broker) as listener, Played(broker) as played, subscriber(broker, database=path) as house:
        assert house.wait_until_connected(LONG_S)
        played.watermark()
        first, second = played.event(), played.event()
        handed: list[str] = []
        for event in house:
            handed.append(event.id)
            assert (event.node, event.action, event.outcome) == (NODE, "light.on", "served")
            if event.id == second:
                break
        assert handed == [first, second]
        played.erase(first)
        assert acks(listener, 1)
        assert held(house) == [second]
        assert first.encode() not in path.read_bytes()
        assert second.encode() in path.read_bytes()
        # The loop's body did not come to its end for the second one.
        assert house.next(LONG_S) == event
        house.done(event)
        brief = played.event(ttl=1)
        wait_for(lambda: house.counts.expired, "an event that ends")
        wait_for(lambda: brief.encode() not in path.read_bytes(), "the last of it to go")
        assert house.next(0.01) is None
        assert (house.counts.kept, house.counts.forgotten, house.counts.malformed) == (3, 1, 0)


def test_what_was_said_while_it_was_away_reaches_it(broker: LocalBroker, tmp_path: Path) -> None:
    path = tmp_path / "lights.db"
    with Listener(broker) as listener, Played(broker) as played:
        played.watermark()
        with subscriber(broker, database=path) as house:
            assert house.wait_until_connected(LONG_S)
            first, second = played.event(), played.event()
            wait_for(lambda: len(house.events()) == 2, "two events")
        played.erase(first)
        with subscriber(broker, database=path) as house:
            acks(listener, 1)
            assert held(house) == [second]
        for _ in range(20):
            played.erase(played.event())
        with subscriber(broker, database=path) as house:
            acks(listener, 21)
            assert held(house) == []
        assert second.encode() not in path.read_bytes()


def test_what_was_derived_goes_first_and_is_acknowledged_after(broker: LocalBroker) -> None:
    calls: list[list[Gone]] = []
    may_pass = threading.Event()

    def on_forget(gone: Sequence[Gone]) -> None:
        calls.append(list(gone))
        if not may_pass.is_set():
            raise OSError

    with (
        Listener(broker) as listener,
        Played(broker) as played,
        subscriber(broker, on_forget=on_forget) as house,
    ):
        assert house.wait_until_connected(LONG_S)
        played.watermark()
        assert acks(listener, 0) == [0]
        name = played.event()
        assert house.next(LONG_S)
        played.erase(name)
        with pytest.raises(CallbackError, match="on_forget raised OSError"):
            wait_for(lambda: house.next(0.01) and None, "the failure to come out")
        assert held(house) == []
        assert house.counts.acknowledged == 1
        may_pass.set()
        assert set(acks(listener, 1)) == {1}
        assert set(map(tuple, calls)) == {(Gone(NODE, name),)}
        done = len(calls)
        played.erase(played.event())
        acks(listener, 2)
        assert len(calls) == done + 1


def test_what_is_left_from_before_is_forgotten_at_the_start(broker: LocalBroker, tmp_path: Path) -> None:
    path = tmp_path / "lights.db"

    def fail(_gone: Sequence[Gone]) -> None:
        raise OSError

    with Played(broker) as played:
        played.watermark()
        with subscriber(broker, database=path, on_forget=fail) as house:
            assert house.wait_until_connected(LONG_S)
            name = played.event()
            wait_for(house.events, "an event")
            played.erase(name)
            wait_for(lambda: not house.events(), "its contents to go")
    with pytest.raises(CallbackError), subscriber(broker, database=path, on_forget=fail):
        pytest.fail("it must not start as if nothing were left")
    assert name.encode() in path.read_bytes()
    gone: list[str] = []
    with subscriber(broker, database=path, on_forget=lambda left: gone.extend(one.id for one in left)):
        assert gone == [name]
    assert name.encode() not in path.read_bytes()


def test_devices_are_shown_as_they_are(broker: LocalBroker) -> None:
    told: list[tuple[str, bool]] = []
    availability = contract.availability_topic(NODE)
    alarm = contract.AlarmEvent(v=1, alarm="sweep", on=True)
    with (
        Played(broker) as played,
        subscriber(broker, on_device=lambda name, device: told.append((name, device.is_forgetting))) as house,
    ):
        assert house.wait_until_connected(LONG_S)
        assert house.devices == {}
        played.say(Message(availability, b"online"), message(STATE), retain=True)
        wait_for(lambda: told and told[-1] == (NODE, True), "a device that forgets")
        played.say(message(alarm), Message(f"fadeout/{NODE}/event/action", b"hello"))
        wait_for(lambda: told[-1] == (NODE, False), "an alarm")
        assert house.devices[NODE].alarms == {"sweep"}
        wait_for(lambda: house.counts.malformed == 1, "what cannot be read")
        played.say(message(contract.AlarmEvent(v=1, alarm="sweep", on=False)))
        wait_for(lambda: told[-1] == (NODE, True), "all clear")
        broker.kill()
        wait_for(lambda: told[-1] == (NODE, False), "a broker that is gone")
        assert house.devices[NODE].availability is None
        assert house.trouble
        broker.start()
        assert house.wait_until_connected(LONG_S)
        with Played(broker) as again:
            again.say(Message(availability, b"online"), retain=True)
            wait_for(lambda: told[-1] == (NODE, True), "the device to be back")


def test_a_report_is_the_command_that_the_device_reads(broker: LocalBroker) -> None:
    topic = f"fadeout/{NODE}/cmd/result"
    with Listener(broker) as listener, Played(broker) as played, subscriber(broker) as house:
        assert house.wait_until_connected(LONG_S)
        played.watermark()
        name = played.event()
        event = house.next(LONG_S)
        assert event is not None
        house.report(event, "failed")
        request = contract.decode_request("result", listener.expect(topic).payload)
        assert request == contract.ResultRequest(id=name, result="failed")


def test_it_says_why_it_is_not_connected(broker: LocalBroker) -> None:
    broker.stop()
    with subscriber(broker) as house:
        wait_for(lambda: house.trouble != "connecting", "a reason")
        assert house.trouble == (
            f"connection refused by 127.0.0.1:{broker.port}; is the broker running? check host and port"
        )
        assert not house.wait_until_connected(0.01)
        broker.start()
        assert house.wait_until_connected(LONG_S)
        assert house.trouble is None


def test_a_session_at_the_broker_brings_what_was_missed(broker: LocalBroker, tmp_path: Path) -> None:
    path = tmp_path / "lights.db"
    with Played(broker) as played:
        played.watermark()
        with subscriber(broker, database=path, keep_session_s=600) as house:
            assert house.wait_until_connected(LONG_S)
        missed, erased = played.event(), played.event()
        played.erase(erased)
        with subscriber(broker, database=path, keep_session_s=600) as house:
            wait_for(lambda: held(house) == [missed], "what was missed, without what was erased")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_thread_of_ours_reaches_the_program(broker: LocalBroker) -> None:
    is_broken = threading.Event()

    def clocks() -> Reading:
        if is_broken.is_set() and threading.current_thread() is not threading.main_thread():
            raise ZeroDivisionError
        return read_clocks()

    with Played(broker) as played, subscriber(broker, clocks=clocks) as house:
        assert house.wait_until_connected(LONG_S)
        is_broken.set()
        played.watermark()
        with pytest.raises(RuntimeError, match="has died") as raised:
            house.next(LONG_S)
        assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_iterating_ends_with_the_subscriber(broker: LocalBroker) -> None:
    with subscriber(broker) as house:
        ended = threading.Thread(target=house.run, args=(print,))
        ended.start()
        house.stop()
        ended.join(LONG_S)
        assert not ended.is_alive()
        house.stop()
        assert house.next() is None


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        pytest.param({"consumer": "No/body"}, "consumer", id="a name that is a topic"),
        pytest.param({"node": "+"}, "node", id="a name that is a filter"),
        pytest.param({"keep_session_s": 60}, "consumer", id="a session without a name"),
        pytest.param({"ca_file": "/nowhere.pem"}, "/nowhere.pem", id="a file that is not there"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, object], match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        Subscriber(**settings)  # type: ignore[arg-type]  # because a dict has one type of value


def test_it_is_light_to_import() -> None:
    code = "import sys, fadeout_broker.subscriber; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in shown.stdout.split()}
    assert "paho" in roots
    assert not roots & {
        "rich",
        "asyncio",
        "argcomplete",
        "sqlite_utils",
        "fadeout_device",
        "numpy",
        "cryptography",
    }
    loaded = {name for name in shown.stdout.split() if name.startswith("fadeout_broker.")}
    assert "fadeout_broker.contract" in loaded
    assert not loaded & {"fadeout_broker.arrow", "fadeout_broker.reporter", "fadeout_broker.uplink"}


def test_an_acknowledgement_is_what_the_device_reads() -> None:
    ack = contract.Ack(v=1, era="aaaaaaaa", n=3)
    assert contract.decode_ack(msgspec.json.encode(ack)) == ack
