"""The other processes of `scripts/bench broker`: subscribers, a bare publisher, and devices by the hundred.

Each reads commands as JSON lines and answers with one JSON line each; it ends when
its input does. Times are nanoseconds of CLOCK_MONOTONIC, which all processes of a
machine share. Run as `python reporting_clients.py ROLE HOST PORT ...`, with nothing
imported that they do not need: what they cost is cost beside what is measured.
"""

from __future__ import annotations

import json
import selectors
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fadeout_broker import contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Told = list[tuple[int, int]]
"""Numbers of events, and when they were sent or heard."""

TTL_S = 600
_DEADLINE_S = 60.0
_KEEPALIVE_S = 300
"""Between two commands nobody runs the devices' loop."""


def event(number: int) -> bytes:
    """Return the payload of the event with this number."""
    action = contract.ActionEvent(v=1, id=f"{number:016d}", action="light.on", outcome="served", ttl=TTL_S)
    return contract.encode(action)


def number_of(payload: bytes | bytearray) -> int | None:
    """Return the number of an event, or None: it is something else."""
    decoded = contract.decode(bytes(payload))
    return int(decoded.id) if isinstance(decoded, contract.ActionEvent) else None


def _client(client_id: str) -> Client:
    return Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)


def _expiry() -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # because paho leaves this one untyped
    properties.MessageExpiryInterval = TTL_S
    return properties


def _answer(said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _commands() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


# ---- a subscriber


def subscribe(host: str, port: str, *filters: str) -> None:
    """Hear events; every command is answered with what came since the last one."""
    heard: list[tuple[bytes | bytearray, int]] = []
    granted = threading.Semaphore(0)
    client = _client("")

    def on_message(_client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        heard.append((message.payload, time.monotonic_ns()))

    def on_connect(client: Client, *_: object) -> None:
        client.subscribe([(each, 1) for each in filters])

    client.on_message = on_message
    client.on_subscribe = lambda *_: granted.release()
    client.on_connect = on_connect
    client.connect(host, int(port))
    client.loop_start()
    granted.acquire(timeout=_DEADLINE_S)
    _answer("ready")
    for _ in _commands():
        taken, heard[:] = heard[:], []
        _answer([(number, at) for payload, at in taken if (number := number_of(payload)) is not None])
    client.disconnect()
    client.loop_stop()


# ---- paho and nothing else


def publish(host: str, port: str, topic: str) -> None:
    """Publish events at a rate; answer with when each was handed over, once the broker has them all."""
    client = _client("")
    client.connect(host, int(port))
    client.loop_start()
    _answer("ready")
    properties = _expiry()
    for command in _commands():
        sent: Told = []
        for number in paced(command["first"], command["count"], command["rate"]):
            sent.append((number, time.monotonic_ns()))
            last = client.publish(topic, event(number), 1, properties=properties)
        last.wait_for_publish(_DEADLINE_S)
        _answer(sent)
    client.disconnect()
    client.loop_stop()


def paced(first: int, count: int, rate: float) -> Iterator[int]:
    """Yield numbers at a rate; one that is late does not make the next ones late."""
    began_s = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, began_s + index / rate - time.monotonic()))
        yield first + index


# ---- devices


class Devices:
    """Many connections as a reporter's, in one thread: paho's own loop takes one thread for each."""

    def __init__(self, host: str, port: int, first: int, count: int) -> None:
        self._address = host, port
        self._selector = selectors.DefaultSelector()
        self._granted = 0
        self._acked = 0
        self._properties = _expiry()
        self._clients = [self._new(f"bench-{number:05d}") for number in range(first, first + count)]
        self._nodes = [f"bench-{number:05d}" for number in range(first, first + count)]
        self._maintained_s = time.monotonic()
        self._on_acked: Callable[[Client], None] = lambda _client: None

    def _new(self, node: str) -> Client:
        client = _client(f"fadeout-{node}")
        client.will_set(contract.availability_topic(node), b"offline", 1, retain=True)

        def on_connect(client: Client, *_: object) -> None:
            client.subscribe([(contract.command_filter(node), 1), (contract.ack_filter(node), 1)])

        client.on_connect = on_connect
        client.on_subscribe = self._subscribed
        client.on_publish = self._published
        return client

    def _subscribed(self, *_: object) -> None:
        self._granted += 1

    def _published(self, client: Client, *_: object) -> None:
        self._acked += 1
        self._on_acked(client)

    def connect(self) -> None:
        """Connect them all, and subscribe as a reporter does."""
        for number, client in enumerate(self._clients):
            client.connect(*self._address, keepalive=_KEEPALIVE_S)
            sock = client.socket()
            assert sock is not None  # noqa: S101 - it has just connected
            self._selector.register(sock.fileno(), selectors.EVENT_READ, client)
            if number % 16 == 0:
                self._turn(0.0)
        self._until(lambda: self._granted == len(self._clients))

    def retain(self) -> None:
        """Publish what every device retains."""
        self._acked = 0
        payloads = _retained()
        for client, node in zip(self._clients, self._nodes, strict=True):
            client.publish(contract.availability_topic(node), b"online", 1, retain=True)
            for payload in payloads:
                client.publish(contract.topic_of(node, payload), contract.encode(payload), 1, retain=True)
            self._turn(0.0)
        self._until(lambda: self._acked == len(self._clients) * (1 + len(payloads)))

    def pace(self, first: int, count: int, rate: float) -> Told:
        """Publish events at a rate, each from the next device; return when each was handed over."""
        sent: Told = []
        self._acked = 0
        began_s = time.monotonic()
        for index in range(count):
            while (left_s := began_s + index / rate - time.monotonic()) > 0:
                self._turn(left_s)
            sent.append((first + index, time.monotonic_ns()))
            self._act(index % len(self._clients), first + index)
        self._until(lambda: self._acked == count)
        return sent

    def burst(self, first: int, count: int) -> tuple[int, int]:
        """Publish so many events, each device the next one as soon as its last one is acknowledged.

        Returns:
            when it began and when the last one was acknowledged.
        """
        indices = {id(client): index for index, client in enumerate(self._clients)}
        following = iter(range(first, first + count))

        def publish_next(client: Client) -> None:
            number = next(following, None)
            if number is not None:
                self._act(indices[id(client)], number)

        self._acked = 0
        self._on_acked = publish_next
        began_ns = time.monotonic_ns()
        for client in self._clients:
            publish_next(client)
        self._until(lambda: self._acked == count)
        self._on_acked = lambda _client: None
        return began_ns, time.monotonic_ns()

    def _act(self, index: int, number: int) -> None:
        topic = contract.prefix_of(self._nodes[index]) + contract.ActionEvent.topic
        self._clients[index].publish(topic, event(number), 1, properties=self._properties)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + _DEADLINE_S
        while not condition():
            if time.monotonic() > deadline_s:
                raise SystemExit(f"the broker did not answer all devices within {_DEADLINE_S:g} s")
            self._turn(0.1)

    def _turn(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            client: Client = key.data
            client.loop_read()
            if client.socket() is None:
                raise SystemExit("the broker closed the connection of a device")
            while client.want_write():
                client.loop_write()
        if time.monotonic() > self._maintained_s + 1.0:
            self._maintained_s = time.monotonic()
            for client in self._clients:
                client.loop_misc()


def devices(host: str, port: str, first: str, count: str) -> None:
    """Be so many devices, numbered from `first`, and do what is said."""
    ours = Devices(host, int(port), int(first), int(count))
    _answer("ready")
    for command in _commands():
        said: object = "done"
        match command.pop("do"):
            case "connect":
                ours.connect()
            case "retain":
                ours.retain()
            case "pace":
                said = ours.pace(**command)
            case "burst":
                said = ours.burst(**command)
        _answer(said)


def _retained() -> tuple[contract.Outgoing, ...]:
    document = contract.PolicyDocument(
        canary_s=21600, ceiling_s=2592000, debug_capture_lasts_s=3600, debug_capture_s=None,
        ledger_ceiling_s=31536000, ledger_s=7776000, max_size_bytes=10**9, quiet_hours=None, rules={}, v=1,
    )  # fmt: skip
    return (
        contract.DeviceState(
            v=1, listening=True, muted=False, held=1, overdue=0, sweep="ok", swept=0, next_end=None,
            forgetting=True,
        ),
        contract.Info(v=1, sw="0.1.0", mode="prompt", actions=(), commands=True, result_s=0),
        contract.PolicyNow(v=1, hash="0" * 64, document=document),
        contract.EraseBefore(v=1, era="00000000", n=0, since=1, ids=()),
    )  # fmt: skip


_ROLES: dict[str, Callable[..., None]] = {"subscribe": subscribe, "publish": publish, "devices": devices}

if __name__ == "__main__":
    _ROLES[sys.argv[1]](*sys.argv[2:])
