"""Cases of docs/format.md, "Key tree"."""

from __future__ import annotations

from format_vectors.primitives import DEPTH, SEED, Case, case, mac, u8, u32


def child(node: bytes, bit: int) -> bytes:
    """Return a node's left or right child."""
    return mac(node, b"fadeout keytree v1" + u8(bit))


def node_at(seed: bytes, depth: int, index: int) -> bytes:
    """Return node(depth, index)."""
    node = seed
    for below in reversed(range(depth)):
        node = child(node, index >> below & 1)
    return node


def state(node: bytes, dead: list[tuple[int, int]], depth: int = 0, index: int = 0) -> bytes:
    """Encode the largest subtrees without a dead leaf, straight from the definition of the state.

    `dead` has ranges of leaves: the first, and the one after the last.
    """
    first, end = index << (DEPTH - depth), (index + 1) << (DEPTH - depth)
    touching = [(low, high) for low, high in dead if low < end and high > first]
    if not touching:
        return u8(depth) + u32(index) + node
    if any(low <= first and high >= end for low, high in touching):
        return b""
    left = state(child(node, 0), touching, depth + 1, 2 * index)
    return left + state(child(node, 1), touching, depth + 1, 2 * index + 1)


def entry(depth: int, index: int) -> bytes:
    """Encode one node of the tree that grows from SEED."""
    return u8(depth) + u32(index) + (node_at(SEED, depth, index) if depth <= DEPTH else bytes(32))


def keytree_cases() -> dict[str, Case]:
    """Punctures and the states after them; what was erased; what is no tree."""
    last = 2**DEPTH - 1
    sequences: dict[str, list[tuple[str, int]]] = {
        "no-dead-leaf": [],
        "one-leaf": [("leaf", 5)],
        "one-leaf-twice": [("leaf", 5), ("leaf", 5)],
        "first-leaf": [("leaf", 0)],
        "last-leaf": [("leaf", last)],
        "siblings": [("leaf", 4), ("leaf", 5)],
        "below-then-leaf": [("below", 6), ("leaf", 5)],
        "leaf-then-below": [("leaf", 5), ("below", 6)],
        "below-nothing": [("below", 0)],
        "below-an-odd-leaf": [("below", 7)],
        "below-half-of-all": [("below", 2**31)],
        "below-the-last-leaf": [("below", last)],
        "below-a-hole": [("leaf", 9), ("below", 4), ("leaf", 12), ("leaf", 11)],
        "all-dead": [("below", 2**DEPTH)],
    }
    cases = {}
    for name, punctures in sequences.items():
        dead = [(at, at + 1) if how == "leaf" else (0, at) for how, at in punctures]
        encoded = state(SEED, dead)
        keys = {}
        for leaf in (0, 4, 5, 6, 9, 10, 2**31, last):
            is_dead = any(low <= leaf < high for low, high in dead)
            keys[str(leaf)] = "erased" if is_dead else node_at(SEED, DEPTH, leaf).hex()
        given: Case = {"seed": SEED.hex(), "punctures": [{how: at} for how, at in punctures]}
        output = {"tree": encoded.hex(), "leaf_keys": keys}
        cases[name] = case("success", "the state after these punctures, and keys under it", given, output)
    for name, leaf in (("one-leaf", 5), ("siblings", 4), ("below-half-of-all", 0), ("all-dead", last)):
        given = {"tree": cases[name]["output"]["tree"], "leaf": leaf}
        cases[f"erased-{name}"] = case("erased", "nothing in this state derives that leaf", given)
    whole = entry(0, 0)
    for name, comment, data in [
        ("one-byte-short", "a node is cut", whole[:-1]),
        ("one-byte-more", "something follows the last node", whole + b"\0"),
        ("cut-in-its-index", "a second node ends after its depth", entry(1, 0) + b"\x01"),
        ("below-the-leaves", "depth 33", entry(33, 0)),
        ("depth-255", "the greatest byte as a depth", u8(255) + u32(0) + bytes(32)),
        ("right-of-the-tree", "index 2 at depth 1", entry(1, 2)),
        ("right-of-the-root", "index 1 at depth 0", entry(0, 1)),
        ("out-of-order", "right before left", entry(1, 1) + entry(1, 0)),
        ("overlapping", "a node, then one that it covers", entry(1, 0) + entry(2, 1)),
        ("overlapping-inside-out", "a node, then one that covers it", entry(2, 1) + entry(1, 0)),
        ("twice", "the same node twice", entry(2, 1) * 2),
    ]:
        cases[name] = case("format", comment, {"tree": data.hex()})
    return cases
