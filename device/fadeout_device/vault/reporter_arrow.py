"""The arrow to the reporter: hands over what subscribers must be told, and learns what the broker has.

Nothing is handed over while the broker is away, and each event is made at the
moment it is handed over, by opening its item: so its remaining life is right, and
the event of an erased item cannot be sent. A line leaves the outbox when the broker
has acknowledged it; after a lost connection, whatever was not is made anew.
"""

from __future__ import annotations

import logging
import secrets
import socket
import struct
import threading
from typing import TYPE_CHECKING

import msgspec

from fadeout_broker import arrow, contract
from fadeout_device.errors import FadeoutError, StorageError, WireError
from fadeout_device.vault.alarms import ALARMS
from fadeout_device.vault.errors import KeyErasedError

if TYPE_CHECKING:
    from fadeout_device.vault.outbox import Line
    from fadeout_device.vault.service import Service
    from fadeout_device.wire import Connection

log = logging.getLogger(__name__)

_FIRST_STATE_SEQ = -1
"""The outbox counts from 1 upwards; states are no lines of it and count downwards."""
_FIRST_ALARM_SEQ = -(2**40)
"""Alarms count downwards, too; from a random number, so that none is taken for one of a process before."""
_ALARMS_TOLD = "alarms_told"
STATE_EVERY_S = 600.0
CONFIGURED = "configured"
"""The stage of a connection whose reporter has its settings."""
_SEND_TIMEOUT = struct.pack("@ll", 5, 0)
"""5 seconds as a struct timeval: sending happens under the service's lock, and must not hang."""


class ReporterState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the talk with a reporter stands."""

    is_connected: bool
    in_flight: tuple[int, ...]
    told: tuple[int, ...]
    state_seq: int
    is_state_in_flight: bool
    state_sent: contract.DeviceState | None
    state_sent_s: float


class ReporterArrow:
    """Serves one reporter at a time; a second one is sent away."""

    def __init__(self, service: Service, settings: arrow.BrokerSettings) -> None:
        self._service = service
        self._settings = settings
        self._sock: socket.socket | None = None
        self._is_connected = False
        self._in_flight: dict[int, Line] = {}
        self._told: set[int] = set()
        """Lines that the broker has, and that could not be removed yet: the disk is full."""
        self._state_seq = _FIRST_STATE_SEQ
        self._is_state_in_flight = False
        self._state_sent: contract.DeviceState | None = None
        self._state_sent_s = 0.0
        self._sending = threading.Lock()
        self._alarm_lock = threading.Lock()
        self._alarm_seq = _FIRST_ALARM_SEQ - secrets.randbelow(-_FIRST_ALARM_SEQ)
        self._alarm_in_flight: tuple[int, contract.AlarmEvent] | None = None
        told = (service.store.index.get_meta(_ALARMS_TOLD) or "").split()
        self._alarms_told = {alarm for alarm in ALARMS if alarm in told}
        """What the broker takes for on. In memory, too: the index may be what stands still."""

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

    def pump(self) -> None:
        """Hand over what can be handed over. Called after every change, under the service's lock."""
        if self._sock is None or not self._is_connected:
            return
        self._remove_told()
        try:
            self._hand_over_alarm()
            self._hand_over_state()
            while not all(self._hand_over(line) for line in self._oldest()):
                pass  # a line was dropped: there is room for a later one
        except WireError as err:
            # The reading thread sees the same end of the connection and cleans up.
            log.info("the reporter is gone: %s", err)
            self._is_connected = False

    def _take(self, connection: Connection) -> None:
        if self._sock is not None:
            raise WireError("a second reporter came while the first is here")
        self._sock = connection.sock
        self._service.is_reporter_here = True
        if connection.stage != CONFIGURED:
            self._send(arrow.Configure(self._settings, self._node()))
            connection.stage = CONFIGURED

    def hand_over(self) -> ReporterState:
        """Return what the next process must know of a connection that goes on. Under the service's lock."""
        return ReporterState(
            is_connected=self._is_connected,
            in_flight=tuple(self._in_flight),
            told=tuple(self._told),
            state_seq=self._state_seq,
            is_state_in_flight=self._is_state_in_flight,
            state_sent=self._state_sent,
            state_sent_s=self._state_sent_s,
        )

    def take_over(self, state: ReporterState) -> None:
        """Go on where the process before this one has stopped. Called before `serve`."""
        lines = {line.seq: line for line in self._oldest()}
        self._is_connected = state.is_connected
        self._in_flight = {seq: lines[seq] for seq in state.in_flight if seq in lines}
        self._told = set(state.told)
        self._state_seq, self._is_state_in_flight = state.state_seq, state.is_state_in_flight
        self._state_sent, self._state_sent_s = state.state_sent, state.state_sent_s

    def _leave(self) -> None:
        self._sock, self._is_connected = None, False
        self._in_flight.clear()
        self._alarm_in_flight = None
        self._service.is_reporter_here = False
        self._set_broker("the reporter is away")

    def _node(self) -> str:
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

    def _hear(self, line: bytes) -> None:
        try:
            said = msgspec.json.decode(line, type=arrow.FromReporter)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise WireError("the reporter sent something that is no message") from err
        with self._service.lock:
            if isinstance(said, arrow.Published | arrow.Dropped):
                self._forget(said.seq)  # what the reporter refuses must not stand in the way for ever
            elif isinstance(said, arrow.BrokerLink):
                self._is_connected = said.connected
                self._in_flight.clear()
                self._alarm_in_flight = None
                self._state_sent, self._is_state_in_flight = None, False
                self._set_broker("connected" if said.connected else said.detail or "not connected")
            self.pump()

    def hand_over_alarm(self) -> None:
        """Hand an alarm over, without the service's lock: whoever holds it may stand still."""
        try:
            if self._is_connected:
                self._hand_over_alarm()
        except WireError as err:
            log.info("the reporter is gone: %s", err)

    def _hand_over_alarm(self) -> None:
        """Tell of one alarm that began or is over, unless one is on its way or every place is taken."""
        with self._alarm_lock:
            changed = set(self._service.alarms.on) ^ self._alarms_told
            if not changed or self._alarm_in_flight or len(self._in_flight) > arrow.MAX_IN_FLIGHT - 2:
                return
            alarm = min(changed)
            event = contract.AlarmEvent(v=contract.VERSION, alarm=alarm, on=alarm in self._service.alarms.on)
            self._alarm_seq -= 1
            self._alarm_in_flight = self._alarm_seq, event
            self._send(arrow.Publish(self._alarm_seq, event))

    def _forget_alarm(self, event: contract.AlarmEvent) -> None:
        self._alarm_in_flight = None
        if event.on:
            self._alarms_told.add(event.alarm)
        else:
            self._alarms_told.discard(event.alarm)
        index = self._service.store.index
        try:
            with index.transaction():
                index.set_meta(_ALARMS_TOLD, " ".join(sorted(self._alarms_told)))
        except StorageError as err:
            log.warning("which alarms were reported is not stored: %s", err)

    def _forget(self, seq: int) -> None:
        if self._alarm_in_flight is not None and seq == self._alarm_in_flight[0]:
            self._forget_alarm(self._alarm_in_flight[1])
            return
        if seq == self._state_seq:
            self._is_state_in_flight = False
            return
        line = self._in_flight.pop(seq, None)
        if line is None:
            return
        self._told.add(seq)
        self._service.tell("reported" if line.what == "action" else "withdrawn")

    def _remove_told(self) -> None:
        if not self._told:
            return
        try:
            with self._service.store.index.transaction():
                for seq in self._told:
                    self._service.store.outbox.remove(seq)
        except StorageError as err:
            log.warning("what was reported cannot be removed from the outbox yet: %s", err)
        else:
            self._told.clear()

    def _set_broker(self, words: str) -> None:
        if words != self._service.broker:
            self._service.broker = words
            self._service.tell("broker", reason=words)

    def _hand_over_state(self) -> None:
        if self._is_state_in_flight:
            return
        state = self._state()
        now = self._service.clock.proven()
        if state != self._state_sent or now - self._state_sent_s >= STATE_EVERY_S:
            self._state_seq -= 1
            self._state_sent, self._state_sent_s, self._is_state_in_flight = state, now, True
            self._send(arrow.Publish(self._state_seq, state))

    def _state(self) -> contract.DeviceState:
        service = self._service
        sweep = {"ok": "ok", "none yet": "none"}.get(service.last_sweep, "failed")
        overdue = service.store.eraser.overdue()
        return contract.DeviceState(
            v=contract.VERSION,
            listening=service.ear is not None and service.ear.listening,
            muted=service.privacy.is_muted,
            held=service.held(),
            overdue=overdue,
            sweep=sweep,  # type: ignore[arg-type]  # one of three words, checked again on the way out
            swept=None,
            next_end=None,
            forgetting=not service.alarms.on and not overdue and sweep != "failed",
        )

    def _oldest(self) -> list[Line]:
        # One place is the state's, and one an alarm's if there is one to tell.
        places = 1 if self._alarm_in_flight is None else 2
        return self._service.store.outbox.oldest(arrow.MAX_IN_FLIGHT - places)

    def _hand_over(self, line: Line) -> bool:
        """Hand a line over, unless it was; False when there was nothing to tell any more."""
        if line.seq in self._in_flight or line.seq in self._told:
            return True
        if line.what == "action" and self._waits(line):
            return True
        publish = self._withdrawal(line) if line.what == "erase" else self._action(line)
        if publish is None:
            self._told.add(line.seq)
            self._remove_told()
            return bool(self._told)
        self._in_flight[line.seq] = line
        self._send(publish)
        return True

    def _waits(self, line: Line) -> bool:
        """Say whether its event can only be made once the time is certain."""
        store = self._service.store
        return any(store.timekeeper.is_locked(item) for item in store.index.items("id = ?", [line.item]))

    def _withdrawal(self, line: Line) -> arrow.Publish:
        notice = contract.EraseNotice(v=contract.VERSION, era="00000000", n=line.seq, ids=(line.event_id,))
        return arrow.Publish(line.seq, notice)

    def _action(self, line: Line) -> arrow.Publish | None:
        """Make the event of an action item; None when the item has ended or cannot be opened any more."""
        store = self._service.store
        found = store.index.items("id = ?", [line.item])
        if not found:
            return None
        (item,) = found
        ttl_s = int(store.timekeeper.remaining_s(item))
        if ttl_s < 1:
            return None
        try:
            event_id, metadata = store.event_id(item), store.metadata(item, "event", "reporter")
        except KeyErasedError:
            return None
        except (FadeoutError, StorageError) as err:
            log.warning("an event cannot be made: %s", err)
            return None
        outcome = item.item_class.outcome
        if outcome == "false_wake":
            return None
        event = contract.ActionEvent(
            v=contract.VERSION, id=event_id, action=metadata.action, outcome=outcome, ttl=ttl_s
        )
        return arrow.Publish(line.seq, event, expiry_s=ttl_s)

    def _send(self, message: arrow.ToReporter) -> None:
        assert self._sock is not None  # noqa: S101 - callers hold a connection
        try:
            with self._sending:
                self._sock.sendall(msgspec.json.encode(message) + b"\n")
        except OSError as err:
            raise WireError(err.strerror or str(err)) from err
