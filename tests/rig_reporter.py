"""The reporter's end of its arrow, for tests of the vault's."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fadeout_broker import arrow, contract
from fadeout_device import wire
from fadeout_device.vault.reporter_arrow import ReporterArrow

if TYPE_CHECKING:
    from fadeout_device.vault.service import Service

SETTINGS = arrow.BrokerSettings(node="sp-test", actions=("light.on",))
WAIT_S = 60.0

T = TypeVar("T")


class FakeReporter:
    """A reporter that says what a test wants it to."""

    def __init__(self, service: Service, settings: arrow.BrokerSettings = SETTINGS) -> None:
        ours, theirs = socket.socketpair()
        self.arrow = ReporterArrow(service, settings)
        service.on_change = self.arrow.pump

        def serve() -> None:
            with contextlib.closing(theirs):
                self.arrow.serve(wire.Connection(theirs))

        self.thread = threading.Thread(target=serve)
        self.thread.start()
        ours.settimeout(WAIT_S)
        self.sock = ours
        self._lines = ours.makefile("rb")

    def receive(self) -> arrow.ToReporter:
        """Return the next thing that the vault says."""
        line: arrow.ToReporter = msgspec.json.decode(self._lines.readline(), type=arrow.ToReporter)
        return line

    def receive_publish(self) -> arrow.Publish:
        """Return the next thing to publish; whatever is recalled has left already."""
        while isinstance(publish := self.receive(), arrow.Recall):
            pass
        assert isinstance(publish, arrow.Publish), publish
        return publish

    def receive_event(self) -> arrow.Publish:
        """Return the next thing to publish that is not retained; acknowledges what is."""
        while (publish := self.receive_publish()).payload.is_retained:
            self.say(arrow.Published(publish.seq))
        return publish

    def expect(self, kind: type[T]) -> T:
        """Return the next payload of a kind; acknowledges it and all before it."""
        while True:
            publish = self.receive_publish()
            self.say(arrow.Published(publish.seq))
            if isinstance(publish.payload, kind):
                return publish.payload

    def expect_watermark(self, n: int) -> contract.EraseBefore:
        """Return the watermark of this number; acknowledges all before it."""
        while (mark := self.expect(contract.EraseBefore)).n != n:
            pass
        return mark

    def connect(self) -> None:
        """Take the settings, and say that the broker is there."""
        assert isinstance(self.receive(), arrow.Configure)
        self.link(connected=True)

    def link(self, *, connected: bool) -> None:
        """Say that the broker is there, or is not."""
        self.say(arrow.BrokerLink(connected=connected, detail="" if connected else "gone"))

    def say(self, what: arrow.FromReporter) -> None:
        """Say something to the vault."""
        self.sock.sendall(msgspec.json.encode(what) + b"\n")

    def has_more(self) -> bool:
        """Say whether something lies there that was not received; only certain once the vault is at rest."""
        self.sock.setblocking(False)
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self.sock.settimeout(WAIT_S)

    def close(self) -> None:
        """Go away."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(WAIT_S)
        self._lines.close()
        self.sock.close()
