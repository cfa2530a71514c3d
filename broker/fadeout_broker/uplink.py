"""Keeps one MQTT connection up: a fresh one per attempt, with backoff and a watchdog.

Decides when to connect, when to give up and what the vault is told; the
connection itself is handed in. Reads no clock and starts no thread: times are
arguments, in seconds of a monotonic clock.

States: idle (not configured) - waiting (until `next_at_s`) - connecting (until
the watchdog bites) - up. Any `Down` leads back to waiting.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fadeout_broker import arrow, failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_broker.backoff import Backoff

_log = logging.getLogger(__name__)

WATCHDOG_S = 30.0
"""A connection that is not up by then is thrown away: paho was seen waiting for ever (issues #785, #894)."""

STEADY_S = 60.0
"""A connection that lasted so long has worked: the next failure starts the backoff anew.

Not at CONNACK: a client id used twice, or an ACL that refuses events, lets us
connect each time and would have us try every second, for ever.
"""

_FLAPS = 3


class Up(NamedTuple):
    """The broker accepted the connection and acknowledged our `online`."""


class Down(NamedTuple):
    """The connection could not be made, ended, or a message was refused; nothing comes after it."""

    detail: str
    is_unexplained: bool = False
    """It was up and then lost, and nobody said why."""


class Acknowledged(NamedTuple):
    """The broker took over the message with this id."""

    message_id: int


LinkInput = Up | Down | Acknowledged


def client_id(node: str) -> str:
    """Return the MQTT client id of a node.

    The same on every connection: the broker then ends our half-open connection of before, and sends its will,
    before it answers the new one. With a random id that late `offline` would overwrite our `online`.
    """
    return f"fadeout-{node}"


class Link(Protocol):
    """What `MqttLink` does; a test can hand in another."""

    def open(self) -> None:
        """Start connecting."""

    def publish(self, topic: str, payload: bytes, *, retain: bool, expiry_s: int | None) -> int:
        """Hand over one message and return its id."""

    def close(self, *, is_stop: bool) -> None:
        """End the connection."""


class Uplink:
    """The connection to the broker, as the reporter sees it.

    Args:
        new_link: makes a link that is not open yet.
        backoff: how long to wait between attempts.
        report: told every change of the link's state.
    """

    def __init__(
        self,
        new_link: Callable[[arrow.Configure], Link],
        backoff: Backoff,
        report: Callable[[arrow.BrokerLink], None],
    ) -> None:
        self._new_link = new_link
        self._backoff = backoff
        self._report = report
        self._configure: arrow.Configure | None = None
        self._link: Link | None = None
        self._opened_at_s = 0.0
        self._up_at_s: float | None = None
        self._flaps = 0
        self.state = arrow.BrokerLink(connected=False, detail="not configured")
        self.next_at_s: float | None = None
        """When `tick` has something to do; None: not before something happens."""

    def configure(self, configure: arrow.Configure, now_s: float) -> None:
        """Use these settings from now on; the same ones again change nothing."""
        if configure == self._configure:
            return
        self.stop()
        self._configure = configure
        self._backoff.reset()
        self._flaps = 0
        if configure.settings.enabled:
            self.next_at_s = now_s
            self._say(connected=False, detail=f"connecting to {failures.where(configure.settings)}")
        else:
            self._say(connected=False, detail="switched off by [mqtt] enabled = false")

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        if self._configure is None or self.next_at_s is None or now_s < self.next_at_s:
            return
        if self._link is not None:
            self.give_up(failures.of_no_answer(self._configure.settings), now_s)
            return
        self._link = self._new_link(self._configure)
        self._opened_at_s = now_s
        self.next_at_s = now_s + WATCHDOG_S
        self._link.open()

    def handle(self, link: Link, told: LinkInput, now_s: float) -> int | None:
        """Take in what a link tells; return the id of a message that the broker took over, if it is that."""
        if link is not self._link:
            return None  # a connection that was given up before
        match told:
            case Up():
                self._up_at_s = now_s
                self.next_at_s = None
                self._say(connected=True, detail="")
            case Down(detail, is_unexplained):
                self._flaps = self._flaps + 1 if is_unexplained else 0
                self.give_up(detail, now_s)
            case Acknowledged(message_id):
                return message_id
        return None

    def publish(self, topic: str, payload: bytes, *, retain: bool, expiry_s: int | None) -> int:
        """Hand one message to the broker and return its id; call it only while connected."""
        assert self._link is not None  # noqa: S101 - state.connected
        return self._link.publish(topic, payload, retain=retain, expiry_s=expiry_s)

    def give_up(self, why: str, now_s: float) -> None:
        """End the connection, say why, and try again later."""
        assert self._configure is not None  # noqa: S101 - there was a link
        if self._up_at_s is not None and now_s - self._up_at_s >= STEADY_S:
            self._backoff.reset()
            self._flaps = 0
        if self._flaps >= _FLAPS:
            # Mosquitto before 2.1 does not tell that another client took the connection over.
            why = failures.of_flapping(client_id(self._configure.node), self._configure.settings)
        self._close(is_stop=False)
        self.next_at_s = now_s + self._backoff.next_s()
        self._say(connected=False, detail=why)

    def stop(self) -> None:
        """End the connection with a `stopped`."""
        self._close(is_stop=True)
        self.next_at_s = None
        self._configure = None

    def _close(self, *, is_stop: bool) -> None:
        link, self._link, self._up_at_s = self._link, None, None
        if link is not None:
            link.close(is_stop=is_stop)

    def _say(self, *, connected: bool, detail: str) -> None:
        state = arrow.BrokerLink(connected=connected, detail=detail)
        if state == self.state:
            return
        self.state = state
        if connected or self._backoff.failures == 0:
            _log.info("broker: %s", detail or "connected")
        else:
            _log.warning("broker not connected: %s", detail)
        self._report(state)
