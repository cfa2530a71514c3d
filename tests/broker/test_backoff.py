"""The waits between attempts, with the dice in hand."""

from __future__ import annotations

from fadeout_broker.backoff import Backoff


def test_the_longest_wait_doubles_up_to_the_cap() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_jitter_is_full() -> None:
    dice = iter([0.0, 0.5, 0.25])
    backoff = Backoff(lambda: next(dice))
    assert [backoff.next_s() for _ in range(3)] == [0, 1, 1]


def test_success_starts_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 1


def test_an_hour_of_failures_overflows_nothing() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_s() for _ in range(5000)][-1] == 60
