"""What must hold of key trees and sealed items for every input, and for many of them at once."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadeout_device.vault import container
from fadeout_device.vault.errors import AuthenticationError, FormatError, KeyErasedError
from fadeout_device.vault.keytree import DEPTH, MAX_LEAF, KeyTree

if TYPE_CHECKING:
    from collections.abc import Iterable

SEED = bytes(range(32))
WHOLE = KeyTree.plant(SEED)
KEY = bytes(range(32))
HEADER = container.Header(4, 7, bytes(reversed(range(32))))

Puncture = tuple[str, int]
"""`leaf` or `below`, and where."""

USED = 64
EDGES = st.one_of(
    st.integers(0, USED - 1), st.integers(MAX_LEAF - 8, MAX_LEAF), st.integers(2**31 - 4, 2**31 + 4)
)
PUNCTURES = st.lists(
    st.one_of(
        st.tuples(st.just("leaf"), EDGES),
        st.tuples(st.just("below"), st.one_of(EDGES, st.just(MAX_LEAF + 1))),
    ),
    max_size=24,
)
NEAR = st.lists(st.tuples(st.sampled_from(["leaf", "below"]), st.integers(0, USED)), max_size=40)


def _punctured(punctures: Iterable[Puncture]) -> KeyTree:
    tree = KeyTree.plant(SEED)
    for how, at in punctures:
        (tree.puncture if how == "leaf" else tree.puncture_below)(at)
    return tree


def _is_dead(punctures: Iterable[Puncture], leaf: int) -> bool:
    return any(at == leaf if how == "leaf" else leaf < at for how, at in punctures)


@given(punctures=PUNCTURES, order=st.randoms(use_true_random=False))
def test_the_state_is_that_of_the_dead_leaves_in_whatever_order_they_died(
    punctures: list[Puncture], order: random.Random
) -> None:
    shuffled = list(punctures)
    order.shuffle(shuffled)
    assert _punctured(punctures).encode() == _punctured([*shuffled, *punctures]).encode()


@given(punctures=NEAR)
def test_a_prefix_is_the_same_as_its_leaves_one_by_one(punctures: list[Puncture]) -> None:
    dead = [("leaf", leaf) for leaf in reversed(range(USED + 1)) if _is_dead(punctures, leaf)]
    assert _punctured(punctures).encode() == _punctured(dead).encode()


@given(punctures=PUNCTURES, leaves=st.sets(EDGES, max_size=8))
def test_dead_leaves_are_never_derivable_and_live_ones_never_change(
    punctures: list[Puncture], leaves: set[int]
) -> None:
    tree = KeyTree.decode(_punctured(punctures).encode())
    for leaf in leaves | {at for _, at in punctures if at <= MAX_LEAF}:
        if _is_dead(punctures, leaf):
            with pytest.raises(KeyErasedError):
                tree.leaf_key(leaf)
        else:
            assert tree.leaf_key(leaf) == WHOLE.leaf_key(leaf)


@given(punctures=NEAR)
def test_no_node_lies_above_a_dead_leaf_and_no_two_nodes_could_be_one(punctures: list[Puncture]) -> None:
    nodes = set(_punctured(punctures)._nodes)
    for leaf in range(USED + 1):
        covering = {(depth, leaf >> (DEPTH - depth)) for depth in range(DEPTH + 1)} & nodes
        assert len(covering) == (0 if _is_dead(punctures, leaf) else 1)
    assert not {(depth, index ^ 1) for depth, index in nodes if depth} & nodes


@given(punctures=NEAR)
def test_nodes_are_at_most_the_live_leaves_of_those_used_and_32(punctures: list[Puncture]) -> None:
    live = sum(not _is_dead(punctures, leaf) for leaf in range(USED + 1))
    assert len(_punctured(punctures)) <= live + DEPTH


@given(data=st.one_of(st.binary(max_size=200), st.integers(0, 5).flatmap(lambda n: st.binary(
    min_size=37 * n, max_size=37 * n))))  # fmt: skip
def test_bytes_that_are_no_tree_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert KeyTree.decode(data).encode() == data


@given(
    nodes=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 5), st.binary(min_size=32, max_size=32)), max_size=4
    )
)
def test_nodes_anywhere_are_a_tree_or_refused(nodes: list[tuple[int, int, bytes]]) -> None:
    data = b"".join(bytes([depth]) + index.to_bytes(4, "big") + node for depth, index, node in nodes)
    with contextlib.suppress(FormatError):
        assert KeyTree.decode(data).encode() == data


SMALL = container.seal(KEY, HEADER, container.Body(b'{"a":1}', b"content"))
LARGE = container.seal(KEY, HEADER, container.Body(b"m" * 4096, bytes(range(256)) * 120))


@pytest.mark.parametrize("item", [pytest.param(SMALL, id="one chunk"), pytest.param(LARGE, id="two chunks")])
@given(data=st.data())
@settings(max_examples=300)
def test_any_bit_turned_over_anywhere_is_refused(item: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 8 * len(item) - 1))
    changed = bytearray(item)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises((FormatError, AuthenticationError)):
        container.open_item(KEY, bytes(changed))


@pytest.mark.parametrize("at", range(8 * container.HEADER_BYTES))
def test_every_bit_of_the_header_is_bound(at: int) -> None:
    changed = bytearray(SMALL)
    changed[at // 8] ^= 1 << at % 8
    for read in (container.open_item, container.open_metadata):
        with pytest.raises((FormatError, AuthenticationError)):
            read(KEY, bytes(changed))


@given(data=st.data())
def test_any_cut_is_refused(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from([SMALL, LARGE]))
    with pytest.raises((FormatError, AuthenticationError)):
        container.open_item(KEY, item[: data.draw(st.integers(0, len(item) - 1))])


@given(data=st.binary(max_size=300), is_headed=st.booleans())
def test_bytes_that_are_no_item_are_refused_and_nothing_else_happens(data: bytes, *, is_headed: bool) -> None:
    with pytest.raises((FormatError, AuthenticationError)):
        container.open_item(KEY, SMALL[:48] + data if is_headed else data)


def test_a_hundred_thousand_items_with_one_in_twenty_erased_out_of_order() -> None:
    count, order = 100_000, random.Random(20)  # noqa: S311 - a sample, the same in every run
    dead = order.sample(range(count), count // 20)
    tree = KeyTree.plant(SEED)
    for leaf in dead:
        tree.puncture(leaf)
    live = count - len(dead)
    assert len(tree) <= live + DEPTH
    # Each hole costs the siblings on its path up to the next hole's: about log2(20) + 1 nodes, not 32.
    assert len(tree) <= 6 * len(dead) + DEPTH
    data = tree.encode()
    assert len(data) <= 37 * (6 * len(dead) + DEPTH)
    again = KeyTree.decode(data)
    assert again.encode() == data
    assert [leaf for leaf in range(count) if not again.is_alive(leaf)] == sorted(dead)
    for leaf in order.sample(sorted(set(range(count)) - set(dead)), 200):
        assert again.leaf_key(leaf) == WHOLE.leaf_key(leaf)
    again.puncture_below(count)
    assert len(again) <= DEPTH, "and all ends without a trace"
