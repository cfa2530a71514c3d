"""How much a month of reports says, in bits: to a subscriber, and to whoever watches the TLS records.

Empirical entropies of what the contract and the reporter's own train make of the month.
Fields are taken for independent of each other, so that sums are upper bounds;
docs/metadata.md says what that leaves out.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from contract_documents.entropy import entropy, entropy_given, entropy_of_times
from contract_documents.modes import NODE, TRAIN_DAYS, record_bytes
from contract_documents.month import DAYS
from contract_documents.reader import CODES, Heard, Reader, kind_of

from fadeout_broker import contract
from fadeout_broker.gate import Leaving

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract_documents.month import Came

PROMPT_SLOT_S = 1
"""People do not act more precisely than that; what a machine adds below says nothing of them."""


class Row(NamedTuple):
    """What one field says."""

    kind: str
    field: str
    per_message: float
    per_day: float


class Told(NamedTuple):
    """What somebody learns, in bits a day."""

    when: float
    which: float
    fields: tuple[Row, ...] = ()

    @property
    def total(self) -> float:
        """All of it."""
        return self.when + self.which + sum(row.per_day for row in self.fields)


def subscriber(heard: list[Heard], slot_s: float) -> Told:
    """Return what somebody learns who receives everything and can read it."""
    reader, context = Reader(heard), _context(heard)
    symbols = defaultdict[tuple[str, str], list[tuple[object, object]]](list)
    for one in heard:
        payload = one.payload
        for name in payload.__struct_fields__:
            if name != "v":
                code = CODES[kind_of(payload), name]
                symbols[kind_of(payload), name].append((context[one.at_s], code(payload, reader, one)))
        reader.hear(one)
    rows = []
    for (kind, name), coded in symbols.items():
        bits = entropy_given(coded)
        rows.append(Row(kind, name, bits, bits * len(coded) / DAYS))
    return _told(heard, slot_s, lambda one: kind_of(one.sent.payload), tuple(rows))


def watcher(heard: list[Heard], slot_s: float) -> Told:
    """Return what somebody learns who sees the times and sizes of the records that the device sends."""
    return _told(heard, slot_s, lambda one: record_bytes(one.message))


def watcher_of_trains(trains: dict[float, tuple[int, ...]]) -> Told:
    """Return what the times and sizes of the trains' records say: nothing, if they are all the same."""
    times = sorted(trains)
    gaps = [round(later - earlier, 3) for earlier, later in itertools.pairwise(times)]
    per_day = len(times) / TRAIN_DAYS
    # Info and policy leave with every tenth train, whatever happens.
    place = [n % 10 for n in range(len(times))]
    sizes = entropy_given(zip(place, map(trains.__getitem__, times), strict=True))
    return Told(entropy(gaps) * per_day, sizes * per_day)


def watcher_of_incoming(came: list[Came], slot_s: float) -> Told:
    """Return what the times and sizes say of what others publish to the device: in both modes."""
    moments = defaultdict[int, list[int]](list)
    for one in came:
        size = record_bytes(Leaving(contract.prefix_of(NODE) + one.topic, one.payload))
        moments[math.floor(one.at_s / slot_s)].append(size)
    times = [slot * slot_s for slot in moments]
    which = entropy(map(tuple, moments.values())) * len(moments) / DAYS
    return Told(entropy_of_times(times, slot_s), which)


def _told(
    heard: list[Heard], slot_s: float, symbol: Callable[[Heard], object], rows: tuple[Row, ...] = ()
) -> Told:
    """Return when households act, what kinds of messages come at a moment, and what stands in them."""
    reader = Reader(heard)
    moments = defaultdict[float, list[Heard]](list)
    for one in heard:
        moments[one.at_s].append(one)
    acts = {at_s for at_s, ones in moments.items() if any(one.sent.is_household for one in ones)}
    sweeps = {at_s for at_s, ones in moments.items() if any(one.sent.is_sweep for one in ones)} - acts
    which = entropy(tuple(map(symbol, moments[at_s])) for at_s in acts) * len(acts)
    # Whether there is a receipt, when it is known whether one is due.
    which += entropy_given(
        (reader.items_due(at_s) > 0, tuple(map(symbol, moments[at_s]))) for at_s in sweeps
    ) * len(sweeps)
    return Told(entropy_of_times(acts, slot_s), which / DAYS, rows)


def _context(heard: list[Heard]) -> dict[float, tuple[object, ...]]:
    """Return what is paid for before the fields of a moment are: that it was, and the kinds of messages."""
    context = defaultdict[float, tuple[object, ...]](tuple)
    for one in heard:
        context[one.at_s] += (kind_of(one.sent.payload), one.sent.is_household)
    return context
