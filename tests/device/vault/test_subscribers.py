"""Who has acknowledged what: two facts, written apart, bounded whatever a broker says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import verify_receipts

from fadeout_broker.contract import Ack
from fadeout_device import questions
from fadeout_device.errors import StorageError
from fadeout_device.vault import ledger, reporting
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.subscribers import MAX_CONSUMERS, MAX_WRITTEN_AN_HOUR, Subscribers

if TYPE_CHECKING:
    from device.vault.conftest import Rig
    from fadeout_device.vault.service import Service


@pytest.fixture
def service(rig: Rig) -> Service:
    made = rig.serve()
    made.start()
    return made


@pytest.fixture
def subscribers(service: Service) -> Subscribers:
    service.subscribers.expected = ("hass",)
    return service.subscribers


def _give(rig: Rig, count: int = 1) -> None:
    """Give so many numbers."""
    for _ in range(count):
        with rig.store.index.transaction():
            rig.store.outbox.notices.add(["0" * 16])


def _ack(rig: Rig, n: int, era: str | None = None) -> Ack:
    return Ack(v=1, era=era or rig.store.outbox.notices.era, n=n)


def _written(rig: Rig) -> list[tuple[str, int]]:
    entries = [signed.decode() for signed in rig.store.ledger.entries()]
    return [(e.consumer, e.n) for e in entries if isinstance(e, ledger.AcknowledgedEntry)]


def test_an_acknowledgement_is_a_fact_of_its_own(
    rig: Rig, service: Service, subscribers: Subscribers
) -> None:
    _give(rig, 3)
    assert [tuple(row) for row in subscribers.all()] == [("hass", True, None, None)]
    subscribers.hear("hass", _ack(rig, 2))
    subscribers.hear("node-red", _ack(rig, 3))
    subscribers.write(rig.clock.now_s)
    assert _written(rig) == [("hass", 2), ("node-red", 3)]
    hour_s = ledger.hour_of(rig.clock.now_s)
    told = reporting.subscribers(service)
    assert told.erasures == 3
    assert [(s.consumer, s.is_expected, s.acknowledged, s.behind, s.hour_s) for s in told.subscribers] == [
        ("hass", True, 2, 1, hour_s),
        ("node-red", False, 3, 0, hour_s),
    ]
    assert rig.restart().index.db.execute("SELECT count(*) FROM subscriber").fetchone()[0] == 2


def test_the_ledger_with_acknowledgements_can_be_verified(
    rig: Rig, service: Service, subscribers: Subscribers
) -> None:
    _give(rig)
    subscribers.hear("hass", _ack(rig, 1))
    subscribers.write(rig.clock.now_s)
    parts = Desk(service).ledger(questions.GetLedger())
    text = b"".join(payload for _, payload in parts).decode()
    report = verify_receipts.verify(text, nonce=None, key=None, seen=None, now_s=None)
    assert report.acknowledged == {"hass": 1}


@pytest.mark.parametrize("n", [0, 1, 2])
def test_one_that_changes_nothing_writes_nothing(rig: Rig, subscribers: Subscribers, n: int) -> None:
    _give(rig, 2)
    subscribers.hear("hass", _ack(rig, 2))
    subscribers.write(rig.clock.now_s)
    before = rig.store.ledger.last_seq()
    for _ in range(100):
        subscribers.hear("hass", _ack(rig, n))
        subscribers.write(rig.clock.now_s)
    assert rig.store.ledger.last_seq() == before


def test_what_was_not_told_cannot_be_acknowledged(rig: Rig, subscribers: Subscribers) -> None:
    _give(rig, 2)
    subscribers.hear("hass", _ack(rig, 3))
    subscribers.hear("hass", _ack(rig, 1, era="00000000"))
    subscribers.write(rig.clock.now_s)
    assert _written(rig) == []


def test_another_era_begins_with_nothing_acknowledged(rig: Rig, subscribers: Subscribers) -> None:
    _give(rig, 2)
    subscribers.hear("hass", _ack(rig, 2))
    subscribers.write(rig.clock.now_s)
    subscribers.hear("late", _ack(rig, 2))
    with rig.store.index.transaction():
        rig.store.outbox.notices.begin_anew()
    subscribers.write(rig.clock.now_s)
    assert [(row.consumer, row.acknowledged) for row in subscribers.all()] == [("hass", None)]
    assert _written(rig) == [("hass", 2)]


def test_no_more_is_written_in_an_hour_and_the_rest_follows(rig: Rig, subscribers: Subscribers) -> None:
    _give(rig, 2 * MAX_WRITTEN_AN_HOUR)
    for n in range(1, 2 * MAX_WRITTEN_AN_HOUR):
        subscribers.hear("hass", _ack(rig, n))
        subscribers.write(rig.clock.now_s)
    assert len(_written(rig)) == MAX_WRITTEN_AN_HOUR
    rig.clock.now_s += 3600
    subscribers.write(rig.clock.now_s)
    assert _written(rig)[-1] == ("hass", 2 * MAX_WRITTEN_AN_HOUR - 1)
    assert len(_written(rig)) == MAX_WRITTEN_AN_HOUR + 1


def test_made_up_subscribers_are_bounded_and_leave_room_for_those_that_are_expected(
    rig: Rig, subscribers: Subscribers
) -> None:
    _give(rig)
    for number in range(3 * MAX_CONSUMERS):
        subscribers.hear(f"s{number}", _ack(rig, 1))
        subscribers.write(rig.clock.now_s)
        rig.clock.now_s += 3600
    subscribers.hear("hass", _ack(rig, 1))
    subscribers.write(rig.clock.now_s)
    rows = subscribers.all()
    assert len(rows) == MAX_CONSUMERS
    assert [row.acknowledged for row in rows if row.consumer == "hass"] == [1]
    assert "s0" not in {row.consumer for row in rows}, "who was not heard for longest gave way"


def test_one_that_cannot_be_stored_is_stored_later(
    rig: Rig, subscribers: Subscribers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _give(rig)

    def broken(*_: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(rig.store.ledger, "acknowledged", broken)
    subscribers.hear("hass", _ack(rig, 1))
    subscribers.write(rig.clock.now_s)
    monkeypatch.undo()
    assert _written(rig) == []
    subscribers.write(rig.clock.now_s)
    assert _written(rig) == [("hass", 1)]
