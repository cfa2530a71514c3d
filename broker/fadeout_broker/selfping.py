"""Whether commands and acknowledgements reach us: the reporter asks itself.

A broker may grant a subscription and deliver nothing: Mosquitto's acl_file does so. So
after each connection, and every 10 minutes, a command `ping` and an acknowledgement are
published to ourselves; if one does not come back, the vault is told, in words. Pure:
times and random words are arguments.

Source: MQTT 5.0, section 3.9.3; mosquitto.conf(5), "acl_file".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from fadeout_broker import arrow, contract
from fadeout_broker.gate import Leaving, own_ack_topic, ping_topic

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S = 20.0
EVERY_S = 600.0
AGAIN_S = 60.0
"""While something does not work: whoever mends it wants to see so."""

_HELP = "allow us to read it in the broker's ACL; see docs/broker.md"


class SelfPing:
    """Asks, waits, and knows what came of it.

    Args:
        configure: as whom; without commands only acknowledgements are asked for.
        token: gives 16 random hexadecimal digits.
        wait_s: what has not come back by then does not come back.
    """

    def __init__(self, configure: arrow.Configure, token: Callable[[], str], wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._node = configure.node
        self._commands = configure.settings.commands
        self._token = token
        self._awaited: dict[bytes, str] = {}  # payload -> the filter it should come in by
        self._is_deaf = False
        self.next_at_s: float | None = None
        """When `tick` has something to do; None: there is no connection."""
        self.verdict: arrow.Incoming | None = None
        """What came of it last; None: not known yet."""

    def awaits(self, payload: bytes) -> bool:
        """Say whether this should come back; any thread may ask."""
        return payload in self._awaited

    def came_up(self, now_s: float, *, is_deaf: bool) -> None:
        """Begin: there is a connection.

        Args:
            now_s: when.
            is_deaf: the broker has refused our subscriptions in so many words.
        """
        self.went_down()
        self._is_deaf = is_deaf
        self.next_at_s = now_s

    def went_down(self) -> None:
        """Stop: nothing is known any more."""
        self._awaited.clear()
        self.next_at_s = None
        self.verdict = None

    def tick(self, now_s: float) -> list[Leaving]:
        """Return what is to be published now."""
        if self.next_at_s is None or now_s < self.next_at_s:
            return []
        if self._awaited:
            self._fail(f"the broker delivers nothing from {self._missing()}; {_HELP}", now_s)
            return []
        if self._is_deaf:
            self._fail(f"the broker refuses our subscription to {self._filters()}; {_HELP}", now_s)
            self.next_at_s = None  # until the next connection
            return []
        self.next_at_s = now_s + self._wait_s
        return self._questions()

    def came_back(self, payload: bytes, now_s: float) -> None:
        """Take in that a question has come back."""
        if self._awaited.pop(payload, None) is not None and not self._awaited:
            self.verdict = arrow.Incoming(works=True)
            self.next_at_s = now_s + EVERY_S

    def was_refused(self, message: Leaving, now_s: float) -> None:
        """Take in that the broker does not let us ask."""
        if message.payload in self._awaited:
            self._fail(
                f"cannot ask ourselves: not authorised to publish {message.topic}; allow it in the ACL",
                now_s,
            )

    def _fail(self, detail: str, now_s: float) -> None:
        self._awaited.clear()
        self.verdict = arrow.Incoming(works=False, detail=detail)
        self.next_at_s = now_s + AGAIN_S

    def _questions(self) -> list[Leaving]:
        token = self._token()
        ack = msgspec.json.encode(contract.Ack(v=contract.VERSION, era=token[:8], n=0))
        expiry_s = math.ceil(self._wait_s)
        asked = [Leaving(own_ack_topic(self._node), ack, expiry_s=expiry_s)]
        self._awaited[ack] = contract.ack_filter(self._node)
        if self._commands:
            ping = msgspec.json.encode(contract.PingRequest(transaction=token))
            asked.append(Leaving(ping_topic(self._node), ping, expiry_s=expiry_s))
            self._awaited[ping] = contract.command_filter(self._node)
        return asked

    def _missing(self) -> str:
        return " and ".join(sorted(self._awaited.values()))

    def _filters(self) -> str:
        commands = [contract.command_filter(self._node)] if self._commands else []
        return " and ".join([*commands, contract.ack_filter(self._node)])
