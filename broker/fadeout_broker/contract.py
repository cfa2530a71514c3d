"""What leaves the device and what it takes: topics, events, commands. Closed, minimal, versioned.

The one source of the contract: `asyncapi.yaml`, docs/schemas and docs/contract.md are
made from it by `scripts/make_contract`. The vault fills in payloads, the reporter
publishes them; both go through `encode`, and the reporter decodes every payload again
before it leaves, so that a field that is not in a struct here cannot be on the wire
(P6). Does no I/O and reads no clock.

Every JSON payload that leaves is padded with trailing spaces to one size per class of
message: the lengths of TLS records gave the action away until they were equal.
JSON allows white space after a value: RFC 8259, section 2.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal, get_args

import msgspec
from msgspec import Meta

VERSION: Final = 1
MAX_TTL_S = 30 * 86400
TOPIC_ROOT = "fadeout"

# `$` alone would let a line feed follow.
EventId = Annotated[str, Meta(pattern=r"^[0-9a-v]{16}$(?!\n)")]
"""Truncated HMAC under the item's own key, base32hex: cannot be derived once the key is gone."""
Action = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.]{0,39}$(?!\n)")]
Node = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$(?!\n)")]
Consumer = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$(?!\n)")]
"""Who acknowledges erasures: the subscriber's user name at the broker."""
Era = Annotated[str, Meta(pattern=r"^[0-9a-v]{8}$(?!\n)")]
"""Random; another one means that the numbers of erasures were begun anew."""
Transaction = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Signature = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]
Version = Annotated[str, Meta(pattern=r"^[0-9][0-9a-z.+]{0,31}$(?!\n)")]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Number = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Time = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""Unix seconds, UTC."""
Ttl = Annotated[int, Meta(ge=1, le=MAX_TTL_S)]
Outcome = Literal["served", "failed", "false_wake"]
Kind = Literal["audio", "words", "action"]
Purpose = Annotated[str, Meta(max_length=120)]
"""What an item is kept for, in the words of whoever wrote the configuration."""
MAX_ACTIONS = 32
MAX_IDS = 16
"""Ids in one notice."""

NO_ACTION: Final = "none"
"""The action of an utterance that failed."""
OTHER_ACTION: Final = "other"
"""Stands for an action that is not of the configured list."""


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """A JSON payload that leaves the device; fields in the order in which they are published."""

    topic: ClassVar[str]
    """The topic's end, after `fadeout/<node>/`."""
    padded_bytes: ClassVar[int]
    is_retained: ClassVar[bool] = False


# ---- what leaves: events


class ActionEvent(Payload, tag="action", frozen=True):
    """Something happened: one utterance ended in an action, or in none."""

    topic: ClassVar[str] = "event/action"
    padded_bytes: ClassVar[int] = 256

    v: Literal[1]
    id: EventId
    action: Action
    """An action of the configured list, `other`, or `none` when the utterance failed."""
    outcome: Literal["served", "failed"]
    ttl: Ttl
    """Seconds from now after which the subscriber must forget the event."""


class EraseNotice(Payload, tag="erase", frozen=True):
    """Forget these events now: their items were erased."""

    topic: ClassVar[str] = "erase/notice"
    padded_bytes: ClassVar[int] = 512

    v: Literal[1]
    era: Era
    n: Number
    """This notice's number. If one is skipped, forget every event of this device."""
    ids: Annotated[tuple[EventId, ...], Meta(min_length=1, max_length=MAX_IDS)]


class EraseBefore(Payload, tag="erase_before", frozen=True):
    """The watermark: what whoever was away must forget. Retained and idempotent."""

    topic: ClassVar[str] = "erase/before"
    padded_bytes: ClassVar[int] = 512
    is_retained: ClassVar[bool] = True

    v: Literal[1]
    era: Era
    n: Count
    """Every notice up to this number was sent; 0: none was yet."""
    since: Number
    """`ids` are those of the notices from this number to `n`. Whoever has not seen the one before
    it must forget every event of this device that it received before now."""
    ids: Annotated[tuple[EventId, ...], Meta(max_length=MAX_IDS)]


Alarm = Literal["canary", "sweep", "erase"]


class AlarmEvent(Payload, tag="alarm", frozen=True):
    """Forgetting does not work, or cannot be watched; or does again."""

    topic: ClassVar[str] = "event/alarm"
    padded_bytes: ClassVar[int] = 256

    v: Literal[1]
    alarm: Alarm
    """`canary`: a dummy item outlived its end, or none can be planted; `sweep`: nothing sweeps;
    `erase`: an erasure failed."""
    on: bool
    """False: all clear."""


class ReceiptEvent(Payload, tag="receipt", frozen=True):
    """Keys were erased, signed: a digest of one receipt of the device's ledger."""

    topic: ClassVar[str] = "event/receipt"
    padded_bytes: ClassVar[int] = 512

    v: Literal[1]
    n: Number
    """This receipt's number; a gap is a receipt that was missed."""
    items: Number
    reason: Literal["expired", "user", "update", "size", "panic", "recovered"]
    hour: Time
    """The beginning of the hour in which the keys were gone."""
    root: Literal["file", "nvmem", "tpm"]
    """The root store that was overwritten."""
    key: Hash
    """The ledger's Ed25519 public key, in hex."""
    signature: Signature
    """Ed25519 over `receipt_signed(...)`, in hex."""
    ttl: Ttl


# ---- what leaves: how the device is


class DeviceState(Payload, tag="state", frozen=True):
    """How the device is; proves that forgetting works."""

    topic: ClassVar[str] = "state"
    padded_bytes: ClassVar[int] = 256
    is_retained: ClassVar[bool] = True

    v: Literal[1]
    listening: bool
    """Whether the microphone is open."""
    muted: bool
    """Whether somebody has muted it; only somebody at the device can end that."""
    held: Count
    """Recordings that are held."""
    overdue: Count
    """Items that should be gone and are not: 0, or something is wrong."""
    sweep: Literal["ok", "failed", "none"]
    """How the last sweep ended; `none` before the first one."""
    swept: Time | None
    """When the last sweep was, rounded down to a quarter of an hour."""
    next_end: Time | None
    """By then the next item ends, rounded up to the hour; null: nothing is held."""
    forgetting: bool
    """No alarm is on, nothing is overdue, and the last sweep did not fail."""


class Info(Payload, tag="info", frozen=True):
    """What this device is and takes."""

    topic: ClassVar[str] = "info"
    padded_bytes: ClassVar[int] = 2048
    is_retained: ClassVar[bool] = True

    v: Literal[1]
    sw: Version
    """fadeout's version."""
    mode: Literal["prompt", "batched"]
    actions: Annotated[tuple[Action, ...], Meta(max_length=MAX_ACTIONS)]
    """The closed list of actions that events may name, besides `none` and `other`."""
    commands: bool
    """Whether commands are taken at all."""


class PolicyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the retention table."""

    ends_on_update: bool
    keep_s: Annotated[int, Meta(ge=1, le=MAX_TTL_S)] | None
    """null: never stored."""
    purpose: Purpose


class PolicyDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The retention policy that the vault enforces. Its canonical form has sorted keys and no white space."""

    canary_s: Count
    ceiling_s: Count
    debug_capture_lasts_s: Count
    debug_capture_s: Count | None
    ledger_ceiling_s: Count
    ledger_s: Count
    max_size_bytes: Count
    quiet_hours: Annotated[str, Meta(pattern=r"^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$(?!\n)")] | None
    rules: dict[
        Annotated[str, Meta(pattern=r"^(served|failed|false_wake)\.(audio|words|action)$(?!\n)")], PolicyRule
    ]
    v: Literal[1]


class PolicyNow(Payload, tag="policy", frozen=True):
    """The policy that is enforced, and its hash (P10)."""

    topic: ClassVar[str] = "policy"
    padded_bytes: ClassVar[int] = 3072
    is_retained: ClassVar[bool] = True

    v: Literal[1]
    hash: Hash
    """SHA-256 of `document` in canonical JSON: sorted keys, no white space."""
    document: PolicyDocument


class Cover(Payload, tag="cover", frozen=True):
    """Nothing; sent in `batched` mode in the place of an event. Nobody need subscribe."""

    topic: ClassVar[str] = "event/cover"
    padded_bytes: ClassVar[int] = 512

    v: Literal[1]


# ---- commands: mute, shorten, erase; nothing else comes in (P7)

CommandName = Literal["mute", "erase", "shorten", "ping"]
COMMANDS: tuple[CommandName, ...] = get_args(CommandName)
MAX_REQUEST_BYTES = 1024


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payload of `cmd/<name>`; the name is the topic's. An empty payload is `{}`."""

    name: ClassVar[CommandName]


class MuteRequest(_Request, frozen=True, kw_only=True):
    """Close the microphone, until somebody at the device opens it."""

    name: ClassVar[CommandName] = "mute"

    transaction: Transaction | None = None
    """Echoed in the reply."""


class EraseRequest(_Request, frozen=True, kw_only=True):
    """Erase recordings, in exactly one of four ways."""

    name: ClassVar[CommandName] = "erase"

    ids: Annotated[tuple[EventId, ...], Meta(max_length=MAX_IDS)] = ()
    """Those whose events had these ids. An id that names nothing is no error."""
    last: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """So many of the newest."""
    last_minutes: Annotated[int, Meta(ge=1, le=43200)] | None = None
    """Whatever was captured, in part or whole, in so many minutes before now."""
    all: bool = False
    transaction: Transaction | None = None

    @property
    def is_one_way(self) -> bool:
        """Say whether it names what to erase in exactly one way."""
        return [bool(self.ids), self.last is not None, self.last_minutes is not None, self.all].count(
            True
        ) == 1


class ShortenRequest(_Request, frozen=True, kw_only=True):
    """Keep no item longer than this after its capture, from now on and of what is held already."""

    name: ClassVar[CommandName] = "shorten"

    keep_s: Annotated[int, Meta(ge=1, le=MAX_TTL_S)]
    """Seconds after capture. Where the policy keeps less already, nothing changes."""
    outcome: Outcome | None = None
    """Only items of this outcome; left out: all."""
    kind: Kind | None = None
    """Only items of this kind; left out: all."""
    transaction: Transaction | None = None


class PingRequest(_Request, frozen=True, kw_only=True):
    """Do nothing but answer; the device asks itself this way whether commands arrive."""

    name: ClassVar[CommandName] = "ping"

    transaction: Transaction | None = None


Request = MuteRequest | EraseRequest | ShortenRequest | PingRequest
_REQUESTS: dict[str, type[Request]] = {
    "mute": MuteRequest,
    "erase": EraseRequest,
    "shorten": ShortenRequest,
    "ping": PingRequest,
}

ReplyError = Literal[
    "malformed", "unknown_command", "rate_limited", "not_erased", "not_stored", "busy", "refused"
]
"""`not_erased`: the keys may still exist, it is tried again. `not_stored`: it holds until a restart."""


class ReplyData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a command did."""

    erased: Count | None = None
    """Recordings whose keys are gone; for `erase`."""
    hash: Hash | None = None
    """The policy's hash from now on; for `shorten`."""


class Reply(Payload, tag="reply", frozen=True, omit_defaults=True):
    """The answer to a command, on the topic that the request asks for, else on `reply`."""

    topic: ClassVar[str] = "reply"
    padded_bytes: ClassVar[int] = 320

    v: Literal[1]
    command: Literal["mute", "erase", "shorten", "ping", "unknown"]
    status: Literal["ok", "error"]
    error: ReplyError | None = None
    transaction: Transaction | None = None
    data: ReplyData = ReplyData()


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payload of `erase/ack/<consumer>`: everything up to this notice is forgotten there."""

    v: Literal[1]
    era: Era
    n: Count


Outgoing = (
    ActionEvent | EraseNotice | EraseBefore | AlarmEvent | ReceiptEvent
    | DeviceState | Info | PolicyNow | Cover | Reply
)  # fmt: skip
OUTGOING: tuple[type[Outgoing], ...] = get_args(Outgoing)
RETAINED: tuple[type[Outgoing], ...] = tuple(kind for kind in OUTGOING if kind.is_retained)
Availability = Literal["online", "stopped", "offline"]


class ContractError(Exception):
    """A payload does not fit the contract; it must not leave the device, and what comes in is not obeyed."""


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
    except (UnicodeEncodeError, OverflowError) as err:
        raise ContractError("a payload that is no JSON") from err
    size = payload.padded_bytes if size_bytes is None else size_bytes
    if len(encoded) > min(size, payload.padded_bytes):
        raise ContractError(f"a payload of {len(encoded)} bytes; its class has {payload.padded_bytes}")
    padded = encoded.ljust(size)
    # The struct's own bounds are checked on decoding only: so decode.
    decode(padded)
    return padded


def decode(data: bytes) -> Outgoing:
    """Decode one payload that a device has published.

    Raises:
        ContractError: not JSON, an unknown type or field, a wrong type, or a value out of bounds.
    """
    try:
        payload: Outgoing = msgspec.json.decode(data, type=Outgoing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ContractError(f"not a payload of contract version {VERSION}: {err}") from err
    return payload


def decode_request(name: str, data: bytes) -> Request:
    """Decode the payload of `cmd/<name>`; an empty one is `{}`.

    Raises:
        ContractError: no such command, or not a payload of it. Says where, never what.
    """
    kind = _REQUESTS.get(name)
    if kind is None:
        raise ContractError("no such command")
    if len(data) > MAX_REQUEST_BYTES:
        raise ContractError(f"a request of more than {MAX_REQUEST_BYTES} bytes")
    try:
        request: Request = msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ContractError("not a request of this command") from err
    if isinstance(request, EraseRequest) and not request.is_one_way:
        raise ContractError("name what to erase in one way: ids, last, last_minutes or all")
    return request


def decode_ack(data: bytes) -> Ack:
    """Decode the payload of `erase/ack/<consumer>`; raises ContractError."""
    try:
        ack: Ack = msgspec.json.decode(data[: MAX_REQUEST_BYTES + 1], type=Ack)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ContractError("not an acknowledgement") from err
    return ack


_RECEIPT_LABEL = b"fadeout receipt v1\n"


def receipt_signed(n: int, items: int, reason: str, hour: int, root: str) -> bytes:
    """Return the bytes that a `ReceiptEvent` is signed over: a label, and JSON with sorted keys."""
    what = {"hour": hour, "items": items, "n": n, "reason": reason, "root": root, "v": VERSION}
    return _RECEIPT_LABEL + msgspec.json.encode(what, order="sorted")
