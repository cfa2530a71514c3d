"""A root slot: the bytes that hold the root of one generation, or the mark of a panic.

Two layouts, told apart by their size: wide, 48 bytes, with a root of 32; and
narrow, 24 bytes, with a root of 16, for clock chips that have 56 bytes in all.
Refuses to know where slots are kept and what a root opens. Pure.

Source: docs/format.md, "Root slots".
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Literal, NamedTuple

WIDE_BYTES = 48
NARROW_BYTES = 24

_LABEL = b"fadeout root slot v1"


class Root(NamedTuple):
    """What opens the blob of one generation."""

    generation: int
    secret: bytes
    """32 bytes in a wide slot, 16 in a narrow one."""

    def __repr__(self) -> str:
        """Say which generation, never the root."""
        return f"Root(generation {self.generation})"


class _Layout(NamedTuple):
    root_bytes: int
    generation: struct.Struct
    check_bytes: int


_LAYOUTS = {
    WIDE_BYTES: _Layout(32, struct.Struct(">Q"), 8),
    NARROW_BYTES: _Layout(16, struct.Struct(">I"), 4),
}


def root_bytes(slot_bytes: int) -> int:
    """Return how long a root is in slots of this size."""
    return _LAYOUTS[slot_bytes].root_bytes


def encode(root: Root, slot_bytes: int) -> bytes:
    """Return the slot that holds a root.

    Raises:
        ValueError: the root is not of that layout's size, or the generation cannot stand in it.
    """
    layout = _LAYOUTS[slot_bytes]
    if len(root.secret) != layout.root_bytes:
        raise ValueError(f"a root of {len(root.secret)} bytes, not {layout.root_bytes}")
    if not 0 < root.generation < _all_ones(layout):
        raise ValueError(f"generation {root.generation} does not fit a slot of {slot_bytes} bytes")
    return _with_check(layout, root.secret + layout.generation.pack(root.generation))


def wiped(slot_bytes: int) -> bytes:
    """Return the mark that a panic leaves: everything here was erased on purpose, nothing was lost."""
    layout = _LAYOUTS[slot_bytes]
    return _with_check(layout, bytes(layout.root_bytes) + layout.generation.pack(_all_ones(layout)))


def parse(data: bytes) -> Root | Literal["wiped"] | None:
    """Return what a slot holds; None for an erased, torn or never written one, and for any other size.

    The check keeps a torn slot from being taken for a root. It proves nothing: the blob's tag does.
    """
    layout = _LAYOUTS.get(len(data))
    if layout is None:
        return None
    body = data[: -layout.check_bytes]
    if _with_check(layout, body) != data:
        return None
    if data == wiped(len(data)):
        return "wiped"
    (generation,) = layout.generation.unpack(body[layout.root_bytes :])
    if not 0 < generation < _all_ones(layout):
        return None
    return Root(generation, body[: layout.root_bytes])


def _all_ones(layout: _Layout) -> int:
    return int(256**layout.generation.size - 1)


def _with_check(layout: _Layout, body: bytes) -> bytes:
    return body + sha256(_LABEL + body).digest()[: layout.check_bytes]
