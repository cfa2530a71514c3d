"""What a subscriber makes of messages: of this version, of later ones, and of none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_broker import contract
from fadeout_broker.subscriber.reading import (
    MAX_BYTES,
    Available,
    Ignored,
    Malformed,
    Withdrawn,
    filters,
    node_of,
    read,
)

ACTION = contract.ActionEvent(v=1, id="0123456789abcdef", action="light.on", outcome="served", ttl=60)
NOTICE = contract.EraseNotice(v=1, era="aaaaaaaa", n=3, ids=("0123456789abcdef",))
EVENT = "fadeout/sp-1/event/action"
ERASE = "fadeout/sp-1/erase/notice"


def changed(payload: contract.Outgoing, **fields: object) -> bytes:
    said: dict[str, Any] = json.loads(contract.encode(payload))
    return json.dumps({**said, **fields}, indent=1).encode()


@pytest.mark.parametrize(
    ("topic", "data", "expected"),
    [
        pytest.param(EVENT, contract.encode(ACTION), ACTION, id="an event, padded"),
        pytest.param(ERASE, contract.encode(NOTICE), NOTICE, id="a notice"),
        pytest.param(
            EVENT, changed(ACTION, room="kitchen", w={"x": [1]}), ACTION, id="fields of a later version"
        ),
        pytest.param(EVENT, changed(ACTION, type="sound"), Ignored(), id="a type of a later version"),
        pytest.param(EVENT, changed(ACTION, v=2), Malformed(), id="version 2"),
        pytest.param(EVENT, b'{"type":"action"}', Malformed(), id="no version"),
        pytest.param("fadeout/sp-1/event/receipt", b"{}", Ignored(), id="a topic that is not for us"),
        pytest.param("fadeout/sp-1/event/action/x", b"{}", Ignored(), id="a longer topic"),
        pytest.param("fadeout/sp-1", b"{}", Ignored(), id="a shorter topic"),
        pytest.param(EVENT, changed(ACTION, ttl=0), Malformed(), id="a ttl of nothing"),
        pytest.param(EVENT, changed(ACTION, ttl=10**9), Malformed(), id="a ttl of years"),
        pytest.param(EVENT, changed(ACTION, id="0123"), Malformed(), id="half an id"),
        pytest.param(EVENT, contract.encode(NOTICE), Malformed(), id="a notice in the place of an event"),
        pytest.param(ERASE, changed(NOTICE, ids=[]), Malformed(), id="a notice of nothing"),
        pytest.param(
            "fadeout/sp-1/erase/before",
            b'{"type":"erase_before","v":1,"era":"aaaaaaaa","n":9,"since":1,"ids":[]}',
            Malformed(),
            id="a watermark that names nothing of nine",
        ),
        pytest.param(EVENT, b"turn it on", Malformed(), id="words"),
        pytest.param(EVENT, b'{"v":1,"type":7}', Malformed(), id="a type that is a number"),
        pytest.param(EVENT, b"[" * 5000, Malformed(), id="very deep"),
        pytest.param(EVENT, b"\xff\x00", Malformed(), id="bytes"),
        pytest.param(EVENT, b" " * MAX_BYTES + b"{}", Malformed(), id="very long"),
        pytest.param("fadeout/sp-1/erase/before", b"", Withdrawn("erase/before"), id="cleared"),
        pytest.param("fadeout/sp-1/availability", b"stopped", Available("stopped"), id="stopped"),
        pytest.param("fadeout/sp-1/availability", b"", Available(None), id="withdrawn"),
        pytest.param("fadeout/sp-1/availability", b"away", Malformed(), id="another word"),
    ],
)
def test_what_is_not_known_is_left_aside_and_what_is_left_must_be_right(
    topic: str, data: bytes, expected: object
) -> None:
    assert read(topic, data) == expected


@given(topic=st.sampled_from(filters("sp-1")) | st.text(), data=st.binary() | st.text().map(str.encode))
def test_nothing_that_is_said_does_harm(topic: str, data: bytes) -> None:
    read(topic, data)
    node_of(topic)


@pytest.mark.parametrize(
    ("topic", "node"),
    [
        pytest.param("fadeout/sp-1/state", "sp-1", id="a device's"),
        pytest.param("fadeout/-sp/state", None, id="no name of a device"),
        pytest.param("fadeout/Sp 1\n/state", None, id="a name with a line feed"),
        pytest.param("zigbee/sp-1/state", None, id="somebody else's"),
        pytest.param("", None, id="no name at all"),
    ],
)
def test_whose_topic_it_is(topic: str, node: str | None) -> None:
    assert node_of(topic) == node


def test_erasures_are_asked_for_first() -> None:
    assert filters(None)[:2] == ("fadeout/+/erase/before", "fadeout/+/erase/notice")
    assert set(filters("sp-1")) == {
        f"fadeout/sp-1/{end}"
        for end in ("availability", "state", "event/action", "event/alarm", "erase/notice", "erase/before")
    }
