"""The last bytes of a stream, however they came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.ear.ring import Ring


@given(st.integers(0, 12), st.lists(st.binary(max_size=30), max_size=12), st.integers(0, 14))
def test_the_newest_bytes_are_held_and_nothing_else(size: int, pieces: list[bytes], count: int) -> None:
    ring, stream = Ring(size), b""
    for piece in pieces:
        ring.add(piece)
        stream += piece
        held = stream[max(len(stream) - size, 0) :]
        assert len(ring) == len(held)
        assert ring.last(count) == held[max(len(held) - count, 0) :]


def test_nothing_of_what_was_held_stays_when_it_is_cleared() -> None:
    ring = Ring(8)
    ring.add(b"secretsecret")
    ring.clear()
    assert (len(ring), bytes(ring.last(8)), bytes(ring._bytes)) == (0, b"", bytes(8))
    ring.add(b"ab")
    assert ring.last(8) == b"ab"
