"""Keeps one MQTT connection up: a fresh one per attempt, with backoff and a watchdog.

Decides when to connect, when to give up and what the vault is told; the
connection itself is handed in. Reads no clock and starts no thread: times are
arguments, in seconds of a monotonic clock.

States: idle (not configured) - waiting (until `next_at_s`) - connecting (until
the watchdog bites) - up. Any `Down` leads back to waiting.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from fadeout_broker import arrow, failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_broker.backoff import Backoff
    from fadeout_broker.gate import Leaving

_log = logging.getLogger(__name__)

WATCHDOG_S = 30.0
"""A connection that is not up by then is thrown away: paho was seen waiting for ever (issues #785, #894)."""

ACK_WAIT_S = 30.0
"""A broker that has not acknowledged a message by then is taken for dead, though its connection stands."""

STEADY_S = 60.0
"""A connection that lasted so long has worked: the next failure starts the backoff anew.

Not at CONNACK: a client id used twice, or an ACL that refuses events, lets us
connect each time and would have us try every second, for ever.
"""

_FLAPS = 3


class Up(NamedTuple):
    """The broker accepted the connection, answered our subscriptions and acknowledged our `online`."""

    is_deaf: bool = False
    """The broker refused the subscription to commands or acknowledgements."""


class Down(NamedTuple):
    """The connection could not be made, ended, or a message was refused; nothing comes after it."""

    detail: str
    is_unexplained: bool = False
    """It was up and then lost, and nobody said why."""


class Acknowledged(NamedTuple):
    """The broker took over the message with this id."""

    message_id: int


class Refused(NamedTuple):
    """The broker does not take the message with this id."""

    message_id: int
    detail: str


class Arrived(NamedTuple):
    """A message came in."""

    topic: str
    payload: bytes
    """No longer than `contract.MAX_REQUEST_BYTES` + 1: the rest is cut off."""
    is_retained: bool = False
    """Sent by the broker from its store."""
    reply_to: str | None = None
    correlation: bytes | None = None


LastWord = Literal["stopped", "offline", "nothing"]
"""What is retained about us when a connection ends; `offline` is said by the broker, for us."""

LinkInput = Up | Down | Acknowledged | Refused | Arrived


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

    def publish(self, message: Leaving) -> int:
        """Hand over one message and return its id; raises UnfitError."""

    def close(self, last: LastWord) -> None:
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
        self._up_at_s: float | None = None
        self._flaps = 0
        self._unacknowledged: dict[int, float] = {}  # message id -> when it was handed over
        self._due_s: float | None = None
        self.state = arrow.BrokerLink(connected=False, detail="not configured")

    @property
    def next_at_s(self) -> float | None:
        """When `tick` has something to do; None: not before something happens."""
        if self._due_s is None and self._unacknowledged:
            return next(iter(self._unacknowledged.values())) + ACK_WAIT_S  # the oldest comes first
        return self._due_s

    @property
    def configuration(self) -> arrow.Configure | None:
        """Return what is connected to; None: nothing, or it was withdrawn from."""
        return self._configure

    def configure(self, configure: arrow.Configure, now_s: float) -> None:
        """Use these settings from now on; the same ones again change nothing."""
        if configure == self._configure:
            return
        self.stop()
        self._configure = configure
        self._backoff.reset()
        self._flaps = 0
        if configure.settings.enabled:
            self._due_s = now_s
            self._say(connected=False, detail=f"connecting to {failures.where(configure.settings)}")
        else:
            self._say(connected=False, detail="switched off by [mqtt] enabled = false")

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        if self._configure is None or self.next_at_s is None or now_s < self.next_at_s:
            return
        if self._up_at_s is not None:
            self.give_up(failures.of_no_acknowledgement(self._configure.settings), now_s)
            return
        if self._link is not None:
            self.give_up(failures.of_no_answer(self._configure.settings), now_s)
            return
        self._link = self._new_link(self._configure)
        self._due_s = now_s + WATCHDOG_S
        self._link.open()

    def handle(self, link: Link, told: LinkInput, now_s: float) -> LinkInput | None:
        """Take in what a link tells and return it, or None: a link that was given up tells nothing."""
        if link is not self._link:
            return None
        match told:
            case Up():
                self._up_at_s = now_s
                self._due_s = None
                self._say(connected=True, detail="")
            case Down(detail, is_unexplained):
                self._flaps = self._flaps + 1 if is_unexplained else 0
                self.give_up(detail, now_s)
            case Acknowledged(message_id) | Refused(message_id):
                self._unacknowledged.pop(message_id, None)
        return told

    def publish(self, message: Leaving, now_s: float) -> int:
        """Hand one message to the broker and return its id; call it only while connected.

        Raises:
            UnfitError: it does not pass the gate, or the broker takes nothing so large.
        """
        assert self._link is not None  # noqa: S101 - state.connected
        message_id = self._link.publish(message)
        self._unacknowledged[message_id] = now_s
        return message_id

    def give_up(self, why: str, now_s: float) -> None:
        """End the connection, say why, and try again later."""
        assert self._configure is not None  # noqa: S101 - there was a link
        if self._up_at_s is not None and now_s - self._up_at_s >= STEADY_S:
            self._backoff.reset()
            self._flaps = 0
        if self._flaps >= _FLAPS:
            # Mosquitto before 2.1 does not tell that another client took the connection over.
            why = failures.of_flapping(client_id(self._configure.node), self._configure.settings)
        self._close("offline")
        self._due_s = now_s + self._backoff.next_s()
        self._say(connected=False, detail=why)

    def stop(self, last: LastWord = "stopped") -> None:
        """End the connection, with a `stopped` or another last word."""
        self._close(last)
        self._due_s = None
        self._configure = None

    def withdraw(self, tell_done: Callable[[], None]) -> None:
        """End the connection without a word, and stay away until the next `configure`.

        Args:
            tell_done: called between the two: whoever is told before the connection is ended believes that
                nothing is retained, and the broker says `offline` for us if the power fails just then.
        """
        self.stop("nothing")
        tell_done()
        self._say(connected=False, detail="withdrawn: nothing is published until the next start")

    def _close(self, last: LastWord) -> None:
        link, self._link, self._up_at_s = self._link, None, None
        self._unacknowledged.clear()
        if link is not None:
            link.close(last)

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
