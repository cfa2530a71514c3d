"""Effective time under clocks that lie."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.vault.clock import ReplayClock, SystemClock


class _Machine:
    """A wall clock and a running time that a test sets."""

    def __init__(self, wall_s: float) -> None:
        self.wall_s = wall_s
        self.running_s = 100.0
        self.clock = SystemClock(lambda: self.wall_s, lambda: self.running_s)

    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.running_s += seconds


def test_time_goes_on_as_the_wall_clock_does() -> None:
    machine = _Machine(1000.0)
    machine.wait(50.0)
    assert machine.clock.now() == 1050.0


def test_a_clock_set_back_delays_nothing() -> None:
    machine = _Machine(1000.0)
    machine.clock.now()
    machine.wall_s = 0.0
    machine.running_s += 60.0
    assert machine.clock.now() == 1060.0


def test_a_restart_in_1970_goes_on_from_what_was_stored() -> None:
    machine = _Machine(0.0)
    machine.clock.raise_floor(5000.0)
    machine.wait(7.0)
    assert machine.clock.now() == 5007.0


def test_a_stored_time_in_the_past_changes_nothing() -> None:
    machine = _Machine(1000.0)
    machine.clock.raise_floor(10.0)
    assert machine.clock.now() == 1000.0


@given(steps=st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(0, 1e6)), max_size=30))
def test_time_never_goes_back_nor_slower_than_the_machine_runs(steps: list[tuple[float, float]]) -> None:
    machine = _Machine(1e9)
    before = machine.clock.now()
    for jump_s, elapsed_s in steps:
        machine.wall_s += jump_s
        machine.running_s += elapsed_s
        now = machine.clock.now()
        assert now >= before
        assert now - before >= elapsed_s * (1 - 1e-6) - 1e-3
        assert now >= machine.wall_s
        before = now


def test_a_replay_has_the_audio_s_time() -> None:
    clock = ReplayClock(100.0)
    clock.raise_floor(160.0)
    clock.raise_floor(130.0)
    assert clock.now() == 160.0
