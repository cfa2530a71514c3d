"""Guest mode, quiet hours, debug capture and the size cap in a running vault; and what is said of them."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import utterance
from fadeout_device import answers, messages, questions, wire
from fadeout_device.cli import vault_client
from fadeout_device.cli.__main__ import main
from fadeout_device.errors import StorageError, UsageError, WireError
from fadeout_device.vault import control_arrow, envelope, ratchet, switches
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.errors import NoSuchRecordingError
from fadeout_device.vault.explain import explain
from fadeout_device.vault.privacy import Around, Privacy

if TYPE_CHECKING:
    from device.vault.conftest import Rig
    from fadeout_device.vault.service import Service

AUDIO = b"\x01\x02" * 16000
DEBUG = '[retention]\ndebug_capture = "12h"'


class _Around:
    """The machine around the vault, as a test moves it."""

    def __init__(self) -> None:
        self.running_s, self.boot, self.minute = 1000.0, "a", 12 * 60

    def serve(self, rig: Rig) -> Service:
        service = rig.serve()
        around = Around(lambda: self.running_s, self.boot, lambda _at_s: self.minute)
        service.privacy = Privacy(rig.store.index, rig.store.policy, rig.clock, around)
        service.start()
        return service


@pytest.fixture
def around() -> _Around:
    return _Around()


def _said(service: Service, wanted: str) -> int:
    return service.store.index.db.execute(wanted).fetchone()[0]  # type: ignore[no-any-return]  # a count


def test_with_a_guest_nothing_is_stored_and_nothing_is_told_to_subscribers(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    switches.guest(service, questions.Guest(is_on=True))
    for outcome in ("served", "failed", "false_wake"):
        answer = service.seal(utterance(outcome=outcome), AUDIO)
        assert isinstance(answer, messages.Sealed)
        assert (answer.recording, answer.kept) == ("", ())
    assert rig.store.index.items() == []
    assert list((rig.folder / "items").iterdir()) == []
    assert rig.store.outbox.count() == 0
    assert rig.store.index.delivered(utterance().delivery) is None


def test_guest_mode_survives_restarts_and_ends_when_its_time_is_over(rig: Rig, around: _Around) -> None:
    switches.guest(around.serve(rig), questions.Guest(is_on=True, for_s=3600.0))
    rig.restart()
    around.boot = "b"
    service = around.serve(rig)
    assert service.privacy.private() == "guest"
    rig.clock.now_s += 3603
    around.running_s += 3603
    assert service.privacy.private() == ""
    service.seal(utterance(), AUDIO)
    assert service.held() == 1


def test_what_is_stored_of_the_modes_and_cannot_be_read_means_guest(rig: Rig, around: _Around) -> None:
    with rig.store.index.transaction():
        rig.store.index.set_meta("modes", "{")
    service = around.serve(rig)
    assert service.privacy.private() == "guest"
    assert service.privacy.is_muted


def test_guest_mode_that_cannot_be_stored_still_holds(
    rig: Rig, around: _Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = around.serve(rig)

    def broken(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(rig.store.index, "set_meta", broken)
    with pytest.raises(StorageError):
        switches.guest(service, questions.Guest(is_on=True))
    assert service.privacy.private() == "guest"


class _Ear:
    """The ear's end of the line, on which it hears that it is muted."""

    def __init__(self, service: Service) -> None:
        self.heard: list[object] = []
        self._service = service
        service.ear_is_here(self._hear, is_new=True)

    def _hear(self, message: object) -> None:
        self.heard.append(message)
        listens = message == messages.Ready() or isinstance(message, messages.Unmute)
        threading.Thread(
            target=lambda: self._service.hear(messages.EarState(listening=listens, source="a microphone"))
        ).start()


def test_muted_the_ear_is_told_and_nothing_that_it_still_sends_is_stored(
    rig: Rig, around: _Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switches, "CLOSING_S", 60.0)
    service = around.serve(rig)
    ear = _Ear(service)
    assert Desk(service).mute() == answers.Muting("control", "closed")
    said = utterance()
    assert service.seal(said, AUDIO) == messages.Sealed(said.delivery, "", ())
    assert rig.store.index.items() == []
    assert Desk(service).unmute().muted_by == ""
    assert ear.heard == [messages.Ready(), messages.Mute("control"), messages.Unmute()]
    service.seal(utterance(age_s=1.0, duration_s=1.0), AUDIO)
    assert service.held() == 0, "it began while it was muted"
    around.running_s += 10
    service.seal(utterance(), AUDIO)
    assert service.held() == 1


def test_a_mute_survives_restarts_and_a_new_ear_is_greeted_with_it(rig: Rig, around: _Around) -> None:
    ratchet.mute(around.serve(rig), "mqtt")
    rig.restart()
    around.boot = "b"
    service = around.serve(rig)
    ear = _Ear(service)
    assert ear.heard == [messages.Ready(is_muted=True)]
    assert Desk(service).status().modes.muted_by == "mqtt"


def test_a_mute_that_cannot_be_stored_still_holds_also_in_the_next_process(
    rig: Rig, around: _Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = around.serve(rig)
    ear = _Ear(service)

    def broken(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(rig.store.index, "set_meta", broken)
    with pytest.raises(StorageError, match="not beyond a restart"):
        Desk(service).mute()
    assert ear.heard[-1] == messages.Mute("control")
    known = service.privacy.state
    monkeypatch.undo()
    rig.restart()
    service = around.serve(rig)
    service.privacy.take_over(known)
    assert service.privacy.is_muted
    rig.restart()
    assert around.serve(rig).privacy.is_muted, "it is stored as soon as it can be"


def test_an_ear_that_is_gone_keeps_nobody_from_muting(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)

    def gone(message: object) -> None:
        if message != messages.Ready():
            raise WireError("the other side is gone")

    service.ear_is_here(gone, is_new=True)
    ratchet.mute(service, "mqtt")
    assert service.privacy.is_muted
    service.ear_is_away()
    assert Desk(service).mute() == answers.Muting("mqtt", "away")


def test_another_owner_s_device_is_not_muted(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    ratchet.mute(service, "button")
    Desk(service).reset()
    assert not service.privacy.is_muted


def test_a_replay_hears_its_files_whether_a_microphone_is_muted_or_not(rig: Rig, around: _Around) -> None:
    ratchet.mute(around.serve(rig), "control")
    rig.restart()
    service = around.serve(rig)
    service.privacy = Privacy(rig.store.index, rig.store.policy, rig.clock, has_microphone=False)
    service.seal(utterance(), AUDIO)
    assert service.held() == 1


def test_in_quiet_hours_nothing_is_stored(rig: Rig, around: _Around) -> None:
    rig.restart('[retention]\nquiet_hours = "22:00-06:30"')
    service = around.serve(rig)
    around.minute = 23 * 60
    service.seal(utterance(), AUDIO)
    assert rig.store.index.items() == []
    assert switches.shown(service).is_quiet
    around.minute = 12 * 60
    service.seal(utterance(), AUDIO)
    assert service.held() == 1


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [("served", {"audio", "action"}), ("failed", {"audio", "action"}), ("false_wake", {"audio"})],
)
def test_debug_capture_keeps_what_has_no_rule_and_never_beyond_its_own_limit(
    rig: Rig, around: _Around, outcome: str, kept: set[str]
) -> None:
    rig.restart(DEBUG)
    service = around.serve(rig)
    switches.debug_capture(service, questions.DebugCapture(is_on=True, for_s=1800.0))
    service.seal(utterance(outcome=outcome), AUDIO)
    items = {item.item_class.kind: item for item in rig.store.index.live()}
    assert set(items) == kept
    has_rule = outcome == "failed"
    limit_s = 7 * 86400 if has_rule else 12 * 3600
    assert items["audio"].ends_at_s <= rig.clock.now_s - 2 + limit_s
    assert items["audio"].mark == ("" if has_rule else "debug")
    rig.restart(DEBUG)
    assert rig.store.index.live() == list(items.values()), "a restart neither erases nor prolongs it"
    rig.restart('[retention]\ndebug_capture = "1h"')
    (audio,) = (item for item in rig.store.index.live() if item.item_class.kind == "audio")
    assert audio.ends_at_s == items["audio"].ends_at_s - (0 if has_rule else 11 * 3600)


def test_what_debug_capture_kept_of_a_false_wake_is_not_reported(rig: Rig, around: _Around) -> None:
    rig.restart(DEBUG)
    service = around.serve(rig)
    switches.debug_capture(service, questions.DebugCapture(is_on=True, for_s=60.0))
    service.seal(utterance(outcome="false_wake"), AUDIO)
    assert rig.store.outbox.count() == 0


def test_debug_capture_is_over_when_its_time_is(rig: Rig, around: _Around) -> None:
    rig.restart(DEBUG)
    service = around.serve(rig)
    switches.debug_capture(service, questions.DebugCapture(is_on=True, for_s=1800.0))
    around.running_s += 1800
    service.seal(utterance(outcome="false_wake"), AUDIO)
    assert rig.store.index.items() == []


@pytest.mark.parametrize(
    ("config", "for_s", "is_guest"),
    [
        pytest.param("", 60.0, False, id="the policy does not allow it"),
        pytest.param(DEBUG, 3601.0, False, id="longer than an hour"),
        pytest.param(DEBUG, 0.0, False, id="no time at all"),
        pytest.param(DEBUG, 60.0, True, id="a guest is there"),
    ],
)
def test_debug_capture_that_may_not_be_is_refused(
    rig: Rig, around: _Around, config: str, for_s: float, *, is_guest: bool
) -> None:
    rig.restart(config)
    service = around.serve(rig)
    if is_guest:
        switches.guest(service, questions.Guest(is_on=True))
    with pytest.raises(UsageError):
        switches.debug_capture(service, questions.DebugCapture(is_on=True, for_s=for_s))
    assert switches.shown(service).debug_left_s is None


def test_whoever_watches_is_told_when_a_mode_begins_and_ends(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    with service.watchers.watch() as watcher:
        switches.guest(service, questions.Guest(is_on=True, for_s=60.0))
        service.seal(utterance(), AUDIO)
        rig.clock.now_s += 60
        service.tell_modes()
        told = [(h.what, h.reason) for h in watcher.take() if h.what in ("mode", "private")]
    assert told == [("mode", "guest mode begins"), ("private", "guest"), ("mode", "guest mode ends")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["guest"], ["guest", "on"], ["guest", "off"], ["guest", "--for", "3h"],
        ["mute"], ["unmute"], ["debug-capture"], ["debug-capture", "off"], ["debug-capture", "on"],
        ["debug-capture", "on", "--for", "5m"], ["explain", "ab"],
    ],
)  # fmt: skip
def test_what_the_command_sends_the_vault_understands(
    arguments: list[str], rig: Rig, around: _Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.restart(DEBUG)
    service = around.serve(rig)
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    thread = threading.Thread(target=lambda: control_arrow.serve(wire.Connection(theirs), service))
    thread.start()
    monkeypatch.setattr(vault_client, "connect", lambda _state, _timeout_s: wire.Connection(ours))
    assert main(arguments) == (66 if arguments[0] == "explain" else 0)
    thread.join(60)
    theirs.close()
    assert not thread.is_alive()


def test_beyond_the_size_cap_the_oldest_go_early_and_are_told_so(rig: Rig, around: _Around) -> None:
    rig.restart('[retention]\nmax_size = "4MB"')
    service = around.serve(rig)
    with service.watchers.watch() as watcher:
        recordings = []
        for _ in range(9):
            answer = service.seal(utterance(duration_s=15.0), AUDIO * 15)
            assert isinstance(answer, messages.Sealed)
            recordings.append(answer.recording)
            for item in rig.store.index.live_of(answer.recording):
                if item.item_class.kind == "action":
                    rig.store.metadata(item, "event", "reporter")
            assert rig.store.index.live_size_bytes() <= 4_000_000
        reasons = {h.reason for h in watcher.take() if h.what == "erased"}
    assert reasons == {"size"}
    left = [row.recording for row in Desk(service).recordings().recordings]
    assert left == recordings[: -len(left) - 1 : -1], "the newest are still there"
    assert 5 <= len(left) < 9
    assert rig.store.outbox.notices.count() == 9 - len(left), "subscribers are told to forget what went early"


def test_a_smaller_cap_applies_at_the_next_sweep(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    for _ in range(9):
        service.seal(utterance(duration_s=15.0), AUDIO * 15)
    rig.restart('[retention]\nmax_size = "4MB"')
    service = around.serve(rig)
    assert rig.store.index.live_size_bytes() <= 4_000_000
    assert service.held() > 0


def test_an_explanation_says_which_of_promise_and_policy_rules(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    service.seal(utterance(), AUDIO)
    (row,) = Desk(service).recordings().recordings
    audio, action = explain(service, row.recording[:6]).items
    assert (audio.promised_s, audio.allowed_s, audio.period_s) == (7 * 86400,) * 3
    assert (audio.ruled_by, audio.ends_on_update, audio.state) == ("promise", True, "kept")
    assert (audio.age_rank, action.age_rank) == (1, 2)
    rig.restart('[retention.failed]\naudio = { keep = "1d", purpose = "p" }\naction = { keep = "none" }')
    service = around.serve(rig)
    (audio,) = explain(service, row.recording).items
    assert (audio.promised_s, audio.allowed_s, audio.period_s) == (7 * 86400, 86400, 86400)
    assert audio.ruled_by == "shorter policy"
    rig.restart("")
    (audio,) = explain(around.serve(rig), row.recording).items
    assert (audio.allowed_s, audio.period_s, audio.ruled_by) == (7 * 86400, 86400, "shorter policy")


def test_an_explanation_of_what_should_be_gone_says_so(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    service.seal(utterance(), AUDIO)
    (row,) = Desk(service).recordings().recordings
    rig.clock.now_s += 2 * 86400
    assert [item.state for item in explain(service, row.recording).items] == ["kept", "overdue"]
    rig.store.eraser.intend(rig.store.index.live(), "user")
    assert {(item.state, item.because) for item in explain(service, row.recording).items} == {
        ("erasing", "user")
    }


def test_an_explanation_of_what_is_not_held_says_so(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    answer = explain(service, "00aa")
    assert (answer.recording, answer.outcome, answer.items) == ("00aa", "", ())
    service.seal(utterance(), AUDIO)
    assert explain(service, "").items == (), "an empty name names nothing"
    assert answer.erased is None


def test_an_explanation_of_what_was_erased_names_its_receipt(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    service.seal(utterance(), AUDIO)
    (row,) = Desk(service).recordings().recordings
    erased = Desk(service).erase(questions.Erase(last=1))
    answer = explain(service, row.recording[:8])
    assert answer.items == ()
    assert answer.erased is not None
    assert (answer.erased.seq,) == erased.receipts
    assert answer.erased.reason == "user"


def test_an_explanation_needs_one_recording(rig: Rig, around: _Around) -> None:
    service = around.serve(rig)
    for _ in range(17):
        service.seal(utterance(), AUDIO)
    firsts = [row.recording[0] for row in Desk(service).recordings().recordings]
    twice = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(NoSuchRecordingError):
        explain(service, twice)


@pytest.mark.parametrize(
    ("live", "nodes", "lines"),
    [
        pytest.param(0, 9, 0, id="nothing is held"),
        pytest.param(100_000, 22_000, 0, id="as many as it is made for, with five in a hundred holes"),
        pytest.param(100_001, 9, 1, id="one too many"),
        pytest.param(6_000, 288 + 1_500, 0, id="as many nodes as five in a hundred holes explain"),
        pytest.param(6_000, 288 + 1_501, 1, id="one node more"),
        pytest.param(200_000, 100_000, 2, id="both"),
    ],
)
def test_beyond_the_envelope_there_is_a_warning(live: int, nodes: int, lines: int) -> None:
    assert len(envelope.passed(live, nodes)) == lines


def test_a_warning_is_shown_and_logged_once_and_harms_nothing(
    rig: Rig, around: _Around, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(envelope, "MAX_LIVE", 1)
    service = around.serve(rig)
    service.seal(utterance(), AUDIO)
    for _ in range(3):
        service.sweep()
    assert service.held() == 1
    assert len(Desk(service).status().warnings) == 1
    assert caplog.text.count("items are held") == 1
