"""What reporting costs: delay beside bare paho, the reporter's memory, and a thousand devices on one broker.

The reporter is the real process, and its vault a stand-in that hands it events over
the real arrow, one at a time and fifty a second. A bare paho client publishes the
same bytes to the same broker in turns with it, and one subscriber hears both: compare
the two within one run. The devices are real MQTT 5 connections with a reporter's
will, subscriptions and retained topics, kept up by a few processes that share the
machine with the broker. Everything is on loopback, without TLS.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec
from measured import Measurement, at_most
from reporting_clients import TTL_S, Told, paced
from rich.console import Console
from rich.progress import Progress

from fadeout_broker import arrow, contract
from fadeout_broker.local import LocalBroker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

SUMMARY = "delay to a subscriber, the reporter's memory, and a thousand devices on one broker"
RATE_HZ = 50.0
MAX_RATIO = 2.0
MAX_REPORTER_MB = 35
NODE = "bench"
MS = 1e6
"""Nanoseconds."""

_CLIENTS = Path(__file__).with_name("reporting_clients.py")
_SPARE_FILES = 200
_PER_PROCESS = 250
_FILES_PER_DEVICE = 3
"""paho holds a pair of sockets beside each connection."""
_WAIT_S = 90.0
_MAX_DEVICES = 10_000


class Size(NamedTuple):
    """How much is measured."""

    devices: int
    turns: int
    events_per_turn: int
    paced_events: int
    paced_hz: float
    burst_events: int


def add_options(verb: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    verb.add_argument(
        "--devices",
        type=int,
        default=1000,
        help=f"so many connections (default 1000, at most {_MAX_DEVICES})",
    )
    verb.add_argument("--turns", type=int, default=10, help="turns of each publisher (default 10)")
    verb.add_argument("--quick", action="store_true", help="a tenth of everything: does it work?")


def measure(arguments: argparse.Namespace) -> list[Measurement]:
    """Measure everything."""
    wanted = min(arguments.devices, _MAX_DEVICES)
    size = Size(wanted, arguments.turns, 100, 2000, 200.0, 20_000)
    if arguments.quick:
        size = Size(max(1, wanted // 10), 2, 25, 200, 100.0, 1000)
    size = size._replace(devices=min(size.devices, _room_for_devices()))
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="fadeout-bench-") as name,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        folder = Path(name)
        rows = [*_delay(folder, size, progress)]
        return [*rows, *_devices(folder, size, progress)]


def _room_for_devices() -> int:
    """Allow as many open files as the system lets us, and return how many devices that is enough for."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Of the broker's files; each of our processes has only a few hundred devices.
    if most < _PER_PROCESS * _FILES_PER_DEVICE + _SPARE_FILES:
        raise SystemExit(f"only {most} open files are allowed: ulimit -Hn")
    return most - _SPARE_FILES


# ---- the other processes


class Client:
    """One process of `reporting_clients.py`."""

    def __init__(self, role: str, broker: LocalBroker, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, _CLIENTS, role, broker.host, str(broker.port), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        if self.answer() != "ready":
            raise SystemExit("a process of the benchmark did not start")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        assert self._process.stdout is not None  # noqa: S101 - the same
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def say(self, **command: object) -> None:
        """Give a command."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:  # noqa: ANN401 - JSON
        """Wait for the answer to the command."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a process of the benchmark ended before its time")
        return json.loads(line)


def _hear(subscriber: Client, expected: int) -> Told:
    """Return what a subscriber has heard, once that is as much as expected, or nothing comes any more."""
    heard: Told = []
    quiet_s = time.monotonic() + _WAIT_S
    while len(heard) < expected and time.monotonic() < quiet_s:
        subscriber.say()
        if more := subscriber.answer():
            heard += more
            quiet_s = time.monotonic() + _WAIT_S / 10
        time.sleep(0.02)
    return heard


class Vault:
    """A stand-in for the vault: it hands over events, and waits for their acknowledgements."""

    def __init__(self, path: Path, broker: LocalBroker) -> None:
        self._window = threading.Semaphore(arrow.MAX_IN_FLIGHT)
        self._up = threading.Event()
        self._sequence = 0
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(1)
        self.reporter = subprocess.Popen(
            [sys.executable, "-m", "fadeout_broker.reporter", "--socket", str(path)]
        )
        self._peer, _ = self._server.accept()
        threading.Thread(target=self._read, daemon=True).start()
        settings = arrow.BrokerSettings(host=broker.host, port=broker.port, discovery=False)
        self._send(arrow.Configure(settings, NODE))
        if not self._up.wait(_WAIT_S):
            raise SystemExit("the reporter did not reach the broker")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.reporter.terminate()
        self.reporter.wait()
        self._peer.close()
        self._server.close()

    def _read(self) -> None:
        with self._peer.makefile("rb") as lines, contextlib.suppress(OSError, ValueError):
            for line in lines:
                said = msgspec.json.decode(line, type=arrow.FromReporter)
                if isinstance(said, arrow.Published):
                    self._window.release()
                elif isinstance(said, arrow.BrokerLink) and said.connected:
                    self._up.set()

    def _send(self, line: arrow.ToReporter) -> None:
        self._peer.sendall(msgspec.json.encode(line) + b"\n")

    def publish(self, first: int, count: int, rate: float) -> Told:
        """Hand over events at a rate; return when each was, once the broker has them all."""
        sent: Told = []
        for number in paced(first, count, rate):
            self._window.acquire()
            self._sequence += 1
            event = contract.ActionEvent(
                v=1, id=f"{number:016d}", action="light.on", outcome="served", ttl=TTL_S
            )
            sent.append((number, time.monotonic_ns()))
            self._send(arrow.Publish(self._sequence, event, TTL_S))
        for _ in range(arrow.MAX_IN_FLIGHT):
            self._window.acquire()
        self._window.release(arrow.MAX_IN_FLIGHT)
        return sent


# ---- delay, and the reporter's memory


def _delay(folder: Path, size: Size, progress: Progress) -> Iterator[Measurement]:
    turns = progress.add_task("delay, in turns", total=2 * size.turns)
    bare_topic = f"{contract.TOPIC_ROOT}/bare/{contract.ActionEvent.topic}"
    ours: Told = []
    bare: Told = []
    with LocalBroker(folder) as broker:
        filters = [bare_topic, contract.prefix_of(NODE) + contract.ActionEvent.topic]
        with (
            Client("subscribe", broker, *filters) as subscriber,
            Client("publish", broker, bare_topic) as publisher,
            Vault(folder / "reporter.sock", broker) as vault,
        ):
            count = size.events_per_turn
            for turn in range(size.turns):
                first = 2 * turn * count
                publisher.say(first=first, count=count, rate=RATE_HZ)
                bare += publisher.answer()
                progress.advance(turns)
                ours += vault.publish(first + count, count, RATE_HZ)
                progress.advance(turns)
            heard = dict(_hear(subscriber, 2 * size.turns * count))
            resident_mb = _memory_kib(vault.reporter.pid) * 1024 / 1e6
    yield from _compared(bare, ours, heard)
    yield at_most("reporter, resident", resident_mb, "MB", MAX_REPORTER_MB)


def _compared(bare: Told, ours: Told, heard: dict[int, int]) -> Iterator[Measurement]:
    yield at_most("events that did not arrive", len({*dict(bare), *dict(ours)} - {*heard}), "of all", 0)
    theirs, us = _delays_ms(bare, heard), _delays_ms(ours, heard)
    for what, delays in (("bare paho to a subscriber", theirs), ("outbox to a subscriber", us)):
        yield Measurement(f"{what}, p50", _percentile(delays, 50), "ms")
        yield Measurement(f"{what}, p99", _percentile(delays, 99), "ms")
    p50, p99 = (_percentile(us, each) / _percentile(theirs, each) for each in (50, 99))
    yield at_most("outbox / bare paho, p50", p50, "times", MAX_RATIO)
    yield Measurement("outbox / bare paho, p99", p99, "times")


def _delays_ms(sent: Told, heard: dict[int, int]) -> list[float]:
    return [(heard[number] - at) / MS for number, at in sent if number in heard]


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _memory_kib(process_id: int) -> int:
    with open(f"/proc/{process_id}/status", encoding="ascii") as status:  # noqa: PTH123 - not a file
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


# ---- many devices


def _devices(folder: Path, size: Size, progress: Progress) -> Iterator[Measurement]:
    steps = progress.add_task(f"{size.devices:,} devices", total=4)
    every = f"{contract.TOPIC_ROOT}/+/{contract.ActionEvent.topic}"
    shared = f"$share/consumers/{every}"
    # Without a bound on what waits for a subscriber, or a burst would measure how much is thrown away.
    limits = {"max_connections": "-1", "max_queued_messages": "0"}
    with LocalBroker(folder, instead=limits) as broker, contextlib.ExitStack() as stack:
        assert broker.process is not None  # noqa: S101 - it runs
        subscriber = stack.enter_context(Client("subscribe", broker, every))
        empty_kib = _memory_kib(broker.process.pid)
        parts = [min(_PER_PROCESS, size.devices - first) for first in range(0, size.devices, _PER_PROCESS)]
        crowd = [
            stack.enter_context(Client("devices", broker, index * _PER_PROCESS, count))
            for index, count in enumerate(parts)
        ]
        began_s = time.monotonic()
        _all(crowd, "connect")
        connected_s = time.monotonic() - began_s
        connected_kib = _memory_kib(broker.process.pid)
        progress.advance(steps)
        _all(crowd, "retain")
        retained_kib = _memory_kib(broker.process.pid)
        progress.advance(steps)
        yield Measurement("devices connected", size.devices, "connections")
        yield Measurement("connections made", size.devices / connected_s, "per second")
        yield Measurement("broker, resident, no device", empty_kib * 1024 / 1e6, "MB")
        yield Measurement("broker, resident, all devices", retained_kib * 1024 / 1e6, "MB")
        yield Measurement("a connection", (connected_kib - empty_kib) / size.devices, "KiB per device")
        yield Measurement(
            "and what it retains", (retained_kib - connected_kib) / size.devices, "KiB per device"
        )
        consumers = [stack.enter_context(Client("subscribe", broker, shared)) for _ in range(2)]
        yield from _paced(crowd, parts, size, subscriber, consumers)
        progress.advance(steps)
        yield from _burst(crowd, parts, size, subscriber)
        progress.advance(steps)


def _all(crowd: list[Client], what: str) -> None:
    for client in crowd:
        client.say(do=what)
    for client in crowd:
        client.answer()


def _split(total: int, parts: list[int]) -> list[tuple[int, int]]:
    """Split events among processes as their devices are split: the first number, and how many."""
    ends = [round(total * sum(parts[: index + 1]) / sum(parts)) for index in range(len(parts))]
    return [(start, end - start) for start, end in zip([0, *ends], ends, strict=False)]


def _paced(
    crowd: list[Client], parts: list[int], size: Size, subscriber: Client, consumers: list[Client]
) -> Iterator[Measurement]:
    shares = _split(size.paced_events, parts)
    for client, (first, count) in zip(crowd, shares, strict=True):
        client.say(do="pace", first=first, count=count, rate=size.paced_hz * count / size.paced_events)
    sent: Told = [each for client in crowd for each in client.answer()]
    heard = dict(_hear(subscriber, len(sent)))
    label = f"at {size.paced_hz:g} events per second"
    yield at_most(f"{label}: did not arrive", len({*dict(sent)} - {*heard}), "events", 0)
    delays = _delays_ms(sent, heard)
    yield Measurement(f"{label}: device to a subscriber, p50", _percentile(delays, 50), "ms")
    yield Measurement(f"{label}: device to a subscriber, p99", _percentile(delays, 99), "ms")
    yield from _shared(sent, consumers)


def _shared(sent: Told, consumers: list[Client]) -> Iterator[Measurement]:
    """Hold what two consumers of one shared subscription got against what was sent."""
    first, second = ({number for number, _ in _hear_rest(consumer)} for consumer in consumers)
    everything = {*dict(sent)}
    wrong = (first & second) | (everything - first - second)
    yield at_most("shared subscription: by both or by neither", len(wrong), "events", 0)
    smaller = min(len(first), len(second)) / len(everything)
    yield Measurement("shared subscription: the smaller half of two", 100 * smaller, "%")


def _hear_rest(subscriber: Client) -> Told:
    """Return what a subscriber has heard, once nothing came for a second."""
    heard: Told = []
    quiet_s = time.monotonic() + 1.0
    while time.monotonic() < quiet_s:
        subscriber.say()
        if more := subscriber.answer():
            heard += more
            quiet_s = time.monotonic() + 1.0
        time.sleep(0.05)
    return heard


def _burst(crowd: list[Client], parts: list[int], size: Size, subscriber: Client) -> Iterator[Measurement]:
    shares = _split(size.burst_events, parts)
    offset = size.paced_events
    for client, (first, count) in zip(crowd, shares, strict=True):
        client.say(do="burst", first=offset + first, count=count)
    spans = [client.answer() for client in crowd]
    heard = _hear(subscriber, size.burst_events)
    began_ns = min(began for began, _ in spans)
    acknowledged_s = (max(ended for _, ended in spans) - began_ns) / 1e9
    heard_s = (max(at for _, at in heard) - began_ns) / 1e9
    yield at_most("all at once: did not arrive", size.burst_events - len(dict(heard)), "events", 0)
    yield Measurement(
        "all at once: acknowledged by the broker", size.burst_events / acknowledged_s, "events per second"
    )
    yield Measurement("all at once: heard by one subscriber", len(heard) / heard_s, "events per second")
