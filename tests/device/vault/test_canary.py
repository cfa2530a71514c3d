"""The canaries and the watchdog: each way in which forgetting can fail must raise the alarm."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import utterance
from fadeout_device import questions
from fadeout_device.confine import Confinement
from fadeout_device.policy import CLASSES
from fadeout_device.vault.canary import GRACE_S
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.service import Service
from fadeout_device.vault.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.vault.conftest import Rig

AUDIO = b"\x01\x02" * 16000
LIFE_S = 6 * 3600


class Kennel:
    """A service and its watchdog, with both clocks in a test's hands."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.mono_s = 0.0
        self.open()

    def open(self) -> None:
        """Start as after a restart of the process."""
        rig = self.rig
        self.service = rig.serve()
        self.watchdog = Watchdog(self.service, rig.config.sweep_s, mono_s=lambda: self.mono_s, patience_s=0.5)
        self.service.start()
        self.watchdog.look()

    def wait(self, seconds: float, *, sweep: bool = True) -> None:
        """Let time pass; then the sweep, if there is one, and a look."""
        self.rig.clock.now_s += seconds
        self.mono_s += seconds
        if sweep:
            self.service.sweep()
        self.watchdog.look()

    @property
    def life_s(self) -> float:
        """How long the canaries have to live."""
        return max(item.ends_at_s for item in self.rig.store.index.canaries()) - self.rig.clock.now_s

    @property
    def alarms(self) -> set[str]:
        return set(self.service.alarms.on)


@pytest.fixture
def kennel(rig: Rig) -> Kennel:
    return Kennel(rig)


def test_there_is_a_canary_in_each_class_and_nobody_sees_it(kennel: Kennel) -> None:
    rig, desk = kennel.rig, Desk(kennel.service)
    canaries = rig.store.index.canaries()
    assert [item.item_class for item in canaries] == list(CLASSES)
    assert len(list((rig.folder / "items").iterdir())) == len(CLASSES)
    assert desk.recordings().recordings == ()
    status = desk.status()
    assert (status.held, status.held_bytes, status.next_end_s, status.canaries) == (0, 0, None, 9)
    assert status.alarms == ()
    assert rig.store.outbox.count() == 0
    assert rig.store.index.live_of("") == []
    assert desk.erase(questions.Erase(everything=True)).items == 0


def test_canaries_die_on_time_and_are_replaced_without_a_word(kennel: Kennel) -> None:
    first = {item.id for item in kennel.rig.store.index.canaries()}
    with kennel.service.watchers.watch() as watcher:
        for _ in range(4):
            kennel.wait(kennel.life_s)
        assert watcher.take() == []
    assert kennel.alarms == set()
    assert kennel.rig.store.ledger.last_seq() == 1, "nor in the ledger, that only begins"
    canaries = kennel.rig.store.index.canaries()
    assert len(canaries) == 9
    assert not first & {item.id for item in canaries}
    assert len(list((kennel.rig.folder / "items").iterdir())) == 9


def test_a_canary_lives_no_longer_than_the_policy_says(kennel: Kennel) -> None:
    for item in kennel.rig.store.index.canaries():
        assert 0 < item.ends_at_s - kennel.rig.clock.now_s <= LIFE_S
    kennel.rig.restart('[retention]\ncanary = "1h"')
    for item in kennel.rig.store.index.canaries():
        assert item.ends_at_s - kennel.rig.clock.now_s <= 3600


def _no_puncture(kennel: Kennel, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kennel.rig.store.keyring, "erase", lambda _leaves, _floors: None)


def _no_unlink(kennel: Kennel, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kennel.rig.store.files, "unlink", lambda _items: None)


def _no_removal(kennel: Kennel, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kennel.rig.store.index, "remove", lambda _ids: None)


def _nothing_expires(kennel: Kennel, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kennel.rig.store.index, "expired", lambda _now_s: [])


@pytest.mark.parametrize(
    ("mutant", "left"),
    [
        pytest.param(_no_puncture, "left: its key", id="the tree is not punctured"),
        pytest.param(_no_unlink, "left: its file", id="the file stays"),
        pytest.param(_no_removal, "left: its row", id="the row stays"),
        pytest.param(_nothing_expires, "left: its row, its file, its key", id="the sweep overlooks it"),
    ],
)
def test_a_canary_that_does_not_die_raises_the_alarm(
    kennel: Kennel, mutant: Callable[[Kennel, pytest.MonkeyPatch], None], left: str
) -> None:
    with pytest.MonkeyPatch.context() as patch, kennel.service.watchers.watch() as watcher:
        mutant(kennel, patch)
        kennel.wait(kennel.life_s)
        assert kennel.alarms == set(), "it has some grace"
        kennel.wait(GRACE_S)
        assert kennel.alarms == {"canary"}
        assert left in kennel.service.alarms.on["canary"]
        told = [happening.reason for happening in watcher.take() if happening.what == "alarm"]
        assert len(told) == 1
        assert left in told[0]
        assert "canary" in Desk(kennel.service).status().alarms[0]


def test_the_alarm_outlives_the_process_and_ends_when_the_canary_does(kennel: Kennel) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _nothing_expires(kennel, patch)
        kennel.wait(kennel.life_s)
        kennel.wait(GRACE_S)
    kennel.rig.restart()
    service = Service(kennel.rig.store, kennel.rig.clock, Confinement("n", "m"), 900)
    watchdog = Watchdog(service, 900.0, mono_s=lambda: 0.0)
    assert set(service.alarms.on) == {"canary"}, "nothing has been looked at yet"
    service.start()
    watchdog.look()
    assert service.alarms.on == {}, "the sweep at the start has erased it"


def test_all_clear_is_told(kennel: Kennel) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _nothing_expires(kennel, patch)
        kennel.wait(kennel.life_s)
        kennel.wait(GRACE_S)
    with kennel.service.watchers.watch() as watcher:
        kennel.wait(60)
        assert [h.reason for h in watcher.take() if h.what == "alarm"] == ["canary: it is over, all clear"]
    assert kennel.alarms == set()


def test_a_key_that_outlives_its_row_is_found_by_the_process_after_this_one(kennel: Kennel) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _no_puncture(kennel, patch)
        kennel.rig.clock.now_s += kennel.life_s
        kennel.service.sweep()
    assert kennel.rig.store.index.items() == []
    kennel.rig.restart()
    kennel.open()
    kennel.wait(GRACE_S)
    assert kennel.alarms == {"canary"}
    assert kennel.service.alarms.on["canary"].endswith("left: its key")


def test_a_sweep_that_is_not_begun_any_more_raises_the_alarm(kennel: Kennel) -> None:
    kennel.wait(900.0 + GRACE_S, sweep=False)
    assert kennel.alarms == set()
    kennel.wait(1.0, sweep=False)
    assert kennel.alarms == {"sweep"}
    kennel.wait(1.0)
    assert kennel.alarms == set()


def test_a_canary_that_no_sweep_comes_for_raises_the_alarm(kennel: Kennel) -> None:
    kennel.wait(kennel.life_s, sweep=False)
    kennel.wait(GRACE_S, sweep=False)
    assert kennel.alarms == {"sweep", "canary"}


def test_who_holds_the_lock_and_stands_still_raises_the_alarm(kennel: Kennel) -> None:
    told = []
    kennel.watchdog.on_alarm = lambda: told.append(kennel.alarms)
    holds, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with kennel.service.lock:
            holds.set()
            let_go.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(10)
    kennel.watchdog.look()
    assert kennel.alarms == {"sweep"}
    let_go.set()
    thread.join(10)
    kennel.watchdog.look()
    assert kennel.alarms == set()
    assert told == [{"sweep"}, set()]


def test_a_canary_that_cannot_be_planted_raises_the_alarm(kennel: Kennel) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kennel.rig.store.files, "write", full)
        kennel.wait(kennel.life_s)
        assert kennel.alarms == {"canary"}
        assert "planted" in kennel.service.alarms.on["canary"]
        for _ in range(5):
            kennel.wait(20)
            assert kennel.alarms == {"canary"}
        assert len(kennel.rig.store.index.canaries()) == 0, (
            "what was begun is swept, and not begun again at once"
        )
    kennel.wait(GRACE_S)
    assert kennel.alarms == set()
    assert kennel.service.canaries == 9


def test_a_failed_erasure_raises_the_alarm_until_one_succeeds(kennel: Kennel) -> None:
    def broken(_what: str, _slot: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    kennel.rig.roots.before = broken
    kennel.wait(kennel.life_s)
    assert kennel.alarms == {"erase"}
    kennel.rig.roots.before = lambda _what, _slot: None
    kennel.wait(60)
    assert kennel.alarms == set()


@pytest.mark.parametrize("how", ["everything", "panic"])
def test_erasing_everything_is_no_reason_for_an_alarm(kennel: Kennel, how: str) -> None:
    kennel.service.seal(utterance(), AUDIO)
    answer = Desk(kennel.service).erase(questions.Erase(everything=True, now=how == "panic"))
    assert answer.items == 2, "canaries are not counted"
    assert kennel.rig.store.outbox.count() == 1, "nor are their events withdrawn: there are none"
    kennel.wait(1.0)
    kennel.wait(LIFE_S + GRACE_S + 900)
    assert kennel.alarms == set()
    assert kennel.service.canaries == 9


def test_who_wakes_up_after_weeks_raises_no_alarm_before_the_sweep_had_its_time(kennel: Kennel) -> None:
    kennel.rig.clock.now_s += 30 * 86400  # the other clock counts no time asleep
    kennel.watchdog.look()
    assert kennel.alarms == set()
    kennel.wait(1.0)
    assert kennel.alarms == set()
    assert kennel.service.canaries == 9


def test_a_watchdog_that_was_stopped_looks_at_nothing_any_more(kennel: Kennel) -> None:
    kennel.watchdog.stop()
    kennel.rig.store.close()
    kennel.watchdog.look()
    kennel.rig.store = kennel.rig._open()
