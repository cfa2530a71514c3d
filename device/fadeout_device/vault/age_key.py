"""An age public key (`age1…`): whether it is one, and the fingerprint by which people compare two.

Checked here, so that enrolling a key does not bring age into the vault; `export.py`
does, for as long as an export takes. Pure.

Source: the age specification, "The X25519 recipient type" (C2SP/age.md); BIP 173, "Bech32".
"""

from __future__ import annotations

import re
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fadeout_device.errors import UsageError

FINGERPRINT_DIGITS = 32
"""128 bits of SHA-256: nobody makes a second key with the same."""

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_KEY = re.compile(f"age1[{_ALPHABET}]{{58}}")
_PREFIX = "age"
_CHECK_DIGITS = 6
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_HINT = "give a key as age-keygen -y prints it: age1 and 58 more letters and digits"


def check(key: str) -> None:
    """Make sure that this is the public key of somebody who can have the private one.

    Raises:
        UsageError: it has a typing mistake, is of another kind, or is a number to which
            everybody knows the other half.
    """
    if key.upper().startswith("AGE-SECRET-KEY-"):
        raise UsageError("that is a private key: it must never leave the machine where it was made", _HINT)
    if not _KEY.fullmatch(key):
        raise UsageError("not an age public key", _HINT)
    digits = [_ALPHABET.index(letter) for letter in key.removeprefix("age1")]
    if _checksum([*_expanded_prefix(), *digits]) != 1:
        raise UsageError("an age public key with a typing mistake: its check does not fit", _HINT)
    number = 0
    for digit in digits[:-_CHECK_DIGITS]:
        number = number << 5 | digit
    # 52 digits are 260 bits; the last four must be zero, or one key could be written in 16 ways.
    if number & 0xF:
        raise UsageError("not an age public key: its last digit says more than a key has room for", _HINT)
    public = X25519PublicKey.from_public_bytes((number >> 4).to_bytes(32, "big"))
    try:
        X25519PrivateKey.generate().exchange(public)
    except ValueError as err:
        # One of the few points whose shared secret is zero whatever the other side does.
        raise UsageError("a public key that protects nothing: everybody could open what is sealed to it",
                         "make one with age-keygen") from err  # fmt: skip


def fingerprint(key: str) -> str:
    """Return a key's fingerprint: the first 32 digits that `printf %s KEY | sha256sum` prints."""
    return sha256(key.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def _expanded_prefix() -> list[int]:
    return [*(ord(letter) >> 5 for letter in _PREFIX), 0, *(ord(letter) & 31 for letter in _PREFIX)]


def _checksum(digits: list[int]) -> int:
    check = 1
    for digit in digits:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ digit
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                check ^= generator
    return check
