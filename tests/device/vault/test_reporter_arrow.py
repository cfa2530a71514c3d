"""The arrow to the reporter: what is handed over, when, in which order, and what comes back."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
import verify_receipts

from device.vault.conftest import utterance
from fadeout_broker import arrow, contract
from fadeout_device import answers, messages, questions
from fadeout_device.errors import StorageError
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.reporter_arrow import ReporterArrow
from rig_reporter import SETTINGS, FakeReporter
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device.vault.conftest import Rig
    from fadeout_device.vault.service import Service

AUDIO = b"\x01\x02" * 16000


@pytest.fixture
def service(rig: Rig) -> Service:
    made = rig.serve()
    made.start()
    return made


@pytest.fixture
def visit(service: Service) -> Iterator[Callable[[], FakeReporter]]:
    """Have a reporter come that has said nothing yet; each call a new one."""
    made: list[FakeReporter] = []

    def come() -> FakeReporter:
        made.append(FakeReporter(service))
        return made[-1]

    yield come
    for reporter in made:
        reporter.close()


@pytest.fixture
def report(visit: Callable[[], FakeReporter]) -> Callable[[], FakeReporter]:
    """Have a reporter come that is connected to the broker; each call a new one."""

    def connect() -> FakeReporter:
        reporter = visit()
        reporter.connect()
        return reporter

    return connect


def _wait_until(service: Service, condition: Callable[[], bool]) -> None:
    def holds() -> bool:
        with service.lock:
            return condition()

    wait_for(holds, "the vault has done it")


def test_events_wait_for_the_broker_and_are_made_when_they_are_sent(
    rig: Rig, service: Service, visit: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    (action,) = (item for item in rig.store.index.live() if item.item_class.kind == "action")
    reporter = visit()
    assert reporter.receive() == arrow.Configure(SETTINGS, "sp-test")
    rig.clock.now_s += 3600
    reporter.link(connected=True)
    publish = reporter.receive_event()
    event = publish.payload
    assert isinstance(event, contract.ActionEvent)
    assert event.ttl == publish.expiry_s == int(action.ends_at_s - rig.clock.now_s)
    assert (event.id, event.action, event.outcome) == (rig.store.event_id(action), "none", "failed")


def test_an_event_whose_item_is_erased_on_its_way_is_recalled_once(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    reporter = report()
    publish = reporter.receive_event()
    assert isinstance(publish.payload, contract.ActionEvent)
    service.erase_items(rig.store.index.live())
    while isinstance(said := reporter.receive(), arrow.Publish):
        reporter.say(arrow.Published(said.seq))
    assert said == arrow.Recall((publish.seq,))
    reporter.say(arrow.Published(publish.seq))
    assert reporter.expect(contract.EraseNotice).ids == (publish.payload.id,)  # and is recalled once


def test_what_was_not_acknowledged_is_sent_again_with_the_life_it_has_left(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    reporter = report()
    first = reporter.receive_event()
    reporter.link(connected=False)
    rig.clock.now_s += 600
    reporter.link(connected=True)
    second = reporter.receive_event()
    assert isinstance(first.payload, contract.ActionEvent)
    assert second.payload == msgspec.structs.replace(first.payload, ttl=first.payload.ttl - 600)
    reporter.say(arrow.Published(second.seq))
    _wait_until(service, lambda: rig.store.outbox.count() == 0)
    reporter.link(connected=False)
    reporter.link(connected=True)
    service.seal(utterance(), AUDIO)
    assert reporter.receive_event().payload != second.payload
    assert rig.store.outbox.count() == 1


def test_the_event_of_an_erased_item_is_never_sent_only_its_withdrawal(
    service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    service.seal(utterance(), AUDIO)
    first = reporter.receive_event().payload
    assert isinstance(first, contract.ActionEvent)
    reporter.link(connected=False)
    _wait_until(service, lambda: service.broker == "gone")
    Desk(service).erase(questions.Erase(last=1))
    reporter.link(connected=True)
    notice = reporter.receive_event().payload
    assert isinstance(notice, contract.EraseNotice)
    assert (notice.n, notice.ids) == (1, (first.id,))
    assert isinstance(reporter.receive_event().payload, contract.ReceiptEvent)


def test_what_nobody_was_told_of_is_not_told_and_needs_no_notice(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    Desk(service).erase(questions.Erase(last=1))
    assert rig.store.outbox.notices.given() == 0
    reporter = report()
    assert isinstance(reporter.receive_event().payload, contract.ReceiptEvent)
    assert reporter.arrow._in_flight


def test_what_the_broker_says_of_one_that_is_gone_is_not_taken_for_the_next(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    """SQLite gives the number of a row that is gone to the next one: an event was lost by that once."""
    reporter = report()
    service.seal(utterance(), AUDIO)
    first = reporter.receive_event()
    (before,) = rig.store.outbox.lines()
    with service.lock:
        rig.store.eraser.intend(rig.store.index.live(), "user")
        service.seal(utterance(), AUDIO)
        (after,) = rig.store.outbox.lines()
    assert before.seq == after.seq, "else this test tests nothing"
    reporter.say(arrow.Published(first.seq))
    notice = reporter.receive_event()
    reporter.say(arrow.Published(notice.seq))
    _wait_until(service, lambda: rig.store.outbox.notices.told() == 1)
    assert [line.about for line in rig.store.outbox.lines()] == [after.about]
    reporter.link(connected=False)
    reporter.link(connected=True)
    again = reporter.expect(contract.ActionEvent)
    assert isinstance(first.payload, contract.ActionEvent)
    assert again.id != first.payload.id


def test_the_event_of_an_ended_item_is_never_sent(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    rig.clock.now_s += 2 * 86400
    service.seal(utterance(), AUDIO)
    reporter = report()
    event = reporter.receive_event().payload
    assert isinstance(event, contract.ActionEvent)
    assert event.ttl > 80000, "the younger one's"
    _wait_until(service, lambda: rig.store.outbox.count() == 1)


def test_a_reporter_never_holds_more_than_it_may(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    for _ in range(arrow.MAX_IN_FLIGHT + 10):
        service.seal(utterance(), AUDIO)
    reporter = report()
    _wait_until(service, lambda: len(reporter.arrow._in_flight) == arrow.MAX_IN_FLIGHT - 2)
    with service.lock:
        service.on_change()
        service.alarms.set("canary", "it lives")
        service.on_change()
    seen = [reporter.receive_publish() for _ in range(arrow.MAX_IN_FLIGHT - 1)]
    assert isinstance(seen[-1].payload, contract.AlarmEvent), "an alarm always has a place"
    with service.lock:
        service.on_change()
    assert not reporter.has_more(), "one place is an answer's"
    assert len({publish.seq for publish in seen}) == len(seen)
    assert rig.store.outbox.count() == arrow.MAX_IN_FLIGHT + 10


def test_a_reporter_that_breaks_the_protocol_is_dropped_and_the_next_is_served(
    service: Service, visit: Callable[[], FakeReporter], report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    for hostile in (b"{}\n", b"x" * 9000 + b"\n", b'{"say":"published","seq":"1"}\n'):
        reporter = visit()
        reporter.receive()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading, "excepthook", lambda _args: None)
            reporter.sock.sendall(hostile)
            reporter.thread.join(60)
        assert not reporter.thread.is_alive()
    reporter = report()
    assert isinstance(reporter.receive_event().payload, contract.ActionEvent)


def _receive_alarm(reporter: FakeReporter) -> tuple[int, contract.AlarmEvent]:
    publish = reporter.receive_event()
    assert isinstance(publish.payload, contract.AlarmEvent)
    return publish.seq, publish.payload


def test_an_alarm_is_reported_once_and_so_is_its_end(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    with service.lock:
        service.alarms.set("canary", "it lives")
        service.on_change()
    seq, event = _receive_alarm(reporter)
    assert event == contract.AlarmEvent(v=1, alarm="canary", on=True)
    reporter.link(connected=False)
    reporter.link(connected=True)
    again, event = _receive_alarm(reporter)
    assert event.on, "what was not acknowledged is told again"
    assert again != seq
    reporter.say(arrow.Published(again))
    _wait_until(service, lambda: rig.store.index.get_meta("alarms_told") == "canary")
    with service.lock:
        service.alarms.set("canary", "it lives on")
        service.on_change()
        service.alarms.set("canary", "")
        service.on_change()
    seq, event = _receive_alarm(reporter)
    assert event == contract.AlarmEvent(v=1, alarm="canary", on=False)
    reporter.say(arrow.Published(seq))
    _wait_until(service, lambda: rig.store.index.get_meta("alarms_told") == "")


def test_the_node_is_random_and_kept(rig: Rig, service: Service) -> None:
    arrows = [ReporterArrow(service, arrow.BrokerSettings()) for _ in range(2)]
    first, second = (arrow.node() for arrow in arrows)
    assert first == second
    assert first.startswith("sp-")
    rig.store.index.get_meta("node")


def test_what_cannot_be_opened_for_now_is_told_later(
    rig: Rig, service: Service, report: Callable[[], FakeReporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no space left on the disk")

    monkeypatch.setattr(rig.store, "metadata", full)
    for _ in range(3):
        service.seal(utterance(), AUDIO)
    reporter = report()
    for _ in range(4):
        reporter.say(arrow.Published(reporter.receive_publish().seq))
    with service.lock:
        service.on_change()
    assert not reporter.has_more()
    monkeypatch.undo()
    with service.lock:
        service.on_change()
    for _ in range(3):
        reporter.expect(contract.ActionEvent)


# ---- what stands at the broker


def test_what_stands_at_the_broker_is_handed_over_on_connect_and_when_it_changes(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    reporter = report()
    stands = [reporter.receive_publish() for _ in range(4)]
    before, info, policy, state = (publish.payload for publish in stands)
    assert isinstance(before, contract.EraseBefore)
    assert (before.n, before.since, before.ids) == (0, 1, ())
    assert isinstance(info, contract.Info)
    assert info.actions == SETTINGS.actions
    assert isinstance(policy, contract.PolicyNow)
    canonical = msgspec.json.encode(policy.document, order="sorted")
    assert canonical == rig.store.policy.document
    assert hashlib.sha256(canonical).hexdigest() == policy.hash
    assert isinstance(state, contract.DeviceState)
    next_end_s = rig.store.index.next_end_s(canaries=False)
    assert next_end_s is not None
    assert state.next_end is not None
    assert state.next_end % 3600 == 0
    assert 0 <= state.next_end - next_end_s < 3600
    assert state.swept is not None
    assert state.swept % 900 == 0
    for publish in stands:
        contract.encode(publish.payload)
        reporter.say(arrow.Published(publish.seq))
    assert isinstance(reporter.receive_publish().payload, contract.ActionEvent)
    with service.lock:
        service.hear(messages.EarState(listening=True, source="a"))
    changed = reporter.receive_publish()
    assert isinstance(changed.payload, contract.DeviceState)
    assert changed.payload.listening
    reporter.say(arrow.Published(changed.seq))
    rig.clock.now_s += 600
    with service.lock:
        service.on_change()
    assert reporter.receive_publish().payload == changed.payload, "every ten minutes, changed or not"


def test_an_action_that_is_not_of_the_list_is_told_as_other(
    service: Service, report: Callable[[], FakeReporter]
) -> None:
    for action in ("light.on", "light.off", "none"):
        service.seal(utterance(action=action, outcome="served"), AUDIO)
    reporter = report()
    told = [reporter.receive_event().payload for _ in range(3)]
    assert [event.action for event in told if isinstance(event, contract.ActionEvent)] == [
        "light.on", "other", "none",
    ]  # fmt: skip


# ---- what must be forgotten


def test_the_watermark_follows_the_notices(service: Service, report: Callable[[], FakeReporter]) -> None:
    reporter = report()
    ids = []
    for _ in range(3):
        service.seal(utterance(), AUDIO)
        ids.append(reporter.expect(contract.ActionEvent).id)
    for number in range(3):
        Desk(service).erase(questions.Erase(last=1))
        notice = reporter.expect(contract.EraseNotice)
        assert (notice.n, notice.ids) == (number + 1, (ids.pop(),))
        mark = reporter.expect_watermark(number + 1)
        assert (mark.era, mark.since, len(mark.ids)) == (notice.era, 1, number + 1)


def test_several_that_go_together_share_notices(service: Service, report: Callable[[], FakeReporter]) -> None:
    reporter = report()
    told = []
    for _ in range(20):
        service.seal(utterance(), AUDIO)
        told.append(reporter.expect(contract.ActionEvent).id)
    Desk(service).erase(questions.Erase(everything=True))
    first, second = reporter.expect(contract.EraseNotice), reporter.expect(contract.EraseNotice)
    assert [first.n, second.n] == [1, 2]
    assert (len(first.ids), len(second.ids)) == (16, 4)
    assert {*first.ids, *second.ids} == set(told)
    mark = reporter.expect_watermark(2)
    assert (mark.since, mark.ids) == (2, second.ids)


def test_nothing_goes_before_a_watermark_after_which_everything_is_forgotten(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    stands = [reporter.receive_publish() for _ in range(4)]
    with service.lock:
        with rig.store.index.transaction():
            rig.store.outbox.notices.jump()
        service.seal(utterance(), AUDIO)
    for publish in stands:
        reporter.say(arrow.Published(publish.seq))
    seen = [reporter.receive_publish().payload for _ in range(3)]
    kinds = [type(payload) for payload in seen]
    assert kinds.index(contract.EraseBefore) < kinds.index(contract.ActionEvent)


def test_the_end_of_an_item_that_was_shortened_is_told(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    service.seal(utterance(), AUDIO)
    told = reporter.expect(contract.ActionEvent)
    with service.lock:
        (action,) = [item for item in rig.store.index.live() if item.item_class.kind == "action"]
        with rig.store.index.transaction():
            rig.store.index.shorten(action.id, action.ends_at_s - 80_000, action.period_s - 80_000)
        rig.clock.now_s = action.ends_at_s - 80_000
        service.sweep()
    assert reporter.expect(contract.EraseNotice).ids == (told.id,)


# ---- receipts, acknowledgements, faults


def test_a_receipt_is_signed_and_numbered(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    for _ in range(2):
        service.seal(utterance(), AUDIO)
        Desk(service).erase(questions.Erase(last=1))
    reporter = report()
    receipts = [reporter.expect(contract.ReceiptEvent) for _ in range(2)]
    assert [(receipt.n, receipt.items, receipt.reason) for receipt in receipts] == [
        (1, 2, "user"), (2, 2, "user"),
    ]  # fmt: skip
    text = b"\n".join(contract.encode(receipt) for receipt in receipts).decode()
    assert verify_receipts.verify_receipts(text, key=rig.store.ledger.public_key).missing == []


def test_a_receipt_is_not_told_after_a_day(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    Desk(service).erase(questions.Erase(last=1))
    rig.clock.now_s += 86400
    service.seal(utterance(), AUDIO)
    Desk(service).erase(questions.Erase(last=1))
    reporter = report()
    assert reporter.expect(contract.ReceiptEvent).n == 2, "the gap tells that one was missed"


def test_what_a_subscriber_acknowledges_is_written(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    service.seal(utterance(), AUDIO)
    reporter.expect(contract.ActionEvent)
    Desk(service).erase(questions.Erase(last=1))
    notice = reporter.expect(contract.EraseNotice)
    reporter.say(arrow.Acknowledged("hass", contract.Ack(v=1, era=notice.era, n=notice.n)))
    _wait_until(service, lambda: [row.acknowledged for row in service.subscribers.all()] == [1])
    assert any(b'"acknowledged"' in signed.body for signed in rig.store.ledger.entries())


def test_what_the_reporter_drops_is_counted_and_does_not_come_again(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    reporter = report()
    event = reporter.receive_event()
    reporter.say(arrow.Dropped(event.seq, "$.payload.ttl"))
    _wait_until(service, lambda: rig.store.outbox.count() == 0)
    assert Desk(service).status().dropped_payloads == 1


def test_whether_commands_reach_us_is_told_until_the_connection_ends(
    service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    reporter.say(arrow.Incoming(works=False, detail="the ACL swallows it"))
    _wait_until(service, lambda: Desk(service).status().commands == "do not reach us: the ACL swallows it")
    reporter.say(arrow.Incoming(works=True))
    _wait_until(service, lambda: Desk(service).status().commands == "reach us")
    reporter.link(connected=False)
    _wait_until(service, lambda: Desk(service).status().commands == "")


# ---- leaving


def test_a_device_that_leaves_is_cleared_and_stays_quiet_until_it_comes_back(
    rig: Rig, service: Service, visit: Callable[[], FakeReporter], report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    service.seal(utterance(), AUDIO)
    reporter.expect(contract.ActionEvent)
    era = rig.store.outbox.notices.era
    reporter.link(connected=False)
    _wait_until(service, lambda: service.broker == "gone")
    assert Desk(service).forget(questions.Forget()) == answers.Departed("asked", "gone")
    service.seal(utterance(), AUDIO)
    reporter.link(connected=True)
    while not isinstance(left := reporter.receive(), arrow.Withdraw):
        pass
    reporter.say(arrow.Published(left.seq))
    reporter.say(arrow.BrokerLink(connected=False, detail="withdrawn"))
    _wait_until(service, lambda: rig.store.outbox.departure == "done")
    assert rig.store.outbox.count() == 0, "nothing waits that nobody is to be told"
    reporter.close()
    again = visit()
    service.seal(utterance(), AUDIO)
    Desk(service).erase(questions.Erase(everything=True))
    assert not again.has_more(), "not even the settings"
    assert Desk(service).forget(questions.Forget(is_undone=True)).departure == ""
    again.connect()
    mark = again.expect(contract.EraseBefore)
    assert (mark.era != era, mark.n) == (True, 0), "subscribers forget what they had"
    service.seal(utterance(), AUDIO)
    assert isinstance(again.receive_event().payload, contract.ActionEvent)


def test_leaving_waits_for_a_broker_that_is_there(
    service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    _wait_until(service, lambda: service.broker == "connected")
    departed: list[answers.Departed] = []
    asker = threading.Thread(target=lambda: departed.append(Desk(service).forget(questions.Forget())))
    asker.start()
    while not isinstance(left := reporter.receive(), arrow.Withdraw):
        pass
    reporter.say(arrow.Published(left.seq))
    asker.join(60)
    assert departed == [answers.Departed("done", "connected")]
    assert Desk(service).forget(questions.Forget()).departure == "done", "once is enough"


def test_a_reset_clears_the_broker_of_the_device_that_was(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    _wait_until(service, lambda: service.broker == "connected")
    service.seal(utterance(), AUDIO)
    erased: list[answers.Erased] = []
    asker = threading.Thread(target=lambda: erased.append(Desk(service).reset()))
    asker.start()
    while not isinstance(left := reporter.receive(), arrow.Withdraw):
        pass
    assert rig.store.index.live() == [], "the keys went first"
    reporter.say(arrow.Published(left.seq))
    asker.join(60)
    assert [answer.note for answer in erased] == [""]
    assert rig.store.outbox.departure == ""


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        pytest.param("sp-0a1b2c", "sp-0a1b2c", id="a random name"),
        pytest.param(None, "NODE", id="a given one"),
    ],
)
def test_a_reset_without_a_broker_says_how_to_clear_it_by_hand(
    rig: Rig, service: Service, visit: Callable[[], FakeReporter], named: str | None, shown: str
) -> None:
    if named is not None:
        with rig.store.index.transaction():
            rig.store.index.set_meta("node", named)
    reporter = visit()
    reporter.receive()
    reporter.link(connected=False)
    _wait_until(service, lambda: service.broker == "gone")
    note = Desk(service).reset().note
    assert "could not be cleared" in note
    assert f"--remove-retained -t 'fadeout/{shown}/#' -t homeassistant/device/{shown}/config" in note
    assert rig.store.index.get_meta("node") is None, "nobody else knows it any more"


# ---- the process after this one


def test_a_new_process_goes_on_where_this_one_stopped(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    reporter = report()
    event = reporter.receive_event()
    with service.lock:
        service.alarms.set("canary", "it lives")
        service.on_change()
    alarm = reporter.receive_event()
    with service.lock:
        state = msgspec.json.decode(
            msgspec.json.encode(reporter.arrow.hand_over()), type=type(reporter.arrow.hand_over())
        )
        following = ReporterArrow(service, SETTINGS)
        following.take_over(state)
        following._arrived(event.seq)
        following._arrived(alarm.seq)
        following._remove_told()
        assert rig.store.outbox.count() == 0
        assert rig.store.index.get_meta("alarms_told") == "canary"
        assert following._stands == reporter.arrow._stands
        assert next(following._numbers) > alarm.seq
