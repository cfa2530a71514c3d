"""A line between the reporter and its broker that can be cut anywhere, and knows what went over it.

Reads the MQTT packets that go to the broker; the broker itself is a real one.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from collections.abc import Iterator

_PUBLISH = 3


class Sent(NamedTuple):
    """A PUBLISH that went over the line, whole."""

    connection: int
    """Which connection since the beginning."""
    topic: str
    payload: bytes
    expiry_s: int | None


class Line:
    """Listens for the reporter, and passes on what it says to a broker and back."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._is_open = True
        self._left: int | None = None  # bytes until it is cut; None: it is not
        self._is_mute = False
        self._sent: list[Sent] = []
        self.connections = 0
        """Since the beginning."""
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def sent(self) -> list[Sent]:
        """Return what has gone over it."""
        with self._lock:
            return self._sent.copy()

    def cut(self) -> None:
        """End the connection; new ones are made."""
        with self._lock:
            pair, self._pair = self._pair, None
            self._left, self._is_mute = None, False
        for end in pair or ():
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection, and refuse new ones until `open`."""
        with self._lock:
            self._is_open = False
        self.cut()

    def open(self) -> None:
        """Take connections again."""
        with self._lock:
            self._is_open = True

    def cut_after(self, size_bytes: int) -> None:
        """End this connection after so many more bytes to the broker, perhaps in the middle of a packet."""
        with self._lock:
            self._left = size_bytes

    def mute(self) -> None:
        """Pass nothing on from the broker, until the connection ends: what it has, it cannot say."""
        with self._lock:
            self._is_mute = True

    def _serve(self) -> None:
        while True:
            try:
                reporter, _ = self._server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(self._to, timeout=5)
                broker.settimeout(None)
            except OSError:
                reporter.close()
                continue
            with self._lock:
                if not self._is_open:
                    reporter.close()
                    broker.close()
                    continue
                self.connections += 1
                self._pair = (reporter, broker)
                self._left, self._is_mute = None, False
            for work in (self._up, self._down):
                threading.Thread(target=work, args=(reporter, broker, self.connections), daemon=True).start()

    def _up(self, reporter: socket.socket, broker: socket.socket, connection: int) -> None:
        unread = b""
        with broker, contextlib.suppress(OSError):
            while data := reporter.recv(4096):
                with self._lock:
                    if self._left is not None:
                        data, self._left = data[: self._left], max(0, self._left - len(data))
                    is_over = self._left == 0
                    unread += data
                    packets, unread = _packets(unread)
                    self._sent += [
                        _publish(connection, *packet) for packet in packets if packet[0] >> 4 == _PUBLISH
                    ]
                broker.sendall(data)
                if is_over:
                    self.cut()
                    return

    def _down(self, reporter: socket.socket, broker: socket.socket, _connection: int) -> None:
        with reporter, contextlib.suppress(OSError):
            while data := broker.recv(4096):
                if not self._is_mute:
                    reporter.sendall(data)
            reporter.shutdown(socket.SHUT_RDWR)


def _packets(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Split whole packets off: first byte and body of each, and the rest."""
    found: list[tuple[int, bytes]] = []
    while True:
        length, at = _length(data, 1)
        if length is None or len(data) < at + length:
            return found, data
        found.append((data[0], data[at : at + length]))
        data = data[at + length :]


def _length(data: bytes, at: int) -> tuple[int | None, int]:
    """Read a variable byte integer: MQTT 5.0, section 1.5.5."""
    value = 0
    for shift in (0, 7, 14, 21):
        if at >= len(data):
            return None, at
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise AssertionError("no length")


def _publish(connection: int, _first: int, body: bytes) -> Sent:
    (topic_length,) = struct.unpack(">H", body[:2])
    topic = body[2 : 2 + topic_length].decode()
    rest = body[2 + topic_length + 2 :]  # after the packet id: QoS is 1
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # because paho leaves it untyped
    _, size = properties.unpack(rest)  # type: ignore[no-untyped-call]  # the same
    return Sent(connection, topic, rest[size:], getattr(properties, "MessageExpiryInterval", None))


def events(sent: list[Sent]) -> Iterator[Sent]:
    """Return those that were events, cover left out."""
    return (each for each in sent if each.topic.endswith("/event/action"))
