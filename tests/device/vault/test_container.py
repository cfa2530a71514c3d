"""Sealed items: round trips, and everything that must not open."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.vault import container
from fadeout_device.vault.errors import AuthenticationError, FormatError

KEY = bytes(range(32))
HEADER = container.Header(4, 7, bytes(reversed(range(32))))
CHUNK = container.CHUNK_BYTES + container.TAG_BYTES


def _sealed(content: bytes = b"", metadata: bytes = b"{}") -> bytes:
    return container.seal(KEY, HEADER, container.Body(metadata, content))


@given(metadata=st.binary(max_size=container.MAX_METADATA_BYTES), size=st.integers(0, 200_000))
def test_what_was_sealed_opens_to_the_same(metadata: bytes, size: int) -> None:
    body = container.Body(metadata, bytes(range(256)) * (size // 256) + b"z" * (size % 256))
    data = container.seal(KEY, HEADER, body)
    assert container.open_item(KEY, data) == body
    assert container.open_metadata(KEY, data) == metadata
    assert container.parse_header(data) == HEADER
    assert len(data) == container.sealed_size(body)


@pytest.mark.parametrize(
    ("size", "chunks"),
    [(0, 1), (16374, 1), (16375, 2), (32758, 2), (32759, 4), (65526, 4), (65527, 8), (960_000, 64)],
)
def test_sizes_are_powers_of_two_of_chunks(size: int, chunks: int) -> None:
    assert len(_sealed(bytes(size))) == 48 + chunks * CHUNK


@pytest.mark.parametrize("position", [0, 7, 8, 9, 11, 12, 15, 16, 47, 48, 100, 48 + CHUNK - 1, -1])
def test_a_changed_bit_anywhere_is_noticed(position: int) -> None:
    data = bytearray(_sealed(b"x" * 20_000))
    data[position] ^= 1
    with pytest.raises((FormatError, AuthenticationError)):
        container.open_item(KEY, bytes(data))


def _chunk(data: bytes, number: int) -> bytes:
    return data[48 + number * CHUNK : 48 + (number + 1) * CHUNK]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda d: d[:47], id="header cut"),
        pytest.param(lambda d: d[:48], id="no chunk"),
        pytest.param(lambda d: d[:-1], id="one byte short"),
        pytest.param(lambda d: d + b"\0", id="one byte more"),
        pytest.param(lambda d: d[: 48 + 2 * CHUNK], id="the last half of the chunks cut off"),
        pytest.param(lambda d: d[:48] + d[48 + 2 * CHUNK :], id="the first half of the chunks cut off"),
        pytest.param(
            lambda d: d[:48] + _chunk(d, 1) + _chunk(d, 0) + _chunk(d, 2) + _chunk(d, 3), id="chunks swapped"
        ),
        pytest.param(lambda d: d + d[48:], id="chunks twice"),
        pytest.param(lambda d: d[:0], id="empty"),
    ],
)
def test_cut_or_moved_pieces_do_not_open(damage: object) -> None:
    assert callable(damage)
    data = damage(_sealed(b"x" * 60_000))
    with pytest.raises((FormatError, AuthenticationError)):
        container.open_item(KEY, data)


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(AuthenticationError):
        container.open_item(bytes(32), _sealed())


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(HEADER._replace(class_code=5), id="another class"),
        pytest.param(HEADER._replace(leaf=8), id="another leaf"),
        pytest.param(HEADER._replace(salt=bytes(32)), id="another salt"),
    ],
)
def test_an_item_is_bound_to_its_header(other: container.Header) -> None:
    body = _sealed()[48:]
    head = container.seal(KEY, other, container.Body(b"{}", b""))[:48]
    with pytest.raises(AuthenticationError):
        container.open_item(KEY, head + body)


@pytest.mark.parametrize(
    ("at", "value", "told"),
    [(0, b"F", "not a sealed item"), (7, b"\x02", "version 2"), (9, b"\x01", "reserved")],
)
def test_headers_of_another_kind_are_named(at: int, value: bytes, told: str) -> None:
    data = bytearray(_sealed())
    data[at : at + 1] = value
    with pytest.raises(FormatError, match=told):
        container.parse_header(bytes(data))


def _seal_plain(plain: bytes, chunks: int) -> bytes:
    """Seal a plaintext that `seal` would not make."""
    head = _sealed()[:48]
    cipher = ChaCha20Poly1305(container.item_key(KEY, HEADER))
    plain = plain.ljust(chunks * container.CHUNK_BYTES, b"\0")
    return head + b"".join(
        cipher.encrypt(
            container._nonce(n, chunks),
            plain[n * container.CHUNK_BYTES : (n + 1) * container.CHUNK_BYTES],
            head,
        )
        for n in range(chunks)
    )


@pytest.mark.parametrize(
    ("plain", "chunks"),
    [
        pytest.param((4097).to_bytes(4, "big") + bytes(4), 1, id="metadata too long"),
        pytest.param(bytes(4) + (16_377).to_bytes(4, "big"), 1, id="content longer than the item"),
        pytest.param(bytes(8), 2, id="padded too far"),
        pytest.param(bytes(8) + b"\1", 1, id="padding is not zero"),
        pytest.param(bytes(4) + b"\xff" * 4, 1, id="a length that overflows"),
    ],
)
def test_authentic_but_wrong_bodies_are_refused(plain: bytes, chunks: int) -> None:
    with pytest.raises(FormatError):
        container.open_item(KEY, _seal_plain(plain, chunks))


def test_a_leaf_used_twice_gives_two_keys() -> None:
    other = HEADER._replace(salt=bytes(32))
    assert container.item_key(KEY, HEADER) != container.item_key(KEY, other)


def test_an_event_id_is_short_and_of_small_letters() -> None:
    name = container.event_id(container.item_key(KEY, HEADER))
    assert len(name) == 16
    assert set(name) <= set("0123456789abcdefghijklmnopqrstuv")


def test_a_body_does_not_show_itself() -> None:
    assert "secret" not in repr(container.Body(b"secret", b"secret"))
