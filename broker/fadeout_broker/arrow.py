"""The arrow between vault and reporter: what they say to each other, as JSON lines on a Unix socket.

Local to the device, and no part of what integrators see. With `contract.py` the only
module that both sides import. Shapes only: `adapters/vault_arrow.py` and the vault's
`reporter_arrow.py` carry them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fadeout_broker import contract

MAX_LINE_BYTES = 8192
MAX_IN_FLIGHT = 16
"""Payloads the vault hands over before it waits for the broker's acknowledgement of the first."""
CORRELATION_BYTES = 128
"""Longer correlation data is not echoed."""


class BrokerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach the broker: the `[mqtt]` table of the configuration."""

    enabled: bool = True
    """Whether a reporter is started at all."""
    host: Annotated[str, Meta(min_length=1, max_length=253)] = "localhost"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    node: contract.Node | None = None
    """This device's name in topics; None: random, made once. Never a host name or MAC."""
    username: str | None = None
    password_file: str | None = None
    """A file with the password on its first line."""
    tls: bool = False
    ca_file: str | None = None
    """None: the system's certificate authorities."""
    cert_file: str | None = None
    key_file: str | None = None
    mode: Literal["prompt", "batched"] = "prompt"
    """`prompt`: events leave at once. `batched`: constant size at a constant rate, with cover messages."""
    batch_s: Annotated[int, Meta(ge=1, le=3600)] = 60
    """The time between two trains of `batched` mode, in seconds."""
    actions: Annotated[tuple[contract.Action, ...], Meta(max_length=contract.MAX_ACTIONS)] | None = None
    """The closed list of actions that events may name; any other is told as `other`.

    None: those of the actions file, which the vault fills in.
    """
    commands: bool = True
    """Whether commands are subscribed to at all."""
    subscribers: Annotated[tuple[contract.Consumer, ...], Meta(max_length=32)] = ()
    """Who is expected to acknowledge erasures."""
    discovery: bool = True
    """Whether Home Assistant is told of the device."""
    discovery_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")] = "homeassistant"


# ---- from the vault


class _ToReporter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    """From the vault."""


class Configure(_ToReporter, tag="configure", frozen=True):
    """The first line on every connection. `node` is settled by now."""

    settings: BrokerSettings
    node: contract.Node


class Publish(_ToReporter, tag="publish", frozen=True):
    """Publish this and say `Published` when the broker has acknowledged it."""

    seq: int
    payload: contract.Outgoing
    expiry_s: int | None = None
    """MQTT 5 message expiry interval: what is left of the event's life, computed just now."""
    reply_to: Annotated[str, Meta(max_length=300)] | None = None
    """For a reply: the topic that the request asked for."""
    correlation: bytes | None = None
    """For a reply: the request's correlation data."""


class Withdraw(_ToReporter, tag="withdraw", frozen=True):
    """Clear every retained topic of this device, discovery included, and say `Published`; stay quiet then.

    Until the next `Configure` nothing is published.
    """

    seq: int


class Recall(_ToReporter, tag="recall", frozen=True):
    """Do not publish these, if they have not left yet: their items are erased. Say `Published` of each."""

    seqs: Annotated[tuple[int, ...], Meta(max_length=MAX_IN_FLIGHT)]


# ---- to the vault


class _FromReporter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="say"):
    """To the vault."""


class BrokerLink(_FromReporter, tag="link", frozen=True):
    """The MQTT connection came up or went down. While it is down the vault hands nothing over."""

    connected: bool
    detail: Annotated[str, Meta(max_length=300)] = ""
    """Why not, in words an operator can act on."""


class Incoming(_FromReporter, tag="incoming", frozen=True):
    """Whether commands and acknowledgements reach us: the reporter asks itself."""

    works: bool
    detail: Annotated[str, Meta(max_length=300)] = ""


class Published(_FromReporter, tag="published", frozen=True):
    """The broker acknowledged the payload with this sequence number."""

    seq: int


class Dropped(_FromReporter, tag="dropped", frozen=True):
    """The payload with this number does not fit the contract, or the broker; it will never leave."""

    seq: int
    where: Annotated[str, Meta(max_length=100)] = ""
    """The field that is wrong, as a path such as `$.payload.ttl`."""


class Asked(_FromReporter, tag="asked", frozen=True):
    """Somebody sent a command. The vault decodes the payload: it believes the reporter about nothing."""

    name: Annotated[str, Meta(max_length=32)]
    """The topic's last level."""
    payload: Annotated[bytes, Meta(max_length=contract.MAX_REQUEST_BYTES + 1)]
    reply_to: Annotated[str, Meta(max_length=300)] | None = None
    correlation: Annotated[bytes, Meta(max_length=CORRELATION_BYTES)] | None = None


class Acknowledged(_FromReporter, tag="acknowledged", frozen=True):
    """A subscriber says that it has forgotten."""

    consumer: contract.Consumer
    ack: contract.Ack


ToReporter = Configure | Publish | Recall | Withdraw
FromReporter = BrokerLink | Incoming | Published | Dropped | Asked | Acknowledged
