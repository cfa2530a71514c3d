"""An action's outcome is the one reported from afar: in time, once, and where the device waits for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from device.vault.conftest import utterance
from device.vault.test_afar import Room
from fadeout_broker import contract
from fadeout_device import questions
from fadeout_device.messages import Sealed
from fadeout_device.policy import ItemClass
from fadeout_device.vault import ratchet, switches, waiting
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.standing import Standing
from fadeout_device.vault.voice import Voice

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.vault.conftest import Rig

AUDIO = b"\x05\x06" * 16000
WORDS = b"turn on the light\n"
WAIT_S = 10
NOBODY_S = "0123456789abcdef"


class House(Room):
    """A vault that waits for results, and an integrator."""

    def __init__(self, rig: Rig, wait_s: int = WAIT_S, **_: Any) -> None:  # noqa: ANN401 - of the other room
        super().__init__(rig, wait_s=wait_s)

    def begin(self) -> None:
        super().begin()
        self.service.broker = "connected"

    def hear(self, action: str = "light.on", **changes: Any) -> tuple[str, str]:  # noqa: ANN401 - any field
        """Have somebody ask for something; returns its recording and its event."""
        said = utterance(**{"outcome": "served", "action": action, **changes})
        answer = self.outcomes.hear(said, AUDIO, WORDS)
        assert isinstance(answer, Sealed)
        assert [kept.kind for kept in answer.kept] == ["action"]
        return answer.recording, self.event_ids()[-1]

    def report(self, event_id: str, result: str = "failed") -> str:
        """Report how it ended; returns the error, or ok."""
        reply = self.ask("result", {"id": event_id, "result": result})
        assert contract.encode(reply)
        return reply.error or "ok"

    def kinds(self, recording: str) -> list[str]:
        """Return the classes of what is held of a recording."""
        held = self.rig.store.index.live_of(recording)
        return sorted(f"{item.item_class.outcome}.{item.item_class.kind}" for item in held)


AS_FAILED = ["failed.audio", "failed.words", "served.action"]
AS_SERVED = ["served.action"]


@pytest.fixture
def house(rig: Rig) -> House:
    return House(rig)


# ---- whose outcome it is


def test_a_failure_keeps_what_the_policy_keeps_of_a_failed_request(house: House) -> None:
    recording, event_id = house.hear()
    assert house.kinds(recording) == AS_SERVED, "the action is sealed and told at once"
    house.later(3)
    assert house.report(event_id) == "ok"
    assert house.kinds(recording) == AS_FAILED
    opened, audio = Desk(house.service).play(recording)
    assert audio == AUDIO
    assert (opened.row.reported, opened.action) == ("failed", "light.on")
    (listed,) = Desk(house.service).recordings().recordings
    assert (listed.recording, listed.outcome, listed.reported) == (recording, "failed", "failed")


def test_it_ends_when_the_policy_says_counted_from_when_it_was_said(house: House) -> None:
    direct = house.rig.seal(AUDIO, outcome="failed")
    recording, event_id = house.hear()
    house.later(9)
    house.report(event_id)
    ends = {
        name: next(item for item in house.rig.store.index.live_of(name) if item.item_class.kind == "audio")
        for name in (direct, recording)
    }
    assert ends[recording].ends_at_s == ends[direct].ends_at_s
    assert ends[recording].promised_s == ends[direct].promised_s
    assert ends[recording].ends_on_update
    (action,) = [i for i in house.rig.store.index.live_of(recording) if i.item_class.kind == "action"]
    audio = ends[recording]
    captured = [house.rig.store.metadata(item).captured_at_s for item in (action, audio)]
    assert captured[0] == pytest.approx(captured[1], abs=0.001)


@pytest.mark.parametrize("what", ["done", "silence", "the end of the process"])
def test_otherwise_it_is_what_was_heard(house: House, what: str) -> None:
    recording, event_id = house.hear()
    if what == "done":
        assert house.report(event_id, "done") == "ok"
    elif what == "silence":
        house.later(WAIT_S)
        house.outcomes.settle()
    else:
        house.outcomes.settle_all()
    assert house.kinds(recording) == AS_SERVED
    (listed,) = Desk(house.service).recordings().recordings
    assert (listed.outcome, listed.reported) == ("served", "done" if what == "done" else "")
    assert house.report(event_id) == "not_waiting", "it is decided for good"
    assert house.kinds(recording) == AS_SERVED


@pytest.mark.parametrize("what", ["done", "silence", "the end of the process"])
def test_what_the_policy_keeps_of_a_served_request_is_kept_then(rig: Rig, what: str) -> None:
    rig.restart('[retention.served]\naudio = { keep = "1h", purpose = "test" }\n')
    house = House(rig)
    recording, event_id = house.hear()
    if what == "done":
        house.report(event_id, "done")
    elif what == "silence":
        house.later(WAIT_S)
        house.outcomes.settle()
    else:
        house.outcomes.settle_all()
    assert house.kinds(recording) == ["served.action", "served.audio"]


def test_a_failure_keeps_no_more_than_the_local_policy(rig: Rig) -> None:
    rig.restart('[retention.failed]\naudio = { keep = "none" }\nwords = { keep = "none" }\n')
    house = House(rig)
    recording, event_id = house.hear()
    assert house.report(event_id) == "ok"
    assert house.kinds(recording) == AS_SERVED
    (listed,) = Desk(house.service).recordings().recordings
    assert (listed.outcome, listed.reported) == ("served", "failed")


def test_what_was_shortened_meanwhile_counts(house: House) -> None:
    recording, event_id = house.hear()
    ratchet.shorten(house.service, 3600, "failed", None)
    house.report(event_id)
    (audio, *_) = [i for i in house.rig.store.index.live_of(recording) if i.item_class.kind == "audio"]
    assert audio.period_s == house.rig.store.policy.periods[ItemClass("failed", "audio")].seconds == 3600


# ---- only with consent, only in time, only once


def test_without_the_switch_at_the_device_nothing_waits_and_the_command_is_refused(rig: Rig) -> None:
    house = House(rig, wait_s=0)
    recording, event_id = house.hear()
    assert house.report(event_id) == "refused"
    assert house.report(NOBODY_S) == "refused"
    assert house.kinds(recording) == AS_SERVED
    assert Desk(house.service).status().result_s == 0


def test_where_the_switch_is_on_it_is_shown_and_told(house: House) -> None:
    from fadeout_broker.arrow import BrokerSettings  # noqa: PLC0415 - used once

    assert Desk(house.service).status().result_s == WAIT_S
    told = Standing(house.service, BrokerSettings()).payloads()
    assert [each.result_s for each in told if isinstance(each, contract.Info)] == [WAIT_S]


@pytest.mark.parametrize(
    ("seconds", "answer"),
    [
        pytest.param(WAIT_S - 0.001, "ok", id="just in time"),
        pytest.param(WAIT_S, "not_waiting", id="at the end, before anybody has looked"),
        pytest.param(WAIT_S * 100, "not_waiting", id="much later"),
    ],
)
def test_it_is_heeded_in_time(house: House, seconds: float, answer: str) -> None:
    recording, event_id = house.hear()
    house.running_s += seconds
    assert house.report(event_id) == answer
    assert house.kinds(recording) == (AS_FAILED if answer == "ok" else AS_SERVED)


def test_a_clock_that_is_set_does_not_make_it_wait_longer_or_shorter(house: House) -> None:
    recording, event_id = house.hear()
    house.rig.clock.now_s += 86_000
    house.outcomes.settle()
    assert house.report(event_id) == "ok"
    assert house.kinds(recording)[-1] == "served.action"
    house.rig.clock.now_s -= 86_000
    house.hear()
    house.running_s += WAIT_S
    house.outcomes.settle()
    assert house.outcomes.settle() is None


def test_it_is_heeded_once_and_of_no_other_event(house: House) -> None:
    first, first_id = house.hear()
    second, second_id = house.hear()
    assert house.report(NOBODY_S) == "not_waiting"
    assert house.report(second_id, "done") == "ok"
    assert house.report(second_id) == "not_waiting"
    assert house.report(first_id) == "ok"
    assert house.report(first_id) == "not_waiting"
    assert (house.kinds(first), house.kinds(second)) == (AS_FAILED, AS_SERVED)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"outcome": "failed", "action": "none"}, id="speech that led to no action"),
        pytest.param({"outcome": "false_wake", "action": "none"}, id="a false wake"),
    ],
)
def test_what_was_not_served_waits_for_nobody(house: House, changes: dict[str, Any]) -> None:
    house.outcomes.hear(utterance(**changes), AUDIO, WORDS)
    assert house.outcomes.settle() is None
    for event_id in house.event_ids():
        assert house.report(event_id) == "not_waiting"


def test_what_a_voice_commands_of_fadeout_itself_waits_for_nobody(house: House) -> None:
    voice = Voice(house.service, lambda: house.running_s, house.outcomes.hear)
    voice.hear(utterance(outcome="served", action="data.tell_held"), AUDIO, WORDS)
    assert house.outcomes.settle() is None
    voice.hear(utterance(outcome="served", action="light.on"), AUDIO, WORDS)
    assert house.outcomes.settle() == WAIT_S


def test_while_the_broker_is_away_nobody_is_waited_for(house: House) -> None:
    house.service.broker = "not connected"
    recording, event_id = house.hear()
    assert house.outcomes.settle() is None
    assert house.report(event_id) == "not_waiting"
    assert house.kinds(recording) == AS_SERVED


@pytest.mark.parametrize("is_reported", [False, True])
def test_an_utterance_that_the_ear_sends_again_is_not_heard_twice(house: House, *, is_reported: bool) -> None:
    said = utterance(outcome="served", action="light.on")
    first = house.outcomes.hear(said, AUDIO, WORDS)
    (event_id,) = house.event_ids()
    if is_reported:
        assert house.report(event_id) == "ok"
    again = house.outcomes.hear(said, AUDIO, WORDS)
    assert isinstance(first, Sealed)
    assert isinstance(again, Sealed)
    assert again.recording == first.recording
    if not is_reported:
        assert house.report(event_id) == "ok"
    assert house.report(event_id) == "not_waiting"
    assert house.kinds(first.recording) == AS_FAILED


def test_where_no_event_is_told_nobody_is_waited_for(rig: Rig) -> None:
    rig.restart('[retention.served]\naudio = { keep = "1h", purpose = "test" }\naction = { keep = "none" }\n')
    house = House(rig)
    answer = house.outcomes.hear(utterance(outcome="served", action="light.on"), AUDIO, WORDS)
    assert isinstance(answer, Sealed)
    assert house.kinds(answer.recording) == ["served.audio"]


@pytest.mark.parametrize("on_at", ["when it was said", "when it is decided"])
def test_debug_capture_keeps_what_was_said_and_is_decided_while_it_is_on(rig: Rig, on_at: str) -> None:
    rig.restart('[retention]\ndebug_capture = "1h"\n')
    house = House(rig)

    def switch(*, is_on: bool) -> None:
        switches.debug_capture(house.service, questions.DebugCapture(is_on=is_on, for_s=600.0))

    if on_at == "when it was said":
        switch(is_on=True)
    recording, _ = house.hear()
    switch(is_on=on_at == "when it is decided")
    house.outcomes.settle_all()
    assert house.kinds(recording) == AS_SERVED
    switch(is_on=True)
    both, _ = house.hear()
    house.outcomes.settle_all()
    assert house.kinds(both) == ["served.action", "served.audio", "served.words"]


# ---- what is erased, and private times


def _erase(house: House, recording: str, event_id: str, how: str) -> None:
    desk, live = Desk(house.service), house.rig.store.index.live()
    voice = Voice(house.service, lambda: house.running_s, house.outcomes.hear)
    ways: dict[str, Callable[[], object]] = {
        "its id": lambda: desk.erase(questions.Erase((recording,))),
        "the newest": lambda: desk.erase(questions.Erase(last=1)),
        "since a time": lambda: desk.erase(questions.Erase(since_s=60.0)),
        "everything": lambda: desk.erase(questions.Erase(everything=True)),
        "a panic": lambda: desk.erase(questions.Erase(everything=True, now=True)),
        "a reset": lambda: house.service.reset(lambda: None),
        "its event, from afar": lambda: house.ask("erase", {"ids": [event_id]}),
        "the newest, from afar": lambda: house.ask("erase", {"last": 1}),
        "minutes, from afar": lambda: house.ask("erase", {"last_minutes": 1}),
        "a voice": lambda: voice.hear(utterance(outcome="served", action="data.forget_last"), AUDIO),
        "an erasure that is only begun": lambda: house.service.begin_erasing(live),
    }
    ways[how]()


@pytest.mark.parametrize(
    "how",
    [
        "its id", "the newest", "since a time", "everything", "a panic", "a reset", "its event, from afar",
        "the newest, from afar", "minutes, from afar", "a voice", "an erasure that is only begun",
    ],
)  # fmt: skip
def test_an_erasure_takes_what_waits_with_it(house: House, how: str) -> None:
    recording, event_id = house.hear()
    _erase(house, recording, event_id, how)
    assert house.outcomes.settle() is None, "nothing waits any more"
    assert house.report(event_id) == "not_waiting"
    assert house.kinds(recording) == []


def test_an_erasure_of_something_else_leaves_it(house: House) -> None:
    other = house.rig.seal(AUDIO)
    recording, event_id = house.hear()
    Desk(house.service).erase(questions.Erase((other,)))
    assert house.report(event_id) == "ok"
    assert house.kinds(recording) == AS_FAILED


def test_an_action_that_ends_meanwhile_takes_it_along(rig: Rig) -> None:
    rig.restart('[vault]\nsweep = "1s"\n[retention.served]\naction = { keep = "5s", purpose = "x" }\n')
    house = House(rig)
    recording, event_id = house.hear()
    house.later(6)
    house.service.sweep()
    assert house.report(event_id) == "not_waiting"
    assert house.kinds(recording) == []


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("mode", ["guest", "mute"])
def test_a_private_time_that_begins_meanwhile_keeps_nothing(
    house: House, mode: str, *, is_over: bool
) -> None:
    recording, event_id = house.hear()
    house.later(1)
    if mode == "guest":
        switches.guest(house.service, questions.Guest(is_on=True))
    else:
        ratchet.mute(house.service, "mqtt")
    if is_over and mode == "guest":
        switches.guest(house.service, questions.Guest(is_on=False))
    elif is_over:
        ratchet.unmute(house.service)
    house.report(event_id)
    house.outcomes.settle_all()
    assert house.kinds(recording) == AS_SERVED


def test_the_newest_is_what_was_said_last_not_what_was_decided_last(house: House) -> None:
    _, first_id = house.hear()
    second, _ = house.hear()
    house.report(first_id)
    assert house.ask("erase", {"last": 1}).data.erased == 1
    assert second not in house.held()
    assert len(house.held()) == 1


# ---- floods and faults


def test_beyond_so_many_the_oldest_is_what_was_heard(house: House) -> None:
    heard = [house.hear() for _ in range(waiting.MOST + 2)]
    answers = [house.report(event_id) for _, event_id in heard]
    assert answers == ["not_waiting"] * 2 + ["ok"] * waiting.MOST
    assert [house.kinds(recording) for recording, _ in heard[:3]] == [AS_SERVED, AS_SERVED, AS_FAILED]


def test_a_flood_of_wrong_reports_gets_silence_and_keeps_no_right_one_out(house: House) -> None:
    recording, event_id = house.hear()
    payload = json.dumps({"id": NOBODY_S, "result": "failed"}).encode()
    for _ in range(200):
        house.send("result", payload)
    assert len(house.answers) < 50
    house.send("result", {"id": event_id, "result": "failed"})
    assert house.answers[-1][0].status == "ok"
    assert house.kinds(recording) == AS_FAILED


def test_what_becomes_of_it_is_told_and_counts_for_how_much_is_held(rig: Rig) -> None:
    rig.restart('[retention]\nmax_size = "4MB"\n')
    house = House(rig)
    oldest, *_ = [house.rig.seal(bytes(1_000_000)) for _ in range(3)]
    with house.service.watchers.watch() as watcher:
        house.outcomes.hear(utterance(outcome="served", action="light.on"), bytes(1_000_000), WORDS)
        assert oldest in house.held()
        assert house.report(house.event_ids()[-1]) == "ok"
        told = [(each.what, each.outcome, len(each.kept)) for each in watcher.take()]
    assert ("result", "failed", 0) in told
    assert ("sealed", "failed", 2) in told
    assert house.rig.store.index.live_size_bytes() <= house.rig.store.policy.max_size_bytes
    assert house.kinds(oldest) == ["failed.action"], "it made room"


def test_what_cannot_be_sealed_is_dropped_and_told_so(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recording, event_id = house.hear()

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(house.rig.store.files, "write", full)
        assert house.report(event_id) == "not_stored"
    assert house.report(event_id) == "not_waiting"
    house.service.sweep()
    assert house.kinds(recording) == AS_SERVED
    assert "turn on" not in caplog.text


def test_nothing_of_what_waits_reaches_the_disk(house: House) -> None:
    before = {path.name for path in house.rig.store.files.folder.iterdir()}
    recording, _ = house.hear()
    files = {path.name for path in house.rig.store.files.folder.iterdir()} - before
    (action,) = house.rig.store.index.live_of(recording)
    assert files == {action.id}
    for path in house.rig.folder.rglob("*"):
        if path.is_file():
            assert WORDS.strip() not in path.read_bytes()
            assert AUDIO[:64] not in path.read_bytes()


def test_in_a_replay_it_is_decided_when_the_audio_has_come_so_far(rig: Rig) -> None:
    rig.restart('[retention.served]\naudio = { keep = "1h", purpose = "test" }\n')
    house = House(rig)
    recording, _ = house.hear()
    house.running_s += WAIT_S
    house.service.advance(house.rig.clock.now_s + WAIT_S)
    assert house.kinds(recording) == ["served.action", "served.audio"]


def test_whoever_looks_after_time_is_woken_when_something_waits(house: House) -> None:
    woken: list[float | None] = []
    house.outcomes.on_waiting = lambda: woken.append(house.outcomes.settle())
    house.hear()
    assert woken == [WAIT_S]
