"""What a subscriber adds to what it knows already, field by field.

Each field is coded as what it says beyond its arrival, the payloads before, and the
published policy: a number of recordings that falls when known ends have come says nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from contract_documents.month import CANARIES, CANARY_S, DAY_S, FAILED_S, SWEEP_S, Sent

from fadeout_broker import contract

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_broker.gate import Leaving


class Heard(NamedTuple):
    """One message at the broker."""

    at_s: float
    sent: Sent
    """Whence it came; cover, and what is said again, came from the timetable."""
    message: Leaving

    @property
    def payload(self) -> contract.Outgoing:
        """What was decoded there."""
        return contract.decode(self.message.payload)


class Reader:
    """What a reader remembers: the last payload of each type, and what it was told will end when.

    It knows the policy, for that is published, and the life of canaries, which is in it.
    """

    def __init__(self, heard: list[Heard]) -> None:
        self.before: dict[str, contract.Outgoing] = {}
        self._items = Counter[int]()
        self._recordings = Counter[int]()
        self._ends: dict[str, list[int]] = {}
        for one in heard:
            event = one.sent.payload
            if isinstance(event, contract.ActionEvent):
                end_s = _grid(one.at_s + event.ttl)
                self._items[end_s] += 1
                if event.outcome == "failed":
                    end_s += FAILED_S - DAY_S
                    self._items[end_s] += 2
                self._recordings[end_s] += 1

    def hear(self, one: Heard) -> None:
        """Remember one message."""
        payload = one.sent.payload
        self.before[kind_of(payload)] = payload
        if isinstance(payload, contract.ActionEvent):
            end_s = _grid(one.at_s + payload.ttl)
            later_s = [end_s + FAILED_S - DAY_S] if payload.outcome == "failed" else []
            self._ends[payload.id] = [end_s, *later_s]
        elif isinstance(payload, contract.EraseNotice):
            for event in payload.ids:
                self._ends.pop(event, None)
        elif isinstance(payload, contract.ReceiptEvent) and payload.reason == "update":
            self._ends = {event: known[:1] for event, known in self._ends.items()}

    def places(self, ids: tuple[str, ...]) -> tuple[int, ...]:
        """Return how many events it has heard of since each of these."""
        newest_first = list(reversed(self._ends))
        return tuple(newest_first.index(event) if event in self._ends else -1 for event in ids)

    def next_end(self, at_s: float) -> int | None:
        """Return when it expects the next item to end, rounded up to the hour."""
        ends = [end_s for known in self._ends.values() for end_s in known if end_s > at_s]
        for event in [event for event, known in self._ends.items() if known[-1] <= at_s]:
            del self._ends[event]
        return -(-min(ends) // 3600) * 3600 if ends else None

    def items_due(self, at_s: float) -> int:
        """Return how many items it expects to be erased in the last sweep."""
        sweep_s = int(at_s // SWEEP_S) * SWEEP_S
        return self._items[sweep_s] + (CANARIES if sweep_s % CANARY_S == 0 else 0)

    def recordings_due(self, at_s: float) -> int:
        """Return how many recordings it expects to be gone with it."""
        return self._recordings[int(at_s // SWEEP_S) * SWEEP_S]


def _grid(at_s: float) -> int:
    return round(at_s / SWEEP_S) * SWEEP_S


# ---- how a field is coded, given the arrival and what its reader remembers

if TYPE_CHECKING:
    Code = Callable[[contract.Outgoing, Reader, Heard], object]


def _value(name: str) -> Code:
    def code(payload: contract.Outgoing, _reader: Reader, _heard: Heard) -> object:
        return msgspec.json.encode(getattr(payload, name))

    return code


def _change(name: str) -> Code:
    """A value that mostly stays: whether it did, and if not what it is."""

    def code(payload: contract.Outgoing, reader: Reader, _heard: Heard) -> object:
        before, value = reader.before.get(kind_of(payload)), msgspec.json.encode(getattr(payload, name))
        return "same" if before and msgspec.json.encode(getattr(before, name)) == value else value

    return code


def _step(name: str) -> Code:
    """A number that goes by steps."""
    return lambda payload, reader, _heard: (
        getattr(payload, name) - getattr(reader.before.get(kind_of(payload)), name, 0)
    )


def _held(payload: contract.Outgoing, reader: Reader, heard: Heard) -> object:
    assert isinstance(payload, contract.DeviceState)  # noqa: S101 - it is its field
    before = reader.before.get("state")
    step = payload.held - (before.held if isinstance(before, contract.DeviceState) else 0)
    return step + (reader.recordings_due(heard.at_s) if heard.sent.is_sweep else 0)


def _time(name: str, grid_s: int) -> Code:
    """A time that says what its arrival says: how far from it, on its grid."""
    return lambda payload, _reader, heard: (
        None if getattr(payload, name) is None else getattr(payload, name) // grid_s - heard.at_s // grid_s
    )


def _next_end(payload: contract.Outgoing, reader: Reader, heard: Heard) -> object:
    assert isinstance(payload, contract.DeviceState)  # noqa: S101 - it is its field
    if payload.next_end == reader.next_end(heard.at_s):
        return "as expected"
    return payload.next_end and payload.next_end // 3600 - heard.at_s // 3600


def _nothing(_payload: contract.Outgoing, _reader: Reader, _heard: Heard) -> object:
    return None


def kind_of(payload: contract.Outgoing) -> str:
    """Return the `type` of a payload."""
    return str(payload.__struct_config__.tag)


CODES: dict[tuple[str, str], Code] = {
    ("action", "id"): _nothing,
    ("action", "action"): _value("action"),
    # `failed` and `none` say the same: counted once.
    ("action", "outcome"): _nothing,
    # An end date is known to lie on the sweep's grid: which of its places?
    ("action", "ttl"): lambda payload, _reader, heard: (
        _grid(heard.at_s + getattr(payload, "ttl")) // SWEEP_S - heard.at_s // SWEEP_S  # noqa: B009
    ),
    **{("erase", name): _change(name) for name in ("era",)},
    ("erase", "n"): _step("n"),
    # Which of the events that live: how far back it lies.
    ("erase", "ids"): lambda payload, reader, _heard: reader.places(getattr(payload, "ids")),  # noqa: B009
    ("erase_before", "era"): _change("era"),
    ("erase_before", "n"): _step("n"),
    ("erase_before", "since"): _step("since"),
    # A notice has just said them.
    ("erase_before", "ids"): _nothing,
    ("alarm", "alarm"): _value("alarm"),
    ("alarm", "on"): _value("on"),
    ("receipt", "n"): _step("n"),
    ("receipt", "items"): lambda payload, reader, heard: (
        getattr(payload, "items") - (reader.items_due(heard.at_s) if heard.sent.is_sweep else 0)  # noqa: B009
    ),
    ("receipt", "reason"): _value("reason"),
    ("receipt", "hour"): _time("hour", 3600),
    ("receipt", "root"): _change("root"),
    ("receipt", "key"): _change("key"),
    ("receipt", "signature"): _nothing,
    ("receipt", "ttl"): lambda payload, _reader, _heard: -(-getattr(payload, "ttl") // 60),  # noqa: B009
    ("state", "listening"): _change("listening"),
    # `listening` has said it.
    ("state", "muted"): _nothing,
    ("state", "held"): _held,
    ("state", "overdue"): _step("overdue"),
    ("state", "sweep"): _change("sweep"),
    ("state", "swept"): _time("swept", SWEEP_S),
    ("state", "next_end"): _next_end,
    ("state", "forgetting"): _change("forgetting"),
    **{("info", name): _change(name) for name in ("sw", "mode", "actions", "commands", "result_s")},
    ("cover", "v"): _nothing,
    ("policy", "hash"): _change("hash"),
    # The hash has said that it changed.
    ("policy", "document"): _nothing,
    ("reply", "command"): _value("command"),
    ("reply", "status"): _value("status"),
    ("reply", "error"): _value("error"),
    ("reply", "transaction"): _nothing,
    ("reply", "data"): _value("data"),
}
"""Every field of every payload but `type` and `v` (a cover has no other): none may be missing."""
