"""A puncturable PRF: one secret that gives a key for every leaf, and can forget leaves for good.

Theory of operation. The secret is a binary tree of depth 32 (Goldreich,
Goldwasser and Micali): a node's children are HMAC-SHA256 of the node, and a
leaf's value is that leaf's key. The state starts as the root alone. To puncture
a leaf, the node above it is replaced by the siblings along the path down to it:
every other leaf can still be computed, that one cannot, by anybody who has the
new state only. The state is always the set of largest subtrees without a dead
leaf, so it depends on which leaves are dead, not on the order in which they
died, and holds at most (live leaves + 32) nodes.

Forgetting the old state is `keyring.py`'s work. Pure: no I/O, no randomness.

Source: Goldreich, Goldwasser, Micali, "How to construct random functions" (1986);
used for secure deletion in Holepunch (Ratliff et al., IEEE S&P 2024) and, as a
key tree, in ERASER (Onarlioglu et al., EuroS&P 2018) and by Di Crescenzo et al. (1999).
"""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from fadeout_device.vault.errors import FormatError, KeyErasedError

DEPTH = 32
NODE_BYTES = 32
MAX_LEAF = 2**DEPTH - 1

_LABELS = (b"fadeout keytree v1\x00", b"fadeout keytree v1\x01")
_ENTRY = struct.Struct(f">BI{NODE_BYTES}s")

Position = tuple[int, int]
"""(level, index): level 0 is the root, level 32 the leaves; the index counts from the left."""


class KeyTree:
    """The keys of one class of items; the leaf number is the item's sequence number."""

    def __init__(self, nodes: dict[Position, bytes]) -> None:
        self._nodes = nodes

    @classmethod
    def plant(cls, seed: bytes) -> KeyTree:
        """Start a tree, all leaves alive, from 32 random bytes."""
        if len(seed) != NODE_BYTES:
            raise ValueError(f"a seed of {len(seed)} bytes, not {NODE_BYTES}")
        return cls({(0, 0): seed})

    def __repr__(self) -> str:
        """Say how many nodes there are, never what they are."""
        return f"KeyTree({len(self._nodes)} nodes)"

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self._nodes)

    def copy(self) -> KeyTree:
        """Return an independent copy."""
        return KeyTree(dict(self._nodes))

    def leaf_key(self, leaf: int) -> bytes:
        """Return the 32-byte key of a leaf.

        Raises:
            KeyErasedError: the leaf was punctured.
        """
        level = self._covering_level(leaf)
        if level is None:
            raise KeyErasedError
        node = self._nodes[level, leaf >> (DEPTH - level)]
        for depth in range(level + 1, DEPTH + 1):
            node = _child(node, (leaf >> (DEPTH - depth)) & 1)
        return node

    def is_alive(self, leaf: int) -> bool:
        """Say whether a leaf still has a key."""
        return self._covering_level(leaf) is not None

    def after_last_dead(self) -> int:
        """Return the lowest leaf after which none is dead; 2**32 if the last one is."""
        end: int = MAX_LEAF + 1
        for level, index in sorted(self._nodes, key=_first_leaf, reverse=True):
            if (index + 1) << (DEPTH - level) != end:
                break
            end = index << (DEPTH - level)
        return end

    def puncture(self, leaf: int) -> None:
        """Forget one leaf; forgetting it twice is harmless."""
        level = self._covering_level(leaf)
        if level is None:
            return
        node = self._nodes.pop((level, leaf >> (DEPTH - level)))
        for depth in range(level + 1, DEPTH + 1):
            index = leaf >> (DEPTH - depth)
            bit = index & 1
            self._nodes[depth, index ^ 1] = _child(node, 1 - bit)
            node = _child(node, bit)

    def puncture_below(self, end: int) -> None:
        """Forget every leaf before `end`."""
        for level, index in list(self._nodes):
            first = index << (DEPTH - level)
            after = (index + 1) << (DEPTH - level)
            if after <= end:
                del self._nodes[level, index]
            elif first < end:
                self._split(level, end)

    def _split(self, level: int, end: int) -> None:
        """Cut the node at `level` that covers `end` and leaves before it, along the path to `end`."""
        node = self._nodes.pop((level, end >> (DEPTH - level)))
        for depth in range(level + 1, DEPTH + 1):
            index = end >> (DEPTH - depth)
            if index & 1 == 0:
                self._nodes[depth, index | 1] = _child(node, 1)
            node = _child(node, index & 1)
            if index << (DEPTH - depth) == end:
                # This subtree starts at `end`. Going further down would leave it in
                # pieces, and the state would no longer be canonical.
                self._nodes[depth, index] = node
                return

    def _covering_level(self, leaf: int) -> int | None:
        if not 0 <= leaf <= MAX_LEAF:
            raise ValueError(f"leaf {leaf} is outside the tree")
        for level in range(DEPTH, -1, -1):
            if (level, leaf >> (DEPTH - level)) in self._nodes:
                return level
        return None

    def encode(self) -> bytes:
        """Return the state: per node level u8, index u32, 32 bytes; left to right, big-endian."""
        ordered = sorted(self._nodes.items(), key=lambda entry: _first_leaf(entry[0]))
        # A list and one join: a growing buffer would leave copies of nodes in the heap.
        return b"".join([_ENTRY.pack(level, index & MAX_LEAF, node) for (level, index), node in ordered])

    @classmethod
    def decode(cls, data: bytes) -> KeyTree:
        """Read what `encode` wrote.

        Raises:
            FormatError: a cut entry, a level or index that cannot be, or subtrees that
                overlap or are out of order.
        """
        if len(data) % _ENTRY.size:
            raise FormatError(f"a key tree of {len(data)} bytes is no whole number of nodes")
        nodes: dict[Position, bytes] = {}
        free_from = 0
        for level, index, node in _ENTRY.iter_unpack(data):
            if level > DEPTH or index >> level:
                raise FormatError("a key tree's node lies outside the tree")
            first = index << (DEPTH - level)
            if first < free_from:
                raise FormatError("a key tree's nodes overlap or are out of order")
            free_from = first + (1 << (DEPTH - level))
            nodes[level, index] = node
        return cls(nodes)


def _first_leaf(position: Position) -> int:
    level, index = position
    return index << (DEPTH - level)


def _child(node: bytes, bit: int) -> bytes:
    hmac = HMAC(node, SHA256())
    hmac.update(_LABELS[bit])
    return hmac.finalize()
