"""Asking ourselves, with the clock in hand."""

from __future__ import annotations

import pytest

from fadeout_broker.arrow import BrokerSettings, Configure, Incoming
from fadeout_broker.gate import Gate, Leaving
from fadeout_broker.selfping import AGAIN_S, EVERY_S, WAIT_S, SelfPing

HOME = Configure(BrokerSettings(), "sp-1")
DEAF = Configure(BrokerSettings(commands=False), "sp-1")


class Asker:
    """A self-ping with tokens that count."""

    def __init__(self, configure: Configure = HOME) -> None:
        self._count = 0
        self.ping = SelfPing(configure, self._token)

    def _token(self) -> str:
        self._count += 1
        return f"{self._count:08x}" * 2

    def ask(self, now_s: float) -> list[Leaving]:
        asked = self.ping.tick(now_s)
        for question in asked:
            Gate("sp-1", {}).check(question)
            assert self.ping.awaits(question.payload)
        return asked

    def answer(self, asked: list[Leaving], now_s: float) -> None:
        for question in asked:
            self.ping.came_back(question.payload, now_s)


def test_without_a_connection_nothing_is_asked() -> None:
    asker = Asker()
    assert asker.ask(1000.0) == []
    assert asker.ping.next_at_s is None
    assert asker.ping.verdict is None


def test_both_ways_in_are_asked_for_at_once_and_every_ten_minutes() -> None:
    asker = Asker()
    asker.ping.came_up(5.0, is_deaf=False)
    asked = asker.ask(5.0)
    assert {question.topic for question in asked} == {
        "fadeout/sp-1/cmd/ping", "fadeout/sp-1/erase/ack/sp-1"
    }  # fmt: skip
    asker.ping.came_back(asked[0].payload, 6.0)
    assert asker.ping.verdict is None, "half is not enough"
    asker.ping.came_back(asked[1].payload, 6.0)
    assert asker.ping.verdict == Incoming(works=True)
    assert asker.ask(6.0 + EVERY_S - 0.1) == []
    again = asker.ask(6.0 + EVERY_S)
    assert len(again) == 2
    assert {q.payload for q in again} & {q.payload for q in asked} == set()


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        pytest.param("cmd", "fadeout/sp-1/cmd/+", id="commands"),
        pytest.param("ack", "fadeout/sp-1/erase/ack/+", id="acknowledgements"),
        pytest.param("", "fadeout/sp-1/cmd/+ and fadeout/sp-1/erase/ack/+", id="both"),
    ],
)
def test_what_does_not_come_back_is_named(lost: str, words: str) -> None:
    asker = Asker()
    asker.ping.came_up(0.0, is_deaf=False)
    asker.answer([q for q in asker.ask(0.0) if lost not in q.topic], 1.0)
    asker.ask(WAIT_S - 0.1)
    assert asker.ping.verdict is None
    assert asker.ask(WAIT_S) == []
    assert asker.ping.verdict is not None
    assert not asker.ping.verdict.works
    assert f"delivers nothing from {words};" in asker.ping.verdict.detail
    assert "docs/broker.md" in asker.ping.verdict.detail
    assert len(asker.ping.verdict.detail) <= 300


def test_mended_is_noticed_within_a_minute() -> None:
    asker = Asker()
    asker.ping.came_up(0.0, is_deaf=False)
    late = asker.ask(0.0)
    asker.ask(WAIT_S)
    asker.answer(late, WAIT_S + 1.0)
    assert asker.ping.verdict is not None
    assert not asker.ping.verdict.works, "too late counts as lost"
    asker.answer(asker.ask(WAIT_S + AGAIN_S), WAIT_S + AGAIN_S + 1.0)
    assert asker.ping.verdict == Incoming(works=True)


def test_a_question_that_may_not_be_asked_is_named() -> None:
    asker = Asker()
    asker.ping.came_up(0.0, is_deaf=False)
    ack, ping = asker.ask(0.0)
    asker.ping.was_refused(ping, 0.5)
    asker.ping.was_refused(ack, 0.6)
    assert asker.ping.verdict is not None
    assert "not authorised to publish fadeout/sp-1/cmd/ping" in asker.ping.verdict.detail
    assert asker.ask(0.5 + AGAIN_S) != []


def test_a_refused_subscription_is_told_and_not_asked_about() -> None:
    asker = Asker()
    asker.ping.came_up(0.0, is_deaf=True)
    assert asker.ask(0.0) == []
    assert asker.ping.verdict is not None
    assert "refuses our subscription" in asker.ping.verdict.detail
    assert asker.ping.next_at_s is None
    asker.ping.came_up(10.0, is_deaf=False)
    assert asker.ping.verdict is None
    assert asker.ask(10.0) != []


def test_without_commands_only_acknowledgements_are_asked_for() -> None:
    asker = Asker(DEAF)
    asker.ping.came_up(0.0, is_deaf=False)
    (asked,) = asker.ask(0.0)
    assert asked.topic == "fadeout/sp-1/erase/ack/sp-1"
    asker.answer([asked], 1.0)
    assert asker.ping.verdict == Incoming(works=True)


def test_a_lost_connection_forgets_the_question() -> None:
    asker = Asker()
    asker.ping.came_up(0.0, is_deaf=False)
    asked = asker.ask(0.0)
    asker.ping.went_down()
    asker.answer(asked, 1.0)
    assert asker.ping.verdict is None
    assert asker.ask(1000.0) == []
