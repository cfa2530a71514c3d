"""Batched mode: messages of one size, so many at a time, whether something happened or not.

Every `batch_s` seconds a train leaves: `SLOTS` messages, each of the same size on the
wire, filled with what waits, in order, and then with cover. Whoever counts and measures
the records of the connection sees the same in an idle hour and in a busy one.

Info and policy are too large for a slot. They leave at a connection and then with every
so many trains, changed or not. A payload's remaining life is that at the moment it
leaves; what dies while it waits never leaves. Pure: times are arguments, in seconds of a
clock that runs while the machine sleeps.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, NamedTuple

import msgspec

from fadeout_broker import arrow, contract
from fadeout_broker.gate import NO_EXPIRY_S, SLOT_BYTES, Leaving

SLOTS: Final = 8
"""Messages in a train: with one of 720 bytes each about 6 kB."""
FIRST_S: Final = 1.0
"""The first train leaves so long after a connection, filled with what the vault says to each."""
LARGE_EVERY_S: Final = 600
"""About how often info and policy leave."""

LARGE: Final[tuple[type[contract.Outgoing], ...]] = (contract.Info, contract.PolicyNow)


class Car(NamedTuple):
    """One message that leaves, and what the vault calls it."""

    message: Leaving
    seqs: tuple[int, ...] = ()
    """Empty: cover, or said again."""


class Departure(NamedTuple):
    """What leaves now, in order."""

    cars: list[Car]
    dead: list[int]
    """Those that never will: they died while they waited."""
    unfit: list[int]
    """Those that never will: they do not fit a slot."""


class _Waiting(NamedTuple):
    publish: arrow.Publish
    since_s: float


class _Large:
    """The last info, or the last policy."""

    def __init__(self) -> None:
        self.publish: arrow.Publish | None = None
        self.seqs: list[int] = []
        self.has_left = False

    def leaves(self, *, is_due: bool) -> arrow.Publish | None:
        """Return what leaves with this train, if it does."""
        if self.publish is None or (self.has_left and not is_due):
            return None
        self.has_left = True
        return self.publish


class Train:
    """Holds what waits, and says what leaves when.

    Args:
        configure: as whom, and how often.
    """

    def __init__(self, configure: arrow.Configure) -> None:
        self._node = configure.node
        self._batch_s = configure.settings.batch_s
        self._large_every = max(1, round(LARGE_EVERY_S / self._batch_s))
        self._waiting: deque[_Waiting] = deque()
        self._large = {kind: _Large() for kind in LARGE}
        self._trains = 0
        self.next_at_s: float | None = None
        """When the next train leaves; None: there is no connection."""

    @property
    def seqs(self) -> list[int]:
        """Return the numbers of what waits."""
        waiting = [each.publish.seq for each in self._waiting]
        return waiting + [seq for large in self._large.values() for seq in large.seqs]

    def came_up(self, now_s: float) -> None:
        """Begin the timetable: there is a connection."""
        self.went_down()
        self.next_at_s = now_s + FIRST_S

    def went_down(self) -> None:
        """Forget what waits: the vault hands it over again."""
        self._waiting.clear()
        self._large = {kind: _Large() for kind in LARGE}
        self._trains = 0
        self.next_at_s = None

    def lose_vault(self) -> None:
        """Forget what waits: whoever connects next hands it over again. The timetable goes on."""
        self._waiting.clear()
        for large in self._large.values():
            large.seqs = []

    def add(self, publish: arrow.Publish, now_s: float) -> None:
        """Have a payload wait for its slot."""
        large = self._large.get(type(publish.payload))
        if large is None:
            self._waiting.append(_Waiting(publish, now_s))
        else:
            large.publish = publish
            large.seqs.append(publish.seq)

    def recall(self, seqs: tuple[int, ...]) -> list[int]:
        """Take back what has not left yet; return which that was."""
        recalled = [each.publish.seq for each in self._waiting if each.publish.seq in seqs]
        self._waiting = deque(each for each in self._waiting if each.publish.seq not in seqs)
        return recalled

    def tick(self, now_s: float) -> Departure | None:
        """Return what leaves now: a whole train, or nothing."""
        if self.next_at_s is None or now_s < self.next_at_s:
            return None
        # Late is late; two trains at once would say that the machine was busy.
        self.next_at_s += self._batch_s * (1 + (now_s - self.next_at_s) // self._batch_s)
        departure = Departure([], [], [])
        self._fill(departure, now_s)
        cover = contract.Cover(v=contract.VERSION)
        while len(departure.cars) < SLOTS:
            departure.cars.append(Car(in_slot(self._node, arrow.Publish(0, cover))))
        for large in self._large.values():
            publish = large.leaves(is_due=self._trains % self._large_every == 0)
            if publish is not None:
                departure.cars.append(Car(leaving(self._node, publish), tuple(large.seqs)))
                large.seqs = []
        self._trains += 1
        return departure

    def _fill(self, departure: Departure, now_s: float) -> None:
        while self._waiting and len(departure.cars) < SLOTS:
            publish, since_s = self._waiting.popleft()
            alive = aged(publish, math.ceil(now_s - since_s))
            if alive is None:
                departure.dead.append(publish.seq)
                continue
            try:
                departure.cars.append(Car(in_slot(self._node, alive), (publish.seq,)))
            except contract.ContractError:
                departure.unfit.append(publish.seq)


def aged(publish: arrow.Publish, waited_s: int) -> arrow.Publish | None:
    """Return it with what is left of its life; None: nothing is."""
    payload, expiry_s = publish.payload, publish.expiry_s
    if isinstance(payload, contract.ActionEvent | contract.ReceiptEvent):
        if payload.ttl <= waited_s:
            return None
        payload = msgspec.structs.replace(payload, ttl=payload.ttl - waited_s)
        expiry_s = payload.ttl if expiry_s is None else expiry_s - waited_s
    elif expiry_s is not None:
        expiry_s -= waited_s
    if expiry_s is not None and expiry_s < 1:
        return None
    return msgspec.structs.replace(publish, payload=payload, expiry_s=expiry_s)


def leaving(node: str, publish: arrow.Publish) -> Leaving:
    """Make the message of a payload, in its class's size.

    Raises:
        ContractError: it does not fit the contract.
    """
    payload = publish.payload
    topic, correlation = contract.topic_of(node, payload), None
    if isinstance(payload, contract.Reply):
        topic, correlation = publish.reply_to or topic, publish.correlation
    return Leaving(topic, contract.encode(payload), payload.is_retained, publish.expiry_s, correlation)


def in_slot(node: str, publish: arrow.Publish) -> Leaving:
    """Make the message of a payload, in the size of a slot: more spaces, and always an expiry.

    Raises:
        ContractError: it does not fit the contract, or no slot.
    """
    message = leaving(node, publish)
    if message.expiry_s is None:
        message = message._replace(expiry_s=NO_EXPIRY_S)
    size = len(message.payload) + SLOT_BYTES - message.slot_bytes
    if size < len(message.payload):
        # Topic and correlation data of a reply are bounded, and leave room for it.
        raise contract.ContractError("no payload for a slot")
    return message._replace(payload=contract.encode(publish.payload, size_bytes=size))
