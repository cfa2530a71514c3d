"""The gate: every byte that leaves passes here, last of all, and is decoded again.

Believes nobody, the reporter included: a topic must be the payload's own, the retained
flag and the size those of its class, and the bytes exactly those that the contract
makes of what they mean, so that nothing can hide in order, spaces or doubled fields.
What does not fit raises, and is dropped by whoever wanted to send it. Does no I/O, and
keeps no state: any thread may use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, get_args

import msgspec

from fadeout_broker import arrow, contract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_EXPIRY_S: Final = 2**31 - 1
"""Stands for "no expiry" where every message must have one; no event's life is so long."""

SLOT_BYTES: Final = 720
"""`Leaving.slot_bytes` of every message of a train: room for the largest, a reply with all it may have."""

_WORDS = frozenset(word.encode() for word in get_args(contract.Availability))
_PING_EXPIRY_MAX_S = 600


class UnfitError(Exception):
    """A message that must not leave. Its text is where it is wrong, never what it holds."""


class Leaving(NamedTuple):
    """One message on its way to the broker."""

    topic: str
    payload: bytes
    is_retained: bool = False
    expiry_s: int | None = None
    """MQTT 5 message expiry interval."""
    correlation: bytes | None = None
    """MQTT 5 correlation data: of a reply."""

    @property
    def slot_bytes(self) -> int:
        """Return the size on the wire of what differs between messages: topic, properties, payload."""
        properties = 0 if self.expiry_s is None else 5  # identifier, four bytes
        properties += 0 if self.correlation is None else 3 + len(self.correlation)  # identifier, length
        # MQTT 5.0, section 1.5.5: a length of 128 or more takes a second byte.
        length_bytes = 1 if properties < 128 else 2  # noqa: PLR2004 - said above
        return len(self.topic.encode()) + length_bytes + properties + len(self.payload)


class Gate:
    """Holds what leaves against the contract.

    Args:
        node: this device's name in topics.
        decoders: what else may leave: for each topic name what reads its payload, and raises
            `contract.ContractError` if it is not exactly as it would write it. Retained.
    """

    def __init__(self, node: str, decoders: Mapping[str, Callable[[bytes], object]]) -> None:
        self._node = node
        self._availability = contract.availability_topic(node)
        self._ping = ping_topic(node)
        self._own_ack = own_ack_topic(node)
        self._decoders = decoders
        self._clearable = frozenset((*contract.retained_topics(node), *decoders))

    def check(self, message: Leaving) -> None:
        """Let a message pass.

        Raises:
            UnfitError: it must not leave.
        """
        if message.correlation is not None and len(message.correlation) > arrow.CORRELATION_BYTES:
            raise UnfitError("correlation")
        topic = message.topic
        try:
            if message.is_retained and not message.payload:
                _demand(topic in self._clearable, "topic")  # clears what was retained
            elif topic == self._availability:
                _demand(message.payload in _WORDS, "payload")
                _demand(message.is_retained, "retain")
            elif topic in self._decoders:
                self._decoders[topic](message.payload)
                _demand(message.is_retained, "retain")
            elif topic in (self._ping, self._own_ack):
                _check_ping(message, is_ack=topic == self._own_ack)
            else:
                self._check_payload(message)
        except contract.ContractError as err:
            raise UnfitError("payload") from err

    def _check_payload(self, message: Leaving) -> None:
        payload = contract.decode(message.payload)
        if isinstance(payload, contract.Reply):
            _demand(contract.is_reply_topic(self._node, message.topic), "topic")
        else:
            _demand(message.topic == contract.topic_of(self._node, payload), "topic")
            _demand(message.correlation is None, "correlation")
        _demand(message.is_retained == payload.is_retained, "retain")
        size = len(message.payload)
        _demand(size == payload.padded_bytes or message.slot_bytes == SLOT_BYTES, "size")
        _demand(message.payload == contract.encode(payload, size_bytes=size), "payload")
        expiry_s = message.expiry_s
        ttl_s = getattr(payload, "ttl", None)
        longest_s = contract.MAX_TTL_S if ttl_s is None else ttl_s
        _demand(expiry_s is None or expiry_s == NO_EXPIRY_S or 1 <= expiry_s <= longest_s, "expiry_s")
        _demand(ttl_s is None or expiry_s != NO_EXPIRY_S, "expiry_s")


def ping_topic(node: str) -> str:
    """Return where the reporter asks itself whether commands arrive."""
    return contract.command_filter(node).removesuffix("+") + "ping"


def own_ack_topic(node: str) -> str:
    """Return where the reporter asks itself whether acknowledgements arrive."""
    return contract.ack_filter(node).removesuffix("+") + node


def _check_ping(message: Leaving, *, is_ack: bool) -> None:
    """Hold a question to ourselves against the shapes of commands and acknowledgements."""
    if is_ack:
        said: msgspec.Struct = contract.decode_ack(message.payload)
    else:
        said = contract.decode_request("ping", message.payload)
    _demand(message.payload == msgspec.json.encode(said), "payload")
    _demand(not message.is_retained, "retain")
    _demand(message.correlation is None, "correlation")
    _demand(message.expiry_s is not None and 1 <= message.expiry_s <= _PING_EXPIRY_MAX_S, "expiry_s")


def _demand(fits: bool, where: str) -> None:  # noqa: FBT001 - a condition
    if not fits:
        raise UnfitError(where)
