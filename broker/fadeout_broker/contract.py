"""What leaves the device, and where it goes: topics, events, states. Closed, minimal, versioned.

The one source of the contract: docs/asyncapi.yaml, docs/schemas and the tables of
docs/contract.md are made from it by `scripts/make_contract`. The vault fills in
payloads, the reporter publishes them; both go through `encode`, and the reporter
decodes every payload again before it leaves, so that a field that is not in a struct
here cannot be on the wire (P6). Does no I/O and reads no clock.

Every JSON payload that leaves is padded with trailing spaces to one size per class of
message: the lengths of TLS records gave the action away until they were equal.
JSON allows white space after a value: RFC 8259, section 2.

The whole contract is here by name; `vocabulary`, `payloads` and `requests` are parts of it.
"""

from __future__ import annotations

import re

import msgspec

from fadeout_broker.payloads import (
    OUTGOING,
    RETAINED,
    ActionEvent,
    Alarm,
    AlarmEvent,
    Availability,
    Cover,
    DeviceState,
    EraseBefore,
    EraseNotice,
    Info,
    Outgoing,
    Payload,
    PolicyDocument,
    PolicyNow,
    PolicyRule,
    ReceiptEvent,
    Reply,
    ReplyData,
    ReplyError,
)
from fadeout_broker.requests import (
    COMMANDS,
    MAX_REQUEST_BYTES,
    Ack,
    CommandName,
    EraseRequest,
    MuteRequest,
    PingRequest,
    Request,
    ResultRequest,
    ShortenRequest,
    decode_ack,
    decode_request,
)
from fadeout_broker.vocabulary import (
    MAX_ACTIONS,
    MAX_IDS,
    MAX_TTL_S,
    NO_ACTION,
    OTHER_ACTION,
    TOPIC_ROOT,
    VERSION,
    Action,
    Consumer,
    ContractError,
    Count,
    Era,
    EventId,
    Hash,
    Kind,
    Node,
    Number,
    Outcome,
    Purpose,
    Signature,
    Time,
    Transaction,
    Ttl,
    Version,
)

__all__ = [  # what is not made here; the rest exports itself
    "COMMANDS",
    "MAX_ACTIONS",
    "MAX_IDS",
    "MAX_REQUEST_BYTES",
    "MAX_TTL_S",
    "NO_ACTION",
    "OTHER_ACTION",
    "OUTGOING",
    "RETAINED",
    "TOPIC_ROOT",
    "VERSION",
    "Ack",
    "Action",
    "ActionEvent",
    "Alarm",
    "AlarmEvent",
    "Availability",
    "CommandName",
    "Consumer",
    "ContractError",
    "Count",
    "Cover",
    "DeviceState",
    "Era",
    "EraseBefore",
    "EraseNotice",
    "EraseRequest",
    "EventId",
    "Hash",
    "Info",
    "Kind",
    "MuteRequest",
    "Node",
    "Number",
    "Outcome",
    "Outgoing",
    "Payload",
    "PingRequest",
    "PolicyDocument",
    "PolicyNow",
    "PolicyRule",
    "Purpose",
    "ReceiptEvent",
    "Reply",
    "ReplyData",
    "ReplyError",
    "Request",
    "ResultRequest",
    "ShortenRequest",
    "Signature",
    "Time",
    "Transaction",
    "Ttl",
    "Version",
    "decode_ack",
    "decode_request",
]


# ---- topics


def prefix_of(node: str) -> str:
    """Return what all topic names of this node begin with."""
    return f"{TOPIC_ROOT}/{node}/"


def topic_of(node: str, payload: Outgoing) -> str:
    """Return the topic name of a payload of this node."""
    return prefix_of(node) + payload.topic


def availability_topic(node: str) -> str:
    """Return the topic name of the retained `online`, `stopped` or `offline`."""
    return prefix_of(node) + "availability"


def command_filter(node: str) -> str:
    """Return the topic filter of this node's commands."""
    return prefix_of(node) + "cmd/+"


def ack_filter(node: str) -> str:
    """Return the topic filter of the acknowledgements of this node's erasures."""
    return prefix_of(node) + "erase/ack/+"


def retained_topics(node: str) -> tuple[str, ...]:
    """Return every topic name that this node retains, for whoever clears them."""
    return (availability_topic(node), *(prefix_of(node) + kind.topic for kind in RETAINED))


_REPLY_END = re.compile(r"reply(?:/[A-Za-z0-9_-]{1,64}){0,3}")


def is_reply_topic(node: str, topic: str) -> bool:
    """Say whether a request may have its reply there: `fadeout/<node>/reply`, and up to three levels below.

    A free choice would let whoever sends commands have the device write anywhere.
    """
    prefix = prefix_of(node)
    return topic.startswith(prefix) and _REPLY_END.fullmatch(topic[len(prefix) :]) is not None


# ---- encoding


def encode(payload: Outgoing, *, size_bytes: int | None = None) -> bytes:
    """Encode a payload and pad it with spaces to its class's size, or to a larger one.

    Raises:
        ContractError: it does not fit its own struct or its size.
    """
    try:
        encoded = msgspec.json.encode(payload)
    except (UnicodeEncodeError, OverflowError):
        # Without its cause, whose text may show the value.
        raise ContractError("a payload that is no JSON") from None
    size = payload.padded_bytes if size_bytes is None else size_bytes
    if size < payload.padded_bytes:
        raise ContractError(f"a size of {size} bytes; the payload's class has {payload.padded_bytes}")
    if len(encoded) > payload.padded_bytes:
        raise ContractError(f"a payload of {len(encoded)} bytes; its class has {payload.padded_bytes}")
    padded = encoded.ljust(size)
    # The struct's own bounds are checked on decoding only: so decode.
    decode(padded)
    return padded


def decode(data: bytes) -> Outgoing:
    """Decode one payload that a device of this version has published, and refuse any other.

    Raises:
        ContractError: not JSON, an unknown type or field, a wrong type, or a value out of bounds.
            Says where, never what.
    """
    try:
        payload: Outgoing = msgspec.json.decode(data, type=Outgoing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        # Without its cause, whose text may show the value.
        raise ContractError(f"not a payload of contract version {VERSION}: {_fault(err)}") from None
    if isinstance(payload, EraseBefore) and not payload.is_whole:
        raise ContractError("a watermark whose numbers and ids contradict each other")
    if isinstance(payload, Reply) and (payload.status == "error") != (payload.error is not None):
        raise ContractError("a reply that is an error and is none")
    return payload


def decode_known(data: bytes) -> Outgoing | None:
    """Decode as a subscriber must: what is known, whatever a later device of this version adds to it.

    Returns None for another version and for a type that is not known; fields that are not known are left out.

    Raises:
        ContractError: not an object with a version and a type, or what is known of it does not fit.
    """
    try:
        fields = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ContractError("no JSON") from None
    if not isinstance(fields, dict) or "v" not in fields or not isinstance(fields.get("type"), str):
        raise ContractError("not an object with a version and a type")
    kind = _BY_TYPE.get(fields["type"])
    if kind is None or fields["v"] != VERSION:
        return None
    return decode(msgspec.json.encode({"type": fields["type"], **_known(kind, fields)}))


_BY_TYPE: dict[str, type[Outgoing]] = {str(kind.__struct_config__.tag): kind for kind in OUTGOING}
_NESTED: dict[tuple[type[msgspec.Struct], str], type[msgspec.Struct]] = {
    (PolicyNow, "document"): PolicyDocument,
    (Reply, "data"): ReplyData,
}


_PATH = re.compile(r"- at `([^`]*)`$")


def _known(kind: type[msgspec.Struct], fields: object) -> dict[str, object]:
    """Return those fields that a struct has; nested structs alike."""
    if not isinstance(fields, dict):
        raise ContractError("a value where an object belongs")
    known = {name: fields[name] for name in kind.__struct_fields__ if name in fields}
    for (owner, name), inner in _NESTED.items():
        if owner is kind and name in known:
            known[name] = _known(inner, known[name])
    if kind is PolicyDocument and isinstance(known.get("rules"), dict):
        known["rules"] = {name: _known(PolicyRule, rule) for name, rule in known["rules"].items()}
    return known


def _fault(err: Exception) -> str:
    """Return what is wrong with a payload, and where, without anything that stood in it."""
    text = str(err)
    if text.startswith(("Object missing required field", "Expected ")):
        return text
    what = "a field that is not known" if "unknown field" in text else "a value that is not allowed"
    path = _PATH.search(text)
    if path is None and not text.startswith(("Invalid value", "Object contains")):
        return "no JSON"
    return f"{what} - at `{path[1] if path else '$'}`"


_RECEIPT_LABEL = b"fadeout receipt v1\n"


def receipt_signed(n: int, items: int, reason: str, hour: int, root: str) -> bytes:
    """Return the bytes that a `ReceiptEvent` is signed over: a label, and canonical JSON (RFC 8785)."""
    what = {"hour": hour, "items": items, "n": n, "reason": reason, "root": root, "v": VERSION}
    return _RECEIPT_LABEL + msgspec.json.encode(what, order="sorted")
