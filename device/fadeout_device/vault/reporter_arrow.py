"""The arrow to the reporter: hands over what subscribers must be told, and learns what the broker has.

Nothing is handed over while the broker is away. Each payload is made at the moment it
is handed over (`standing.py`, `telling.py`), under a number that is used once. What
the outbox holds leaves it when the broker has acknowledged it; after a lost connection,
whatever was not acknowledged is made anew.

In this order: alarms, what stands at the broker, answers, what is to be forgotten, events.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import socket
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Literal

import msgspec

from fadeout_broker import arrow, contract
from fadeout_device.errors import StorageError, WireError
from fadeout_device.vault.alarms_told import AlarmsTold
from fadeout_device.vault.standing import STATE_EVERY_S, Standing
from fadeout_device.vault.telling import NotNow, Teller

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.vault.outbox import Departure
    from fadeout_device.vault.service import Service
    from fadeout_device.wire import Connection

log = logging.getLogger(__name__)

CONFIGURED = "configured"
"""The stage of a connection whose reporter has its settings."""
_SEND_TIMEOUT = struct.pack("@ll", 5, 0)
"""5 seconds as a struct timeval: sending happens under the service's lock, and must not hang."""
_PLACES = arrow.MAX_IN_FLIGHT - 1
"""One is an alarm's, always: it is handed over by whoever does not get the service's lock."""
_PLACES_OF_LINES = _PLACES - 1
"""One more is an answer's."""
_MAX_ANSWERS = 16


class Sent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a number stands for, as long as the broker has not acknowledged it."""

    what: Literal["action", "receipt", "erase", "standing", "answer", "withdraw"]
    about: str = ""
    """An item's id, a receipt's number, a notice's era and number, the end of a topic."""


class ReporterState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the talk with a reporter stands."""

    is_connected: bool
    number: int
    in_flight: tuple[tuple[int, Sent], ...]
    told: tuple[Sent, ...]
    alarm: tuple[int, contract.AlarmEvent] | None
    standing: tuple[contract.Outgoing, ...]
    answers: tuple[arrow.Publish, ...]
    state_sent_s: float
    incoming: arrow.Incoming | None
    dropped: int


class ReporterArrow:
    """Serves one reporter at a time; a second one is sent away."""

    def __init__(self, service: Service, settings: arrow.BrokerSettings) -> None:
        self._service = service
        self._settings = settings
        service.subscribers.expected = settings.subscribers
        self._outbox = service.store.outbox
        self._standing = Standing(service, settings)
        self._teller = Teller(service, settings)
        self.on_asked: Callable[[arrow.Asked], None] = lambda _asked: None
        """Called with each command, under the service's lock; answers go to `answer`."""
        self._connection: Connection | None = None
        self._is_connected = False
        self._is_quiet = self._outbox.departure != ""
        """Whether this device has left the broker."""
        # From a random number, so that none is taken for one of a process before.
        self._numbers = itertools.count(1 + secrets.randbelow(2**40))
        self._in_flight: dict[int, Sent] = {}
        self._told: set[Sent] = set()
        """What the broker has, and what could not be removed yet: the disk is full."""
        self._recalled: set[int] = set()
        """Numbers of events whose items were erased on their way."""
        self._answers: deque[arrow.Publish] = deque(maxlen=_MAX_ANSWERS)
        self._stands: dict[str, contract.Outgoing] = {}
        """By the end of the topic: what was handed over on this connection."""
        self._state_sent_s = 0.0
        self._sending = threading.Lock()
        self._alarms = AlarmsTold(service.alarms, service.store.index)

    # ---- a reporter comes and goes

    def serve(self, connection: Connection) -> None:
        """Serve a reporter until it goes.

        Raises:
            WireError: it broke the protocol, or there is one already.
        """
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        with self._service.lock:
            self._take(connection)
        try:
            while line := connection.receive_line(arrow.MAX_LINE_BYTES):
                self._hear(line)
        finally:
            with self._service.lock:
                self._leave()

    def _take(self, connection: Connection) -> None:
        if self._connection is not None:
            raise WireError("a second reporter came while the first is here")
        self._connection = connection
        self._service.is_reporter_here = True
        if connection.stage != CONFIGURED and self._outbox.departure != "done":
            self._configure()

    def _configure(self) -> None:
        assert self._connection is not None  # noqa: S101 - somebody is here
        self._is_connected = False  # until the reporter says so of these settings
        self._in_flight.clear()
        self._send(arrow.Configure(self._settings, self.node()))
        self._connection.stage = CONFIGURED

    def _leave(self) -> None:
        self._connection = None
        self._service.is_reporter_here = False
        self._link(arrow.BrokerLink(connected=False, detail="the reporter is away"))

    def hand_over(self) -> ReporterState:
        """Return what the next process must know of a connection that goes on. Under the service's lock."""
        is_reset = self._service.is_reset  # the same names stand for something else then
        return ReporterState(
            is_connected=self._is_connected,
            number=next(self._numbers),
            in_flight=() if is_reset else tuple(self._in_flight.items()),
            told=() if is_reset else tuple(self._told),
            alarm=self._alarms.in_flight,
            standing=tuple(self._stands.values()),
            answers=tuple(self._answers),
            state_sent_s=self._state_sent_s,
            incoming=self._service.incoming,
            dropped=self._service.dropped_payloads,
        )

    def take_over(self, state: ReporterState) -> None:
        """Go on where the process before this one has stopped. Called before `serve`."""
        self._is_connected = state.is_connected
        self._numbers = itertools.count(state.number)
        self._in_flight = dict(state.in_flight)
        self._told = set(state.told)
        self._alarms.in_flight = state.alarm
        self._stands = {payload.topic: payload for payload in state.standing}
        self._answers.extend(state.answers)
        self._state_sent_s = state.state_sent_s
        self._service.incoming, self._service.dropped_payloads = state.incoming, state.dropped

    def node(self) -> str:
        """Return this device's name in topics: configured, or random and kept."""
        if self._settings.node is not None:
            return self._settings.node
        index = self._service.store.index
        node = index.get_meta("node")
        if node is None:
            node = f"sp-{secrets.token_hex(3)}"
            with index.transaction():
                index.set_meta("node", node)
        return node

    # ---- what the reporter says

    def _hear(self, line: bytes) -> None:
        try:
            said = msgspec.json.decode(line, type=arrow.FromReporter)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise WireError("the reporter sent something that is no message") from err
        with self._service.lock:
            match said:
                case arrow.Published():
                    self._arrived(said.seq)
                case arrow.Dropped():
                    self._dropped(said)
                case arrow.BrokerLink():
                    self._link(said)
                case arrow.Incoming():
                    self._service.incoming = said
                case arrow.Asked():
                    self.on_asked(said)
                case arrow.Acknowledged():
                    self._service.subscribers.hear(said.consumer, said.ack)
            self.pump()

    def _link(self, link: arrow.BrokerLink) -> None:
        self._is_connected = link.connected
        self._in_flight.clear()
        self._alarms.in_flight = None
        self._stands.clear()
        self._answers.clear()
        self._service.incoming = None
        words = "connected" if link.connected else link.detail or "not connected"
        if words != self._service.broker:
            self._service.broker = words
            self._service.tell("broker", reason=words)

    def _arrived(self, number: int) -> None:
        if self._alarms.arrived(number):
            return
        sent = self._in_flight.pop(number, None)
        if sent is None or sent.what in {"standing", "answer"}:
            return
        if sent.what == "withdraw":
            self._has_left()
            return
        self._told.add(sent)
        if number in self._recalled:
            return  # it may have left, or not: its notice follows
        happening = {"action": "reported", "erase": "withdrawn"}.get(sent.what)
        if happening:
            self._service.tell(happening)

    def _dropped(self, dropped: arrow.Dropped) -> None:
        """Take note that something will never leave: a fault of fadeout's, or of the broker's limits."""
        self._service.dropped_payloads += 1
        sent = self._in_flight.get(dropped.seq)
        log.error("a payload was not sent: what=%s at=%s", sent.what if sent else "?", dropped.where)
        self._arrived(dropped.seq)

    # ---- handing over

    def pump(self) -> None:
        """Hand over what can be handed over. Called after every change, under the service's lock."""
        self._service.subscribers.write(self._service.clock.proven())
        if self._connection is None:
            return
        departure = self._outbox.departure
        self._is_quiet = departure != ""
        try:
            if not departure and self._connection.stage != CONFIGURED:
                self._configure()
            if not self._is_connected:
                return
            if departure:
                self._leave_the_broker(departure)
                return
            self._remove_told()
            self._recall()
            self._alarms.tell(self._numbers, self._send)
            self._hand_over_standing()
            while self._answers and len(self._in_flight) < _PLACES:
                self._hand_over(Sent("answer"), self._answers.popleft())
            if not self._must_forget_first():
                self._hand_over_notices()
                self._hand_over_lines()
        except WireError as err:
            # The reading thread sees the same end of the connection and cleans up.
            log.info("the reporter is gone: %s", err)
            self._is_connected = False
        self._remove_told()

    def _leave_the_broker(self, departure: Departure) -> None:
        """Have the broker cleared of this device, and send nothing else."""
        left = Sent("withdraw")
        if departure == "asked" and left not in self._in_flight.values():
            number = next(self._numbers)
            self._in_flight[number] = left
            self._send(arrow.Withdraw(number))

    def _has_left(self) -> None:
        assert self._connection is not None  # noqa: S101 - it has just said so
        self._connection.stage = ""  # it needs its settings again, if this device comes back
        self._is_connected = False
        index = self._service.store.index
        try:
            with index.transaction():
                if self._outbox.departure == "asked":
                    self._outbox.depart("done")
        except StorageError as err:
            log.warning("that the broker is cleared cannot be stored yet: %s", err)
        self._service.has_left.notify_all()

    def answer(self, reply: contract.Reply, reply_to: str | None, correlation: bytes | None) -> None:
        """Send the answer to a command; the oldest is lost when too many wait. Under the service's lock."""
        self._answers.append(arrow.Publish(0, reply, reply_to=reply_to, correlation=correlation))
        self.pump()

    def _hand_over_standing(self) -> None:
        now = self._service.clock.proven()
        on_their_way = {sent.about for sent in self._in_flight.values() if sent.what == "standing"}
        for payload in self._standing.payloads():
            is_state = isinstance(payload, contract.DeviceState)
            is_old = is_state and now - self._state_sent_s >= STATE_EVERY_S
            is_new = is_old or self._stands.get(payload.topic) != payload
            if not is_new or payload.topic in on_their_way or len(self._in_flight) >= _PLACES:
                continue
            self._stands[payload.topic] = payload
            if is_state:
                self._state_sent_s = now
            self._hand_over(Sent("standing", payload.topic), arrow.Publish(0, payload))

    def _must_forget_first(self) -> bool:
        """Say whether a watermark waits after which all that was sent before is forgotten: it goes first."""
        stands, wanted = self._stands.get(contract.EraseBefore.topic), self._standing.before()
        if not isinstance(stands, contract.EraseBefore):
            return True
        return stands.era != wanted.era or wanted.since > stands.n + 1

    def _hand_over_notices(self) -> None:
        known = self._known()
        era = self._outbox.notices.era
        for notice in self._outbox.notices.untold(_PLACES_OF_LINES):
            sent = Sent("erase", f"{era} {notice.n}")
            if sent in known:
                continue
            if len(self._in_flight) >= _PLACES_OF_LINES:
                return
            payload = contract.EraseNotice(v=contract.VERSION, era=era, n=notice.n, ids=notice.ids)
            self._hand_over(sent, arrow.Publish(0, payload))

    def _hand_over_lines(self) -> None:
        known = self._known()
        if len(self._in_flight) >= _PLACES_OF_LINES:
            return
        for line in self._outbox.lines():
            sent = Sent(line.what, line.about)
            if sent in known:
                continue
            told = self._teller.tell(line)
            if told is NotNow.NEVER:
                self._told.add(sent)
            elif told is not NotNow.LATER:
                self._hand_over(sent, arrow.Publish(0, told.payload, expiry_s=told.ttl_s))
                if len(self._in_flight) >= _PLACES_OF_LINES:
                    return

    def _recall(self) -> None:
        """Have the reporter keep back events whose items were erased while they waited there."""
        self._recalled &= self._in_flight.keys()
        dead = tuple(
            number for number, sent in self._in_flight.items()
            if sent.what == "action" and number not in self._recalled and not self._outbox.has(sent.about)
        )  # fmt: skip
        if dead:
            self._recalled.update(dead)
            self._send(arrow.Recall(dead))

    def _known(self) -> set[Sent]:
        return {*self._in_flight.values(), *self._told}

    def _hand_over(self, sent: Sent, publish: arrow.Publish) -> None:
        number = next(self._numbers)
        self._in_flight[number] = sent
        self._send(msgspec.structs.replace(publish, seq=number))

    def _remove_told(self) -> None:
        if not self._told:
            return
        try:
            with self._service.store.index.transaction():
                for sent in self._told:
                    if sent.what == "erase":
                        era, n = sent.about.split()
                        self._outbox.notices.mark_told(era, int(n))
                    else:
                        self._outbox.remove(sent.what, sent.about)
        except StorageError as err:
            log.warning("what was reported cannot be removed from the outbox yet: %s", err)
        else:
            self._told.clear()

    def hand_over_alarm(self) -> None:
        """Hand an alarm over, without the service's lock: whoever holds it may stand still."""
        try:
            if self._is_connected and not self._is_quiet:
                self._alarms.tell(self._numbers, self._send)
        except WireError as err:
            log.info("the reporter is gone: %s", err)

    def _send(self, message: arrow.ToReporter) -> None:
        connection = self._connection
        if connection is None:
            raise WireError("nobody is here")
        try:
            with self._sending:
                connection.sock.sendall(msgspec.json.encode(message) + b"\n")
        except OSError as err:
            raise WireError(err.strerror or str(err)) from err
