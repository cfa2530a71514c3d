"""What the reporter says of itself, with the broker, the clock and chance in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.contract_cases import ACTION, BEFORE, INFO, STATE
from fadeout_broker import arrow, contract, discovery
from fadeout_broker.backoff import Backoff
from fadeout_broker.errors import ArrowError
from fadeout_broker.gate import SLOT_BYTES, Leaving, UnfitError
from fadeout_broker.outgoing import Chance, Outgoing
from fadeout_broker.selfping import AGAIN_S, EVERY_S, WAIT_S
from fadeout_broker.train import SLOTS
from fadeout_broker.uplink import Up, Uplink

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_broker.uplink import LastWord

NODE = "sp-1"
DISCOVERY = "homeassistant/device/sp-1/config"


class FakeLink:
    """Takes what passes the gate."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.last: LastWord | None = None

    def open(self) -> None:
        pass

    def publish(self, message: Leaving) -> int:
        if len(message.payload) > self._house.largest:
            raise UnfitError("the broker's maximum packet size")
        self._house.outgoing.gate.check(message)
        self._house.published.append(message)
        return len(self._house.published)

    def close(self, last: LastWord) -> None:
        self.last = last


class House:
    """One connection that is up."""

    def __init__(self, settings: arrow.BrokerSettings | None = None) -> None:
        self.published: list[Leaving] = []
        self.said: list[arrow.FromReporter] = []
        self.last_words: list[LastWord | None] = []
        """How the connection had ended when each was said; None: it had not."""
        self.on_said: Callable[[arrow.FromReporter], None] = lambda _: None
        self.largest = 100_000
        self.link = FakeLink(self)
        configure = arrow.Configure(settings or arrow.BrokerSettings(), NODE)
        self.uplink = Uplink(lambda _: self.link, Backoff(lambda: 1.0), self._hear)
        chance = Chance(lambda: 0.5, lambda: "0123456789abcdef")
        self.outgoing = Outgoing(configure, self.uplink, self._hear, chance)
        self.uplink.configure(configure, 0.0)
        self.uplink.tick(0.0)
        self.uplink.handle(self.link, Up(), 0.0)
        self.outgoing.came_up(0.0, is_deaf=False)
        self.outgoing.tick(0.0)
        self.said.clear()
        self.last_words.clear()

    def _hear(self, said: arrow.FromReporter) -> None:
        self.said.append(said)
        self.last_words.append(self.link.last)
        self.on_said(said)

    def topics(self) -> list[str]:
        return [message.topic.removeprefix("fadeout/sp-1/") for message in self.published]

    def acknowledge(self) -> None:
        for number in range(len(self.published)):
            self.outgoing.acknowledged(number + 1)


def test_the_discovery_is_said_with_the_first_info_and_again_after_a_birth_before_all_else() -> None:
    house = House()
    house.published.clear()
    payloads: tuple[contract.Outgoing, ...] = (INFO, STATE, BEFORE, INFO)
    for seq, payload in enumerate(payloads):
        house.outgoing.publish(arrow.Publish(seq, payload), 1.0)
    assert house.topics() == ["info", DISCOVERY, "state", "erase/before", "info"]
    assert discovery.decode(house.published[1].payload).node == NODE
    house.published.clear()
    house.outgoing.somebody_was_born(10.0)
    house.outgoing.tick(12.4)
    assert house.topics() == []
    house.outgoing.tick(12.5)
    assert house.topics() == [DISCOVERY, "info", "state", "erase/before"]
    house.acknowledge()
    assert [said for said in house.said if isinstance(said, arrow.Published)] == []


def _clearings(house: House) -> list[int]:
    """Connect anew and return the numbers of what clears the discovery."""
    house.outgoing.went_down()
    house.outgoing.came_up(1.0, is_deaf=False)
    before = len(house.published)
    house.outgoing.publish(arrow.Publish(1, INFO), 1.0)
    house.outgoing.publish(arrow.Publish(2, INFO), 1.0)
    said = list(enumerate(house.published, start=1))[before:]
    return [number for number, each in said if each == Leaving(DISCOVERY, b"", is_retained=True)]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda house, number: house.outgoing.acknowledged(number), id="and it is gone"),
        pytest.param(
            lambda house, number: house.outgoing.refused(number, "not authorised", 1.0), id="and it may not"
        ),
    ],
)
def test_without_discovery_one_of_before_is_cleared_once(answer: Callable[[House, int], None]) -> None:
    house = House(arrow.BrokerSettings(discovery=False))
    (number,) = _clearings(house)
    answer(house, number)
    assert house.link.last is None
    assert _clearings(house) == []
    assert all(each.topic != DISCOVERY or not each.payload for each in house.published)


def test_a_broker_that_hangs_up_on_a_clearing_is_not_asked_for_ever() -> None:
    house = House(arrow.BrokerSettings(discovery=False))
    assert [len(_clearings(house)) for _ in range(5)] == [1, 1, 1, 0, 0]


def test_a_refused_discovery_ends_nothing() -> None:
    house = House()
    house.outgoing.publish(arrow.Publish(1, INFO), 1.0)
    house.outgoing.refused(house.topics().index(DISCOVERY) + 1, "not authorised", 1.0)
    assert house.link.last is None
    house.outgoing.refused(house.topics().index("info") + 1, "not authorised", 1.0)
    assert house.link.last == "offline"


def test_incoming_is_told_once_and_again_to_a_new_vault() -> None:
    house = House()
    for question in house.published[:2]:
        house.outgoing.came_back(question.payload, 1.0)
    assert house.said == [arrow.Incoming(works=True)]
    house.outgoing.greet_vault()
    assert house.said == [arrow.Incoming(works=True)] * 2


def test_a_connection_that_falls_deaf_is_made_anew_and_one_that_always_was_is_not() -> None:
    house = House()
    house.outgoing.tick(WAIT_S)
    assert house.said == [house.outgoing.selfping.verdict]
    assert house.link.last is None
    house.outgoing.tick(WAIT_S + AGAIN_S)
    for question in house.published[-2:]:
        house.outgoing.came_back(question.payload, WAIT_S + AGAIN_S)
    house.outgoing.tick(WAIT_S + AGAIN_S + EVERY_S)
    house.outgoing.tick(WAIT_S + AGAIN_S + EVERY_S + WAIT_S)
    assert house.link.last == "offline"
    assert house.said[-1] == arrow.BrokerLink(
        connected=False, detail="what we sent to ourselves does not come back any more"
    )


def test_a_connection_given_up_in_the_moment_of_a_train_takes_no_train() -> None:
    house = House(arrow.BrokerSettings(mode="batched"))
    for question in house.published[:2]:
        house.outgoing.came_back(question.payload, 0.0)
    house.outgoing.tick(EVERY_S)
    published = len(house.published)
    house.outgoing.tick(EVERY_S + WAIT_S + 60.0)
    assert house.link.last == "offline"
    assert len(house.published) == published


def test_a_refused_question_ends_no_connection() -> None:
    house = House()
    for number in (1, 2):
        house.outgoing.refused(number, "not authorised", 1.0)
    assert house.link.last is None
    (told,) = house.said
    assert isinstance(told, arrow.Incoming)
    assert not told.works


def test_what_the_broker_finds_too_large_is_dropped_and_not_tried_for_ever() -> None:
    house = House()
    house.largest = 1000
    house.outgoing.publish(arrow.Publish(1, INFO), 1.0)
    house.outgoing.publish(arrow.Publish(2, STATE), 1.0)
    house.acknowledge()
    assert house.said == [arrow.Dropped(1, "the broker's maximum packet size"), arrow.Published(2)]
    assert house.link.last is None


def test_batched_nothing_leaves_before_its_train_and_the_vault_must_wait_all_the_same() -> None:
    house = House(arrow.BrokerSettings(mode="batched"))
    asked = len(house.published)
    for seq in range(arrow.MAX_IN_FLIGHT):
        house.outgoing.publish(arrow.Publish(seq, ACTION, ACTION.ttl), 0.5)
    assert len(house.published) == asked
    with pytest.raises(ArrowError):
        house.outgoing.publish(arrow.Publish(99, ACTION, ACTION.ttl), 0.5)
    house.outgoing.tick(1.0)
    train = house.published[asked:]
    assert len(train) == SLOTS
    assert {message.slot_bytes for message in train} == {SLOT_BYTES}
    house.acknowledge()
    assert house.said == [arrow.Published(seq) for seq in range(SLOTS)]


def test_batched_what_is_recalled_before_its_train_never_leaves_and_the_vault_is_told() -> None:
    house = House(arrow.BrokerSettings(mode="batched"))
    asked = len(house.published)
    house.outgoing.publish(arrow.Publish(1, ACTION, ACTION.ttl), 0.5)
    house.outgoing.recall((1, 2))
    assert house.said == [arrow.Published(1)]
    house.outgoing.tick(1.0)
    train = house.published[asked:]
    assert [contract.decode(message.payload) for message in train] == [contract.Cover(v=1)] * SLOTS


def test_what_has_left_is_not_recalled() -> None:
    house = House()
    house.outgoing.publish(arrow.Publish(1, ACTION, ACTION.ttl), 0.5)
    house.outgoing.recall((1,))
    assert house.said == []
    house.acknowledge()
    assert house.said == [arrow.Published(1)]


def test_batched_a_birth_is_answered_in_the_same_sizes() -> None:
    house = House(arrow.BrokerSettings(mode="batched"))
    house.outgoing.publish(arrow.Publish(1, STATE), 0.5)
    house.outgoing.tick(1.0)
    house.published.clear()
    house.outgoing.somebody_was_born(10.0)
    house.outgoing.tick(15.0)
    assert [message.slot_bytes for message in house.published] == [SLOT_BYTES]


def test_withdrawing_waits_for_the_broker_and_says_no_last_word() -> None:
    house = House()
    house.outgoing.publish(arrow.Publish(1, STATE), 1.0)
    house.published.clear()
    house.outgoing.withdraw(7, 1.0)
    assert {message.topic for message in house.published} == {DISCOVERY, *contract.retained_topics(NODE)}
    assert {message.payload for message in house.published} == {b""}
    house.outgoing.publish(arrow.Publish(2, STATE), 1.0)
    house.outgoing.tick(1000.0)
    assert house.outgoing.next_at_s is None
    assert {message.payload for message in house.published} == {b""}


@pytest.mark.parametrize("refused", [True, False])
def test_withdrawing_ends_with_the_last_answer(*, refused: bool) -> None:
    house = House()
    asked = len(house.published)
    house.outgoing.withdraw(7, 1.0)
    for number in range(asked, len(house.published)):
        assert house.link.last is None
        if refused:
            house.outgoing.refused(number + 1, "not authorised", 1.0)
        else:
            house.outgoing.acknowledged(number + 1)
    assert house.link.last == "nothing"
    done = house.said.index(arrow.Published(7))
    assert house.last_words[done] == "nothing", "told before the connection was ended"
    assert isinstance(house.said[done + 1], arrow.BrokerLink), "after which the vault waits for nothing more"
    assert house.outgoing.next_at_s is None


def test_a_vault_that_goes_when_its_topics_are_cleared_ends_nothing_twice() -> None:
    house = House()
    house.on_said = lambda said: house.outgoing.lose_vault(2.0) if said == arrow.Published(7) else None
    house.outgoing.withdraw(7, 1.0)
    house.acknowledge()
    assert house.link.last == "nothing"


def test_a_vault_that_goes_while_its_topics_are_cleared_gets_a_whole_connection_next() -> None:
    house = House()
    house.outgoing.withdraw(7, 1.0)
    house.outgoing.lose_vault(2.0)
    assert house.link.last == "offline"
