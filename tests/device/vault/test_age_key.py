"""Which keys are taken, and what their fingerprints are; pyrage, which uses them later, is the oracle."""

from __future__ import annotations

import subprocess

import pyrage
import pytest

from fadeout_device.errors import UsageError
from fadeout_device.vault import age_key

# Test vectors of the age specification, and of age's own tests.
GOOD = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
ZERO = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z"
"""The number 0: a point whose shared secret is zero with every private key."""


def test_every_key_that_age_makes_is_taken() -> None:
    age_key.check(GOOD)
    for _ in range(20):
        age_key.check(str(pyrage.x25519.Identity.generate().to_public()))


def test_every_letter_counts() -> None:
    for at in range(4, len(GOOD)):
        other = "q" if GOOD[at] != "q" else "p"
        with pytest.raises(UsageError):
            age_key.check(GOOD[:at] + other + GOOD[at + 1 :])


@pytest.mark.parametrize(
    ("key", "why"),
    [
        pytest.param("", "not an age public key", id="nothing"),
        pytest.param(GOOD[:-1], "not an age public key", id="one letter short"),
        pytest.param(GOOD + "q", "not an age public key", id="one letter long"),
        pytest.param(GOOD + "\n", "not an age public key", id="a line feed after it"),
        pytest.param(" " + GOOD, "not an age public key", id="a space before it"),
        pytest.param(GOOD.upper(), "not an age public key", id="capital letters, which age does not write"),
        pytest.param("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "not an age public key", id="an SSH key"),
        pytest.param("age1" + "b" * 58, "not an age public key", id="letters that bech32 has not"),
        pytest.param("age1" + "q" * 58, "a typing mistake", id="a check that does not fit"),
        pytest.param("AGE-SECRET-KEY-1" + "Q" * 58, "a private key", id="the private key"),
        pytest.param(ZERO, "protects nothing", id="the number zero, to which everybody has the other half"),
    ],
)
def test_what_is_no_key_is_refused(key: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        age_key.check(key)
    assert refused.value.hint


def test_a_private_key_is_not_shown() -> None:
    secret = str(pyrage.x25519.Identity.generate())
    with pytest.raises(UsageError) as refused:
        age_key.check(secret)
    assert secret[20:40] not in " ".join(refused.value.lines())


def test_anybody_can_compute_a_fingerprint() -> None:
    printed = subprocess.run(["sha256sum"], input=GOOD.encode(), capture_output=True, check=True).stdout
    assert printed.decode().startswith(age_key.fingerprint(GOOD))
    assert len(age_key.fingerprint(GOOD)) == age_key.FINGERPRINT_DIGITS
