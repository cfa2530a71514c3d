"""What somebody on the network sees of batched mode: the TLS records, their sizes and directions.

Two reporters talk TLS 1.3 to one real Mosquitto, each through a proxy that writes down the
header of every record. Nothing happens to the one; the other is handed random events all the
time. Their clock is moved by hand, from train to train, so that what leaves between two moves
is what leaves with one train. `scripts/prove` has more trains than the test.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker.certificates import issue
from broker.contract_cases import ACTION, ALARM, BEFORE, ERASE, INFO, POLICY, RECEIPT, REPLY, STATE
from broker.fake_vault import FakeVault
from fadeout_broker import arrow, contract
from fadeout_broker.backoff import Backoff
from fadeout_broker.gate import SLOT_BYTES
from fadeout_broker.incoming import subscriptions
from fadeout_broker.local import LocalBroker
from fadeout_broker.outgoing import Chance, Outgoing
from fadeout_broker.reporter import Reporter
from fadeout_broker.train import FIRST_S, SLOTS, Departure, Train
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Mode = Literal["prompt", "batched"]
BATCH_S = 60
SLOT_RECORD_BYTES = 7 + SLOT_BYTES + 17
"""Fixed header, its length, topic's length, packet id; TLS 1.3 adds a type and a tag."""
_GRACE_S = 10.0
"""The acknowledgement of what came in may leave after everything else."""
_SHORT_GRACE_S = 3.0
"""With a mistake planted they never look alike."""
_HEADER_BYTES = 5  # RFC 8446, section 5.1: type, version, length


class Seen(NamedTuple):
    """Sizes of records and how often each was seen, until some moment."""

    outgoing: Counter[int]
    incoming: Counter[int]


class Outcome(NamedTuple):
    """What a comparison of an idle and a busy device came to."""

    trains: int
    records: int
    events: int
    """What the busy one was handed."""
    problems: list[str]


class Eavesdropper:
    """Stands between a client and a server, and reads the headers of TLS records."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._seen = Seen(Counter(), Counter())
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def seen(self) -> Seen:
        with self._lock:
            return Seen(self._seen.outgoing.copy(), self._seen.incoming.copy())

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(self._to)
            for pair in ((client, server, self._seen.outgoing), (server, client, self._seen.incoming)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, sizes: Counter[int]) -> None:
        unread = b""
        with sink:
            while True:
                try:
                    data = source.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                unread += data
                while len(unread) >= _HEADER_BYTES:
                    size: int = struct.unpack(">H", unread[3:_HEADER_BYTES])[0]
                    if len(unread) < _HEADER_BYTES + size:
                        break
                    with self._lock:
                        sizes[size] += 1
                    unread = unread[_HEADER_BYTES + size :]
                # Counted first: what somebody has got was seen.
                try:
                    sink.sendall(data)
                except OSError:
                    return


class Device:
    """A reporter in a thread, its vault, its clock, and who listens on its line."""

    def __init__(self, folder: Path, broker: LocalBroker, ca_file: str, node: str, plant: str) -> None:
        self.now_s = 0.0
        self.line = Eavesdropper(broker.host, broker.port)
        self.vault = FakeVault(folder / f"{node}.sock")
        self.seq = 0
        self._handed: set[int] = set()  # since the last train
        self._before = Seen(Counter(), Counter())
        self._node = node
        self._settings = partial(
            arrow.BrokerSettings, host="127.0.0.1", port=self.line.port, tls=True, ca_file=ca_file
        )
        chance = random.Random(node)  # noqa: S311 - no secret
        drawn = Chance(chance.random, lambda: f"{chance.getrandbits(64):016x}")
        self._reporter = Reporter(
            self.vault.path,
            Backoff(chance.random),
            lambda to, uplink, tell: _planted(Outgoing(to, uplink, tell, drawn), plant),
            lambda: self.now_s,
        )
        if plant == DEAF:
            self._reporter._subscriptions = lambda configure: [
                each for each in subscriptions(configure) if not each.no_local
            ]
        self._thread = threading.Thread(target=self._reporter.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._reporter.stop()
        self.set_clock(self.now_s)
        self._thread.join(30)
        self._reporter.close()
        self.vault.die()
        self.line.__exit__()

    def set_clock(self, now_s: float) -> None:
        self.now_s = now_s
        self._handed.clear()
        self._reporter.wake()

    def connect(self, mode: Mode) -> None:
        """Connect, and wait for the answer to the question whether anything comes in."""
        self.vault.configure(self._settings(mode=mode, batch_s=BATCH_S), self._node)
        self.vault.expect_link(connected=True)
        assert self.vault.expect(arrow.Incoming).works

    def begin(self) -> None:
        """Count from now on, and say what is said to each connection."""
        self._before = self.line.seen()
        for payload in (INFO, POLICY, STATE):
            self.hand_over(arrow.Publish(0, payload))

    def seen(self) -> Seen:
        """Return what was seen since it began."""
        now = self.line.seen()
        return Seen(now.outgoing - self._before.outgoing, now.incoming - self._before.incoming)

    def hand_over(self, publish: arrow.Publish) -> None:
        self.seq += 1
        self._handed.add(self.seq)
        self.vault.send(msgspec.structs.replace(publish, seq=self.seq))

    def has_taken(self) -> bool:
        """Say whether what it was handed waits for the train."""
        outgoing = self._reporter._outgoing
        assert outgoing is not None
        try:
            return outgoing._train is None or self._handed <= set(outgoing._train.seqs)
        except RuntimeError:
            return False  # it changed while we looked

    def is_settled(self) -> bool:
        """Say whether the broker has what left, and what was asked is answered."""
        outgoing = self._reporter._outgoing
        assert outgoing is not None
        return not self._reporter._uplink._unacknowledged and not outgoing.selfping._awaited


_BUSY = (
    arrow.Publish(0, ACTION, ACTION.ttl),
    arrow.Publish(0, ERASE),
    arrow.Publish(0, BEFORE),
    arrow.Publish(0, ALARM),
    arrow.Publish(0, RECEIPT, RECEIPT.ttl),
    arrow.Publish(0, STATE),
    arrow.Publish(0, REPLY),
    arrow.Publish(0, REPLY, None, "fadeout/sp-busy/reply/someone/else", b"0123456789"),
    arrow.Publish(0, ACTION, 30),  # dies before its train
    arrow.Publish(0, INFO),
)


def _without_cover(train: Train) -> None:
    whole = train.tick

    def tick(now_s: float) -> Departure | None:
        departure = whole(now_s)
        if departure is None:
            return None
        return departure._replace(
            cars=[car for car in departure.cars if b'"cover"' not in car.message.payload]
        )

    train.tick = tick  # type: ignore[method-assign]  # because that is the mistake


def _in_their_own_size(train: Train) -> None:
    whole = train.tick

    def tick(now_s: float) -> Departure | None:
        departure = whole(now_s)
        if departure is None:
            return None
        cars = []
        for car in departure.cars:
            own = contract.encode(contract.decode(car.message.payload))
            cars.append(car._replace(message=car.message._replace(payload=own)))
        return departure._replace(cars=cars)

    train.tick = tick  # type: ignore[method-assign]  # because that is the mistake


MISTAKES: dict[str, Callable[[Train], None]] = {
    "no cover": _without_cover,
    "each kind in a size of its own": _in_their_own_size,
}
PROMPT = "prompt mode"
DEAF = "nobody subscribes to cover"
PLANTS = (*MISTAKES, PROMPT, DEAF)


def _planted(outgoing: Outgoing, plant: str) -> Outgoing:
    if plant in MISTAKES and outgoing._train is not None:
        MISTAKES[plant](outgoing._train)
    return outgoing


def _strict_acl(folder: Path) -> Path:
    """Let nobody read cover, the device that subscribes to it included."""
    read = ("fadeout/+/cmd/+", "fadeout/+/erase/ack/+", "fadeout/+/event/action", "fadeout/+/erase/notice")
    lines = ["topic write fadeout/#", "topic write homeassistant/#", *(f"topic read {each}" for each in read)]
    acl = folder / "acl"
    acl.write_text("\n".join(lines) + "\n")
    return acl


@contextlib.contextmanager
def _house(broker: LocalBroker, ca_file: str) -> Iterator[None]:
    """Subscribe to what a house wants to know, which is not cover."""
    subscribed = threading.Event()
    house = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    house.tls_set(ca_file)
    house.on_connect = lambda client, *_: client.subscribe(
        [(f"fadeout/+/{end}", SubscribeOptions(qos=1)) for end in ("event/action", "erase/notice")]
    )
    house.on_subscribe = lambda *_: subscribed.set()
    house.connect(broker.host, broker.port)
    house.loop_start()
    try:
        assert subscribed.wait(LONG_S)
        yield
    finally:
        house.disconnect()
        house.loop_stop()


def compare(folder: Path, trains: int, plant: str = "", seed: int = 0) -> Outcome:
    """Have an idle and a busy device connect and run, and hold what was seen of them against each other.

    Args:
        folder: for the broker's files.
        trains: how many.
        plant: a mistake that must show.
        seed: of what the busy one is handed.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    authority = issue(folder, "ca")
    served = issue(folder, "broker", authority)
    extra = [
        f"cafile {authority.cert_file}", f"certfile {served.cert_file}", f"keyfile {served.key_file}",
        "tls_version tlsv1.3", f"acl_file {_strict_acl(folder)}",
    ]  # fmt: skip
    events = 0
    with (
        LocalBroker(folder, extra=extra) as broker,
        _house(broker, authority.cert_file),
        Device(folder, broker, authority.cert_file, "sp-idle", plant) as idle,
        Device(folder, broker, authority.cert_file, "sp-busy", plant) as busy,
    ):
        both = (idle, busy)
        for device in both:
            device.connect("prompt" if plant == PROMPT else "batched")
        wait_for(lambda: idle.line.seen().outgoing == busy.line.seen().outgoing, "the same at the beginning")
        # Or an acknowledgement of the beginning would be counted with the first trains.
        wait_for(lambda: all(device.is_settled() for device in both), "the beginning is acknowledged")
        for device in both:
            device.begin()
        for number in range(trains):
            for _ in range(chance.randrange(7) if number else 0):
                busy.hand_over(chance.choice(_BUSY))
                events += 1
            wait_for(lambda: all(device.has_taken() for device in both), "what was handed over is taken")
            for device in both:
                device.set_clock(FIRST_S + number * BATCH_S)
            problem = _difference(idle, busy, SLOTS * (number + 1), _SHORT_GRACE_S if plant else _GRACE_S)
            if problem:
                return Outcome(number + 1, 0, events, [f"train {number}: {problem}"])
            # What was acknowledged must be known to be, before the clock jumps over the watchdog.
            wait_for(lambda: all(device.is_settled() for device in both), "the broker has the train")
        seen = idle.seen()
        return Outcome(trains, (seen.outgoing + seen.incoming).total(), events, [])


def _difference(idle: Device, busy: Device, slots: int, grace_s: float) -> str:
    """Wait for the two to look alike, and return in what they do not."""
    deadline_s = time.monotonic() + grace_s
    while True:
        one, other = idle.seen(), busy.seen()
        if one == other and one.outgoing[SLOT_RECORD_BYTES] == slots:
            return ""
        if time.monotonic() > deadline_s:
            return f"idle {one}, busy {other}"
        time.sleep(0.01)
