"""When nothing may be stored: tables of times, with every doubt on the private side."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from fadeout_device.config import parse
from fadeout_device.vault import modes
from fadeout_device.vault.modes import Day, Moment, State

BERLIN = ZoneInfo("Europe/Berlin")
NO_HOURS = Day(None, lambda _at_s: 0)
HOUR_S = 3600.0


def at(text: str) -> float:
    """Return the Unix seconds of a local time in Berlin; with an offset where the hour is ambiguous."""
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=BERLIN)).timestamp()


def night(hours: str = "22:00-06:30") -> Day:
    def minute_of(at_s: float) -> int:
        local = datetime.fromtimestamp(at_s, BERLIN)
        return local.hour * 60 + local.minute

    return Day(parse(f'[retention]\nquiet_hours = "{hours}"', "x").policy.quiet_hours, minute_of)


def moment(now_s: float, *, proven_s: float | None = -1.0, running_s: float = 1e5, boot: str = "a") -> Moment:
    return Moment(now_s, now_s if proven_s == -1.0 else proven_s, running_s, boot)


@pytest.mark.parametrize(
    ("proven_after_s", "is_on"),
    [
        pytest.param(0.0, True, id="just begun"),
        pytest.param(3 * HOUR_S - 1, True, id="a second before its end"),
        pytest.param(3 * HOUR_S, False, id="its time is over for certain"),
        pytest.param(None, True, id="nobody knows the time"),
        pytest.param(-1e9, True, id="what is certain lies far back"),
    ],
)
def test_guest_mode_ends_only_when_that_is_certain(proven_after_s: float | None, *, is_on: bool) -> None:
    state = modes.guest_on(State(), 1e9, 3 * HOUR_S)
    proven_s = None if proven_after_s is None else 1e9 + proven_after_s
    # What is believed has jumped a year ahead: that alone ends nothing.
    now = moment(1e9 + 365 * 86400, proven_s=proven_s)
    assert modes.settled(state, now, NO_HOURS).is_guest is is_on


def test_guest_mode_without_a_time_stays_until_it_is_switched_off() -> None:
    state = modes.guest_on(State(), 1e9, None)
    later = moment(2e9)
    assert modes.settled(state, later, NO_HOURS).is_guest
    assert not modes.guest_off(state, later).is_guest


@pytest.mark.parametrize(
    ("first", "second", "until_s"),
    [
        pytest.param(HOUR_S, 3 * HOUR_S, 1e9 + 3 * HOUR_S, id="longer"),
        pytest.param(3 * HOUR_S, HOUR_S, 1e9 + 3 * HOUR_S, id="asking for less does not make it shorter"),
        pytest.param(None, HOUR_S, None, id="without an end it stays without one"),
        pytest.param(HOUR_S, None, None, id="from an end to none"),
    ],
)
def test_switching_guest_mode_on_again_never_makes_it_shorter(
    first: float | None, second: float | None, until_s: float | None
) -> None:
    state = modes.guest_on(modes.guest_on(State(), 1e9, first), 1e9, second)
    assert state.guest_until_s == until_s


def test_a_mute_stays_until_somebody_ends_it_and_who_was_first_is_named() -> None:
    state = modes.mute(modes.mute(State(), "mqtt"), "control")
    assert state.muted_by == "mqtt"
    for later in (moment(2e9), moment(2e9, proven_s=None, boot="b")):
        assert modes.private(modes.settled(state, later, NO_HOURS), later, NO_HOURS) == "muted"
    assert modes.private(modes.unmute(state, moment(2e9)), moment(2e9), NO_HOURS) == ""


@pytest.mark.parametrize(
    ("began_s", "boot", "wanted"),
    [
        pytest.param(10.0, "a", "muted", id="begun while it was muted"),
        pytest.param(4.9, "a", "", id="begun after it"),
        pytest.param(10.0, "b", "", id="in another life of the machine"),
    ],
)
def test_what_began_while_it_was_muted_is_not_stored(began_s: float, boot: str, wanted: str) -> None:
    state = modes.unmute(modes.mute(State(), "button"), moment(1e9, running_s=100.0))
    now = moment(1e9 + 5, running_s=105.0, boot=boot)
    assert modes.private_during(state, now, NO_HOURS, (began_s, 0.0)) == wanted


def test_a_mute_ends_debug_capture() -> None:
    state = modes.mute(modes.debug_on(State(), moment(1e9), 60.0), "control")
    assert modes.debug_left_s(modes.settled(state, moment(1e9 + 1), NO_HOURS), moment(1e9 + 1)) is None


@pytest.mark.parametrize(
    ("local", "is_quiet"),
    [
        pytest.param("2026-11-24T21:59:59", False, id="the second before"),
        pytest.param("2026-11-24T22:00:00", True, id="the first second"),
        pytest.param("2026-11-25T00:00:00", True, id="midnight"),
        pytest.param("2026-11-25T06:29:59", True, id="the last second"),
        pytest.param("2026-11-25T06:30:00", False, id="the second after"),
        pytest.param("2026-06-24T22:00:00", True, id="in summer it is the same hour on the wall"),
        pytest.param("2026-06-24T21:59:59", False, id="and not an hour earlier"),
    ],
)
def test_quiet_hours_go_by_the_clock_on_the_wall(local: str, *, is_quiet: bool) -> None:
    assert (modes.private(State(), moment(at(local)), night()) == "quiet") is is_quiet


@pytest.mark.parametrize(
    ("hours", "local", "is_quiet"),
    [
        pytest.param("02:00-03:00", "2026-10-25T02:30:00+02:00", True, id="an hour that comes twice"),
        pytest.param("02:00-03:00", "2026-10-25T02:30:00+01:00", True, id="is quiet twice"),
        pytest.param("02:00-03:00", "2026-10-25T03:00:00+01:00", False, id="and then over"),
        pytest.param("02:00-03:00", "2026-03-29T03:00:00+02:00", False, id="an hour that is left out"),
        pytest.param("01:00-02:30", "2026-03-29T01:59:59+01:00", True, id="just before the gap"),
        pytest.param("01:00-02:30", "2026-03-29T03:00:00+02:00", False, id="an end in the gap is passed"),
    ],
)
def test_quiet_hours_on_the_days_when_the_clock_changes(hours: str, local: str, *, is_quiet: bool) -> None:
    assert (modes.private(State(), moment(at(local)), night(hours)) == "quiet") is is_quiet


@pytest.mark.parametrize(
    "proven_s",
    [
        pytest.param(None, id="nothing is known"),
        pytest.param(at("2026-11-24T12:00:00") - 86400, id="a jump waits to be confirmed"),
    ],
)
def test_while_the_time_is_not_known_every_hour_is_quiet(proven_s: float | None) -> None:
    noon = moment(at("2026-11-24T12:00:00"), proven_s=proven_s)
    assert modes.private(State(), noon, night()) == "quiet"
    assert modes.private(State(), noon, NO_HOURS) == "", "who has no quiet hours has none"


@pytest.mark.parametrize(
    ("now", "began_ago_s", "ended_ago_s", "private"),
    [
        pytest.param("22:00:05", 10.0, 6.0, "quiet", id="handed over in quiet hours"),
        pytest.param("06:30:05", 10.0, 2.0, "quiet", id="began in quiet hours"),
        pytest.param("06:30:05", 4.0, 2.0, "", id="after them"),
        pytest.param("21:59:59", 10.0, 2.0, "", id="before them"),
        pytest.param("06:40:00", 900.0, 601.0, "quiet", id="began in them, and was handed over late"),
    ],
)
def test_what_touches_quiet_hours_is_not_stored(
    now: str, began_ago_s: float, ended_ago_s: float, private: str
) -> None:
    when = moment(at(f"2026-11-24T{now}"))
    assert modes.private_during(State(), when, night(), (began_ago_s, ended_ago_s)) == private


def test_a_quiet_minute_inside_an_utterance_is_not_overlooked() -> None:
    when = moment(at("2026-11-24T12:02:00"))
    assert modes.private_during(State(), when, night("12:00-12:01"), (121.0, 10.0)) == "quiet"


@pytest.mark.parametrize(
    ("began_ago_s", "boot", "private"),
    [
        pytest.param(31.0, "a", "guest", id="began while the guest was there"),
        pytest.param(30.0, "a", "guest", id="began at the moment when the guest went"),
        pytest.param(29.0, "a", "", id="began afterwards"),
        pytest.param(31.0, "b", "", id="the machine started anew: no utterance is that old"),
    ],
)
def test_what_began_with_a_guest_is_not_stored_when_the_guest_has_gone(
    began_ago_s: float, boot: str, private: str
) -> None:
    state = modes.guest_off(modes.guest_on(State(), 1e9, None), moment(1e9, running_s=1000.0))
    # Meanwhile the clock was set; the time for which the machine has run was not.
    when = moment(1e9 + 5000, running_s=1030.0, boot=boot)
    assert modes.private_during(state, when, NO_HOURS, (began_ago_s, 0.0)) == private


def test_what_began_before_guest_mode_ended_by_itself_is_not_stored() -> None:
    state = modes.guest_on(State(), 1e9, 60.0)
    when = moment(1e9 + 90, running_s=5000.0)
    state = modes.settled(state, when, NO_HOURS)
    assert modes.private_during(state, when, NO_HOURS, (31.0, 1.0)) == "guest"
    assert modes.private_during(state, when, NO_HOURS, (29.0, 1.0)) == ""


@pytest.mark.parametrize(
    ("now", "day", "is_on"),
    [
        pytest.param(moment(1e9, running_s=1000.0 + 1799), NO_HOURS, True, id="not over yet"),
        pytest.param(moment(1e9, running_s=1000.0 + 1800), NO_HOURS, False, id="over"),
        pytest.param(
            moment(0.0, running_s=1000.0 + 1800), NO_HOURS, False, id="over, with the clock set back"
        ),
        pytest.param(moment(1e9, running_s=10.0, boot="b"), NO_HOURS, False, id="the machine started anew"),
        pytest.param(moment(at("2026-11-24T22:00:00"), running_s=1001.0), night(), False, id="quiet hours"),
        pytest.param(moment(1e9, proven_s=None, running_s=1001.0), night(), False, id="no time, quiet hours"),
    ],
)
def test_debug_capture_ends_by_itself(now: Moment, day: Day, *, is_on: bool) -> None:
    state = modes.debug_on(State(), moment(1e9, running_s=1000.0), 1800.0)
    left = modes.debug_left_s(modes.settled(state, now, day), now)
    assert (left is not None) is is_on
    assert left is None or 0 < left <= 1800


def test_a_guest_ends_debug_capture_for_good() -> None:
    begun = moment(1e9, running_s=1000.0)
    state = modes.guest_on(modes.debug_on(State(), begun, 1800.0), 1e9, 1.0)
    later = moment(1e9 + 2, running_s=1002.0)
    assert modes.debug_left_s(modes.settled(state, later, NO_HOURS), later) is None
