"""What the reports of a month give away does not grow unseen, and the yardstick measures what it should."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import pytest
from contract_documents import bits, modes
from contract_documents.entropy import entropy, entropy_given, entropy_of_times
from contract_documents.metadata import SEED, measure
from contract_documents.month import BEGINS_S, DAY_S, DAYS, Month
from contract_documents.reader import CODES
from contract_documents.reasons import REASONS

from fadeout_broker import contract

if TYPE_CHECKING:
    from contract_documents.reader import Heard

# Bits a day. Raise one only with a reason: it is what everybody with this device gives away more.
LIMITS = {
    "subscriber_prompt": 505,
    "subscriber_batched": 380,
    "watcher_prompt": 395,
    "watcher_batched": 0,
    "watcher_incoming": 16,
}
# Another month of the same household is a little different.
MARGIN = 1.1


@pytest.fixture(scope="module")
def month() -> Month:
    return Month(SEED)


@pytest.fixture(scope="module")
def prompt(month: Month) -> list[Heard]:
    return modes.prompt(month)


# ---- limits


@pytest.mark.parametrize("who", LIMITS)
def test_what_the_reports_give_away_does_not_grow(who: str) -> None:
    told: bits.Told = getattr(measure(), who)
    assert told.total <= LIMITS[who]
    # And so that the limit is not far above the truth.
    assert told.total >= 0.9 * LIMITS[who]


@pytest.mark.parametrize("who", [who for who in LIMITS if who != "watcher_incoming"])
def test_another_month_gives_away_about_as_much(who: str) -> None:
    assert getattr(measure(SEED + 1), who).total <= MARGIN * LIMITS[who]


def test_batched_mode_tells_a_watcher_nothing() -> None:
    told = measure().watcher_batched
    assert (told.when, told.which) == (0, 0)


def test_batched_mode_tells_a_subscriber_less() -> None:
    assert measure().subscriber_batched.total < measure().subscriber_prompt.total
    assert measure().subscriber_batched.when < measure().subscriber_prompt.when * 2 / 3


def test_what_the_document_says_in_words() -> None:
    subscriber, watcher = measure().subscriber_prompt, measure().watcher_prompt
    assert subscriber.when / subscriber.total == pytest.approx(3 / 4, abs=0.04)
    assert watcher.total / subscriber.total == pytest.approx(4 / 5, abs=0.04)


def test_every_field_has_a_reason_and_is_measured() -> None:
    fields = {
        (str(kind.__struct_config__.tag), name)
        for kind in contract.OUTGOING
        for name in kind.__struct_fields__
        if name != "v"
    }
    assert set(REASONS) == fields | {("cover", "v")}
    assert set(CODES) == set(REASONS)


# ---- the month


def test_the_month_is_the_one_that_the_document_tells_of(month: Month) -> None:
    kinds = Counter(type(sent.payload) for sent in month.sent)
    events = [sent.payload for sent in month.sent if isinstance(sent.payload, contract.ActionEvent)]
    assert 25 * DAYS < len(events) < 33 * DAYS
    assert 0.8 < sum(event.outcome == "served" for event in events) / len(events) < 0.9
    assert len({event.action for event in events}) == 13
    assert kinds[contract.AlarmEvent] == 2
    assert 5 <= kinds[contract.EraseNotice] <= 15
    # Every payload of the contract is in it, but the cover that a train adds.
    assert set(kinds) == set(contract.OUTGOING) - {contract.Cover}


def test_the_month_is_in_order_and_of_the_contract(month: Month) -> None:
    times = [sent.at_s for sent in month.sent]
    assert times == sorted(times)
    assert times[0] == BEGINS_S
    assert times[-1] < BEGINS_S + DAYS * DAY_S
    for sent in month.sent:
        contract.encode(sent.payload)


def test_trains_carry_all_of_the_month_but_what_was_overtaken_or_died(month: Month) -> None:
    sent = Counter(type(one.payload) for one in month.sent)
    heard = Counter(type(one.payload) for one in modes.batched(month))
    for kind in contract.OUTGOING:
        missing = sent[kind] - heard[kind]
        # The vault hands over one state at a time: an older one may never leave.
        assert missing == 0 or (kind is contract.DeviceState and 0 < missing < sent[kind] / 20)


# ---- the yardstick


def test_entropy_of_what_is_known_by_hand() -> None:
    assert entropy("") == 0
    assert entropy("aaaa") == 0
    assert entropy("abab") == 1
    assert entropy("abcd") == 2
    assert entropy_given([("x", "a"), ("y", "b")] * 3) == 0
    assert entropy_given([("x", "a"), ("x", "b")] * 3) == 1


def test_entropy_of_times_of_what_is_known_by_hand() -> None:
    every_noon = [day * DAY_S + 12 * 3600 for day in range(DAYS)]
    # One of the 60 minutes of that hour, each day, and nobody knows which.
    expected = 60 * -(math.log2(1 / 60) / 60 + 59 / 60 * math.log2(59 / 60))
    assert entropy_of_times(every_noon, 60) == pytest.approx(expected)
    assert entropy_of_times([], 60) == 0
    every_minute = [minute * 60 for minute in range(DAYS * 1440)]
    assert entropy_of_times(every_minute, 60) == 0
    assert entropy_of_times(every_noon, 1) > entropy_of_times(every_noon, 60)


def test_payloads_without_padding_would_tell_a_watcher_more(prompt: list[Heard]) -> None:
    bare = [
        one._replace(message=one.message._replace(payload=one.message.payload.rstrip())) for one in prompt
    ]
    assert bits.watcher(bare, 1).which > bits.watcher(prompt, 1).which + 50


def test_a_time_in_each_event_would_be_seen(prompt: list[Heard]) -> None:
    def fields(heard: list[Heard]) -> float:
        return sum(row.per_day for row in bits.subscriber(heard, 1).fields if row.kind == "receipt")

    def shifted(one: Heard, number: int) -> Heard:
        payload = one.sent.payload
        if isinstance(payload, contract.ReceiptEvent):
            payload = msgspec.structs.replace(payload, hour=payload.hour - 3600 * (number % 16))
        data = contract.encode(payload)
        return one._replace(message=one.message._replace(payload=data))

    changed = [shifted(one, number) for number, one in enumerate(prompt)]
    assert fields(changed) > fields(prompt) + 20


def test_a_train_without_cover_or_out_of_time_would_be_seen(month: Month) -> None:
    trains = modes.train_records(month)
    assert len(trains) > 1400 * modes.TRAIN_DAYS
    assert bits.watcher_of_trains(trains).total == 0
    shorter = {at_s: sizes[:-1] if n % 100 == 7 else sizes for n, (at_s, sizes) in enumerate(trains.items())}
    assert bits.watcher_of_trains(shorter).which > 0
    late = {at_s + (0.5 if n % 100 == 7 else 0): sizes for n, (at_s, sizes) in enumerate(trains.items())}
    assert bits.watcher_of_trains(late).when > 0
