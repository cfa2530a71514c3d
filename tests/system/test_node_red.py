"""The shipped Node-RED flow, in the real Node-RED at a real broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.subscriber import Subscriber
from fadeout_broker import contract
from fadeout_broker.contract import ActionEvent, EraseBefore, EraseNotice
from fadeout_broker.local import LocalBroker
from rig_node_red import NodeRed, program
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE, OTHER = "sp-7f3a9c", "constructor"  # a name that every object of JavaScript's has, too
ERA = "0123abcd"

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto"), pytest.mark.timeout(600)]


class Device:
    """Publishes payloads of the contract, as a device would."""

    def __init__(self, broker: LocalBroker) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, payload: contract.Outgoing, node: str = NODE, expiry_s: int | None = None) -> None:
        self.say_raw(
            contract.topic_of(node, payload), contract.encode(payload), expiry_s, retain=payload.is_retained
        )

    def say_raw(
        self, topic: str, payload: bytes, expiry_s: int | None = None, *, retain: bool = False
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # because paho leaves this one untyped
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        self._client.publish(topic, payload, 1, retain, properties).wait_for_publish(LONG_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    program()
    folder = tmp_path / "broker"
    folder.mkdir()
    with LocalBroker(folder) as running:
        yield running


@pytest.fixture
def device(broker: LocalBroker) -> Iterator[Device]:
    made = Device(broker)
    yield made
    made.close()


@pytest.fixture
def house(broker: LocalBroker) -> Iterator[Subscriber]:
    with Subscriber(broker) as listening:
        yield listening


@pytest.fixture
def node_red(broker: LocalBroker, tmp_path: Path) -> Iterator[NodeRed]:
    folder = tmp_path / "node-red"
    folder.mkdir()
    with NodeRed(folder, broker, "kitchen") as running:
        yield running


def _event(number: int, ttl: int = 3600, action: str = "light.on") -> ActionEvent:
    return ActionEvent(v=1, id=f"{number:016d}", action=action, outcome="served", ttl=ttl)


def _ids(*numbers: int) -> list[str]:
    return [_event(number).id for number in numbers]


def _notice(n: int, *numbers: int, era: str = ERA) -> EraseNotice:
    return EraseNotice(v=1, era=era, n=n, ids=tuple(_ids(*numbers)))


def _watermark(n: int, since: int, *numbers: int, era: str = ERA) -> EraseBefore:
    return EraseBefore(v=1, era=era, n=n, since=since, ids=tuple(_ids(*numbers)))


def _acked(house: Subscriber, node: str = NODE) -> contract.Ack:
    while True:
        message = house.heard.get(timeout=LONG_S)
        if message.topic == f"fadeout/{node}/erase/ack/kitchen":
            return contract.decode_ack(message.payload)


def _wait_for_held(node_red: NodeRed, numbers: list[int], node: str = NODE) -> None:
    wait_for(lambda: node_red.held(node) == _ids(*numbers), f"it holds {numbers}")


def _greet(device: Device, house: Subscriber) -> None:
    """Wait until it has subscribed: it answers a watermark, and asked for all else in the same breath."""
    device.say(_watermark(0, 1))
    assert _acked(house) == contract.Ack(v=1, era=ERA, n=0)


def test_it_holds_an_event_forgets_it_on_notice_and_acknowledges(
    device: Device, node_red: NodeRed, house: Subscriber
) -> None:
    _greet(device, house)
    device.say(_event(1))
    device.say(_event(2, action="light.off"))
    _wait_for_held(node_red, [1, 2])
    shown = node_red.device(NODE)["events"][_event(2).id]
    assert (shown["action"], shown["outcome"]) == ("light.off", "served")

    device.say(_notice(1, 1))
    assert _acked(house) == contract.Ack(v=1, era=ERA, n=1)
    _wait_for_held(node_red, [2])


def test_it_forgets_what_was_erased_while_it_was_away(
    device: Device, broker: LocalBroker, house: Subscriber, tmp_path: Path
) -> None:
    device.say(_watermark(7, 7, 3))  # retained, before anybody was there
    with NodeRed(tmp_path, broker, "kitchen") as node_red:
        assert _acked(house).n == 7
        for number in (1, 2, 3, 4):
            device.say(_event(number))
        _wait_for_held(node_red, [1, 2, 3, 4])
        device.say(_watermark(9, 8, 2, 5))  # reaches back to what it knows
        assert _acked(house).n == 9
        _wait_for_held(node_red, [1, 3, 4])
        device.say(_watermark(20, 20, 1))  # does not
        assert _acked(house).n == 20
        _wait_for_held(node_red, [])


def test_it_forgets_everything_when_a_notice_is_missing_or_the_era_is_another(
    device: Device, node_red: NodeRed, house: Subscriber
) -> None:
    _greet(device, house)
    device.say(_event(1))
    device.say(_event(1), OTHER)
    _wait_for_held(node_red, [1], OTHER)
    device.say(_notice(3, 9))
    assert _acked(house).n == 3
    _wait_for_held(node_red, [])
    device.say(_event(2))
    _wait_for_held(node_red, [2])
    device.say(_notice(1, 9, era="00000001"))
    assert _acked(house) == contract.Ack(v=1, era="00000001", n=1)
    _wait_for_held(node_red, [])
    _wait_for_held(node_red, [1], OTHER)  # somebody else's is not touched
    device.say(_notice(5, 1), OTHER)
    assert _acked(house, OTHER).n == 5
    _wait_for_held(node_red, [], OTHER)


def test_it_forgets_at_the_end(device: Device, node_red: NodeRed, house: Subscriber) -> None:
    _greet(device, house)
    device.say(_event(1, ttl=3600))
    device.say(_event(2, ttl=3))
    device.say(
        _event(3, ttl=3600), expiry_s=3
    )  # waited in a queue: the rest of its life is the broker's to say
    _wait_for_held(node_red, [1])
    assert node_red.device(NODE)["events"][_event(1).id]["left"] <= 3600


def test_what_comes_twice_counts_once(device: Device, node_red: NodeRed, house: Subscriber) -> None:
    _greet(device, house)
    device.say(_event(1))
    device.say(_event(1, ttl=1800))
    device.say(_event(2))
    _wait_for_held(node_red, [1, 2])
    assert node_red.device(NODE)["events"][_event(1).id]["left"] <= 1800


def test_it_leaves_aside_what_it_does_not_know_and_what_is_broken(
    device: Device, node_red: NodeRed, house: Subscriber
) -> None:
    def changed(payload: contract.Outgoing, **fields: object) -> bytes:
        return json.dumps({**msgspec.to_builtins(payload), **fields}).encode()

    _greet(device, house)
    at = f"fadeout/{NODE}/event/action"
    for payload in (
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{",
        b"[" * 3000,
        changed(_event(3), v=2),
        changed(_event(3), type="state"),
        changed(_event(3), id="__proto__"),
        changed(_event(3), id="constructor"),
        changed(_event(3), id=["0000000000000003"]),
        changed(_event(3), ttl=0),
        changed(_event(3), ttl=10**12),
        changed(_event(3), ttl="3600"),
        changed(_event(3), action="turn on the light"),
        changed(_event(3), outcome="false_wake"),
    ):
        device.say_raw(at, payload)
    device.say_raw(at, changed(_event(1), later="a field of a later version"))
    for payload in (
        changed(_notice(1, 1), ids="all"),
        changed(_notice(1, 1), era=7),
        changed(_notice(1, 1), n=-1),
    ):
        device.say_raw(f"fadeout/{NODE}/erase/notice", payload)
    device.say_raw(f"fadeout/{NODE}/erase/before", changed(_watermark(9, 9, 1), since=1))  # nine, and one id
    device.say_raw(f"fadeout/{NODE}/erase/before", b"")  # the device was withdrawn
    device.say_raw("fadeout/Not A Node/event/action", contract.encode(_event(4)))
    device.say(_event(2))
    _wait_for_held(node_red, [1, 2])
    device.say(_notice(1, 2))
    assert _acked(house).n == 1  # the first one: no broken notice was acknowledged
    _wait_for_held(node_red, [1])
