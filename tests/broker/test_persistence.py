"""What is left in the files of a real Mosquitto that keeps everything it can: docs/what-brokers-keep.md."""

from __future__ import annotations

import contextlib
import queue
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.fake_vault import WAIT_S, FakeVault
from broker.provision.house import VERSIONS, program
from broker.subscriber import Subscriber
from fadeout_broker import contract, local
from fadeout_broker.arrow import BrokerSettings, Publish, Published, Withdraw
from fadeout_broker.contract import ActionEvent, DeviceState, EraseBefore, EraseNotice, Info
from fadeout_broker.local import LocalBroker
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto", "reporter")]

NODE = "sp-test"
ERA = "0123abcd"
SHORT, LONG = "a" * 16, "b" * 16
"""Ids of two events: one whose life is over soon, and one that is erased before its end."""
ACTION = "blinds.lower"
STATE = DeviceState(
    v=1, listening=True, muted=False, held=7654321, overdue=0, sweep="ok", swept=0, next_end=None,
    forgetting=True,
)  # fmt: skip
INFO = Info(v=1, sw="9.87.6", mode="prompt", actions=(), commands=True, result_s=0)
RETAINED_MARKS = {
    "held": b"7654321", "version": b"9.87.6", "era": ERA.encode(), "node": NODE.encode(),
    "discovery": b"homeassistant/",
}  # fmt: skip


_NUDGE_S = 1.5


def holds(mark: bytes) -> Callable[[bytes], bool]:
    return lambda remembered: mark in remembered


def lacks(mark: bytes) -> Callable[[bytes], bool]:
    return lambda remembered: mark not in remembered


class RememberingBroker(LocalBroker):
    """A Mosquitto that saves after every change: the worst of what a household may run."""

    def __init__(self, folder: Path) -> None:
        saves = {
            "persistence": "true",
            "persistence_location": f"{folder}/",
            "autosave_on_changes": "true",
            "autosave_interval": "1",
        }
        super().__init__(folder, instead=saves)

    def remembered(self) -> bytes:
        """Return every byte of every file that it has, whole or half written, but its configuration."""
        found = []
        for path in sorted(self._folder.iterdir()):
            # It writes a new database beside the old one and renames it, at any moment.
            with contextlib.suppress(FileNotFoundError):
                if path.name != "mosquitto.conf":
                    found.append(path.read_bytes())
        return b"\0".join(found)

    def wait_until(self, condition: Callable[[bytes], bool], what: str) -> None:
        """Wait until its files are as they should be, with something for it to save from time to time.

        It saves after a change, and what comes right after that save waits for the next change: on a
        broker where nothing happens any more, until it stops.
        """
        nudge_mono_s = time.monotonic() + _NUDGE_S

        def look() -> bool:
            nonlocal nudge_mono_s
            if time.monotonic() > nudge_mono_s:
                nudge_mono_s = time.monotonic() + _NUDGE_S
                self.nudge()
            return condition(self.remembered())

        wait_for(look, what)

    def nudge(self) -> None:
        """Change something retained that is none of the device's; the broker has read all before it then."""
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.connect(self.host, self.port)
        client.loop_start()
        client.publish("elsewhere", str(time.monotonic_ns()), 1, retain=True).wait_for_publish(WAIT_S)
        client.disconnect()
        client.loop_stop()


class Away:
    """A subscriber that keeps a session at the broker, for an hour; it is there only within `with`."""

    def __init__(self, broker: LocalBroker, *, expiry_s: int = 3600) -> None:
        self._address = broker.host, broker.port
        self._expiry_s = expiry_s
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()

    def __enter__(self) -> Self:
        granted: queue.Queue[None] = queue.Queue()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id="away", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_connect = lambda client, *_: client.subscribe("fadeout/#", qos=1)
        self._client.on_subscribe = lambda *_: granted.put(None)
        self._client.on_message = self._on_message
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # because paho leaves this one untyped
        session.SessionExpiryInterval = self._expiry_s
        self._client.connect(*self._address, clean_start=False, properties=session)
        self._client.loop_start()
        granted.get(timeout=WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        self.heard.put((message.topic, bytes(message.payload)))

    def next_on(self, topic: str) -> contract.Outgoing:
        """Return the next message on a topic of the device; others in between are dropped."""
        while True:
            got, payload = self.heard.get(timeout=WAIT_S)
            if got == contract.prefix_of(NODE) + topic and payload:
                return contract.decode(payload)


class House:
    """A device that reports to a broker that remembers."""

    def __init__(self, broker: RememberingBroker, vault: FakeVault) -> None:
        self.broker = broker
        self._vault = vault
        self._seq = 0
        vault.configure(BrokerSettings(host=broker.host, port=broker.port), NODE)
        vault.expect_link(connected=True)

    def publish(self, payload: contract.Outgoing, expiry_s: int | None = None) -> None:
        """Publish, and wait until the broker has it."""
        self._seq += 1
        self._vault.send(Publish(self._seq, payload, expiry_s))
        while self._vault.expect(Published).seq != self._seq:
            pass

    def act(self, event_id: str, ttl_s: int) -> None:
        event = ActionEvent(v=1, id=event_id, action=ACTION, outcome="served", ttl=ttl_s)
        self.publish(event, ttl_s)

    def withdraw(self) -> None:
        """Clear all that the device retains, and wait until the broker has done so."""
        self._vault.send(Withdraw(0))
        while self._vault.expect(Published).seq:
            pass
        # Until it has hung up, the broker would say `offline` for it.
        assert "withdrawn" in self._vault.expect_link(connected=False).detail
        self.broker.nudge()

    def erase(self, event_id: str) -> None:
        self.publish(EraseNotice(v=1, era=ERA, n=1, ids=(event_id,)))
        self.publish(EraseBefore(v=1, era=ERA, n=1, since=1, ids=(event_id,)))


@pytest.fixture(params=list(VERSIONS.values()), ids=list(VERSIONS))
def house(
    vault: FakeVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[House]:
    mosquitto = program(request.param)
    if mosquitto is None:
        pytest.skip("no such Mosquitto here: scripts/fetch_brokers")
    monkeypatch.setattr(local, "_PATH", f"{Path(mosquitto).parent}:{local._PATH}")
    folder = tmp_path / "remembering"
    folder.mkdir()
    with RememberingBroker(folder) as broker:
        yield House(broker, vault)


def test_an_event_that_everybody_took_is_in_no_file(house: House) -> None:
    with Subscriber(house.broker) as subscriber:
        house.publish(STATE)
        house.act(LONG, 600)
        subscriber.expect("fadeout/sp-test/event/action")
        # A broker that is stopped at once does not read the acknowledgement any more.
        house.publish(INFO)
        subscriber.expect("fadeout/sp-test/info")
        house.broker.wait_until(holds(RETAINED_MARKS["version"]), "the broker saved its database")
        house.broker.wait_until(lacks(LONG.encode()), "gone once it is acknowledged")
    house.broker.stop()
    remembered = house.broker.remembered()
    assert RETAINED_MARKS["held"] in remembered, "the search finds nothing"
    assert LONG.encode() not in remembered
    assert ACTION.encode() not in remembered


def test_of_an_erased_event_only_the_id_stays_and_only_in_the_watermark(house: House) -> None:
    house.act(LONG, 600)
    house.erase(LONG)
    house.broker.stop()
    remembered = house.broker.remembered()
    assert ACTION.encode() not in remembered
    assert remembered.count(LONG.encode()) == 1, "the watermark's"
    assert contract.encode(EraseBefore(v=1, era=ERA, n=1, since=1, ids=(LONG,))) in remembered


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_what_was_retained_and_is_withdrawn_is_gone_from_the_database(
    house: House, *, is_killed: bool
) -> None:
    house.publish(STATE)
    house.publish(INFO)
    house.erase(LONG)
    marks = {**RETAINED_MARKS, "id": LONG.encode()}
    for what, mark in marks.items():
        house.broker.wait_until(holds(mark), f"in the database before it is withdrawn: {what}")
    house.withdraw()
    for what, mark in marks.items():
        house.broker.wait_until(lacks(mark), f"gone while the broker runs: {what}")
    if is_killed:
        house.broker.kill()
    else:
        house.broker.stop()
    remembered = house.broker.remembered()
    assert not {what for what, mark in marks.items() if mark in remembered}
    house.broker.start()
    with Subscriber(house.broker) as latecomer:
        assert latecomer.rest() == []


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_a_broker_keeps_what_waits_for_a_session_even_expired_and_erased(
    house: House, *, is_killed: bool
) -> None:
    # Not how it should be but how it is: if this test fails, the world has become better, and the document
    # must say so.
    with Away(house.broker) as away:
        pass
    house.act(SHORT, 1)
    is_over_s = time.monotonic() + 2.5
    house.act(LONG, 600)
    house.erase(LONG)
    house.broker.wait_until(holds(LONG.encode()), "the broker saved its database")
    wait_for(lambda: time.monotonic() > is_over_s, "the end of the short one")
    if is_killed:
        house.broker.kill()
    else:
        house.broker.stop()
    remembered = house.broker.remembered()
    assert SHORT.encode() in remembered
    assert remembered.count(LONG.encode()) >= 3, "the event's, the notice's and the watermark's"
    house.broker.start()
    with away:
        first = away.next_on("event/action")
        assert isinstance(first, ActionEvent)
        assert first.id == LONG, "the expired one was delivered"
        notice = away.next_on("erase/notice")
        assert isinstance(notice, EraseNotice)
        assert notice.ids == (LONG,), "whoever takes the event late is told right after to forget it"
        # Still there: who hangs up at once has not acknowledged what it heard.
        for mark in (SHORT, ACTION):
            house.broker.wait_until(lacks(mark.encode()), "gone once the session has taken what waited")
    house.broker.stop()
    remembered = house.broker.remembered()
    assert SHORT.encode() not in remembered
    assert ACTION.encode() not in remembered


def test_a_session_that_ends_takes_what_waited_for_it_along(house: House) -> None:
    with Away(house.broker):
        pass
    house.act(LONG, 600)
    house.broker.wait_until(holds(LONG.encode()), "the broker saved its database")
    # The next one with that client id asks for a session that ends with its connection.
    with Away(house.broker, expiry_s=0):
        pass
    house.broker.wait_until(lacks(LONG.encode()), "gone with the session")
    house.broker.stop()
    assert LONG.encode() not in house.broker.remembered()
