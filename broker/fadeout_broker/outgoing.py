"""What the reporter sends: the vault's payloads, in order, until the broker has each of them.

Keeps nothing that is not on its way: at most `arrow.MAX_IN_FLIGHT` payloads of the vault.
What the broker has not acknowledged when a connection ends is the vault's to hand over
again. Reads no clock: times are arguments, in seconds of a clock that runs while the
machine sleeps.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fadeout_broker import arrow, contract
from fadeout_broker.errors import ArrowError
from fadeout_broker.gate import Gate, Leaving, UnfitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fadeout_broker.uplink import Uplink

_log = logging.getLogger(__name__)


class Outgoing:
    """What one configuration's node sends.

    Args:
        configure: as whom, and how.
        uplink: where it goes.
        tell_vault: told what became of each payload.
        decoders: what the gate lets pass besides the contract, for each topic name.
    """

    def __init__(
        self,
        configure: arrow.Configure,
        uplink: Uplink,
        tell_vault: Callable[[arrow.FromReporter], None],
        decoders: Mapping[str, Callable[[bytes], object]],
    ) -> None:
        self._node = configure.node
        self._uplink = uplink
        self._tell_vault = tell_vault
        self._cleared = (*contract.retained_topics(configure.node), *decoders)
        self._in_flight: dict[int, int | None] = {}  # message id -> seq; None: its vault is gone
        self._withdrawing: set[int] = set()  # message ids
        self._withdraw_seq: int | None = None
        self._dropped = 0
        self.gate = Gate(configure.node, decoders)

    def went_down(self) -> None:
        """Forget what was in flight: a new connection knows nothing of it."""
        self._in_flight.clear()
        self._withdrawing.clear()
        self._withdraw_seq = None

    def lose_vault(self) -> None:
        """Forget whose payloads are in flight: whoever connects next may use the same numbers for others."""
        self._in_flight = dict.fromkeys(self._in_flight, None)
        self._withdraw_seq = None

    def publish(self, publish: arrow.Publish, now_s: float) -> None:
        """Hand one payload to the broker, if there is one.

        Raises:
            ArrowError: the vault did not wait for acknowledgements.
        """
        if not self._uplink.state.connected or publish.seq in self._in_flight.values():
            return  # the vault hands it over again, or has just done so
        if self._withdraw_seq is not None:
            return  # would leave behind what is being cleared
        if len(self._in_flight) >= arrow.MAX_IN_FLIGHT:
            if None not in self._in_flight.values():
                raise ArrowError(f"the vault handed over more than {arrow.MAX_IN_FLIGHT} events at once")
            # Events of a vault that is gone fill the window, so the broker has not acknowledged
            # anything since. A new connection drops them, and the vault hands over its own again.
            self._uplink.give_up("the broker does not acknowledge events; its log may say why", now_s)
            return
        if publish.expiry_s is not None and publish.expiry_s < 1:
            self._tell_vault(arrow.Published(publish.seq))  # its life is over: nothing may leave
            return
        try:
            message_id = self._uplink.publish(_leaving(self._node, publish), now_s)
        except contract.ContractError:
            self.drop(publish.seq, "$.payload")
        except UnfitError as err:
            self.drop(publish.seq, str(err))
        else:
            self._in_flight[message_id] = publish.seq

    def drop(self, seq: int, where: str) -> None:
        """Count and tell what will never leave."""
        self._dropped += 1
        _log.error("a payload does not fit the contract: seq=%d at=%s dropped=%d", seq, where, self._dropped)
        self._tell_vault(arrow.Dropped(seq, where))

    def withdraw(self, seq: int, now_s: float) -> None:
        """Clear every retained topic, then leave without a word."""
        if not self._uplink.state.connected:
            return  # the vault asks again
        self._withdraw_seq = seq
        messages = [Leaving(topic, b"", is_retained=True) for topic in self._cleared]
        self._withdrawing = {self._uplink.publish(message, now_s) for message in messages}

    def acknowledged(self, message_id: int) -> None:
        """Take in that the broker has a message."""
        seq = self._in_flight.pop(message_id, None)
        if seq is not None:
            self._tell_vault(arrow.Published(seq))
        if message_id in self._withdrawing:
            self._withdrawing.remove(message_id)
            if not self._withdrawing:
                if self._withdraw_seq is not None:
                    self._tell_vault(arrow.Published(self._withdraw_seq))
                self._uplink.withdraw()

    def refused(self, message_id: int, detail: str, now_s: float) -> None:
        """Take in that the broker does not take a message."""
        del message_id
        self._uplink.give_up(detail, now_s)


def _leaving(node: str, publish: arrow.Publish) -> Leaving:
    """Make the message of a payload; raises ContractError."""
    payload = publish.payload
    topic, correlation = contract.topic_of(node, payload), None
    if isinstance(payload, contract.Reply):
        topic, correlation = publish.reply_to or topic, publish.correlation
    return Leaving(topic, contract.encode(payload), payload.is_retained, publish.expiry_s, correlation)
