"""What is believed of the time, under clocks that lie; and rules broken one at a time, to see it noticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadeout_device.vault import time_sources
from fadeout_device.vault.belief import STEP_S, Because, Belief, Jump, Reading, Rules, is_worth_storing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START_S = 1_700_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
YEAR = 365 * DAY
TINY_S = 0.001


@dataclass(eq=False)
class _Item:
    ends_at_s: float
    era: int
    ahead_s: float
    period_s: float
    captured_at_s: float
    """True time."""
    powered_s: float
    """For how long the machine had been running, in all its life."""
    behind_s: float = 0.0
    """By how much every clock there was was behind the true time when it was captured."""


class _World:
    """A machine, the true time, and a vault that looks every minute; all that an item meets."""

    def __init__(self, rules: Rules | None = None, *, is_synchronised: bool = True) -> None:
        self.rules = rules or Rules()
        self.true_s = START_S
        self.wall_s = START_S
        self.running_s = 100.0
        self.boots = 1
        self.powered_s = 0.0
        self.is_synchronised = is_synchronised
        self.rtc_s: float | None = None
        self.belief = self.rules.begin(self.reading())
        self.stored = self.belief
        self.items: list[_Item] = []
        self.erased: list[_Item] = []

    def reading(self) -> Reading:
        return Reading(self.wall_s, self.running_s, f"boot {self.boots}", self.is_synchronised, self.rtc_s)

    @property
    def proven_s(self) -> float:
        return self.rules.proven_s(self.belief, self.reading())

    @property
    def now_s(self) -> float:
        return self.rules.now_s(self.belief, self.reading())

    @property
    def jump_s(self) -> float:
        return 0.0 if self.belief.jump is None else self.belief.jump.ahead_s

    def look(self, *, is_person: bool = False) -> None:
        take = self.rules.confirm if is_person else self.rules.look
        before = self.belief
        self.belief, shift_s = take(self.belief, self.reading())
        for item in self.items:
            if shift_s > 0:
                item.ends_at_s += self.rules.moved_s(item.era, item.ahead_s, self.belief, shift_s)
                item.ahead_s = 0.0
            elif before.jump is not None and self.belief.jump is None and item.era == self.belief.era:
                item.ahead_s = 0.0
        if shift_s > 0 or is_worth_storing(self.stored, self.belief, self.reading(), 900.0):
            self.store()
        self.sweep()

    def store(self) -> None:
        self.belief = self.stored = self.rules.anchored(self.belief, self.reading())

    def sweep(self) -> None:
        due = [item for item in self.items if item.ends_at_s <= self.proven_s]
        self.erased += due
        self.items = [item for item in self.items if item not in due]

    def capture(self, period_s: float) -> _Item:
        self.look()
        item = _Item(
            self.proven_s + period_s, self.belief.era, self.jump_s, period_s, self.true_s, self.powered_s,
            behind_s=max(0.0, self.true_s - max(self.proven_s, self.wall_s)),
        )  # fmt: skip
        self.items.append(item)
        return item

    def is_readable(self, item: _Item) -> bool:
        if item not in self.items or (not self.belief.is_known and item.era != self.belief.era):
            return False
        ahead_s = max(0.0, self.wall_s - self.proven_s)
        moved_s = self.rules.moved_s(item.era, item.ahead_s, self.belief, ahead_s)
        return item.ends_at_s + moved_s > self.now_s

    def run(self, seconds: float, every_s: float = MINUTE) -> None:
        """Let time pass, with the wall clock going as it should from where it is."""
        while seconds > 0:
            step_s = min(seconds, every_s)
            seconds -= step_s
            self.true_s += step_s
            self.wall_s += step_s
            self.running_s += step_s
            self.powered_s += step_s
            if self.rtc_s is not None:
                self.rtc_s += step_s
            self.look()

    def boot(
        self,
        off_s: float,
        wall_s: float | None = None,
        *,
        is_synchronised: bool = False,
        after_s: float = 20.0,
    ) -> None:
        """Cut the power, and start again; what was not stored is lost."""
        self.true_s += off_s + after_s
        if self.rtc_s is not None:
            self.rtc_s += off_s + after_s
        self.boots += 1
        self.running_s = after_s
        self.powered_s += after_s
        self.belief = self.stored
        self.is_synchronised = is_synchronised
        self.wall_s = self.true_s if wall_s is None else wall_s
        self.look()

    def jump(self, seconds: float) -> None:
        self.wall_s += seconds
        self.look()

    def synchronise(self) -> None:
        self.wall_s, self.is_synchronised = self.true_s, True
        self.look()


# ---- within one start of the machine


def test_a_fresh_folder_has_nothing_to_distrust() -> None:
    world = _World(is_synchronised=False)
    assert (world.now_s, world.proven_s, world.belief.is_known) == (START_S, START_S, True)


@pytest.mark.parametrize("back_s", [1.0, HOUR, 50 * YEAR])
def test_a_clock_that_is_set_back_delays_nothing_and_locks_nothing(back_s: float) -> None:
    world = _World()
    item = world.capture(2 * HOUR)
    world.jump(-back_s)
    world.run(2 * HOUR - MINUTE)
    assert world.is_readable(item)
    world.run(MINUTE)
    assert world.erased == [item]


def test_a_small_step_ahead_is_believed_at_once() -> None:
    world = _World()
    world.jump(STEP_S - 1)
    assert world.proven_s == world.wall_s


def test_small_steps_do_not_add_up_to_a_large_one() -> None:
    world = _World()
    for _ in range(1000):
        world.jump(STEP_S - 1)
        world.run(1.0)
    assert world.proven_s < START_S + 1000 + 2 * STEP_S
    assert world.jump_s > 0


def test_a_crystal_that_is_slow_by_half_a_second_a_thousand_is_followed() -> None:
    world = _World()
    for _ in range(10 * 24):
        world.run(HOUR)
        world.jump(HOUR * 0.0005)
    assert world.proven_s == pytest.approx(world.wall_s)


def test_what_looks_due_is_locked_at_once_and_there_again_when_the_jump_is_withdrawn() -> None:
    world = _World()
    held = world.capture(7 * DAY)
    world.boot(60.0, is_synchronised=True)
    world.jump(YEAR)
    assert world.items == [held], "not erased"
    assert not world.is_readable(held)
    during = world.capture(2 * HOUR)
    world.run(HOUR - MINUTE)
    assert world.is_readable(during), "the jump does not age what was captured since the start"
    world.jump(-YEAR)
    assert world.jump_s == 0
    assert world.is_readable(held)
    world.run(HOUR)
    assert world.is_readable(during)
    world.run(MINUTE)
    assert world.erased == [during], "and nothing is prolonged"
    assert world.is_readable(held)


@pytest.mark.parametrize(
    ("ahead_s", "is_synchronised", "needed_s"),
    [
        pytest.param(DAY, True, HOUR, id="synchronised for an hour"),
        pytest.param(DAY, False, 6 * HOUR, id="not synchronised for six hours"),
        pytest.param(59 * DAY, True, HOUR, id="up to 60 days"),
        pytest.param(61 * DAY, True, DAY, id="further, a day, synchronised or not"),
        pytest.param(YEAR, False, DAY, id="a year, not synchronised"),
    ],
)
def test_a_jump_that_stands_is_confirmed(ahead_s: float, is_synchronised: bool, needed_s: float) -> None:  # noqa: FBT001 - a table
    world = _World(is_synchronised=is_synchronised)
    world.jump(ahead_s)
    during = world.capture(2 * DAY)
    world.run(needed_s - MINUTE)
    assert world.jump_s == pytest.approx(ahead_s)
    world.run(MINUTE)
    assert world.jump_s == 0
    assert world.proven_s == pytest.approx(world.wall_s)
    world.run(2 * DAY - needed_s - MINUTE)
    assert world.is_readable(during), "its age is exact"
    world.run(MINUTE + TINY_S)
    assert len(world.erased) == 1


def test_a_jump_that_moves_again_must_stand_anew() -> None:
    world = _World()
    world.jump(DAY)
    for _ in range(10):
        world.run(50 * MINUTE)
        world.jump(10 * MINUTE)
    assert world.jump_s > DAY


def test_a_synchronisation_that_was_lost_does_not_count() -> None:
    world = _World()
    world.jump(DAY)
    world.run(50 * MINUTE)
    world.is_synchronised = False
    world.run(MINUTE)
    world.is_synchronised = True
    world.run(59 * MINUTE)
    assert world.jump_s > 0


def test_a_person_confirms_a_jump_at_once() -> None:
    world = _World()
    held = world.capture(7 * DAY)
    world.boot(0.0, is_synchronised=True)
    world.jump(8 * DAY)
    world.look(is_person=True)
    assert world.erased == [held]
    assert world.belief.because == "person"


def test_a_person_cannot_turn_time_back() -> None:
    world = _World()
    world.jump(-YEAR)
    world.look(is_person=True)
    assert world.proven_s >= START_S


def test_suspended_time_counts() -> None:
    world = _World()
    item = world.capture(2 * HOUR)
    world.run(3 * HOUR, every_s=3 * HOUR)
    assert world.erased == [item]


def test_a_vault_that_restarts_within_one_boot_loses_no_second() -> None:
    world = _World(is_synchronised=False)
    world.jump(-YEAR)
    world.run(5 * MINUTE)
    world.belief = world.stored
    world.look()
    assert world.proven_s == START_S + 5 * MINUTE


# ---- after a start


def test_without_any_clock_what_was_held_is_closed_and_dies_by_running_time() -> None:
    world = _World()
    held = world.capture(4 * HOUR)
    world.run(HOUR)
    world.boot(3 * 7 * DAY, wall_s=0.0)
    assert not world.belief.is_known
    assert not world.is_readable(held)
    new = world.capture(HOUR)
    assert world.is_readable(new)
    world.boot(DAY, wall_s=0.0)
    assert not world.is_readable(new)
    world.run(2 * HOUR)
    assert len(world.erased) == 1
    world.run(HOUR + 15 * MINUTE)  # what had not been stored when the power went
    assert world.items == []


def test_a_clock_that_goes_on_from_where_it_stopped_proves_nothing() -> None:
    world = _World()
    held = world.capture(7 * DAY)
    world.boot(3 * DAY, wall_s=world.wall_s)
    assert not world.belief.is_known
    world.run(2 * DAY)
    assert not world.is_readable(held)
    world.synchronise()
    assert world.belief.because == "synchronised"
    assert world.is_readable(held), "5 days of 7"


def test_standing_still_at_a_wrong_time_proves_nothing_after_a_start_without_a_clock() -> None:
    world = _World()
    held = world.capture(30 * DAY)
    world.boot(0.0, wall_s=world.wall_s + 40 * DAY)
    world.run(3 * DAY, every_s=HOUR)
    assert world.items == [held]
    assert not world.belief.is_known


@pytest.mark.parametrize("off_s", [10.0, 3 * 7 * DAY])
def test_a_battery_clock_that_agrees_is_believed_at_once(off_s: float) -> None:
    world = _World()
    world.rtc_s = world.wall_s
    held = world.capture(7 * DAY)
    world.boot(off_s)
    assert world.belief.because == "battery"
    assert world.proven_s == world.true_s
    assert world.erased == ([held] if off_s > 7 * DAY else [])


@pytest.mark.parametrize(
    ("rtc_s", "after_s", "is_synchronised"),
    [
        pytest.param(0.0, 20.0, False, id="its battery is empty"),
        pytest.param(START_S + 21 * DAY, 700.0, False, id="it was read late"),
        pytest.param(START_S + 21 * DAY, 20.0, True, id="the kernel may have set it already"),
    ],
)
def test_a_battery_clock_that_proves_nothing(rtc_s: float, after_s: float, is_synchronised: bool) -> None:  # noqa: FBT001 - a table
    world = _World()
    held = world.capture(7 * DAY)
    world.rtc_s = None
    world.boot(21 * DAY - after_s, is_synchronised=is_synchronised, after_s=after_s)
    world.rtc_s = rtc_s
    world.look()
    assert world.items == [held]
    assert not world.is_readable(held)


def test_a_battery_clock_into_which_a_lie_was_copied_is_no_second_source() -> None:
    world = _World()
    world.rtc_s = world.wall_s
    held = world.capture(7 * DAY)
    world.jump(30 * DAY)
    world.rtc_s = world.wall_s
    world.boot(10.0, wall_s=world.wall_s + 30.0)
    assert world.items == [held]
    world.synchronise()
    world.rtc_s = world.wall_s
    world.look()
    assert world.is_readable(held)
    world.boot(10.0)
    assert world.belief.because == "battery", "it is right again"


def test_a_battery_clock_that_fails_years_ahead_costs_nothing() -> None:
    world = _World()
    held = world.capture(7 * DAY)
    world.rtc_s = world.wall_s + 50 * YEAR
    world.boot(10.0, wall_s=world.rtc_s + 30.0)
    world.run(HOUR)
    assert world.items == [held]
    assert not world.is_readable(held)


def test_weeks_unplugged_with_a_time_server_only() -> None:
    world = _World()
    held = world.capture(7 * DAY)
    world.boot(21 * DAY, wall_s=world.wall_s)
    world.synchronise()
    assert world.items == [held]
    assert not world.is_readable(held), "locked at once"
    world.run(HOUR)
    assert world.erased == [held]


def test_a_spoof_that_lasts_is_confirmed_and_ages_nothing_of_this_start() -> None:
    world = _World()
    during_early = world.capture(7 * DAY)
    world.jump(YEAR)
    during_late = world.capture(7 * DAY)
    world.run(2 * DAY)
    assert world.jump_s == 0
    assert [world.is_readable(item) for item in world.items] == [True, True]
    assert [item.era for item in world.items] == [during_early.era, during_late.era]
    world.run(5 * DAY + MINUTE)
    assert world.items == []


def test_a_jump_that_is_pending_across_a_start_keeps_what_was_captured_in_it() -> None:
    world = _World(is_synchronised=False)
    world.wall_s = 1_000_000.0  # 1970, at the first start
    world.belief = world.stored = world.rules.begin(world.reading())
    world.synchronise()
    world.capture(7 * DAY)
    world.run(HOUR)
    world.boot(DAY, is_synchronised=True)
    world.run(DAY + MINUTE)
    assert world.proven_s == pytest.approx(world.true_s)
    assert len(world.items) == 1
    assert world.is_readable(world.items[0])
    world.run(5 * DAY)
    assert world.items == []


@pytest.mark.parametrize("boot_s", [45.0, 5 * MINUTE, 20 * MINUTE])
def test_a_boot_loop_still_ages(boot_s: float) -> None:
    world = _World()
    held = world.capture(HOUR)
    for _ in range(int(2.5 * HOUR / boot_s)):
        world.boot(DAY, wall_s=0.0)
        world.run(boot_s - 20.0, every_s=10.0)
    assert world.erased == [held]


def test_rounding_takes_nothing_from_time() -> None:
    world = _World()
    for _ in range(100_000):
        world.running_s += 0.1
        world.wall_s = START_S - 5.0
        world.store()
    assert world.proven_s == pytest.approx(START_S + 10_000, abs=0.05)


# ---- for every sequence


_SECONDS = st.floats(1.0, 3 * DAY)
_WHAT_HAPPENS = st.one_of(
    st.tuples(st.just("run"), _SECONDS),
    st.tuples(st.just("jump"), st.floats(-2 * YEAR, 2 * YEAR)),
    st.tuples(st.just("boot in 1970"), _SECONDS),
    st.tuples(st.just("boot with a time server"), _SECONDS),
    st.tuples(st.just("boot with a battery clock"), _SECONDS),
    st.tuples(st.just("restart"), st.just(0.0)),
    st.tuples(st.just("synchronise"), st.just(0.0)),
    st.tuples(st.just("person"), st.just(0.0)),
    st.tuples(st.just("capture"), st.floats(HOUR, 30 * DAY)),
)


def _happen(world: _World, what: str, amount: float) -> None:
    if what == "run":
        world.run(amount, every_s=max(MINUTE, amount / 20))
    elif what == "jump":
        world.is_synchronised = False
        world.jump(amount)
    elif what.startswith("boot"):
        world.store()  # a clean stop; the boot loop has the power cuts
        world.rtc_s = None
        is_wall_lost = what == "boot in 1970"
        if what == "boot with a battery clock":
            world.rtc_s = world.true_s
        world.boot(
            amount, wall_s=0.0 if is_wall_lost else None, is_synchronised=what == "boot with a time server"
        )
        world.rtc_s = None
    elif what == "restart":
        world.store()
    elif what == "synchronise":
        world.synchronise()
    elif what == "person":
        world.look(is_person=True)
    else:
        world.capture(amount)


def _check_no_item_outlives_its_period_in_running_time(steps: list[tuple[str, float]], rules: Rules) -> None:
    world = _World(rules)
    before_s = world.proven_s
    for what, amount in steps:
        _happen(world, what, amount)
        world.look()
        assert world.proven_s >= before_s, "proven time went back"
        before_s = world.proven_s
        for item in world.items:
            lived_s = world.powered_s - item.powered_s
            assert lived_s <= item.period_s + 0.01, "an item has outlived its period in running time"


def _check_nothing_is_erased_before_its_time(steps: list[tuple[str, float]], rules: Rules) -> None:
    """With clocks that only lie for less than it takes to be believed, and no person who confirms a lie.

    What was captured while no clock knew how long the machine had been off is older than it is taken
    for once that is known: after another start, it goes earlier by as much as nobody could know.
    """
    world = _World(rules)
    for what, amount in steps:
        if what == "person":
            continue
        if what == "jump":
            world.is_synchronised = True
            world.jump(amount)
            world.run(50 * MINUTE)
            world.synchronise()
        else:
            _happen(world, what, amount)
        for item in world.erased:
            lived_s = world.true_s - item.captured_at_s
            least_s = item.period_s - item.behind_s - 2 * STEP_S
            assert lived_s >= least_s, "an item was erased before its time"


@given(steps=st.lists(_WHAT_HAPPENS, max_size=25))
@settings(max_examples=150, deadline=None)
def test_no_item_outlives_its_period_in_running_time(steps: list[tuple[str, float]]) -> None:
    _check_no_item_outlives_its_period_in_running_time(steps, Rules())


@given(steps=st.lists(_WHAT_HAPPENS, max_size=25))
@settings(max_examples=150, deadline=None)
def test_nothing_is_erased_before_its_time(steps: list[tuple[str, float]]) -> None:
    _check_nothing_is_erased_before_its_time(steps, Rules())


# ---- broken rules, each of which some check above must notice


class _BelievesTheWall(Rules):
    def confirmation(self, belief: Belief, jump: Jump, reading: Reading) -> Because | None:
        del belief, jump, reading
        return "stood"


class _GoesBack(Rules):
    def proven_s(self, belief: Belief, reading: Reading) -> float:
        del belief
        return reading.wall_s


class _MovesNothing(Rules):
    def moved_s(self, era: int, captured_ahead_s: float, belief: Belief, ahead_s: float) -> float:
        del era, captured_ahead_s, belief, ahead_s
        return 0.0


class _MovesEverything(Rules):
    def moved_s(self, era: int, captured_ahead_s: float, belief: Belief, ahead_s: float) -> float:
        del era, captured_ahead_s, belief
        return ahead_s + 7 * DAY


class _ForgetsRunningTime(Rules):
    def _in_this_boot(self, belief: Belief, reading: Reading) -> Belief:
        if reading.boot == belief.boot:
            return belief
        running_at_s = reading.running_s
        return msgspec.structs.replace(super()._in_this_boot(belief, reading), running_at_s=running_at_s)


class _EveryClockIsFound(Rules):
    def is_clock_found(self, reading: Reading, proven_s: float) -> bool:
        del reading, proven_s
        return True


class _NeverStands(Rules):
    def left_s(self, belief: Belief, jump: Jump, reading: Reading) -> float:
        del belief, jump, reading
        return 1.0


class _TrustsEveryBatteryClock(Rules):
    def confirmation(self, belief: Belief, jump: Jump, reading: Reading) -> Because | None:
        if reading.rtc_s is not None and abs(reading.rtc_s - reading.wall_s) < MINUTE:
            return "battery"
        return super().confirmation(belief, jump, reading)


class _StepsAreFree(Rules):
    def _steps_left_s(self, belief: Belief, reading: Reading) -> float:
        del belief, reading
        return STEP_S


def _with_rules(rules: Rules, case: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.Rules", lambda: rules)
    case()


@pytest.mark.parametrize(
    ("rules", "case"),
    [
        (
            _BelievesTheWall(),
            test_what_looks_due_is_locked_at_once_and_there_again_when_the_jump_is_withdrawn,
        ),
        (_GoesBack(), lambda: test_a_clock_that_is_set_back_delays_nothing_and_locks_nothing(HOUR)),
        (_MovesNothing(), test_a_spoof_that_lasts_is_confirmed_and_ages_nothing_of_this_start),
        (_MovesNothing(), test_a_jump_that_is_pending_across_a_start_keeps_what_was_captured_in_it),
        (_MovesEverything(), test_weeks_unplugged_with_a_time_server_only),
        (_ForgetsRunningTime(), lambda: test_a_boot_loop_still_ages(45.0)),
        (_EveryClockIsFound(), test_without_any_clock_what_was_held_is_closed_and_dies_by_running_time),
        (_NeverStands(), test_weeks_unplugged_with_a_time_server_only),
        (_TrustsEveryBatteryClock(), test_a_battery_clock_into_which_a_lie_was_copied_is_no_second_source),
        (_TrustsEveryBatteryClock(), test_a_battery_clock_that_fails_years_ahead_costs_nothing),
        (_StepsAreFree(), test_small_steps_do_not_add_up_to_a_large_one),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Rules) else "",
)
def test_a_broken_rule_is_noticed(
    rules: Rules, case: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError):
        _with_rules(rules, case, monkeypatch)


_SPOOF = [("capture", 7 * DAY), ("boot with a time server", HOUR), ("jump", YEAR)]


@pytest.mark.parametrize(
    ("rules", "check", "steps"),
    [
        (_BelievesTheWall(), _check_nothing_is_erased_before_its_time, _SPOOF),
        (
            _MovesEverything(),
            _check_no_item_outlives_its_period_in_running_time,
            [("capture", DAY), ("jump", 2 * HOUR), ("run", 3 * DAY)],
        ),
        (
            _ForgetsRunningTime(),
            _check_no_item_outlives_its_period_in_running_time,
            [("capture", HOUR), ("run", HOUR - 30), ("boot in 1970", DAY), ("boot in 1970", DAY)],
        ),
    ],
)
def test_a_broken_rule_breaks_the_property(
    rules: Rules,
    check: Callable[[list[tuple[str, float]], Rules], None],
    steps: list[tuple[str, float]],
) -> None:
    check(steps, Rules())
    with pytest.raises(AssertionError, match="an item"):
        check(steps, rules)


# ---- the sources


def test_the_sources_of_this_machine_can_be_read() -> None:
    reading = time_sources.Sources().read()
    assert reading.wall_s > 1_577_836_800
    assert 0 < reading.running_s < 50 * YEAR
    assert len(reading.boot) == 36


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"1700000000\n", 1_700_000_000.0), (b"", None), (b"soon", None), (b"\xff", None), (None, None)],
)
def test_a_battery_clock_that_cannot_be_read_is_none(
    tmp_path: Path, content: bytes | None, expected: float | None
) -> None:
    path = tmp_path / "since_epoch"
    if content is not None:
        path.write_bytes(content)
    assert time_sources.rtc_s(path) == expected
