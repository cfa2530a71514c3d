"""How a month leaves the device: at once, or in the trains of the reporter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from contract_documents.month import DAY_S, Month, Sent
from contract_documents.reader import Heard

from fadeout_broker import arrow, contract
from fadeout_broker.train import Train, leaving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fadeout_broker.gate import Leaving

NODE: Final = "sp-7f3a9c"
BATCH_S: Final = 60
TRAIN_DAYS: Final = 3
"""So long the whole timetable is looked at, covers and all."""
_TLS_BYTES = 5 + 1 + 16  # record header, inner content type, tag: RFC 8446, section 5.2


def prompt(month: Month) -> list[Heard]:
    """Return what leaves in `prompt` mode: everything at once."""
    return [Heard(sent.at_s, sent, leaving(NODE, _publish(seq, sent))) for seq, sent in enumerate(month.sent)]


def batched(month: Month) -> list[Heard]:
    """Return what leaves in `batched` mode, less the cover: the reporter's own train carries it."""
    return [
        heard
        for _, heard in _journeys(month.sent, idle=False)
        if not isinstance(heard.sent.payload, contract.Cover)
    ]


def train_records(month: Month) -> dict[float, tuple[int, ...]]:
    """Return when each train of the first days left, and the sizes of its TLS records."""
    sent = [sent for sent in month.sent if sent.at_s < month.sent[0].at_s + TRAIN_DAYS * DAY_S]
    trains: dict[float, tuple[int, ...]] = {}
    for at_s, heard in _journeys(sent, idle=True):
        trains[at_s] = (*trains.get(at_s, ()), record_bytes(heard.message))
    return trains


def record_bytes(message: Leaving) -> int:
    """Return the size of the TLS 1.3 record of a PUBLISH; paho writes one record for each."""
    length = 2 + 2 + message.slot_bytes  # topic's length, packet identifier
    varint = 1 if length < 128 else 2 if length < 16384 else 3  # noqa: PLR2004 - MQTT 5.0, section 1.5.5
    return 1 + varint + length + _TLS_BYTES


def _cover(now_s: float) -> Sent:
    return Sent(now_s, contract.Cover(v=contract.VERSION), is_household=False)


def _publish(seq: int, sent: Sent) -> arrow.Publish:
    return arrow.Publish(seq, sent.payload, getattr(sent.payload, "ttl", None))


def _journeys(month: list[Sent], *, idle: bool) -> Iterator[tuple[float, Heard]]:
    """Yield every message of every train; without `idle`, only of those trains for which something waits."""
    settings = arrow.BrokerSettings(mode="batched", batch_s=BATCH_S)
    train = Train(arrow.Configure(settings, NODE))
    first_s = month[0].at_s
    train.came_up(first_s)
    on_board: dict[int, Sent] = {}
    # The vault hands over one state at a time; when that has left, the newest.
    state_seq, newest = None, None

    def depart(until_s: float) -> Iterator[tuple[float, Heard]]:
        nonlocal state_seq, newest
        while train.next_at_s is not None and (idle or train.seqs):
            late = 0 if idle else max(0, math.ceil((since_s - train.next_at_s) / BATCH_S))
            now_s = train.next_at_s + late * BATCH_S
            if now_s > until_s:
                return
            departure = train.tick(now_s)
            assert departure is not None  # noqa: S101 - it was due
            for car in departure.cars:
                sent = on_board.pop(car.seqs[0]) if car.seqs else _cover(now_s)
                yield now_s, Heard(now_s, sent, car.message)
            if state_seq is not None and state_seq not in on_board:
                state_seq = None
            if state_seq is None and newest is not None:
                state_seq, late_state = newest
                newest = None
                on_board[state_seq] = late_state
                train.add(_publish(state_seq, late_state), now_s)

    since_s = first_s
    for seq, sent in enumerate(month):
        yield from depart(sent.at_s)
        if isinstance(sent.payload, contract.DeviceState):
            if state_seq is not None:
                newest = (seq, sent)
                continue
            state_seq = seq
        on_board[seq] = sent
        train.add(_publish(seq, sent), sent.at_s)
        since_s = sent.at_s
    yield from depart(month[-1].at_s + 2 * BATCH_S)
