"""What the formats are made of, and how a case is written down. Nothing of fadeout."""

from __future__ import annotations

import hmac
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

DEPTH = 32
SEED = bytes(range(32))
ROOT = bytes(range(0x40, 0x60))

Case = dict[str, Any]


def u8(number: int) -> bytes:
    """Encode one byte."""
    return number.to_bytes(1, "big")


def u32(number: int) -> bytes:
    """Encode four bytes."""
    return number.to_bytes(4, "big")


def u64(number: int) -> bytes:
    """Encode eight bytes."""
    return number.to_bytes(8, "big")


def mac(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SHA256."""
    return hmac.digest(key, data, "sha256")


def hkdf(ikm: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256: one block of RFC 5869's expansion is enough."""
    return mac(mac(salt or bytes(32), ikm), info + b"\x01")


def aead(key: bytes, nonce: bytes, plain: bytes, ad: bytes) -> bytes:
    """Return ciphertext and tag."""
    return ChaCha20Poly1305(key).encrypt(nonce, plain, ad)


def case(expect: str, comment: str, given: Case, output: Case | None = None) -> Case:
    """Make a case."""
    made: Case = {"comment": comment, "expect": expect, "input": given}
    return made if output is None else {**made, "output": output}


def flipped(data: bytes, at: int, bits: int = 1) -> bytes:
    """Return the data with some bits of one byte turned over."""
    at %= len(data)
    return data[:at] + u8(data[at] ^ bits) + data[at + 1 :]


def counting(size: int, modulus: int) -> bytes:
    """Return bytes that count up and begin again."""
    return bytes(i % modulus for i in range(size))
