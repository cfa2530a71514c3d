"""Cases of docs/format.md, "Sealed item" and "Event id"."""

from __future__ import annotations

import hashlib
from base64 import b32hexencode
from typing import Any

from format_vectors.key_tree import node_at
from format_vectors.primitives import DEPTH, SEED, Case, aead, case, counting, flipped, hkdf, mac, u8, u32

CHUNK, TAG, HEADER = 16384, 16, 48
SEALED = CHUNK + TAG
SHORTEST_PIECE = 64
EXAMPLE_CLASS, EXAMPLE_LEAF = 4, 5
SALT = bytes(range(0x20, 0x40))
METADATA = (
    b'{"captured_at_s":1577836801.13,"wake_word":"okay_nabu","score":0.87,'
    b'"duration_s":0.25,"speech_s":0.24,"action":"none"}'
)


def header(class_code: int = EXAMPLE_CLASS, leaf: int = EXAMPLE_LEAF, salt: bytes = SALT) -> bytes:
    """Return the header of an item."""
    return b"fadeout\x01" + u8(class_code) + bytes(3) + u32(leaf) + salt


def key_of(leaf_key: bytes, head: bytes) -> bytes:
    """Return the item key: class code and leaf as they stand in the header."""
    return hkdf(leaf_key, head[16:48], b"fadeout item v1" + head[8:9] + head[12:16])


def body(metadata: bytes, content: bytes) -> bytes:
    """Return the body, not padded."""
    return u32(len(metadata)) + u32(len(content)) + metadata + content


def chunks_for(size: int) -> int:
    """Return the smallest power of two of chunks that has room."""
    chunks = 1
    while chunks * CHUNK < size:
        chunks *= 2
    return chunks


def sealed_chunk(key: bytes, plain: bytes, nonce: bytes, ad: bytes) -> bytes:
    """Seal one chunk, padded with zeros."""
    return aead(key, nonce, plain.ljust(CHUNK, b"\0"), ad)


def sealed(leaf_key: bytes, head: bytes, plain: bytes, chunks: int | None = None) -> bytes:
    """Seal a plain text, rightly or wrongly made, into so many chunks."""
    count = chunks or chunks_for(len(plain))
    key = key_of(leaf_key, head)
    return head + b"".join(
        sealed_chunk(
            key, plain[k * CHUNK : (k + 1) * CHUNK], k.to_bytes(11, "big") + u8(k == count - 1), head
        )
        for k in range(count)
    )


def repeated(data: bytes, unit: bytes) -> list[Any]:
    """Describe data that repeat a unit, the last time perhaps in part."""
    times, rest = divmod(len(data), len(unit))
    return [{"repeat": unit.hex(), "times": times}, unit[:rest].hex()]


def in_pieces(data: bytes, known: dict[str, bytes]) -> Any:  # noqa: ANN401 - as JSON has it
    """Describe an item by pieces of known ones where they are the same, else in hex."""
    pieces: list[Any] = []
    literal = bytearray()
    at = 0
    while at < len(data):
        best: tuple[int, str, int] = (0, "", 0)
        head = data[at : at + SHORTEST_PIECE]
        for name, other in known.items():
            starts = [at] if at < HEADER else range(HEADER + (at - HEADER) % SEALED, len(other), SEALED)
            for start in starts:
                if len(head) == SHORTEST_PIECE and other[start : start + SHORTEST_PIECE] == head:
                    best = max(best, (_same(data, at, other, start), name, start))
        length, name, start = best
        if not length:
            literal.append(data[at])
            at += 1
            continue
        if literal:
            pieces.append(literal.hex())
            literal.clear()
        pieces.append({"case": name, "from": start, "to": start + length})
        at += length
    if literal or not pieces:
        pieces.append(literal.hex())
    return pieces if len(pieces) > 1 or not isinstance(pieces[0], str) else pieces[0]


def _same(one: bytes, at: int, other: bytes, start: int) -> int:
    """Return for how long two byte strings are the same from two places on."""
    length, step = 0, 1 << 20
    while step:
        while (
            len(piece := one[at + length : at + length + step]) == step
            and other[start + length : start + length + step] == piece
        ):
            length += step
        step //= 2
    return length


def accepted_items() -> tuple[dict[str, Case], dict[str, bytes]]:
    """Return the cases that open, and the whole bytes of those that are given whole."""
    most = 256 * CHUNK - 8 - len(METADATA)
    cases: dict[str, Case] = {}
    known: dict[str, bytes] = {}
    unit256, unit251 = counting(256, 256), counting(251, 251)
    for name, comment, leaf, class_code, metadata, content, unit in [
        ("one-chunk", "the example of the document", 5, 4, METADATA, counting(8000, 256), unit256),
        ("two-chunks", "the second is padded", 5, 4, METADATA, counting(20000, 251), unit251),
        ("empty-content", "as an action has it", 5, 4, METADATA, b"", b"\0"),
        ("empty-body", "neither metadata nor content", 5, 4, b"", b"", b"\0"),
        ("maximal-metadata", "4096 bytes", 5, 4, b"m" * 4096, b"", b"\0"),
        ("full-chunk", "no padding at all", 5, 4, METADATA, bytes(CHUNK - 8 - len(METADATA)), b"\0"),
        ("first-leaf", "leaf 0 of class 1", 0, 1, METADATA, b"", b"\0"),
        ("last-leaf", "leaf 2^32 - 1 of class 9", 2**32 - 1, 9, METADATA, b"", b"\0"),
        ("four-chunks", "the example of the document", 5, 4, METADATA, counting(40000, 251), unit251),
        ("one-byte-too-many", "for one chunk", 5, 4, METADATA, bytes(CHUNK - 7 - len(METADATA)), b"\0"),
        ("maximal-content", "256 chunks without padding", 5, 4, METADATA, bytes(most), b"\0"),
    ]:
        head, leaf_key = header(class_code, leaf), node_at(SEED, DEPTH, leaf)
        item = sealed(leaf_key, head, body(metadata, content))
        given = {
            "leaf_key": leaf_key.hex(),
            "class_code": class_code,
            "leaf": leaf,
            "salt": SALT.hex(),
            "metadata": metadata.hex(),
            "content": repeated(content, unit),
        }
        output: Case = {"item_key": key_of(leaf_key, head).hex(), "size": len(item)}
        output["item_sha256"] = hashlib.sha256(item).hexdigest()
        if len(item) <= HEADER + 2 * SEALED and class_code == EXAMPLE_CLASS and name != "one-byte-too-many":
            output["item"] = in_pieces(item, known)
            known[name] = item
        cases[name] = case("success", comment, given, output)
    return cases, known


Refused = list[tuple[str, str, str, bytes]]
"""Name, kind, comment and bytes of what must not open under leaf 5 of class 4."""


def damaged_items(known: dict[str, bytes]) -> Refused:
    """Return good items that were cut, changed or put together anew."""
    one, two = known["empty-content"], known["two-chunks"]
    head, first, second = two[:HEADER], two[HEADER : HEADER + SEALED], two[HEADER + SEALED :]
    other = sealed(node_at(SEED, DEPTH, 6), header(4, 6), body(METADATA, b""))
    return [
        ("nothing", "format", "no byte", b""),
        ("cut-in-the-magic", "format", "4 bytes", one[:4]),
        ("cut-in-the-header", "format", "one byte of the salt is missing", one[:47]),
        ("cut-after-the-header", "format", "no chunk", one[:48]),
        ("cut-after-the-lengths", "format", "8 bytes of the first chunk", one[:56]),
        ("cut-before-the-tag", "format", "a chunk without its tag", one[:-16]),
        ("cut-by-one-byte", "format", "a tag of 15 bytes", one[:-1]),
        ("one-byte-more", "format", "after the last chunk", one + b"\0"),
        ("cut-inside-the-second-chunk", "format", "a chunk and a half", two[: HEADER + SEALED + 8200]),
        ("second-chunk-cut-off", "authentication", "the first is not the last", head + first),
        ("first-chunk-cut-off", "authentication", "the second is not the first", head + second),
        ("chunks-swapped", "authentication", "second, first", head + second + first),
        ("first-chunk-twice", "authentication", "first, first", head + first + first),
        ("four-chunks-of-two", "authentication", "both chunks twice", head + 2 * (first + second)),
        ("wrong-tag", "authentication", "the last bit of the tag", flipped(one, -1)),
        ("wrong-first-byte", "authentication", "a bit of the first length", flipped(one, HEADER, 0x80)),
        ("wrong-second-chunk", "authentication", "its first bit", flipped(two, HEADER + SEALED, 0x80)),
        ("wrong-second-tag", "authentication", "its last bit", flipped(two, -1)),
        ("tag-of-zeros", "authentication", "no tag at all", one[:-16] + bytes(16)),
        ("wrong-salt", "authentication", "one bit of the salt", flipped(one, 47)),
        ("another-class", "authentication", "class code 5 in the header", flipped(one, 8)),
        ("another-leaf", "authentication", "leaf 4 in the header", flipped(one, 15)),
        (
            "another-header",
            "authentication",
            "the chunks of this item under the header of another",
            header(1, 0) + one[HEADER:],
        ),
        (
            "another-leafs-item",
            "authentication",
            "a whole item that was sealed under leaf 6",
            other,
        ),
    ]


def wrongly_made_items() -> Refused:
    """Return what only the holder of the key can make, and must not."""
    head, leaf_key = header(), node_at(SEED, DEPTH, EXAMPLE_LEAF)
    key = key_of(leaf_key, head)
    plain = body(METADATA, b"").ljust(CHUNK, b"\0")

    def bad(name: str, comment: str, text: bytes, chunks: int = 1) -> tuple[str, str, str, bytes]:
        return name, "format", f"rightly sealed; {comment}", sealed(leaf_key, head, text, chunks)

    def headed(name: str, comment: str, other: bytes) -> tuple[str, str, str, bytes]:
        return name, "format", f"rightly sealed; {comment}", sealed(leaf_key, other, plain)

    def nonce(name: str, comment: str, *nonces: bytes) -> tuple[str, str, str, bytes]:
        parts = [sealed_chunk(key, plain if not k else b"", each, head) for k, each in enumerate(nonces)]
        return name, "authentication", comment, head + b"".join(parts)

    return [
        headed("wrong-magic", "the first letter is F", flipped(head, 0, 0x20)),
        headed("version-0", "version 0", flipped(head, 7, 1)),
        headed("version-2", "version 2", flipped(head, 7, 3)),
        headed("first-reserved-byte", "its lowest bit is set", flipped(head, 9)),
        headed("second-reserved-byte", "its highest bit is set", flipped(head, 10, 0x80)),
        headed("third-reserved-byte", "its lowest bit is set", flipped(head, 11)),
        nonce("last-flag-missing", "the only chunk is not marked as the last", bytes(12)),
        nonce("last-flag-on-both", "both chunks are marked", bytes(11) + b"\1", bytes(10) + b"\1\1"),
        nonce("last-flag-2", "another value than one", bytes(11) + b"\2"),
        nonce("counter-from-1", "the first chunk has number 1", bytes(10) + b"\1\1"),
        nonce("counter-little-endian", "of two chunks", bytes(12), b"\1" + bytes(10) + b"\1"),
        (
            "header-not-bound",
            "authentication",
            "sealed without associated data",
            head + sealed_chunk(key, plain, bytes(11) + b"\1", b""),
        ),
        bad("three-chunks", "no power of two", body(METADATA, bytes(2 * CHUNK)), 3),
        ("512-chunks", "format", "512 chunks of zeros: more than 256", head + bytes(512 * SEALED)),
        bad("padded-to-two", "one chunk would have done", plain, 2),
        bad("padding-begins-with-1", "the byte after the body", body(METADATA, b"") + b"\1"),
        bad("padding-ends-with-1", "the last byte", plain[:-1] + b"\1"),
        bad("metadata-4097", "metadata is longer than it may be", body(bytes(4097), b"")),
        bad("metadata-beyond", "longer than the plain text", u32(CHUNK - 7) + u32(0)),
        bad("content-beyond", "by one byte", u32(0) + u32(CHUNK - 7)),
        bad("content-overflows", "2^32 - 1 bytes", u32(0) + u32(2**32 - 1)),
        bad("both-overflow", "their sum is 6 modulo 2^32", u32(8) + u32(2**32 - 2)),
    ]


def item_cases() -> dict[str, Case]:
    """Sealed items."""
    cases, known = accepted_items()
    leaf_key = node_at(SEED, DEPTH, 5).hex()
    for name, kind, comment, item in [*damaged_items(known), *wrongly_made_items()]:
        data = (
            [item[:HEADER].hex(), {"repeat": "00", "times": len(item) - HEADER}]
            if not any(item[HEADER:]) and len(item) > HEADER
            else in_pieces(item, known)
        )
        cases[name] = case(kind, comment, {"leaf_key": leaf_key, "item": data})
    one = {"case": "one-chunk", "from": 0, "to": HEADER + SEALED}
    other_key = node_at(SEED, DEPTH, 6).hex()
    cases["another-leafs-key"] = case(
        "authentication", "leaf 6 does not open what leaf 5 sealed", {"leaf_key": other_key, "item": [one]}
    )
    return cases


def event_id_cases() -> dict[str, Case]:
    """Names of items; nobody decodes them."""
    cases = {}
    for name, leaf, class_code, salt in [
        ("example", 5, 4, SALT),
        ("another-leaf", 6, 4, SALT),
        ("another-class", 5, 6, SALT),
        ("another-salt", 5, 4, bytes(32)),
    ]:
        head, leaf_key = header(class_code, leaf, salt), node_at(SEED, DEPTH, leaf)
        key = key_of(leaf_key, head)
        told = b32hexencode(mac(key, b"fadeout event id v1")[:10]).decode().lower()
        given = {"leaf_key": leaf_key.hex(), "header": head.hex()}
        cases[name] = case("success", "from leaf to name", given, {"item_key": key.hex(), "event_id": told})
    return cases
