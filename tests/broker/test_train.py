"""Trains, with the clock in hand: one size, one number, one timetable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract_cases import LARGEST_OF
from fadeout_broker import arrow, contract
from fadeout_broker.gate import NO_EXPIRY_S, SLOT_BYTES, Gate
from fadeout_broker.train import FIRST_S, LARGE, LARGE_EVERY_S, SLOTS, Departure, Train, in_slot

EVERY_S = 60
LONGEST_NODE = "n" * 32
INFO = contract.Info(v=1, sw="0.1.0", mode="batched", actions=(), commands=True, result_s=0)


def _train(node: str = "sp-1") -> Train:
    train = Train(arrow.Configure(arrow.BrokerSettings(mode="batched", batch_s=EVERY_S), node))
    train.came_up(0.0)
    return train


def _action(number: int, ttl_s: int = 600) -> arrow.Publish:
    event = contract.ActionEvent(v=1, id=f"{number:016d}", action="none", outcome="failed", ttl=ttl_s)
    return arrow.Publish(number, event, expiry_s=ttl_s)


def _leave(train: Train, now_s: float, node: str = "sp-1") -> Departure:
    departure = train.tick(now_s)
    assert departure is not None
    for car in departure.cars:
        Gate(node, {}).check(car.message)
    return departure


def _seqs(departure: Departure) -> list[int]:
    return [seq for car in departure.cars for seq in car.seqs]


def test_an_idle_train_is_all_cover() -> None:
    cars = _leave(_train(), FIRST_S).cars
    assert [contract.decode(car.message.payload) for car in cars] == [contract.Cover(v=1)] * SLOTS
    assert {car.message.slot_bytes for car in cars} == {SLOT_BYTES}


def test_what_waits_leaves_in_order_and_cover_fills_the_rest() -> None:
    train = _train()
    for number in range(1, SLOTS + 3):
        train.add(_action(number), 0.0)
    first, second = _leave(train, FIRST_S), _leave(train, FIRST_S + EVERY_S)
    assert _seqs(first) + _seqs(second) == list(range(1, SLOTS + 3))
    assert len(first.cars) == len(second.cars) == SLOTS
    assert train.seqs == []


def test_the_timetable_is_kept_whatever_waits_and_however_late_it_is() -> None:
    idle, busy = _train(), _train()
    left: dict[Train, list[float]] = {idle: [], busy: []}
    for tenth in range(10_000):
        now_s = tenth / 10
        if 3000 < tenth < 4500:
            continue  # the machine slept
        busy.add(_action(tenth), now_s)
        for train, times in left.items():
            if train.tick(now_s) is not None:
                times.append(now_s)
    assert left[idle] == left[busy]
    assert [now_s for now_s in left[idle] if now_s < 300] == [FIRST_S + EVERY_S * n for n in range(5)]
    assert [(now_s - FIRST_S) % EVERY_S for now_s in left[idle] if now_s > 460] == [0.0] * 9


def test_the_life_that_is_left_is_that_of_the_moment_it_leaves() -> None:
    train = _train()
    _leave(train, FIRST_S)
    train.add(_action(1, ttl_s=600), 21.5)
    (car,) = (car for car in _leave(train, 61.0).cars if car.seqs)
    event = contract.decode(car.message.payload)
    assert isinstance(event, contract.ActionEvent)
    assert event.ttl == car.message.expiry_s == 600 - 40


def test_what_dies_while_it_waits_never_leaves_and_frees_its_place() -> None:
    train = _train()
    train.add(_action(1, ttl_s=1), 0.0)
    for number in range(2, SLOTS + 2):
        train.add(_action(number), 0.0)
    departure = _leave(train, FIRST_S)
    assert departure.dead == [1]
    assert _seqs(departure) == list(range(2, SLOTS + 2))


def test_a_notice_that_expires_never_leaves_either() -> None:
    train = _train()
    notice = contract.EraseNotice(v=1, era="0123abcd", n=1, ids=("0" * 16,))
    train.add(arrow.Publish(1, notice, expiry_s=1), 0.0)
    train.add(arrow.Publish(2, notice), 0.0)
    departure = _leave(train, FIRST_S)
    assert departure.dead == [1]
    assert departure.cars[0].message.expiry_s == NO_EXPIRY_S


@pytest.mark.parametrize("kind", [kind for kind in LARGEST_OF if kind not in LARGE])
@pytest.mark.parametrize("correlation", [None, b"", b"x" * arrow.CORRELATION_BYTES])
def test_the_largest_of_each_kind_has_room_in_a_slot(
    kind: type[contract.Outgoing], correlation: bytes | None
) -> None:
    payload = LARGEST_OF[kind]
    ttl_s = getattr(payload, "ttl", None)
    publish = arrow.Publish(1, payload, expiry_s=ttl_s)
    if kind is contract.Reply:
        ends = "/".join(("x" * 64,) * 3)
        publish = arrow.Publish(
            1, payload, reply_to=f"fadeout/{LONGEST_NODE}/reply/{ends}", correlation=correlation
        )
    message = in_slot(LONGEST_NODE, publish)
    assert message.slot_bytes == SLOT_BYTES
    Gate(LONGEST_NODE, {}).check(message)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 200)), max_size=60))
def test_nothing_is_lost_doubled_or_out_of_order(waits: list[tuple[int, int]]) -> None:
    train, now_s, seen = _train(), 0.0, []
    for number, (pause_s, ttl_s) in enumerate(waits):
        now_s += pause_s
        departure = train.tick(now_s)
        if departure is not None:
            seen.append(departure)
        train.add(_action(number, ttl_s), now_s)
    while train.seqs:
        now_s += EVERY_S
        seen.append(_leave(train, now_s))
    left = [seq for departure in seen for seq in _seqs(departure)]
    dead = [seq for departure in seen for seq in departure.dead]
    assert left == sorted(set(left))
    assert sorted(left + dead) == list(range(len(waits)))
    assert all(len(departure.cars) == SLOTS for departure in seen)


def test_info_and_policy_leave_with_the_first_train_and_then_by_the_timetable_changed_or_not() -> None:
    train = _train()
    train.add(arrow.Publish(1, INFO), 0.0)
    sizes = []
    for number in range(25):
        departure = _leave(train, FIRST_S + EVERY_S * number)
        sizes.append(len(departure.cars) - SLOTS)
        if number == 3:
            train.add(arrow.Publish(2, INFO), 0.0)  # waits
        assert _seqs(departure) == {0: [1], LARGE_EVERY_S // EVERY_S: [2]}.get(number, [])
    assert [number for number, large in enumerate(sizes) if large] == [0, 10, 20]


def test_a_vault_that_is_gone_leaves_nothing_behind() -> None:
    train = _train()
    train.add(_action(1), 0.0)
    train.add(arrow.Publish(2, INFO), 0.0)
    train.lose_vault()
    assert _seqs(_leave(train, FIRST_S)) == []


def test_a_lost_connection_forgets_everything() -> None:
    train = _train()
    train.add(_action(1), 0.0)
    train.add(arrow.Publish(2, INFO), 0.0)
    train.went_down()
    assert train.tick(1000.0) is None
    train.came_up(1000.0)
    assert _seqs(_leave(train, 1000.0 + FIRST_S)) == []


def test_what_is_recalled_before_its_train_does_not_leave() -> None:
    train = _train()
    for number in (1, 2, 3):
        train.add(_action(number), 0.0)
    assert train.recall((2, 7)) == [2]
    assert _seqs(_leave(train, FIRST_S)) == [1, 3]
    assert train.recall((1, 3)) == []
