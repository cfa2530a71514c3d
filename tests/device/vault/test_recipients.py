"""Who may be exported to: enrolled, read back, kept; and everything that is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyrage
import pytest

from fadeout_device.errors import FadeoutError
from fadeout_device.vault.recipients import MOST_RECIPIENTS, Recipients

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.vault.conftest import Rig


def new_key() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


KEY, OTHER = new_key(), new_key()


@pytest.fixture
def recipients(rig: Rig) -> Recipients:
    made = Recipients(rig.store.index)
    made.add("anna", KEY)
    return made


def test_a_recipient_counts_once_its_fingerprint_was_read_back(rig: Rig, recipients: Recipients) -> None:
    (added,) = recipients.all()
    assert not added.is_confirmed
    digits = added.fingerprint
    recipients.confirm("anna", f"{digits[:8]} {digits[8:16]}:{digits[16:].upper()}")
    rig.restart()
    kept = Recipients(rig.store.index)
    assert kept.confirmed("anna") == added._replace(is_confirmed=True)
    kept.remove("anna")
    assert kept.all() == []


def test_enrolling_the_same_again_changes_nothing(recipients: Recipients) -> None:
    recipients.confirm("anna", recipients.all()[0].fingerprint)
    assert recipients.add("anna", KEY).is_confirmed
    assert len(recipients.all()) == 1


@pytest.mark.parametrize(
    ("deed", "code", "why"),
    [
        pytest.param(lambda r: r.add("", OTHER), 64, "not a recipient's name", id="no name"),
        pytest.param(lambda r: r.add("An B", OTHER), 64, "not a recipient's name", id="a name with a space"),
        pytest.param(lambda r: r.add("../anna", OTHER), 64, "not a recipient's name", id="a path as a name"),
        pytest.param(lambda r: r.add("--to", OTHER), 64, "not a recipient's name", id="an option as a name"),
        pytest.param(lambda r: r.add("a" * 41, OTHER), 64, "not a recipient's name", id="too long a name"),
        pytest.param(lambda r: r.add("bea\n", OTHER), 64, "not a recipient's name", id="a line feed"),
        pytest.param(lambda r: r.add("bea", "age1"), 64, "not an age public key", id="no key"),
        pytest.param(lambda r: r.add("anna", OTHER), 64, "another key", id="another key for a known name"),
        pytest.param(lambda r: r.add("bea", KEY), 64, "enrolled as anna", id="a key that is known"),
        pytest.param(lambda r: r.confirmed("anna"), 67, "not confirmed", id="one who is not confirmed"),
        pytest.param(lambda r: r.confirmed("bea"), 67, "no recipient bea", id="one who is not enrolled"),
        pytest.param(lambda r: r.confirm("bea", "0"), 67, "no recipient bea", id="confirming nobody"),
        pytest.param(lambda r: r.confirm("anna", ""), 67, "stays unconfirmed", id="reading nothing back"),
        pytest.param(
            lambda r: r.confirm("anna", r.all()[0].fingerprint[:-1]), 67, "stays unconfirmed",
            id="reading a part back",
        ),
        pytest.param(
            lambda r: r.confirm("anna", "0" * 32), 67, "stays unconfirmed", id="reading back another"
        ),
        pytest.param(lambda r: r.remove("bea"), 67, "no recipient bea", id="removing nobody"),
    ],
)  # fmt: skip
def test_refused(recipients: Recipients, deed: Callable[[Recipients], object], code: int, why: str) -> None:
    before = recipients.all()
    with pytest.raises(FadeoutError, match=why) as refused:
        deed(recipients)
    assert (refused.value.exit_code, bool(refused.value.hint)) == (code, True)
    assert recipients.all() == before


def test_the_list_is_one_that_people_can_look_through(recipients: Recipients) -> None:
    for number in range(1, MOST_RECIPIENTS):
        recipients.add(f"r{number}", new_key())
    with pytest.raises(FadeoutError, match="no more are taken") as refused:
        recipients.add("one-more", new_key())
    assert refused.value.exit_code == os.EX_USAGE
    assert len(recipients.all()) == MOST_RECIPIENTS


def test_a_reset_leaves_nobody_on_the_list(rig: Rig, recipients: Recipients) -> None:
    rig.store.forget_owner("1")
    assert recipients.all() == []
