"""Cases of docs/format.md, "Root slots"."""

from __future__ import annotations

import hashlib

from format_vectors.primitives import ROOT, Case, case, counting, flipped, u32, u64

PAD = 16384


def slot(root: bytes, generation: bytes) -> bytes:
    """Return a slot, wide or narrow by the size of its parts."""
    check = hashlib.sha256(b"fadeout root slot v1" + root + generation).digest()
    return root + generation + check[: len(generation)]


def slot_cases() -> dict[str, Case]:
    """Slots of both sizes: roots, the mark of a panic, and empty ones."""
    cases = {}
    for name, root, generation in [
        ("wide", ROOT, u64(1)),
        ("wide-late", ROOT, u64(2**64 - 2)),
        ("wide-root-of-zeros", bytes(32), u64(1)),
        ("narrow", ROOT[:16], u32(1)),
        ("narrow-late", ROOT[:16], u32(2**32 - 2)),
    ]:
        data = slot(root, generation).hex()
        output = {"root": root.hex(), "generation": int.from_bytes(generation, "big")}
        cases[name] = case("success", "a root and its generation", {"slot": data}, output)
    for name, size, bits in (("wide-wiped", 32, 64), ("narrow-wiped", 16, 32)):
        data = slot(bytes(size), b"\xff" * (bits // 8)).hex()
        cases[name] = case("wiped", "a panic erased everything here", {"slot": data})
    empty = empty_slots("wide", ROOT, 8) + empty_slots("narrow", ROOT[:16], 4)
    return cases | {name: case("empty", comment, {"slot": data.hex()}) for name, comment, data in empty}


def empty_slots(layout: str, root: bytes, width: int) -> list[tuple[str, str, bytes]]:
    """Return name, comment and bytes of slots that hold no root; `width` is the generation's size."""
    one, zero, ones = (1).to_bytes(width, "big"), bytes(width), b"\xff" * width
    good, other = slot(root, one), slot(root[::-1], (3).to_bytes(width, "big"))
    half = len(good) // 2
    slots = [
        ("never-written", "zeros", bytes(len(good))),
        ("erased", "random bytes, here by counting", counting(len(good), 256)),
        ("torn", "the first half of one, the second half of another", good[:half] + other[half:]),
        ("torn-at-the-check", "the check is another's", good[:-width] + other[-width:]),
        ("wrong-check", "its last bit", flipped(good, -1)),
        ("wrong-root", "its first bit", flipped(good, 0, 0x80)),
        ("wrong-generation", "its last bit", flipped(good, len(root) + width - 1)),
        ("generation-0", "with its right check", slot(root, zero)),
        ("all-ones-with-a-root", "the mark's generation with a root", slot(root, ones)),
        ("wiped-with-a-wrong-check", "its last bit", flipped(slot(bytes(len(root)), ones), -1)),
        ("one-byte-short", "no slot has this size", good[:-1]),
    ]
    return [(f"{layout}-{name}", comment, data) for name, comment, data in slots]


def file_cases() -> dict[str, Case]:
    """Files of the `file` root store."""
    pad = counting(PAD, 256)
    mask = hashlib.sha512(pad).digest()
    good = slot(ROOT, u64(1))
    masked = bytes(a ^ b for a, b in zip(good, mask, strict=False))
    unit = counting(256, 256).hex()
    whole = {"repeat": unit, "times": 64}
    given = {"pad": [whole], "slot": good.hex()}
    cases = {
        "example": case("success", "the example of the document", given, {"file": [whole, masked.hex()]})
    }
    rest = {"repeat": unit, "times": 63}
    for name, comment, data in [
        ("first-bit-of-the-pad", "turned over", ["80" + unit[2:], rest, masked.hex()]),
        ("last-bit-of-the-pad", "turned over", [rest, unit[:-2] + "fe", masked.hex()]),
        ("pad-of-zeros", "the pad is gone", [{"repeat": "00", "times": PAD}, masked.hex()]),
        ("not-masked", "the slot in clear", [whole, good.hex()]),
        ("zeros", "a new file", [{"repeat": "00", "times": PAD + 48}]),
        ("short", "a file of another size is made anew", [whole, masked[:-1].hex()]),
        ("long", "a file of another size is made anew", [whole, masked.hex() + "00"]),
        ("no-bytes", "a file of another size is made anew", ""),
    ]:
        cases[name] = case("empty", comment, {"file": data})
    return cases
