"""The contract: what is accepted, and the many things that are not."""

from __future__ import annotations

import json

import msgspec
import pytest

from fadeout_broker import contract
from fadeout_broker.contract import ActionEvent, AlarmEvent, ContractError, DeviceState, EraseNotice, Outgoing

ID = "0123456789abcdef"
ACTION = ActionEvent(v=1, id=ID, action="light.on", outcome="served", ttl=86400)
ERASE = EraseNotice(v=1, era="0123abcd", n=1, ids=(ID,))
STATE = DeviceState(
    v=1, listening=True, muted=False, held=3, overdue=0, sweep="ok", swept=0, next_end=None, forgetting=True
)
ALARM = AlarmEvent(v=1, alarm="canary", on=True)


def _changed(payload: Outgoing, **fields: object) -> bytes:
    return json.dumps({**msgspec.to_builtins(payload), **fields}).encode()


def _without(payload: Outgoing, field: str) -> bytes:
    return json.dumps({k: v for k, v in msgspec.to_builtins(payload).items() if k != field}).encode()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(ACTION, id="an action"),
        pytest.param(msgspec.structs.replace(ACTION, action="none", outcome="failed"), id="no action"),
        pytest.param(msgspec.structs.replace(ACTION, ttl=contract.MAX_TTL_S), id="the longest life"),
        pytest.param(msgspec.structs.replace(ACTION, action="a" * 40), id="the longest action"),
        pytest.param(ERASE, id="one event to forget"),
        pytest.param(EraseNotice(v=1, era="0123abcd", n=1, ids=(ID,) * 16), id="sixteen events to forget"),
        pytest.param(STATE, id="a state"),
        pytest.param(ALARM, id="an alarm"),
        pytest.param(AlarmEvent(v=1, alarm="sweep", on=False), id="all clear"),
        pytest.param(AlarmEvent(v=1, alarm="erase", on=True), id="a failed erasure"),
    ],
)
def test_what_fits_comes_back_the_same(payload: Outgoing) -> None:
    assert contract.decode(contract.encode(payload)) == payload


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_changed(ACTION, text="turn on the light"), id="a field the contract does not know"),
        pytest.param(_changed(ACTION, action="Turn on the light"), id="free text for an action"),
        pytest.param(_changed(ACTION, action=""), id="an empty action"),
        pytest.param(_changed(ACTION, action="a" * 41), id="an action one letter too long"),
        pytest.param(_changed(ACTION, action="light.on\n"), id="an action with a line break"),
        pytest.param(_changed(ACTION, outcome="false_wake"), id="an outcome that is never reported"),
        pytest.param(_changed(ACTION, ttl=0), id="no life left"),
        pytest.param(_changed(ACTION, ttl=-1), id="a negative life"),
        pytest.param(_changed(ACTION, ttl=contract.MAX_TTL_S + 1), id="a life beyond the ceiling"),
        pytest.param(_changed(ACTION, ttl="86400"), id="a life in text"),
        pytest.param(_without(ACTION, "ttl"), id="a life without end"),
        pytest.param(_changed(ACTION, id="0123456789ABCDEF"), id="an id in capitals"),
        pytest.param(_changed(ACTION, id="0123456789abcde"), id="an id one letter short"),
        pytest.param(_changed(ACTION, id=ID + "\n"), id="an id with a line break"),
        pytest.param(_changed(ACTION, v=2), id="a version of the future"),
        pytest.param(_changed(ACTION, type="utterance"), id="a type the contract does not know"),
        pytest.param(_without(ACTION, "type"), id="no type"),
        pytest.param(_changed(ERASE, ids=[]), id="nothing to forget"),
        pytest.param(_changed(ERASE, ids=[ID] * 17), id="more to forget than fits"),
        pytest.param(_changed(ERASE, reason="user"), id="a reason for forgetting"),
        pytest.param(_changed(STATE, held=-1), id="a negative number held"),
        pytest.param(_changed(STATE, sweep="unknown"), id="an end of a sweep that does not exist"),
        pytest.param(_changed(STATE, listening=1), id="a number for a fact"),
        pytest.param(_changed(ALARM, alarm="fire"), id="an alarm the contract does not know"),
        pytest.param(_changed(ALARM, reason="disk full"), id="a reason for an alarm"),
        pytest.param(_changed(ALARM, on="yes"), id="a text for whether it is on"),
        pytest.param(_without(ALARM, "on"), id="an alarm that is neither on nor off"),
        pytest.param(b"online", id="no JSON"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(contract.encode(ACTION) + b"x", id="something after the padding"),
        pytest.param(contract.encode(ACTION) + b"{}", id="a second value after the padding"),
        pytest.param(contract.encode(ACTION).rstrip()[:-1], id="cut short"),
    ],
)
def test_what_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        contract.decode(data)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(msgspec.structs.replace(ACTION, ttl=0), id="no life left"),
        pytest.param(msgspec.structs.replace(ACTION, action="turn on the light"), id="free text"),
        pytest.param(EraseNotice(v=1, era="0123abcd", n=1, ids=()), id="nothing to forget"),
        pytest.param(EraseNotice(v=1, era="0123abcd", n=1, ids=(ID,) * 40), id="larger than its class"),
    ],
)
def test_a_struct_that_breaks_its_bounds_is_not_encoded(payload: Outgoing) -> None:
    with pytest.raises(ContractError):
        contract.encode(payload)


def test_all_actions_are_of_one_size() -> None:
    longest = msgspec.structs.replace(ACTION, action="a" * 40, ttl=contract.MAX_TTL_S, outcome="failed")
    shortest = msgspec.structs.replace(ACTION, action="a", ttl=1)
    assert len(contract.encode(longest)) == len(contract.encode(shortest)) == 256


def test_actions_states_and_alarms_are_of_one_size() -> None:
    # Their lengths on the wire do not even say which of them it was.
    assert contract.ActionEvent.padded_bytes == DeviceState.padded_bytes
    assert contract.ActionEvent.padded_bytes == AlarmEvent.padded_bytes


@pytest.mark.parametrize("payload", [ACTION, ERASE, STATE, ALARM], ids=["action", "erase", "state", "alarm"])
def test_after_the_value_there_are_only_spaces(payload: Outgoing) -> None:
    data = contract.encode(payload)
    value = msgspec.json.encode(payload)
    assert data[: len(value)] == value
    assert data[len(value) :].strip(b" ") == b""


def test_the_largest_notice_fits_its_class() -> None:
    assert (
        len(contract.encode(EraseNotice(v=1, era="0123abcd", n=1, ids=(ID,) * 16)))
        == contract.EraseNotice.padded_bytes
    )


def test_topics_and_retain_flags() -> None:
    assert contract.topic_of("sp-1", ACTION) == "fadeout/sp-1/event/action"
    assert contract.topic_of("sp-1", ERASE) == "fadeout/sp-1/erase/notice"
    assert contract.topic_of("sp-1", STATE) == "fadeout/sp-1/state"
    assert contract.topic_of("sp-1", ALARM) == "fadeout/sp-1/event/alarm"
    assert contract.availability_topic("sp-1") == "fadeout/sp-1/availability"
    assert [payload.is_retained for payload in (ACTION, ERASE, STATE, ALARM)] == [False, False, True, False]
