"""What is said again, with the clock and chance in hand."""

from __future__ import annotations

from fadeout_broker import contract
from fadeout_broker.standing import LONGEST_WAIT_S, Standing

INFO = contract.Info(v=1, sw="0.1.0", mode="prompt", actions=(), commands=True, result_s=0)
BEFORE = contract.EraseBefore(v=1, era="0123abcd", n=0, since=1, ids=())
STATE = contract.DeviceState(
    v=1, listening=True, muted=False, held=1, overdue=0, sweep="ok", swept=0, next_end=None, forgetting=True
)
ACTION = contract.ActionEvent(v=1, id="0" * 16, action="none", outcome="failed", ttl=60)


def test_the_last_of_each_is_said_again_some_seconds_after_a_birth() -> None:
    standing = Standing(lambda: 0.5)
    later = contract.EraseBefore(v=1, era="0123abcd", n=1, since=1, ids=("0" * 16,))
    for payload in (BEFORE, STATE, ACTION, later, INFO):
        standing.keep(payload)
    assert standing.tick(100.0) == []
    standing.somebody_was_born(100.0)
    assert standing.next_at_s == 100.0 + LONGEST_WAIT_S / 2
    standing.somebody_was_born(101.0)  # does not put it off
    assert standing.tick(102.4) == []
    assert standing.tick(102.5) == [INFO, STATE, later]
    assert standing.tick(200.0) == []


def test_events_are_not_kept() -> None:
    standing = Standing(lambda: 0.0)
    standing.keep(ACTION)
    standing.somebody_was_born(0.0)
    assert standing.tick(0.0) == []


def test_a_lost_connection_says_nothing_again() -> None:
    standing = Standing(lambda: 0.0)
    standing.keep(INFO)
    standing.somebody_was_born(0.0)
    standing.went_down()
    assert standing.tick(10.0) == []
    assert standing.info == INFO
