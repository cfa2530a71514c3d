"""What comes in: commands that mute, shorten or erase, how an action ended, and acknowledgements (P7).

Everything here was written by somebody else, so it is bounded first and decoded
second, and what does not fit is not told back: an error never shows it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from fadeout_broker.vocabulary import (
    MAX_IDS,
    MAX_TTL_S,
    ContractError,
    Count,
    Era,
    EventId,
    Kind,
    Outcome,
    Transaction,
)

CommandName = Literal["mute", "erase", "shorten", "result", "ping"]
"""The commands that there are."""
COMMANDS: tuple[CommandName, ...] = get_args(CommandName)
MAX_REQUEST_BYTES = 1024
"""No request and no acknowledgement is longer."""


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payload of `cmd/<name>`; the name is the topic's. An empty payload is `{}`."""

    name: ClassVar[CommandName]


class MuteRequest(_Request, frozen=True, kw_only=True):
    """Close the microphone, until somebody at the device opens it."""

    name: ClassVar[CommandName] = "mute"

    transaction: Transaction | None = None


class EraseRequest(_Request, frozen=True, kw_only=True):
    """Erase recordings, in exactly one of four ways."""

    name: ClassVar[CommandName] = "erase"

    ids: Annotated[tuple[EventId, ...], Meta(max_length=MAX_IDS)] = ()
    """Those whose events have these ids. An id that names nothing is no error."""
    last: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """So many of the newest. With a `transaction`, a message that the broker delivers twice does no more
    than once; without one it takes the next ones."""
    last_minutes: Annotated[int, Meta(ge=1, le=43200)] | None = None
    """Whatever was captured, in part or whole, in so many minutes before now; and where that is not certain,
    more: nothing is opened to look, and the index knows the time of a capture only to a sweep."""
    all: bool = False
    """Everything that is held."""
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


class ResultRequest(_Request, frozen=True, kw_only=True):
    """Say how an action ended, while the device still waits for that: `result_s` of `info`."""

    name: ClassVar[CommandName] = "result"

    id: EventId
    """Of the action's event."""
    result: Literal["done", "failed"]
    """`done`: as if nothing had been said. `failed`: the device keeps what its policy keeps of a failed
    request."""
    transaction: Transaction | None = None


class PingRequest(_Request, frozen=True, kw_only=True):
    """Do nothing but answer; the device asks itself this way whether commands arrive."""

    name: ClassVar[CommandName] = "ping"

    transaction: Transaction | None = None


Request = MuteRequest | EraseRequest | ShortenRequest | ResultRequest | PingRequest
_REQUESTS: dict[str, type[Request]] = {
    "mute": MuteRequest,
    "erase": EraseRequest,
    "shorten": ShortenRequest,
    "result": ResultRequest,
    "ping": PingRequest,
}


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything up to this notice is forgotten at this consumer."""

    v: Literal[1]
    era: Era
    """The era of that notice, or of the watermark."""
    n: Count
    """Its number; of the watermark: the watermark's. Smaller ones are meant with it."""


def decode_request(name: str, data: bytes) -> Request:
    """Decode the payload of `cmd/<name>`; an empty one is `{}`.

    Raises:
        ContractError: no such command, or not a payload of it. Never shows it.
    """
    kind = _REQUESTS.get(name)
    if kind is None:
        raise ContractError("no such command")
    if len(data) > MAX_REQUEST_BYTES:
        raise ContractError(f"a request of more than {MAX_REQUEST_BYTES} bytes")
    try:
        request: Request = msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Without its cause, whose text may show the value.
        raise ContractError("not a request of this command") from None
    if isinstance(request, EraseRequest) and not request.is_one_way:
        raise ContractError("name what to erase in one way: ids, last, last_minutes or all")
    return request


def decode_ack(data: bytes) -> Ack:
    """Decode the payload of `erase/ack/<consumer>`.

    Raises:
        ContractError: not an acknowledgement. Never shows it.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise ContractError(f"an acknowledgement of more than {MAX_REQUEST_BYTES} bytes")
    try:
        ack: Ack = msgspec.json.decode(data, type=Ack)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ContractError("not an acknowledgement") from None
    return ack
