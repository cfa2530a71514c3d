"""The puncturable PRF against the plainest model there is: a set of dead leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.vault.errors import FormatError, KeyErasedError
from fadeout_device.vault.keytree import DEPTH, MAX_LEAF, KeyTree

if TYPE_CHECKING:
    import random

SEED = bytes(range(32))
SMALL = st.integers(0, 40)


def _dead(tree: KeyTree, leaves: range) -> set[int]:
    dead = set()
    for leaf in leaves:
        try:
            tree.leaf_key(leaf)
        except KeyErasedError:
            dead.add(leaf)
    return dead


@given(punctured=st.lists(SMALL), below=SMALL)
def test_exactly_the_punctured_leaves_are_dead(punctured: list[int], below: int) -> None:
    whole = KeyTree.plant(SEED)
    tree = KeyTree.plant(SEED)
    for leaf in punctured:
        tree.puncture(leaf)
    tree.puncture_below(below)
    expected = set(punctured) | set(range(below))
    assert _dead(tree, range(60)) == expected
    for leaf in set(range(60)) - expected:
        assert tree.leaf_key(leaf) == whole.leaf_key(leaf)


@given(punctured=st.lists(SMALL, unique=True), below=SMALL, order=st.randoms(use_true_random=False))
def test_the_state_tells_nothing_of_the_order_of_erasures(
    punctured: list[int], below: int, order: random.Random
) -> None:
    first = KeyTree.plant(SEED)
    first.puncture_below(below)
    for leaf in punctured:
        first.puncture(leaf)
    second = KeyTree.plant(SEED)
    shuffled = [*punctured, *range(below)]
    order.shuffle(shuffled)
    for leaf in shuffled:
        second.puncture(leaf)
    assert first.encode() == second.encode()


@given(dead=st.sets(st.integers(0, 199)))
def test_there_are_never_more_nodes_than_live_leaves_and_32(dead: set[int]) -> None:
    tree = KeyTree.plant(SEED)
    for leaf in dead:
        tree.puncture(leaf)
    assert len(tree) <= 200 - len(dead) + DEPTH


@given(dead=st.sets(st.integers(0, MAX_LEAF), max_size=20))
def test_encoding_round_trips(dead: set[int]) -> None:
    tree = KeyTree.plant(SEED)
    for leaf in dead:
        tree.puncture(leaf)
    again = KeyTree.decode(tree.encode())
    assert again.encode() == tree.encode()
    assert len(tree.encode()) == 37 * len(tree)


@pytest.mark.parametrize("leaf", [0, 1, MAX_LEAF - 1, MAX_LEAF])
def test_the_edges_of_the_tree_can_be_punctured(leaf: int) -> None:
    tree = KeyTree.plant(SEED)
    tree.puncture(leaf)
    with pytest.raises(KeyErasedError):
        tree.leaf_key(leaf)
    assert len(tree) == DEPTH


def test_puncturing_everything_leaves_nothing() -> None:
    tree = KeyTree.plant(SEED)
    tree.puncture_below(MAX_LEAF + 1)
    assert tree.encode() == b""


def test_keys_differ_between_leaves_and_seeds() -> None:
    keys = {KeyTree.plant(bytes([seed]) * 32).leaf_key(leaf) for seed in range(5) for leaf in range(20)}
    assert len(keys) == 100


@given(dead=st.sets(st.one_of(st.integers(0, 60), st.integers(MAX_LEAF - 3, MAX_LEAF)), max_size=30))
def test_the_leaves_after_the_last_dead_one_are_known(dead: set[int]) -> None:
    tree = KeyTree.plant(SEED)
    for leaf in dead:
        tree.puncture(leaf)
    assert tree.after_last_dead() == max(dead, default=-1) + 1
    assert all(tree.is_alive(leaf) != (leaf in dead) for leaf in range(70))


def test_a_copy_is_independent() -> None:
    tree = KeyTree.plant(SEED)
    tree.copy().puncture(3)
    assert tree.leaf_key(3)


def test_a_tree_does_not_show_its_nodes() -> None:
    assert repr(KeyTree.plant(SEED)) == "KeyTree(1 nodes)"


def _node(level: int, index: int) -> bytes:
    return bytes([level]) + index.to_bytes(4, "big") + bytes(32)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_node(0, 0)[:-1], id="one byte short"),
        pytest.param(_node(0, 0) + b"\0", id="one byte more"),
        pytest.param(_node(33, 0), id="below the leaves"),
        pytest.param(_node(1, 2), id="right of the tree"),
        pytest.param(_node(1, 1) + _node(1, 0), id="out of order"),
        pytest.param(_node(1, 0) + _node(2, 1), id="overlapping"),
        pytest.param(_node(2, 1) + _node(2, 1), id="twice the same"),
    ],
)
def test_what_is_no_tree_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        KeyTree.decode(data)
