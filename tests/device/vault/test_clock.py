"""The clock of a store, through jumps, restarts and starts of the machine; and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import Rig, utterance
from fadeout_device import answers, messages, questions
from fadeout_device.confine import Confinement
from fadeout_device.errors import StorageError
from fadeout_device.vault.clock import ReplayClock, SystemClock
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.errors import KeyErasedError, TimeError
from fadeout_device.vault.explain import explain
from fadeout_device.vault.service import Service
from fadeout_device.vault.store import Store
from fakes import FakeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR, DAY = 3600, 86400
AUDIO = b"\x01\x02" * 16000


class _Device:
    """A vault on a machine whose clocks a test sets."""

    def __init__(self, folder: Path) -> None:
        self.machine = FakeMachine()
        self.rig = Rig(folder)
        self.restart()

    def restart(self) -> None:
        """Start the vault's process again."""
        rig = self.rig
        rig.store.close()
        self.clock = SystemClock(self.machine.read)
        rig.store = Store(rig.folder, rig.roots, rig.config.policy, rig.config.sweep_s, self.clock)
        self.service = Service(rig.store, self.clock, Confinement("n", "m"), rig.config.sweep_s, 0.0)
        self.service.start()

    def boot(self, off_s: float, *, is_synchronised: bool = False) -> None:
        self.machine.boot(off_s, is_synchronised=is_synchronised)
        self.restart()

    def run(self, seconds: float, every_s: float = 600.0) -> None:
        """Let time pass, as the main thread lets it."""
        while seconds > 0:
            self.machine.wait(min(seconds, every_s))
            seconds -= every_s
            self.service.look_at_clock()
            if self.service.seconds_to_sweep() <= 0:
                self.service.sweep()

    def jump(self, seconds: float) -> None:
        self.machine.wall_s += seconds
        self.service.look_at_clock()

    def seal(self) -> str:
        answer = self.service.seal(utterance(), AUDIO)
        assert isinstance(answer, messages.Sealed)
        assert answer.recording
        return answer.recording

    def is_readable(self, recording: str) -> bool:
        try:
            Desk(self.service).play(recording)
        except TimeError:
            return False
        return True

    @property
    def report(self) -> answers.ClockReport:
        return self.rig.store.timekeeper.report()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[_Device]:
    made = _Device(tmp_path)
    yield made
    made.rig.store.close()


def test_a_time_server_that_lies_by_a_year_for_a_moment_costs_nothing(device: _Device) -> None:
    before = device.seal()
    device.boot(60.0, is_synchronised=True)
    device.jump(365 * DAY)
    assert device.report.ahead_s == pytest.approx(365 * DAY)
    assert device.report.locked == 2
    assert device.rig.store.eraser.overdue() == 0
    with pytest.raises(TimeError, match="jumped ahead") as refused:
        Desk(device.service).play(before)
    assert "fadeout clock --confirm" in (refused.value.hint or "")
    assert Desk(device.service).recordings().recordings == ()
    assert [item.state for item in explain(device.service, before).items] == ["locked", "locked"]
    during = device.seal()
    assert device.is_readable(during)
    device.run(50 * 60)
    device.jump(-365 * DAY)
    assert device.report.ahead_s == 0
    assert device.is_readable(before)
    assert device.is_readable(during)
    ends = {item.ends_at_s for item in device.rig.store.index.live()}
    assert max(ends) <= device.clock.proven() + 7 * DAY, "and nothing is prolonged"


def test_a_recording_that_is_locked_can_be_erased(device: _Device) -> None:
    recording = device.seal()
    device.boot(60.0, is_synchronised=True)
    device.jump(365 * DAY)
    assert Desk(device.service).erase(questions.Erase((recording,))).items == 2


def test_a_confirmed_jump_moves_end_dates_and_events_with_it(device: _Device) -> None:
    device.jump(3 * DAY)
    recording = device.seal()
    ends = {item.id: item.ends_at_s for item in device.rig.store.index.live()}
    device.run(HOUR + 600)
    assert device.report.because == "stood"
    moved = {item.id: item.ends_at_s - ends[item.id] for item in device.rig.store.index.live()}
    assert all(abs(seconds - 3 * DAY) <= 1 for seconds in moved.values())
    (line,) = device.rig.store.outbox.lines()
    assert line.ends_at_s == next(
        item.ends_at_s for item in device.rig.store.index.live() if item.id == line.about
    )
    device.restart()
    assert device.is_readable(recording)
    device.run(7 * DAY, every_s=HOUR)
    assert device.rig.store.index.live() == []


def test_a_jump_whose_end_dates_cannot_be_stored_is_not_believed(
    device: _Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.seal()
    before_s = device.clock.proven()
    device.machine.wall_s += DAY

    def broken(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(device.rig.store.index, "move_memory", broken)
    with pytest.raises(StorageError):
        device.service.confirm_clock()
    assert device.clock.proven() == before_s
    monkeypatch.undo()
    device.restart()
    assert device.clock.proven() == before_s
    assert device.rig.store.index.live()


def test_without_a_clock_what_was_held_is_closed_until_a_person_confirms(device: _Device) -> None:
    before = device.seal()
    device.boot(2 * DAY)
    with pytest.raises(TimeError, match="was off"):
        Desk(device.service).show(before)
    assert device.report.because == "unknown"
    assert device.service.privacy.moment().proven_s is None
    after = device.seal()
    assert device.is_readable(after)
    report = Desk(device.service).clock(questions.LookAtClock(confirm=True))
    assert (report.because, report.locked, report.ahead_s) == ("person", 0, 0.0)
    assert device.is_readable(before)
    device.run(5 * DAY, every_s=HOUR)
    assert {item.recording for item in device.rig.store.index.live()} == {after}


def test_without_a_clock_running_time_alone_ends_what_was_held(device: _Device) -> None:
    device.seal()
    for _ in range(3):
        device.boot(30 * DAY)
        device.machine.wall_s = 0.0
        device.run(2.5 * DAY, every_s=HOUR)
    assert device.rig.store.index.live() == []


def test_weeks_unplugged_with_a_battery_clock_end_before_the_microphone_opens(device: _Device) -> None:
    device.seal()
    device.machine.rtc_s = device.machine.wall_s + 21 * DAY
    device.boot(21 * DAY)
    assert device.service.is_ready.is_set()
    assert device.rig.store.index.live() == []
    assert device.report.because == "battery"


def test_a_restart_of_the_vault_changes_nothing(device: _Device) -> None:
    recording = device.seal()
    device.jump(-DAY)
    for _ in range(5):
        device.machine.running_s += 100.0
        device.restart()
    assert device.clock.proven() == 1_600_000_500.0
    assert device.is_readable(recording)
    device.jump(2 * DAY)
    device.run(50 * 60)
    device.restart()
    assert 0 < (device.report.left_s or 0) <= 600, "a jump that stands goes on standing"


def test_an_event_waits_until_the_time_is_certain(device: _Device) -> None:
    device.seal()
    device.boot(60.0)
    keeper, index = device.rig.store.timekeeper, device.rig.store.index
    assert all(keeper.is_locked(item) for item in index.live())
    device.machine.is_synchronised = True
    device.service.look_at_clock()
    assert not any(keeper.is_locked(item) for item in index.live())


def test_erasing_the_last_hour_includes_what_was_captured_before_a_jump(device: _Device) -> None:
    recording = device.seal()
    device.jump(3 * DAY)
    device.run(10 * 60)
    found = device.rig.store.captured_since(device.clock.proven() - HOUR)
    assert {item.recording for item in found} == {recording}
    device.service.confirm_clock()
    found = device.rig.store.captured_since(device.clock.proven() - HOUR)
    assert {item.recording for item in found} == {recording}


def test_a_stored_time_that_cannot_be_read_proves_nothing(device: _Device) -> None:
    device.seal()
    with device.rig.store.index.transaction():
        device.rig.store.index.set_meta("clock", "{")
    device.restart()
    assert device.clock.is_known()
    device.machine.is_synchronised = False
    with device.rig.store.index.transaction():
        device.rig.store.index.set_meta("clock", "{")
    device.restart()
    assert device.report.because == "unknown"


def test_what_is_over_for_certain_is_gone_and_not_locked(device: _Device) -> None:
    device.seal()
    (item, *_) = device.rig.store.index.live()
    device.machine.running_s += 8 * DAY
    with pytest.raises(KeyErasedError):
        device.rig.store.content(item)


def test_a_replay_has_the_audio_s_time() -> None:
    clock = ReplayClock(100.0)
    clock.raise_floor(160.0)
    clock.raise_floor(130.0)
    assert (clock.now(), clock.proven(), clock.is_known()) == (160.0, 160.0, True)
