"""What the vault does for the ear, the reporter and the command, in one process with a clock of its own."""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from device.vault.conftest import utterance
from fadeout_device import __version__, answers, channels, messages, questions, wire
from fadeout_device.confine import Confinement
from fadeout_device.errors import FadeoutError, UsageError
from fadeout_device.vault import control_arrow, ear_arrow
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.errors import EraseError
from fadeout_device.vault.service import Service
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.vault.conftest import Rig

AUDIO = b"\x01\x02" * 16000


@pytest.fixture
def service(rig: Rig) -> Service:
    made = rig.serve()
    made.start()
    return made


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(questions.Erase(), id="nothing named"),
        pytest.param(questions.Erase(last=1, everything=True), id="named twice"),
        pytest.param(questions.Erase(recordings=("a",), since_s=1.0), id="named twice, too"),
    ],
)
def test_erasing_needs_exactly_one_name(service: Service, command: questions.Erase) -> None:
    with pytest.raises(UsageError):
        Desk(service).erase(command)


def test_erasing_by_each_name(rig: Rig, service: Service) -> None:
    def held() -> list[str]:
        return [row.recording for row in Desk(service).recordings().recordings]

    for _ in range(6):
        service.seal(utterance(), AUDIO)
        rig.clock.now_s += 600
    newest, second, *_ = held()
    assert Desk(service).erase(questions.Erase(recordings=(second[:12],))).recordings == (second,)
    assert Desk(service).erase(questions.Erase(last=1)).recordings == (newest,)
    assert len(Desk(service).erase(questions.Erase(since_s=2000.0)).recordings) == 1
    assert len(held()) == 3
    assert Desk(service).erase(questions.Erase(everything=True)).items == 6
    assert Desk(service).erase(questions.Erase(everything=True)).items == 0
    assert held() == []


def test_a_sweep_that_fails_is_told_and_keeps_the_microphone_closed_at_start(rig: Rig) -> None:
    rig.seal()
    rig.clock.now_s += 30 * 86400

    def broken(_what: str, _slot: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    rig.roots.before = broken
    service = Service(rig.store, rig.clock, Confinement("n", "m"), 900)
    with service.watchers.watch() as happenings:
        service.start()
        assert {happening.what for happening in happenings.take()} == {"erase_failed", "alarm"}
    assert not service.is_ready.is_set()
    status = Desk(service).status()
    assert status.overdue == 2
    assert "input/output error" in status.last_sweep
    assert 0 < service.seconds_to_sweep() <= 60
    rig.roots.before = lambda _what, _slot: None
    service.sweep()
    assert service.is_ready.is_set()
    assert (Desk(service).status().overdue, Desk(service).status().last_sweep) == (0, "ok")


def test_a_failed_erasure_is_no_success(rig: Rig, service: Service) -> None:
    service.seal(utterance(), AUDIO)

    def broken(_what: str, _slot: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    rig.roots.before = broken
    with service.watchers.watch() as happenings:
        with pytest.raises(EraseError):
            Desk(service).erase(questions.Erase(last=1))
        assert [happening.what for happening in happenings.take()] == ["alarm", "erase_failed"]


def test_erasures_asked_for_in_quick_succession_cost_one_write(rig: Rig) -> None:
    service = rig.serve(coalesce_s=3600.0)
    service.start()
    first, *others = [rig.seal() for _ in range(3)]
    before = rig.store.keyring.generation
    assert Desk(service).erase(questions.Erase((first,))).items == 2, "whoever comes first does not wait"
    said: list[answers.Erased] = []
    desk = Desk(service)
    askers = [
        threading.Thread(target=lambda name=name: said.append(desk.erase(questions.Erase((name,)))))
        for name in others
    ]
    for asker in askers:
        asker.start()
    wait_for(lambda: not rig.store.index.live(), "both have asked")
    assert said == [], "nothing is reported before the keys are gone"
    assert rig.store.keyring.generation == before + 1
    service.sweep()
    for asker in askers:
        asker.join(60)
    assert sorted(answer.recordings for answer in said) == sorted((name,) for name in others)
    assert rig.store.keyring.generation == before + 2


def test_an_erasure_that_waited_for_others_is_done_without_them(rig: Rig) -> None:
    service = rig.serve(coalesce_s=0.05)
    service.start()
    for recording in [rig.seal() for _ in range(2)]:
        assert Desk(service).erase(questions.Erase((recording,))).items == 2
        assert recording not in {item.recording for item in rig.store.index.items()}


def test_the_next_sweep_is_when_the_next_item_ends(rig: Rig, service: Service) -> None:
    assert service.seconds_to_sweep() == pytest.approx(900)
    rig.clock.now_s += 800
    service.seal(utterance(), AUDIO)
    assert service.seconds_to_sweep() == pytest.approx(100)
    service.sweep()
    action_end_s = min(item.ends_at_s for item in rig.store.index.live())
    rig.clock.now_s = action_end_s - 30.0
    service.sweep()
    assert service.seconds_to_sweep() == pytest.approx(30)


def test_the_version_that_ran_is_remembered(rig: Rig, service: Service) -> None:
    service.start()
    assert rig.store.index.get_meta("version") == __version__


def _talk(serve: Callable[[wire.Connection], None]) -> tuple[wire.Connection, threading.Thread]:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)

    def run() -> None:
        connection = wire.Connection(theirs)
        try:
            serve(connection)
        except FadeoutError:
            pass  # the test looks at its own end
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return wire.Connection(ours), thread


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        pytest.param({"type": "shout"}, b"", id="no message"),
        pytest.param(utterance(), b"\x01", id="half a sample"),
        pytest.param(utterance(duration_s=0.1), AUDIO, id="more audio than its duration"),
        pytest.param(utterance(delivery="../../etc"), b"", id="a path for a token"),
        pytest.param(utterance(action="rm -rf /"), b"", id="free text for an action"),
        pytest.param(utterance(age_s=-5.0), b"", id="from the future"),
        pytest.param(utterance(age_s=1e9), b"", id="from long ago"),
    ],
)
def test_an_ear_that_lies_is_cut_off_and_nothing_is_stored(
    rig: Rig, service: Service, header: object, payload: bytes
) -> None:
    ear, thread = _talk(
        lambda connection: ear_arrow.serve(connection, service, service.seal, is_replay=False)
    )
    ear.receive()
    ear.send(header, payload)
    assert ear.receive() is None
    thread.join(60)
    ear.close()
    assert rig.store.index.items() == []
    assert Desk(service).status().ear == "away"


def test_a_second_ear_is_sent_away_and_the_first_goes_on(service: Service) -> None:
    def serve(connection: wire.Connection) -> None:
        ear_arrow.serve(connection, service, service.seal, is_replay=False)

    first, first_thread = _talk(serve)
    first.receive()
    first.send(messages.EarState(listening=True, source="first"))
    second, second_thread = _talk(serve)
    assert second.receive() is None
    second_thread.join(60)
    first.send(utterance())
    assert first.receive() is not None
    status = Desk(service).status()
    assert (status.listening, status.source) == (True, "first")
    for each in (first, second):
        each.close()
    first_thread.join(60)
    assert Desk(service).status().ear == "away"


def test_what_the_ear_counts_is_in_the_status_and_no_happening(service: Service) -> None:
    changes = []
    service.on_change = lambda: changes.append(1)
    state = messages.EarState(listening=True, source="a microphone")
    counted = msgspec.structs.replace(state, overflows=1, behind=2, clipped=3, level_dbfs=-20, dropped=4)
    counted = msgspec.structs.replace(counted, spared_percent=99)
    lost = msgspec.structs.replace(
        counted, listening=False, problem="no microphone was found", level_dbfs=None, reopened=5
    )
    service.ear_is_here(lambda _: None, is_new=True)
    told = []
    for each in (state, counted, lost, lost):
        service.hear(each)
        told.append(len(changes))
    assert told == [1, 1, 2, 2]
    status = Desk(service).status()
    assert (status.listening, status.problem) == (False, "no microphone was found")
    counts = status.overflows, status.behind, status.clipped, status.dropped, status.reopened
    assert counts == (1, 2, 3, 4, 5)
    assert status.spared_percent == 99


@pytest.mark.parametrize("is_replay", [False, True], ids=["live", "replay"])
def test_the_ear_moves_the_clock_in_a_replay_only(rig: Rig, service: Service, *, is_replay: bool) -> None:
    before = rig.clock.now_s
    ear, thread = _talk(
        lambda connection: ear_arrow.serve(connection, service, service.seal, is_replay=is_replay)
    )
    ear.receive()
    ear.send(messages.Tick(before + 5000))
    ear.send(utterance())
    assert ear.receive() is not None
    ear.close()
    thread.join(60)
    assert rig.clock.now_s == before + 5000 * is_replay


def test_commands_get_answers_and_errors_get_hints(service: Service) -> None:
    service.seal(utterance(), AUDIO)
    command, thread = _talk(lambda connection: control_arrow.serve(connection, service))
    said = []
    for asked in (
        questions.ListRecordings(),
        questions.Status(),
        questions.GetPolicy(),
        questions.Play("zz"),
    ):
        command.send(asked)
        frame = command.receive()
        assert frame is not None
        said.append(frame.message(answers.Answer))
    command.close()
    thread.join(60)
    listed, status, policy, failure = said
    assert len(listed.recordings) == 1
    assert status.held == 1
    canonical = json.dumps(policy.policy, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(canonical).hexdigest() == policy.policy_hash
    assert (failure.exit_code, failure.hint) == (66, "fadeout list shows what is held")


def test_a_command_that_may_not_be_asked_for_here_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(channels._ALLOWED, "erase", frozenset({"mqtt"}))
    service.seal(utterance(), AUDIO)
    command, thread = _talk(lambda connection: control_arrow.serve(connection, service))
    for asked, wanted in (
        (questions.Erase(everything=True), answers.Failure),
        (questions.Status(), answers.StatusReport),
    ):
        command.send(asked)
        frame = command.receive()
        assert frame is not None
        assert isinstance(frame.message(answers.Answer), wanted)
    command.close()
    thread.join(10)
    assert service.held() == 1


def test_whoever_watches_sees_it_all_and_may_leave(service: Service) -> None:
    watcher, thread = _talk(lambda connection: control_arrow.serve(connection, service))
    watcher.send(questions.Watch())
    assert watcher.receive() is not None
    service.hear(messages.Wake("alexa", 0.9))
    service.seal(utterance(), AUDIO)
    seen = []
    for _ in range(3):
        frame = watcher.receive()
        assert frame is not None
        seen.append(frame.message(answers.Happening).what)
    assert seen == ["wake", "utterance", "sealed"]
    watcher.close()
    thread.join(60)
    assert not thread.is_alive()
    assert not service.watchers._watchers
