"""What leaves the device: topics, events, and how they are encoded. Closed, minimal, versioned.

The one module that both sides import. The vault fills in events and the
reporter publishes them; both go through `encode`, and the reporter decodes
every payload again before it leaves, so that a field that is not in a struct
here cannot be on the wire (P6). Does no I/O and reads no clock.

Every JSON payload is padded with trailing spaces to one size per class of
message: the lengths of TLS records gave the action away until they were equal.
JSON allows white space after a value: RFC 8259, section 2.

The second half, "the arrow between vault and reporter", is local to the device:
JSON lines on a Unix socket.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

VERSION: Final = 1
MAX_TTL_S = 30 * 86400

# `$` alone would let a line feed follow.
EventId = Annotated[str, Meta(pattern=r"^[0-9a-v]{16}$(?!\n)")]
"""Truncated HMAC under the item's own key, base32hex: cannot be derived once the key is gone."""
Action = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.]{0,39}$(?!\n)")]
Node = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$(?!\n)")]

TOPIC_ROOT = "fadeout"


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """A JSON payload of the contract; fields in the order in which they are published."""


class ActionEvent(_Payload, tag="action", frozen=True):
    """Something happened: one utterance ended in an action, or in none."""

    v: Literal[1]
    id: EventId
    action: Action
    """An action of the configured list, or `none` when the utterance failed."""
    outcome: Literal["served", "failed"]
    ttl: Annotated[int, Meta(ge=1, le=MAX_TTL_S)]
    """Seconds from now after which the subscriber must forget the event."""


class EraseNotice(_Payload, tag="erase", frozen=True):
    """Forget these events now: their items were erased."""

    v: Literal[1]
    ids: Annotated[tuple[EventId, ...], Meta(min_length=1, max_length=16)]


class DeviceState(_Payload, tag="state", frozen=True):
    """How the device is; proves that forgetting works."""

    v: Literal[1]
    listening: bool
    held: Annotated[int, Meta(ge=0)]
    overdue: Annotated[int, Meta(ge=0)]
    sweep: Literal["ok", "failed", "none"]
    """How the last sweep ended; `none` before the first one."""


Alarm = Literal["canary", "sweep", "erase"]


class AlarmEvent(_Payload, tag="alarm", frozen=True):
    """Forgetting does not work, or cannot be watched; or does again."""

    v: Literal[1]
    alarm: Alarm
    """`canary`: a dummy item outlived its end, or none can be planted; `sweep`: nothing sweeps;
    `erase`: an erasure failed."""
    on: bool
    """False: all clear."""


Payload = ActionEvent | EraseNotice | DeviceState | AlarmEvent
Availability = Literal["online", "stopped", "offline"]

PADDED_BYTES = {"action": 192, "erase": 512, "state": 192, "alarm": 192}
TOPICS = {"action": "event/action", "erase": "erase/notice", "state": "state", "alarm": "event/alarm"}
RETAINED = frozenset({"state"})


class ContractError(Exception):
    """A payload does not fit the contract; it must not leave the device."""


def topic_of(node: str, payload: Payload) -> str:
    """Return the topic name of a payload of this node."""
    return f"{TOPIC_ROOT}/{node}/{TOPICS[_tag(payload)]}"


def availability_topic(node: str) -> str:
    """Return the topic name of the retained `online`, `stopped` or `offline`."""
    return f"{TOPIC_ROOT}/{node}/availability"


def is_retained(payload: Payload) -> bool:
    """Say whether the payload is published with the MQTT retain flag."""
    return _tag(payload) in RETAINED


def encode(payload: Payload) -> bytes:
    """Encode a payload and pad it with spaces to its class's size.

    Raises:
        ContractError: it does not fit its own struct or its size.
    """
    encoded = msgspec.json.encode(payload)
    size = PADDED_BYTES[_tag(payload)]
    if len(encoded) > size:
        raise ContractError(f"a payload of {len(encoded)} bytes; its class has {size}")
    padded = encoded.ljust(size)
    # The struct's own bounds are checked on decoding only: so decode.
    decode(padded)
    return padded


def decode(data: bytes) -> Payload:
    """Decode one payload.

    Raises:
        ContractError: not JSON, an unknown type or field, a wrong type, or a value out of bounds.
    """
    try:
        payload: Payload = msgspec.json.decode(data, type=Payload)
    except (msgspec.DecodeError, msgspec.ValidationError) as err:
        raise ContractError(f"not a payload of contract version {VERSION}: {err}") from err
    return payload


def _tag(payload: Payload) -> str:
    tag = payload.__struct_config__.tag
    assert isinstance(tag, str)  # noqa: S101 - every payload above has one
    return tag


# ---- the arrow between vault and reporter: JSON lines on a Unix socket, vault listening

MAX_LINE_BYTES = 8192
MAX_IN_FLIGHT = 16
"""Events the vault hands over before it waits for the broker's acknowledgement of the first."""


class BrokerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach the broker: the `[mqtt]` table of the configuration."""

    enabled: bool = True
    """Whether a reporter is started at all."""
    host: Annotated[str, Meta(min_length=1, max_length=253)] = "localhost"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    node: Node | None = None
    """This device's name in topics; None: random, made once. Never a host name or MAC."""
    username: str | None = None
    password_file: str | None = None
    """A file with the password on its first line."""
    tls: bool = False
    ca_file: str | None = None
    """None: the system's certificate authorities."""
    cert_file: str | None = None
    key_file: str | None = None


class _ToReporter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    """From the vault."""


class Configure(_ToReporter, tag="configure", frozen=True):
    """The first line on every connection. `node` is settled by now."""

    settings: BrokerSettings
    node: Node


class Publish(_ToReporter, tag="publish", frozen=True):
    """Publish this and say `Published` when the broker has acknowledged it."""

    seq: int
    payload: Payload
    expiry_s: int | None = None
    """MQTT 5 message expiry interval: what is left of the event's life, computed just now."""


class _FromReporter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="say"):
    """To the vault."""


class BrokerLink(_FromReporter, tag="link", frozen=True):
    """The MQTT connection came up or went down. While it is down the vault hands nothing over."""

    connected: bool
    detail: Annotated[str, Meta(max_length=300)] = ""
    """Why not, in words an operator can act on."""


class Published(_FromReporter, tag="published", frozen=True):
    """The broker acknowledged the event with this sequence number."""

    seq: int


ToReporter = Configure | Publish
FromReporter = BrokerLink | Published
