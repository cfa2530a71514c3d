"""What was shortened by command, beside the configured policy: only ever shorter, and one document."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_broker import contract
from fadeout_device.config import parse
from fadeout_device.policy import CEILING_S, CLASSES, ItemClass
from fadeout_device.vault import caps
from fadeout_device.vault.caps import NO_CAPS, Caps

POLICY = parse('[retention]\ndebug_capture = "12h"', "x").policy
FAILED_AUDIO = ItemClass("failed", "audio")
COMMANDS = st.lists(
    st.tuples(
        st.integers(1, CEILING_S),
        st.sampled_from([None, "served", "failed", "false_wake"]),
        st.sampled_from([None, "audio", "words", "action"]),
    )
)


@pytest.mark.parametrize(
    ("outcome", "kind", "count"),
    [
        pytest.param(None, None, 9, id="all"),
        pytest.param("failed", None, 3, id="an outcome"),
        pytest.param(None, "audio", 3, id="a kind"),
        pytest.param("failed", "audio", 1, id="a class"),
    ],
)
def test_a_command_names_classes(outcome: str | None, kind: str | None, count: int) -> None:
    classes = caps.chosen(outcome, kind)  # type: ignore[arg-type]  # of the lists
    assert len(classes) == count
    assert all(outcome in (None, each.outcome) and kind in (None, each.kind) for each in classes)


@given(COMMANDS)
def test_whatever_is_commanded_every_period_only_becomes_shorter(
    commands: list[Any],
) -> None:
    known, policy = NO_CAPS, POLICY
    for keep_s, outcome, kind in commands:
        new = caps.shortened(known, caps.chosen(outcome, kind), keep_s)
        after = caps.capped(POLICY, new)
        assert after.periods.keys() == policy.periods.keys(), "nothing is kept that was not"
        for each in CLASSES:
            assert new.of(each) <= known.of(each)
        for each, period in after.periods.items():
            assert period.seconds <= policy.periods[each].seconds
            assert period.ends_on_update == policy.periods[each].ends_on_update
        assert after.debug_capture_s is not None
        assert policy.debug_capture_s is not None
        assert after.debug_capture_s <= policy.debug_capture_s
        assert caps.decode(caps.encode(new)) == new
        known, policy = new, after


def test_the_document_says_what_is_enforced_and_is_canonical() -> None:
    short = caps.capped(POLICY, caps.shortened(NO_CAPS, caps.chosen(None, "audio"), 3600))
    document = json.loads(short.document)
    assert document["rules"]["failed.audio"]["keep_s"] == short.periods[FAILED_AUDIO].seconds == 3600
    assert document["rules"]["failed.action"]["keep_s"] == 86400
    assert document["rules"]["served.audio"]["keep_s"] is None
    assert document["debug_capture_s"] == short.debug_capture_s == 3600
    assert json.dumps(document, sort_keys=True, separators=(",", ":")).encode() == short.document
    assert short.hash != POLICY.hash
    published = contract.PolicyNow(
        v=1, hash=short.hash, document=msgspec.json.decode(short.document, type=contract.PolicyDocument)
    )
    assert contract.encode(published)


def test_a_cap_on_actions_leaves_debug_capture_alone() -> None:
    short = caps.capped(POLICY, caps.shortened(NO_CAPS, caps.chosen(None, "action"), 60))
    assert short.debug_capture_s == POLICY.debug_capture_s


def test_where_less_is_kept_already_nothing_changes() -> None:
    known = caps.shortened(NO_CAPS, CLASSES, 60)
    assert caps.shortened(known, CLASSES, 61) is known
    assert caps.capped(POLICY, NO_CAPS) is POLICY
    long = caps.capped(POLICY, caps.shortened(NO_CAPS, CLASSES, CEILING_S - 1))
    assert long.document == POLICY.document


@pytest.mark.parametrize("stored", ["", "{", '{"keep_s":{"a":"b"}}', '{"more":1}'])
def test_stored_caps_that_are_none_are_refused(stored: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        caps.decode(stored)


def test_caps_say_nothing_but_classes_and_seconds() -> None:
    assert caps.encode(Caps({"failed.audio": 5})) == '{"keep_s":{"failed.audio":5}}'
