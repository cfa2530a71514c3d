"""What leaves the device: events, erasures and states. Closed, minimal, versioned.

A field that is not in a struct here cannot be on the wire (P6). Docstrings are part of
the contract: the documents made by `scripts/make_contract` show them. Whoever changes a
struct runs that program; whoever changes what a field means makes version 2.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from fadeout_broker.vocabulary import (
    MAX_ACTIONS,
    MAX_IDS,
    MAX_TTL_S,
    Action,
    Count,
    Era,
    EventId,
    Hash,
    Number,
    Purpose,
    Signature,
    Time,
    Transaction,
    Ttl,
    Version,
)


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """A JSON payload that leaves the device; fields in the order in which they are published."""

    topic: ClassVar[str]
    """The topic's end, after `fadeout/<node>/`."""
    padded_bytes: ClassVar[int]
    """The size of every payload of this class, spaces included."""
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
    """`served`: the device did what it was asked; `failed`: somebody spoke, and no action followed."""
    ttl: Ttl
    """Seconds from the moment of sending, after which the event must be forgotten."""


class EraseNotice(Payload, tag="erase", frozen=True):
    """Forget these events now: their items were erased."""

    topic: ClassVar[str] = "erase/notice"
    padded_bytes: ClassVar[int] = 512

    v: Literal[1]
    era: Era
    n: Number
    """This notice's number. If one is skipped, forget every event of this device."""
    ids: Annotated[tuple[EventId, ...], Meta(min_length=1, max_length=MAX_IDS)]
    """The events to forget. An id that is not known is no error."""


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
    """`ids` are those of the notices from this number to `n`; `n + 1`: of none. Whoever has not seen
    the one before it must forget every event of this device that it received before now."""
    ids: Annotated[tuple[EventId, ...], Meta(max_length=MAX_IDS)]
    """The events that the newest notices named."""

    @property
    def is_whole(self) -> bool:
        """Say whether `ids` can be what the notices from `since` to `n` named: at least one each."""
        notices = self.n + 1 - self.since
        return bool(self.ids) == (notices > 0) and 0 <= notices <= len(self.ids)


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
    """So many items had their keys erased."""
    reason: Literal["expired", "user", "update", "size", "panic", "recovered"]
    """Why: their end date, a person, a new version, the size cap, everything at once, or an index
    that was lost and made anew."""
    hour: Time
    """The beginning of the hour in which the keys were gone."""
    root: Literal["file", "nvmem", "tpm"]
    """The root store that was overwritten."""
    key: Hash
    """The ledger's Ed25519 public key, in hex."""
    signature: Signature
    """Ed25519 over the label and the canonical JSON below ("Receipts"), in hex."""
    ttl: Ttl
    """Seconds from the moment of sending, after which the receipt must be forgotten."""


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
    padded_bytes: ClassVar[int] = 4096
    is_retained: ClassVar[bool] = True

    v: Literal[1]
    sw: Version
    """fadeout's version, as PEP 440 writes it."""
    mode: Literal["prompt", "batched"]
    """`prompt`: events leave at once; `batched`: constant size at a constant rate."""
    actions: Annotated[tuple[Action, ...], Meta(max_length=MAX_ACTIONS)]
    """The closed list of actions that events may name, besides `none` and `other`."""
    commands: bool
    """Whether commands are taken at all."""
    result_s: Annotated[int, Meta(ge=0, le=30)]
    """So many seconds after an action's event the device waits for `cmd/result`; 0: it does not."""


class PolicyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the retention table."""

    ends_on_update: bool
    """Whether a new version of fadeout ends it earlier."""
    keep_s: Annotated[int, Meta(ge=1, le=MAX_TTL_S)] | None
    """Seconds after capture; null: never stored."""
    purpose: Purpose


class PolicyDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The retention policy that the vault enforces."""

    canary_s: Count
    """The life of the dummy items that must die on time, in seconds."""
    ceiling_s: Count
    """No item lives longer, in seconds."""
    debug_capture_lasts_s: Count
    """Debug capture ends by itself after so many seconds."""
    debug_capture_s: Count | None
    """So many seconds it keeps what has no rule; null: it cannot be switched on."""
    ledger_ceiling_s: Count
    """No line of the ledger lives longer, in seconds."""
    ledger_s: Count
    """The life of a line of the ledger, in seconds."""
    max_size_bytes: Count
    """What is held at most."""
    quiet_hours: Annotated[str, Meta(pattern=r"^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$(?!\n)")] | None
    """A span of local time in which nothing is stored; null: none."""
    rules: dict[
        Annotated[str, Meta(pattern=r"^(served|failed|false_wake)\.(audio|words|action)$(?!\n)")], PolicyRule
    ]
    """The rule of each class of items: `<outcome>.<kind>`."""
    v: Literal[1]


class PolicyNow(Payload, tag="policy", frozen=True):
    """The policy that is enforced, and its hash (P10)."""

    topic: ClassVar[str] = "policy"
    padded_bytes: ClassVar[int] = 4096
    is_retained: ClassVar[bool] = True

    v: Literal[1]
    hash: Hash
    """SHA-256 of `document` in canonical JSON (RFC 8785)."""
    document: PolicyDocument
    """What the hash is of."""


class Cover(Payload, tag="cover", frozen=True):
    """Nothing; sent in `batched` mode in the place of an event. Nobody need subscribe."""

    topic: ClassVar[str] = "event/cover"
    padded_bytes: ClassVar[int] = 512

    v: Literal[1]


ReplyError = Literal[
    "malformed",
    "unknown_command",
    "rate_limited",
    "not_erased",
    "not_stored",
    "not_waiting",
    "busy",
    "refused",
]
"""`malformed`: not a payload of this command. `unknown_command`: no such command. `rate_limited`: too many;
ask again later. `not_erased`: the keys may still exist, it is tried again. `not_stored`: it holds until a
restart; of a `result`: nothing could be kept. `not_waiting`: no result of such an event is waited for, or no
more. `busy`: not now. `refused`: it would loosen something, or it is switched off at the device."""


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
    command: Literal["mute", "erase", "shorten", "result", "ping", "unknown"]
    """What was asked; `unknown`: no such command."""
    status: Literal["ok", "error"]
    """Whether it was done, and durably so."""
    error: ReplyError | None = None
    transaction: Transaction | None = None
    """The request's, if it had one that could be read."""
    data: ReplyData = ReplyData()
    """What it did, where there is something to say."""


Outgoing = (
    ActionEvent | EraseNotice | EraseBefore | AlarmEvent | ReceiptEvent
    | DeviceState | Info | PolicyNow | Cover | Reply
)  # fmt: skip
OUTGOING: tuple[type[Outgoing], ...] = get_args(Outgoing)
RETAINED: tuple[type[Outgoing], ...] = tuple(kind for kind in OUTGOING if kind.is_retained)
Availability = Literal["online", "stopped", "offline"]
