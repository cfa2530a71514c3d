"""Root slots: what is taken for a root, and what is not."""

from __future__ import annotations

import pytest

from fadeout_device.vault import rootslot
from fadeout_device.vault.rootslot import NARROW_BYTES, WIDE_BYTES, Root

_SIZES = pytest.mark.parametrize("slot_bytes", [WIDE_BYTES, NARROW_BYTES])


def _root(slot_bytes: int, generation: int = 7) -> Root:
    return Root(generation, bytes(range(0x40, 0x40 + rootslot.root_bytes(slot_bytes))))


@_SIZES
def test_a_root_comes_back(slot_bytes: int) -> None:
    slot = rootslot.encode(_root(slot_bytes), slot_bytes)
    assert len(slot) == slot_bytes
    assert rootslot.parse(slot) == _root(slot_bytes)


def test_the_examples_of_the_format() -> None:
    wide = "0000000000000001406320f4a7f0b3f6"
    assert rootslot.encode(_root(WIDE_BYTES, 1), WIDE_BYTES).hex().endswith(wide)
    assert rootslot.encode(_root(NARROW_BYTES, 1), NARROW_BYTES).hex().endswith("0000000125fb112c")
    assert rootslot.wiped(WIDE_BYTES).hex() == "00" * 32 + "ff" * 8 + "61b6f23efb42e28d"
    assert rootslot.wiped(NARROW_BYTES).hex() == "00" * 16 + "ff" * 4 + "fd6e396a"


@_SIZES
def test_a_slot_with_any_byte_changed_is_no_root(slot_bytes: int) -> None:
    for slot in (rootslot.encode(_root(slot_bytes), slot_bytes), rootslot.wiped(slot_bytes)):
        for at in range(slot_bytes):
            assert rootslot.parse(slot[:at] + bytes([slot[at] ^ 1]) + slot[at + 1 :]) is None


@_SIZES
def test_the_mark_of_a_panic_is_no_root_and_no_root_is_the_mark(slot_bytes: int) -> None:
    assert rootslot.parse(rootslot.wiped(slot_bytes)) == "wiped"
    ones = 256 ** (8 if slot_bytes == WIDE_BYTES else 4) - 1
    for generation in (0, -1, ones, ones + 1):
        with pytest.raises(ValueError, match="generation"):
            rootslot.encode(_root(slot_bytes, generation), slot_bytes)


@pytest.mark.parametrize("data", [b"", bytes(23), bytes(24), bytes(47), bytes(48), bytes(49), b"\xff" * 48])
def test_what_was_never_a_slot_is_none(data: bytes) -> None:
    assert rootslot.parse(data) is None


def test_a_generation_of_zero_with_its_right_check_is_none() -> None:
    layout = rootslot._LAYOUTS[WIDE_BYTES]
    assert rootslot.parse(rootslot._with_check(layout, bytes(40))) is None


def test_a_root_of_the_other_layouts_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        rootslot.encode(_root(WIDE_BYTES), NARROW_BYTES)


def test_a_root_does_not_show_itself() -> None:
    assert repr(_root(WIDE_BYTES)) == "Root(generation 7)"
