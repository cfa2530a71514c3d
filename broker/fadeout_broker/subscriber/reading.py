"""What a message says to a subscriber: read with patience, so that a later device does no harm.

A device is held to the contract by its own side. Whoever subscribes must live with
what a later version adds: fields and types that are not known here are left aside.
What is left must still be right: a notice with half an id is no notice. Pure.
"""

from __future__ import annotations

from typing import NamedTuple, get_args

import msgspec

from fadeout_broker import contract

MAX_BYTES = 8192
"""The contract's largest payload is far below; a longer one is not even parsed."""

Said = (
    contract.ActionEvent
    | contract.EraseNotice
    | contract.EraseBefore
    | contract.AlarmEvent
    | contract.DeviceState
)
"""The payloads that change what a subscriber holds or shows."""


class Available(NamedTuple):
    """The device, or the broker in its name, says whether it is there; None: nobody says it any more."""

    word: contract.Availability | None


class Withdrawn(NamedTuple):
    """A retained payload was cleared: it is no longer said."""

    topic: str


class Ignored(NamedTuple):
    """Not for us: a topic or a type that we do not know. No error."""


class Malformed(NamedTuple):
    """Should be for us and cannot be read, or is of another version."""


_KINDS: dict[str, type[Said]] = {kind.topic: kind for kind in get_args(Said)}
_WORDS: dict[bytes, contract.Availability] = {word.encode(): word for word in get_args(contract.Availability)}
_AVAILABILITY = contract.availability_topic("")[len(contract.prefix_of("")) :]
# The watermark and the notices first: what they take is what came before the subscription.
_FIRST = (contract.EraseBefore.topic, contract.EraseNotice.topic)
_ENDS = (*_FIRST, *(end for end in _KINDS if end not in _FIRST), _AVAILABILITY)


def filters(node: str | None) -> tuple[str, ...]:
    """Return the topic filters to subscribe to, for one device or, with None, for every one."""
    return tuple(contract.prefix_of(node or "+") + end for end in _ENDS)


def node_of(topic: str) -> str | None:
    """Return whose topic name that is; None: no device's."""
    root, _, rest = topic.partition("/")
    node = rest.partition("/")[0]
    if root != contract.TOPIC_ROOT:
        return None
    try:
        return msgspec.convert(node, contract.Node)
    except msgspec.ValidationError:
        return None


def read(topic: str, data: bytes) -> Said | Available | Withdrawn | Ignored | Malformed:
    """Say what one message means.

    Args:
        topic: its topic name; its device is `node_of(topic)`.
        data: its payload.
    """
    end = topic.split("/", 2)[-1]
    if end == _AVAILABILITY:
        return _available(data)
    kind = _KINDS.get(end)
    if kind is None:
        return Ignored()
    if not data:
        return Withdrawn(end)
    return Malformed() if len(data) > MAX_BYTES else _decoded(kind, data)


def _decoded(kind: type[Said], data: bytes) -> Said | Ignored | Malformed:
    try:
        payload = contract.decode_known(data)
    except contract.ContractError:
        return Malformed()
    if payload is None:
        return Ignored()
    return payload if isinstance(payload, kind) else Malformed()


def _available(data: bytes) -> Available | Malformed:
    if not data:
        return Available(None)
    word = _WORDS.get(data)
    return Malformed() if word is None else Available(word)
