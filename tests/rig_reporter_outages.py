"""Outages: whatever happens to reporter, broker, line and vault, each event that lives arrives, in order.

A history is a row of random misfortunes, each while events flow, with a real reporter and a
real Mosquitto; the vault is a model of a few lines, the rules of the arrow and nothing more. Its
clock jumps only while nothing flows, so that each message on the line can be held against
the life that its event then had. `scripts/prove` has more histories than the tests.
"""

from __future__ import annotations

import contextlib
import queue
import random
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker.fake_vault import FakeVault, ReporterProcess
from broker.subscriber import Subscriber
from fadeout_broker import arrow, contract
from fadeout_broker.local import LocalBroker
from fadeout_broker.uplink import client_id
from rig_mqtt_line import Line, Sent, events
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Mode = Literal["prompt", "batched"]
NODE = "sp-out"
CAME = "came"
_TOPIC = f"fadeout/{NODE}/event/action"
_HOUR_S = 3600
_LIVES_S = (600, 2 * _HOUR_S, 86400, 7 * 86400)
_LONG_S = 90.0
MAX_RESIDENT_KB = 35_000


class Outcome(NamedTuple):
    """What some histories came to."""

    histories: int
    misfortunes: int
    events: int
    died: int
    """Events whose items died before they could be told: they were never sent."""
    sent_twice: int
    lost_by_broker: int
    """Acknowledged by a broker that was killed before it had passed them on. Nobody can help that."""
    resident_kb: int
    """The reporter's largest memory at the end of a history."""
    problems: list[str]


class Event(NamedTuple):
    """A line of the model's outbox."""

    number: int
    dies_at_s: int


class ModelVault(FakeVault):
    """Hands over events as the arrow's rules say: after `connected`, 16 at a time, again after every loss."""

    def __init__(self, path: Path, settings: arrow.BrokerSettings) -> None:
        self.clock_s = 0
        self.outbox: list[Event] = []
        self.dies_at_s: dict[int, int] = {}
        self.published: list[int] = []
        self.died: list[int] = []
        self.complaints: list[str] = []
        self._settings = settings
        self._made = 0
        self.in_flight: set[int] = set()
        self.is_connected = False
        self.losses = 0
        """How often it was told that the broker is away, or the reporter went."""
        super().__init__(path)

    def make(self, count: int, chance: random.Random) -> None:
        """Have so many things happen."""
        for _ in range(count):
            self._made += 1
            self.dies_at_s[self._made] = self.clock_s + chance.choice(_LIVES_S)
            self.outbox.append(Event(self._made, self.dies_at_s[self._made]))

    def work(self) -> None:
        """Take in what was said, and hand over what may be."""
        while True:
            try:
                self._hear(self.said.get_nowait())
            except queue.Empty:
                break
        self._pump()

    def _hear(self, said: arrow.FromReporter | str) -> None:
        match said:
            case str() if said == CAME:
                self.in_flight.clear()
                self.is_connected = False
                self.configure(self._settings, NODE)
            case str():
                self.is_connected = False
                self.losses += 1
            case arrow.BrokerLink(connected):
                self.in_flight.clear()
                self.is_connected = connected
                self.losses += not connected
            case arrow.Published(seq):
                if seq in self.in_flight:
                    self.in_flight.remove(seq)
                    self.published.append(seq)
                    self.outbox = [event for event in self.outbox if event.number != seq]
            case arrow.Dropped(seq, where):
                self.complaints.append(f"event {seq} was dropped at {where}")

    def _pump(self) -> None:
        self.died += [event.number for event in self.outbox if event.dies_at_s <= self.clock_s]
        self.outbox = [event for event in self.outbox if event.dies_at_s > self.clock_s]
        if not self.is_connected:
            return
        for number, dies_at_s in self.outbox[: arrow.MAX_IN_FLIGHT]:
            if number not in self.in_flight:
                self.in_flight.add(number)
                left_s = dies_at_s - self.clock_s
                self.send(arrow.Publish(number, _event(number, left_s), left_s))

    def send_raw(self, data: bytes) -> None:
        """Send, or not: a reporter that has gone is noticed when it is read from."""
        with contextlib.suppress(OSError):
            if self._peer is not None:
                self._peer.sendall(data)

    def came(self) -> None:
        self.said.put(CAME)


def _event(number: int, left_s: int) -> contract.ActionEvent:
    return contract.ActionEvent(v=1, id=f"{number:016d}", action="none", outcome="failed", ttl=left_s)


class History:
    """One history: what is real, and what can happen to it."""

    def __init__(self, folder: Path, seed: int, settings: arrow.BrokerSettings, broker: LocalBroker) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.heard: set[int] = set()
        self.lost_by_broker: set[int] = set()
        self._waits = settings.mode == "batched"  # for its train, and so ages
        self._folder = folder
        self._broker = broker
        self.line = Line(broker.host, broker.port)
        self.vault = ModelVault(
            folder / "vault.sock", msgspec.structs.replace(settings, host="127.0.0.1", port=self.line.port)
        )
        self.reporter = self._start_reporter()
        self.house = Subscriber(broker)
        self.clocks: list[tuple[int, int]] = []  # connections before it -> what the clock said from then on

    def close(self) -> None:
        """End everything."""
        self.reporter.__exit__()
        self.house.__exit__()
        self.line.__exit__()
        self.vault.die()

    def _start_reporter(self) -> ReporterProcess:
        return ReporterProcess(self.vault.path, self._folder / "reporter.log")

    def until(self, look: Callable[[], bool], what: str) -> None:
        """Let the vault work until something is so."""

        def is_so() -> bool:
            self.vault.work()
            self._listen()
            return look()

        wait_for(is_so, what, _LONG_S)

    def _listen(self) -> None:
        for message in self.house.rest():
            if message.topic == _TOPIC:
                event = contract.decode(message.payload)
                assert isinstance(event, contract.ActionEvent)
                self.heard.add(int(event.id))

    def until_lost(self, cause: Callable[[], None]) -> None:
        """Do something, and let the vault work until it has learnt that broker or reporter are away."""
        losses = self.vault.losses
        cause()
        self.until(lambda: self.vault.losses > losses, "the vault knows")

    # ---- misfortunes; each ends with the line open again, and the vault knowing

    def reporter_killed(self) -> None:
        def kill() -> None:
            self.reporter.process.kill()
            self.reporter.process.wait()

        self.until_lost(kill)
        self.reporter = self._start_reporter()

    def broker_killed(self) -> None:
        def kill() -> None:
            self._broker.kill()
            self.line.close()

        self.until_lost(kill)
        self.house.__exit__()
        self._listen()
        # What it acknowledged and had not passed on is lost with it.
        self.lost_by_broker |= set(self.vault.published) - self.heard
        self._broker.start()
        self.house = Subscriber(self._broker)
        self.line.open()

    def line_cut(self) -> None:
        self.until_lost(self.line.cut)

    def line_cut_in_the_middle(self) -> None:
        self.vault.make(20, self.chance)
        self.until_lost(lambda: self.line.cut_after(self.chance.randrange(4000)))

    def line_flaps(self) -> None:
        for _ in range(5):
            self.until_lost(self.line.cut)
            self.until(lambda: self.vault.is_connected, "connected once more")

    def nothing_is_acknowledged(self) -> None:
        self.line.mute()
        self.vault.make(5, self.chance)
        self.until(lambda: bool(self.vault.in_flight), "something waits for its acknowledgement")
        time.sleep(self.chance.random() / 50)
        self.until_lost(self.line.cut)

    def away(self, time_s: int) -> None:
        self.vault.make(self.chance.randrange(40), self.chance)
        self.until_lost(self.line.close)
        self.vault.clock_s += time_s
        self.clocks.append((self.line.connections, self.vault.clock_s))
        self.vault.make(self.chance.randrange(10), self.chance)
        self.line.open()

    def away_for_an_hour(self) -> None:
        self.away(_HOUR_S)

    def away_for_a_week(self) -> None:
        self.away(7 * 86400)

    def twin(self) -> None:
        """Another device with our client id comes, and goes."""
        other = Client(
            CallbackAPIVersion.VERSION2,
            client_id(NODE),
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self.until_lost(lambda: _connect(other, self._broker))
        other.disconnect()
        other.loop_stop()

    def vault_renewed(self) -> None:
        self.until_lost(self.vault.hang_up)

    # ---- what must have held

    def problems(self) -> Iterator[str]:
        """Hold what went over the line against what may."""
        yield from self.vault.complaints
        firsts: list[int] = []
        for sent in events(self.line.sent()):
            event = contract.decode(sent.payload)
            assert isinstance(event, contract.ActionEvent)
            number = int(event.id)
            if number not in firsts:
                firsts.append(number)
            left_s = self.vault.dies_at_s[number] - self._clock_of(sent)
            if left_s < 1:
                yield f"event {number} was sent when its item had died"
            waited_s = left_s - event.ttl
            if event.ttl != sent.expiry_s or waited_s < 0 or (waited_s and not self._waits):
                yield f"event {number} left with {event.ttl} and {sent.expiry_s} s to live, not {left_s} s"
        if firsts != sorted(firsts):
            yield "events were out of order"
        if missing := set(self.vault.published) - set(firsts):
            yield f"{len(missing)} events were said to be published and never left"
        if unheard := set(self.vault.published) - self.heard - self.lost_by_broker:
            yield f"{len(unheard)} events did not arrive"
        if self.vault.outbox:
            yield f"{len(self.vault.outbox)} events are stuck"

    def _clock_of(self, sent: Sent) -> int:
        return next((clock for before, clock in reversed(self.clocks) if sent.connection > before), 0)


def _connect(client: Client, broker: LocalBroker) -> None:
    client.connect(broker.host, broker.port)
    client.loop_start()


MISFORTUNES: dict[str, Callable[[History], None]] = {
    "the reporter is killed": History.reporter_killed,
    "the broker is killed": History.broker_killed,
    "the line is cut": History.line_cut,
    "the line is cut in the middle of a message": History.line_cut_in_the_middle,
    "the line flaps": History.line_flaps,
    "what was sent is not acknowledged": History.nothing_is_acknowledged,
    "the broker is away for an hour": History.away_for_an_hour,
    "the broker is away for a week": History.away_for_a_week,
    "another device has our client id": History.twin,
    "the vault is renewed": History.vault_renewed,
}


def live(folder: Path, seed: int, misfortunes: list[str], mode: Mode = "prompt") -> Outcome:
    """Live through misfortunes, one after the other, and say what came of it."""
    # A broker that takes few messages at once holds the reporter to it.
    extra = ["max_inflight_messages 3"] if seed % 2 else []
    with LocalBroker(folder, extra=extra) as broker:
        history = History(folder, seed, arrow.BrokerSettings(mode=mode, batch_s=1), broker)
        try:
            history.until(lambda: history.vault.is_connected, "connected at the beginning")
            for misfortune in misfortunes:
                history.vault.make(history.chance.randrange(1, 40), history.chance)
                history.vault.work()
                time.sleep(history.chance.random() / 50)  # some of it is on its way, some is not
                MISFORTUNES[misfortune](history)
                history.until(lambda: history.vault.is_connected, f"connected after {misfortune}")
            history.until(lambda: not history.vault.outbox, "everything is told")
            due = set(history.vault.published) - history.lost_by_broker
            history.until(lambda: due <= history.heard, "everything is heard")
            sent = [contract.decode(each.payload) for each in events(history.line.sent())]
            return Outcome(
                1, len(misfortunes), len(history.vault.published), len(history.vault.died),
                len(sent) - len(set(sent)), len(history.lost_by_broker), history.reporter.resident_kb(),
                list(history.problems()),
            )  # fmt: skip
        finally:
            history.close()


def run(folder: Path, histories: int, seed: int = 0) -> Outcome:
    """Live through so many random histories of ten misfortunes each; every fifth in batched mode."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    total = Outcome(0, 0, 0, 0, 0, 0, 0, [])
    for number in range(histories):
        place = folder / f"history-{number}"
        place.mkdir()
        misfortunes = chance.choices(list(MISFORTUNES), k=10)
        one = live(place, seed + number, misfortunes, "prompt" if number % 5 else "batched")
        problems = [f"history {number}: {problem}" for problem in one.problems]
        if one.resident_kb > MAX_RESIDENT_KB:
            problems.append(f"history {number}: the reporter takes {one.resident_kb} kB")
        total = Outcome(
            total.histories + 1,
            total.misfortunes + one.misfortunes,
            total.events + one.events,
            total.died + one.died,
            total.sent_twice + one.sent_twice,
            total.lost_by_broker + one.lost_by_broker,
            max(total.resident_kb, one.resident_kb),
            [*total.problems, *problems],
        )
    return total
