"""The arrow to the reporter: what is handed over, when, in which order, and what comes back."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from device.vault.conftest import utterance
from fadeout_broker import arrow, contract
from fadeout_device import messages, questions
from fadeout_device.confine import Confinement
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.reporter_arrow import ReporterArrow
from fadeout_device.vault.service import Service
from rig_reporter import SETTINGS, FakeReporter
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device.vault.conftest import Rig

AUDIO = b"\x01\x02" * 16000


@pytest.fixture
def service(rig: Rig) -> Service:
    made = Service(rig.store, rig.clock, Confinement("n", "m"), rig.config.sweep_s, coalesce_s=0.0)
    made.start()
    return made


@pytest.fixture
def report(service: Service) -> Iterator[Callable[[], FakeReporter]]:
    """Connect a reporter; each call a new one."""
    made: list[FakeReporter] = []

    def connect() -> FakeReporter:
        made.append(FakeReporter(service))
        return made[-1]

    yield connect
    for reporter in made:
        reporter.close()


def _wait_until(service: Service, condition: Callable[[], bool]) -> None:
    def holds() -> bool:
        with service.lock:
            return condition()

    wait_for(holds, "the vault has done it")


def test_events_wait_for_the_broker_and_are_made_when_they_are_sent(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    (action,) = (item for item in rig.store.index.live() if item.item_class.kind == "action")
    reporter = report()
    assert reporter.receive() == arrow.Configure(SETTINGS, "sp-test")
    rig.clock.now_s += 3600
    reporter.link(connected=True)
    publish = reporter.receive_event()
    event = publish.payload
    assert isinstance(event, contract.ActionEvent)
    assert event.ttl == publish.expiry_s == int(action.ends_at_s - rig.clock.now_s)
    assert (event.id, event.action, event.outcome) == (rig.store.event_id(action), "none", "failed")


def test_what_was_not_acknowledged_is_sent_again_with_the_life_it_has_left(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    reporter = report()
    reporter.connect()
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
    reporter.connect()
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
    reporter.connect()
    assert isinstance(reporter.receive_event().payload, contract.ReceiptEvent)
    assert reporter.arrow._in_flight


def test_the_event_of_an_ended_item_is_never_sent(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    rig.clock.now_s += 2 * 86400
    service.seal(utterance(), AUDIO)
    reporter = report()
    reporter.connect()
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
    reporter.connect()
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
    service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    for hostile in (b"{}\n", b"x" * 9000 + b"\n", b'{"say":"published","seq":"1"}\n'):
        reporter = report()
        reporter.receive()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading, "excepthook", lambda _args: None)
            reporter.sock.sendall(hostile)
            reporter.thread.join(60)
        assert not reporter.thread.is_alive()
    reporter = report()
    reporter.connect()
    assert isinstance(reporter.receive_event().payload, contract.ActionEvent)


def _receive_alarm(reporter: FakeReporter) -> tuple[int, contract.AlarmEvent]:
    publish = reporter.receive_event()
    assert isinstance(publish.payload, contract.AlarmEvent)
    return publish.seq, publish.payload


def test_an_alarm_is_reported_once_and_so_is_its_end(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    reporter = report()
    reporter.connect()
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


def test_the_end_of_an_alarm_is_reported_by_the_vault_after_this_one(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    with rig.store.index.transaction():
        rig.store.index.set_meta("alarms_told", "sweep")
    reporter = report()
    reporter.connect()
    _, event = _receive_alarm(reporter)
    assert event == contract.AlarmEvent(v=1, alarm="sweep", on=False)
    assert service.alarms.on == {}


def test_the_node_is_random_and_kept(rig: Rig, service: Service) -> None:
    arrows = [ReporterArrow(service, arrow.BrokerSettings()) for _ in range(2)]
    first, second = (arrow._node() for arrow in arrows)
    assert first == second
    assert first.startswith("sp-")
    rig.store.index.get_meta("node")


# ---- what stands at the broker


def test_what_stands_at_the_broker_is_handed_over_on_connect_and_when_it_changes(
    rig: Rig, service: Service, report: Callable[[], FakeReporter]
) -> None:
    service.seal(utterance(), AUDIO)
    reporter = report()
    reporter.connect()
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
    reporter.connect()
    told = [reporter.receive_event().payload for _ in range(3)]
    assert [event.action for event in told if isinstance(event, contract.ActionEvent)] == [
        "light.on", "other", "none",
    ]  # fmt: skip


# ---- what must be forgotten


def test_the_watermark_follows_the_notices(service: Service, report: Callable[[], FakeReporter]) -> None:
    reporter = report()
    reporter.connect()
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
    reporter.connect()
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
    reporter.connect()
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
    reporter.connect()
    service.seal(utterance(), AUDIO)
    told = reporter.expect(contract.ActionEvent)
    with service.lock:
        (action,) = [item for item in rig.store.index.live() if item.item_class.kind == "action"]
        with rig.store.index.transaction():
            rig.store.index.shorten(action.id, action.ends_at_s - 80_000, action.period_s - 80_000)
        rig.clock.now_s = action.ends_at_s - 80_000
        service.sweep()
    assert reporter.expect(contract.EraseNotice).ids == (told.id,)
