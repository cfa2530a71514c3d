"""What must be forgotten, by number (docs/adr/0008), and what time it is."""

from __future__ import annotations

import pytest

from fadeout_broker.contract import EraseBefore, EraseNotice
from fadeout_broker.subscriber.passing import Believed, Reading, believe
from fadeout_broker.subscriber.rules import Mark, Obey, obey

A, B = "aaaaaaaa", "bbbbbbbb"
ONE, TWO = "0000000000000001", "0000000000000002"


def notice(n: int, era: str = A) -> EraseNotice:
    return EraseNotice(1, era, n, (ONE,))


def before(n: int, since: int, era: str = A) -> EraseBefore:
    return EraseBefore(1, era, n, since, (ONE, TWO))


@pytest.mark.parametrize(
    ("mark", "said", "expected"),
    [
        pytest.param(Mark(A, 4), notice(5), Obey((ONE,), Mark(A, 5)), id="the next notice"),
        pytest.param(Mark(A, 4), notice(4), Obey((ONE,), Mark(A, 4)), id="the same notice again"),
        pytest.param(Mark(A, 4), notice(2), Obey((ONE,), Mark(A, 4)), id="an old notice again"),
        pytest.param(Mark(A, 4), notice(6), Obey(None, Mark(A, 6)), id="a notice was skipped"),
        pytest.param(Mark(B, 4), notice(5), Obey(None, Mark(A, 5)), id="a notice of another era"),
        pytest.param(Mark(B, 9), notice(1), Obey(None, Mark(A, 1)), id="the first notice of another era"),
        pytest.param(None, notice(1), Obey(None, Mark(A, 1)), id="a notice of an unknown device"),
        pytest.param(Mark(A, 4), before(6, 5), Obey((ONE, TWO), Mark(A, 6)), id="the watermark joins on"),
        pytest.param(Mark(A, 5), before(6, 5), Obey((ONE, TWO), Mark(A, 6)), id="the watermark overlaps"),
        pytest.param(Mark(A, 6), before(6, 5), Obey((ONE, TWO), Mark(A, 6)), id="the watermark is known"),
        pytest.param(Mark(A, 3), before(6, 5), Obey(None, Mark(A, 6)), id="it does not reach back to us"),
        pytest.param(Mark(A, 9), before(6, 5), Obey((ONE, TWO), Mark(A, 9)), id="an old watermark"),
        pytest.param(Mark(B, 6), before(6, 5), Obey(None, Mark(A, 6)), id="a watermark of another era"),
        pytest.param(None, before(6, 1), Obey(None, Mark(A, 6)), id="a watermark of an unknown device"),
        pytest.param(Mark(A, 0), before(2, 1), Obey((ONE, TWO), Mark(A, 2)), id="the first two of an era"),
    ],
)
def test_what_joins_on_is_obeyed_by_name_and_anything_else_takes_everything(
    mark: Mark | None, said: EraseNotice | EraseBefore, expected: Obey
) -> None:
    assert obey(mark, said) == expected


@pytest.mark.parametrize(
    ("reading", "before", "time_s"),
    [
        pytest.param(Reading(500, 10, "x"), None, 500, id="nothing is known"),
        pytest.param(Reading(505, 15, "x"), Believed(500, 10, "x"), 505, id="the clock goes on"),
        pytest.param(Reading(400, 15, "x"), Believed(500, 10, "x"), 505, id="the clock was set back"),
        pytest.param(Reading(900, 15, "x"), Believed(500, 10, "x"), 900, id="the clock was set ahead"),
        pytest.param(Reading(400, 3, "y"), Believed(500, 10, "x"), 500, id="set back, and started again"),
        pytest.param(Reading(700, 3, "y"), Believed(500, 10, "x"), 700, id="the machine was off"),
        pytest.param(Reading(500, 9, "x"), Believed(500, 10, "x"), 500, id="a reading that was late"),
    ],
)
def test_time_does_not_go_back(reading: Reading, before: Believed | None, time_s: float) -> None:
    assert believe(reading, before) == Believed(time_s, reading.boot_s, reading.boot)


def test_time_that_was_believed_goes_on_with_the_machine() -> None:
    ahead = believe(Reading(900, 15, "x"), Believed(500, 10, "x"))
    set_back = believe(Reading(520, 30, "x"), ahead)
    assert set_back.time_s == 915
    assert believe(Reading(530, 40, "x"), set_back).time_s == 925
