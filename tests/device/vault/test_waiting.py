"""What waits for the outcome of its action: how much, how long, and what is left of it when it is dropped."""

from __future__ import annotations

import gc
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.vault.conftest import utterance
from fadeout_device.vault.waiting import MOST, MOST_BYTES, Pending, Waiting

WAIT_S = 10.0


def pending(number: int, *, began_s: float = 0.0, size_bytes: int = 4) -> Pending:
    said = utterance(outcome="served", action="light.on")
    return Pending(f"r{number}", f"e{number}", said, bytes(size_bytes), b"", None, began_s)


def names(taken: list[Pending]) -> list[str]:
    return [each.recording for each in taken]


def test_what_waits_is_taken_by_the_id_of_its_event_once() -> None:
    waiting = Waiting(WAIT_S)
    for number in range(3):
        assert not waiting.add(pending(number))
    taken = waiting.take("e1", 1.0)
    assert taken is not None
    assert taken.recording == "r1"
    assert waiting.take("e1", 1.0) is None
    assert waiting.take("e9", 1.0) is None
    assert names(waiting.take_all()) == ["r0", "r2"]
    assert len(waiting) == 0


@pytest.mark.parametrize(
    ("now_s", "is_there"),
    [
        pytest.param(0.0, True, id="at once"),
        pytest.param(9.999, True, id="just in time"),
        pytest.param(10.0, False, id="at the end"),
        pytest.param(1e6, False, id="long after, though nobody has looked"),
    ],
)
def test_it_waits_for_so_long_and_no_longer(now_s: float, *, is_there: bool) -> None:
    waiting = Waiting(WAIT_S)
    waiting.add(pending(1))
    assert (waiting.next_s(now_s) or 0.0) == pytest.approx(WAIT_S - now_s)
    assert (waiting.take("e1", now_s) is not None) is is_there
    assert names(waiting.take_due(now_s)) == ([] if is_there else ["r1"])
    assert waiting.next_s(now_s) is None


def test_only_what_is_due_is_taken_and_the_next_one_s_time_is_known() -> None:
    waiting = Waiting(WAIT_S)
    waiting.add(pending(1, began_s=0.0))
    waiting.add(pending(2, began_s=4.0))
    assert names(waiting.take_due(10.0)) == ["r1"]
    assert waiting.next_s(10.0) == 4.0
    assert waiting.take_due(10.0) == []


def test_beyond_so_many_the_oldest_is_decided() -> None:
    waiting = Waiting(WAIT_S)
    crowded_out = [waiting.add(pending(number)) for number in range(MOST + 2)]
    assert [names(each) for each in crowded_out] == [[]] * MOST + [["r0"], ["r1"]]
    assert len(waiting) == MOST


def test_beyond_so_many_bytes_the_oldest_is_decided() -> None:
    waiting = Waiting(WAIT_S)
    for number in range(3):
        assert not waiting.add(pending(number, size_bytes=MOST_BYTES // 4))
    assert names(waiting.add(pending(3, size_bytes=MOST_BYTES // 2))) == ["r0"]
    assert names(waiting.add(pending(4, size_bytes=MOST_BYTES + 1))) == ["r1", "r2", "r3", "r4"]
    assert len(waiting) == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0.0, 20.0)), max_size=40))
def test_nothing_is_lost_doubled_or_held_beyond_its_time_and_room(steps: list[tuple[int, float]]) -> None:
    waiting, now_s, decided = Waiting(WAIT_S, most=3, most_bytes=60), 0.0, []
    for number, (size_bytes, seconds) in enumerate(steps):
        now_s += seconds
        decided += waiting.take_due(now_s)
        decided += waiting.add(pending(number, began_s=now_s, size_bytes=size_bytes))
        assert len(waiting) <= 3
        assert (waiting.next_s(now_s) or 1.0) > 0
    decided += waiting.take_all()
    assert names(decided) == [f"r{number}" for number in range(len(steps))]


def test_what_is_dropped_is_held_by_nobody() -> None:
    waiting = Waiting(WAIT_S)
    sound = bytes(100)
    held_by = sys.getrefcount(sound)
    waiting.add(pending(1)._replace(audio=sound))
    waiting.add(pending(2))
    assert sys.getrefcount(sound) > held_by
    waiting.drop({"r1", "r3"})
    gc.collect()
    assert sys.getrefcount(sound) == held_by
    assert names(waiting.take_all()) == ["r2"]


def test_nothing_that_was_said_is_shown() -> None:
    said = pending(1)._replace(audio=b"secret", words=b"secret")
    assert "secret" not in f"{said!r} {[said]}"
