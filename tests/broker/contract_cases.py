"""What fits the contract and what does not: one table for the structs, the JSON Schemas and the documents.

A kind is the name of a shape: the `type` of a payload, `cmd/<name>`, or `erase/ack`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from fadeout_broker import contract
from fadeout_broker.contract import (
    MAX_ACTIONS,
    MAX_IDS,
    MAX_TTL_S,
    Ack,
    ActionEvent,
    AlarmEvent,
    Cover,
    DeviceState,
    EraseBefore,
    EraseNotice,
    EraseRequest,
    Info,
    MuteRequest,
    Outgoing,
    PingRequest,
    PolicyDocument,
    PolicyNow,
    PolicyRule,
    ReceiptEvent,
    Reply,
    ReplyData,
    Request,
    ResultRequest,
    ShortenRequest,
)

ID = "0123456789abcdef"
ERA = "0123abcd"
HASH = "0123456789abcdef" * 4
LARGEST = 2**53 - 1

ACTION = ActionEvent(v=1, id=ID, action="light.on", outcome="served", ttl=86400)
ERASE = EraseNotice(v=1, era=ERA, n=1, ids=(ID,))
BEFORE = EraseBefore(v=1, era=ERA, n=1, since=1, ids=(ID,))
ALARM = AlarmEvent(v=1, alarm="canary", on=True)
RECEIPT = ReceiptEvent(
    v=1, n=7, items=2, reason="user", hour=1795906800, root="file", key=HASH, signature=HASH * 2, ttl=86400
)
STATE = DeviceState(
    v=1, listening=True, muted=False, held=3, overdue=0, sweep="ok", swept=0, next_end=None, forgetting=True
)
INFO = Info(v=1, sw="0.1.0", mode="prompt", actions=("light.on", "light.off"), commands=True, result_s=0)
RULE = PolicyRule(ends_on_update=False, keep_s=86400, purpose="tell subscribers")
POLICY = PolicyNow(
    v=1,
    hash=HASH,
    document=PolicyDocument(
        canary_s=21600,
        ceiling_s=MAX_TTL_S,
        debug_capture_lasts_s=3600,
        debug_capture_s=None,
        ledger_ceiling_s=31536000,
        ledger_s=7776000,
        max_size_bytes=512_000_000,
        quiet_hours=None,
        rules={"served.action": RULE, "served.audio": PolicyRule(False, None, "")},
        v=1,
    ),
)
COVER = Cover(v=1)
REPLY = Reply(v=1, command="erase", status="ok", transaction="a-1", data=ReplyData(erased=1))
ACK = Ack(v=1, era=ERA, n=1)

_LONG_RULE = PolicyRule(ends_on_update=False, keep_s=MAX_TTL_S, purpose="\N{GRINNING FACE}" * 80)
LARGEST_OF: dict[type[Outgoing], Outgoing] = {
    ActionEvent: msgspec.structs.replace(ACTION, action="a" * 40, ttl=MAX_TTL_S),
    EraseNotice: EraseNotice(v=1, era=ERA, n=LARGEST, ids=(ID,) * MAX_IDS),
    EraseBefore: EraseBefore(v=1, era=ERA, n=LARGEST, since=LARGEST, ids=(ID,) * MAX_IDS),
    AlarmEvent: msgspec.structs.replace(ALARM, on=False),
    ReceiptEvent: msgspec.structs.replace(
        RECEIPT, n=LARGEST, items=LARGEST, reason="recovered", hour=LARGEST, root="nvmem", ttl=MAX_TTL_S
    ),
    DeviceState: DeviceState(
        v=1, listening=False, muted=False, held=LARGEST, overdue=LARGEST, sweep="failed", swept=LARGEST,
        next_end=LARGEST, forgetting=False,
    ),
    Info: Info(
        v=1, sw="1" * 32, mode="batched", actions=("a" * 40,) * MAX_ACTIONS, commands=False, result_s=30
    ),
    PolicyNow: PolicyNow(
        v=1, hash=HASH,
        document=PolicyDocument(
            canary_s=LARGEST, ceiling_s=LARGEST, debug_capture_lasts_s=LARGEST, debug_capture_s=LARGEST,
            ledger_ceiling_s=LARGEST, ledger_s=LARGEST, max_size_bytes=LARGEST, quiet_hours="22:00-06:30",
            rules={
                f"{outcome}.{kind}": _LONG_RULE
                for outcome in ("served", "failed", "false_wake") for kind in ("audio", "words", "action")
            },
            v=1,
        ),
    ),
    Cover: COVER,
    Reply: Reply(
        v=1, command="shorten", status="error", error="unknown_command", transaction="x" * 64,
        data=ReplyData(erased=LARGEST, hash=HASH),
    ),
}  # fmt: skip
"""The longest payload that each struct allows."""

Shape = Outgoing | Request | Ack


def kind_of(shape: Shape) -> str:
    """Return the kind of a struct."""
    if isinstance(shape, Ack):
        return "erase/ack"
    if isinstance(shape, Request):
        return f"cmd/{shape.name}"
    return str(shape.__struct_config__.tag)


def decode(kind: str, data: bytes) -> Shape:
    """Decode as whoever receives this kind does."""
    if kind == "erase/ack":
        return contract.decode_ack(data)
    if kind.startswith("cmd/"):
        return contract.decode_request(kind.removeprefix("cmd/"), data)
    return contract.decode(data)


def encode(shape: Shape) -> bytes:
    """Encode as whoever sends this does."""
    return contract.encode(shape) if isinstance(shape, Outgoing) else msgspec.json.encode(shape)


_FITS: dict[str, Shape] = {
    "an action": ACTION,
    "no action": msgspec.structs.replace(ACTION, action="none", outcome="failed"),
    "an action that is not of the list": msgspec.structs.replace(ACTION, action="other"),
    "the shortest life": msgspec.structs.replace(ACTION, ttl=1),
    "one event to forget": ERASE,
    "a watermark": BEFORE,
    "the watermark before the first notice": EraseBefore(v=1, era=ERA, n=0, since=1, ids=()),
    "a watermark that names no event": EraseBefore(v=1, era=ERA, n=9, since=10, ids=()),
    "a watermark of two notices, five events": EraseBefore(v=1, era=ERA, n=9, since=8, ids=(ID,) * 5),
    "an alarm": ALARM,
    "all clear": AlarmEvent(v=1, alarm="sweep", on=False),
    "a failed erasure": AlarmEvent(v=1, alarm="erase", on=True),
    "a receipt": RECEIPT,
    "a state": STATE,
    "a state before any sweep": msgspec.structs.replace(STATE, swept=None, sweep="none"),
    "what it is": INFO,
    "no actions": msgspec.structs.replace(INFO, actions=()),
    "a policy": POLICY,
    "nothing, as cover": COVER,
    "a reply": REPLY,
    "an error": Reply(v=1, command="unknown", status="error", error="unknown_command"),
    **{f"the longest {kind_of(payload)}": payload for payload in LARGEST_OF.values()},
    "mute": MuteRequest(),
    "mute, with a transaction": MuteRequest(transaction="a-1"),
    "ping": PingRequest(transaction="a-1"),
    "erase all": EraseRequest(all=True),
    "erase by ids": EraseRequest(ids=(ID,) * MAX_IDS),
    "erase the newest thousand": EraseRequest(last=1000),
    "erase the last thirty days": EraseRequest(last_minutes=43200),
    "keep everything for a second": ShortenRequest(keep_s=1),
    "keep failed words a minute": ShortenRequest(keep_s=60, outcome="failed", kind="words"),
    "it was done": ResultRequest(id=ID, result="done"),
    "it failed": ResultRequest(id=ID, result="failed", transaction="a-1"),
    "an acknowledgement": ACK,
    "an acknowledgement of nothing yet": Ack(v=1, era=ERA, n=0),
}
SHAPES_THAT_FIT = tuple(_FITS.values())
FITS = [pytest.param(shape, id=sentence) for sentence, shape in _FITS.items()]
KINDS = sorted({kind_of(shape) for shape in SHAPES_THAT_FIT})


def _changed(shape: Shape, **fields: object) -> tuple[str, bytes]:
    return kind_of(shape), json.dumps({**msgspec.to_builtins(shape), **fields}).encode()


def _without(shape: Shape, field: str) -> tuple[str, bytes]:
    rest = {k: v for k, v in msgspec.to_builtins(shape).items() if k != field}
    return kind_of(shape), json.dumps(rest).encode()


def _with_rule(name: str, **fields: object) -> tuple[str, bytes]:
    whole: dict[str, Any] = msgspec.to_builtins(POLICY)
    whole["document"]["rules"][name] = {**msgspec.to_builtins(RULE), **fields}
    return "policy", json.dumps(whole).encode()


def _with_policy(**fields: object) -> tuple[str, bytes]:
    whole: dict[str, Any] = msgspec.to_builtins(POLICY)
    whole["document"] |= fields
    return "policy", json.dumps(whole).encode()


def _request(name: str, **fields: object) -> tuple[str, bytes]:
    return f"cmd/{name}", json.dumps(fields).encode()


MISFITS = [
    pytest.param(*case, id=sentence)
    for sentence, case in {
        "an event with what was said": _changed(ACTION, text="turn on the light"),
        "an event with a time": _changed(ACTION, time=1795906800),
        "free text for an action": _changed(ACTION, action="Turn on the light"),
        "an empty action": _changed(ACTION, action=""),
        "an action one letter too long": _changed(ACTION, action="a" * 41),
        "an action with a line break": _changed(ACTION, action="light.on\n"),
        "an action with a letter of another script": _changed(ACTION, action="l\u0456ght.on"),
        "an outcome that is never reported": _changed(ACTION, outcome="false_wake"),
        "no life left": _changed(ACTION, ttl=0),
        "a negative life": _changed(ACTION, ttl=-1),
        "a life beyond the ceiling": _changed(ACTION, ttl=MAX_TTL_S + 1),
        "a life in text": _changed(ACTION, ttl="86400"),
        "a life of half a second": _changed(ACTION, ttl=0.5),
        "a life without end": _without(ACTION, "ttl"),
        "a life that is null": _changed(ACTION, ttl=None),
        "an event without id": _without(ACTION, "id"),
        "an id in capitals": _changed(ACTION, id="0123456789ABCDEF"),
        "an id one letter short": _changed(ACTION, id="0123456789abcde"),
        "an id with a line break": _changed(ACTION, id=ID + "\n"),
        "an id that is a number": _changed(ACTION, id=1234567890123456),
        "a version of the future": _changed(ACTION, v=2),
        "a version in text": _changed(ACTION, v="1"),
        "a version that is true": _changed(ACTION, v=True),
        "no version": _without(ACTION, "v"),
        "a type that is not known": ("action", _changed(ACTION, type="utterance")[1]),
        "no type": _without(ACTION, "type"),
        "nothing to forget": _changed(ERASE, ids=[]),
        "more to forget than fits": _changed(ERASE, ids=[ID] * 17),
        "an id to forget in capitals": _changed(ERASE, ids=[ID, ID.upper()]),
        "a reason for forgetting": _changed(ERASE, reason="user"),
        "a notice without number": _without(ERASE, "n"),
        "a notice of number zero": _changed(ERASE, n=0),
        "a number beyond what JSON holds": _changed(ERASE, n=LARGEST + 1),
        "an era one letter short": _changed(ERASE, era=ERA[:-1]),
        "an era in capitals": _changed(ERASE, era=ERA.upper()),
        "a watermark with a time": _changed(BEFORE, before="2026-11-23T00Z"),
        "a watermark since nothing": _changed(BEFORE, since=0),
        "a watermark below zero": _changed(BEFORE, n=-1),
        "a watermark with too many ids": _changed(BEFORE, ids=[ID] * 17),
        "a watermark without ids": _without(BEFORE, "ids"),
        "an alarm that is not known": _changed(ALARM, alarm="fire"),
        "a reason for an alarm": _changed(ALARM, reason="disk full"),
        "a text for whether it is on": _changed(ALARM, on="yes"),
        "an alarm that is neither on nor off": _without(ALARM, "on"),
        "a receipt of nothing": _changed(RECEIPT, items=0),
        "a receipt with another reason": _changed(RECEIPT, reason="because"),
        "a receipt of another root": _changed(RECEIPT, root="cloud"),
        "a receipt with the ids of recordings": _changed(RECEIPT, ids=[ID]),
        "a receipt with a short signature": _changed(RECEIPT, signature=HASH),
        "a receipt with a key in capitals": _changed(RECEIPT, key=HASH.upper()),
        "a receipt before 1970": _changed(RECEIPT, hour=-3600),
        "a receipt without end": _without(RECEIPT, "ttl"),
        "a negative number held": _changed(STATE, held=-1),
        "an end of a sweep that does not exist": _changed(STATE, sweep="unknown"),
        "a number for a fact": _changed(STATE, listening=1),
        "a state with a host name": _changed(STATE, host="kitchen"),
        "a state without mute": _without(STATE, "muted"),
        "a state that leaves out what is null": _without(STATE, "next_end"),
        "a time in text": _changed(STATE, swept="2026-11-23T00Z"),
        "a mode that does not exist": _changed(INFO, mode="eager"),
        "a version that is a sentence": _changed(INFO, sw="fadeout one"),
        "more actions than fit": _changed(INFO, actions=["a"] * (MAX_ACTIONS + 1)),
        "an action of the list as free text": _changed(INFO, actions=["turn on the light"]),
        "the whole configuration": _changed(INFO, config={}),
        "a policy without document": _without(POLICY, "document"),
        "a policy whose document is text": _changed(POLICY, document="{}"),
        "a policy with a short hash": _changed(POLICY, hash=HASH[:-1]),
        "a policy of another version": _with_policy(v=2),
        "a policy with a field more": _with_policy(owner="me"),
        "quiet hours in words": _with_policy(quiet_hours="at night"),
        "a negative ceiling": _with_policy(ceiling_s=-1),
        "a rule for a class that does not exist": _with_rule("served.video"),
        "a rule that keeps for ever": _with_rule("served.action", keep_s=MAX_TTL_S + 1),
        "a rule that keeps for no time": _with_rule("served.action", keep_s=0),
        "a purpose of a page": _with_rule("served.action", purpose="x" * 81),
        "a purpose with a line break": _with_rule("served.action", purpose="a\nb"),
        "a purpose that ends with a line break": _with_rule("served.action", purpose="a\n"),
        "a rule with a field more": _with_rule("served.action", note="x"),
        "a cover with a number": _changed(COVER, n=1),
        "a reply to another command": _changed(REPLY, command="unmute"),
        "a reply with another error": _changed(REPLY, status="error", error="disk is full at /var"),
        "a reply with another status": _changed(REPLY, status="maybe"),
        "a reply with what was said": _changed(REPLY, data={"erased": 1, "words": "x"}),
        "a reply that erased less than nothing": _changed(REPLY, data={"erased": -1}),
        "a transaction with a space": _changed(REPLY, transaction="a b"),
        "a transaction too long": _changed(REPLY, transaction="a" * 65),
        "an empty transaction": _changed(REPLY, transaction=""),
        "a request to unmute": _request("mute", on=False),
        "a request to mute with an end": _request("mute", for_s=60),
        "a request with a transaction that is a number": _request("mute", transaction=1),
        "a request with a transaction too long": _request("ping", transaction="a" * 65),
        "a request with a type": _request("ping", type="ping"),
        "a request to erase a path": _request("erase", path="/var"),
        "a request to erase a wildcard": _request("erase", ids=["*"]),
        "a request to erase too many ids": _request("erase", ids=[ID] * 17),
        "a request to erase none of the newest": _request("erase", last=0),
        "a request to erase more than a thousand": _request("erase", last=1001),
        "a request to erase the last no minutes": _request("erase", last_minutes=0),
        "a request to erase more than thirty days": _request("erase", last_minutes=43201),
        "a request to erase, with a word for all": _request("erase", all="yes"),
        "a request to shorten to nothing given": _request("shorten"),
        "a request to shorten to null": _request("shorten", keep_s=None),
        "a request to shorten to no time": _request("shorten", keep_s=0),
        "a request to shorten to for ever": _request("shorten", keep_s=MAX_TTL_S + 1),
        "a request to shorten what does not exist": _request("shorten", keep_s=60, kind="video"),
        "a request to shorten with a purpose": _request("shorten", keep_s=60, purpose="x"),
        "a result of nothing": _request("result", result="failed"),
        "a result that is none": _request("result", id=ID),
        "a result of another kind": _request("result", id=ID, result="served"),
        "a result with a reason": _request("result", id=ID, result="failed", reason="no lamp"),
        "a result with a period": _request("result", id=ID, result="failed", keep_s=60),
        "a result of a path": _request("result", id="../../keyring0123", result="failed"),
        "a result of several": _request("result", id=[ID], result="done"),
        "a wait of minutes": _changed(INFO, result_s=31),
        "an acknowledgement without era": _without(ACK, "era"),
        "an acknowledgement of another version": _changed(ACK, v=2),
        "an acknowledgement below zero": _changed(ACK, n=-1),
        "an acknowledgement with a name": _changed(ACK, consumer="me"),
        "an acknowledgement with a text for a number": _changed(ACK, n="1"),
    }.items()
]
"""JSON objects, each wrong in one way that a schema can say, too."""

CONTRADICTIONS = [
    pytest.param(*case, id=sentence)
    for sentence, case in {
        "a watermark of notices that named nothing": _changed(BEFORE, n=9, since=9, ids=[]),
        "a watermark of more notices than ids": _changed(BEFORE, n=9, since=8, ids=[ID]),
        "a watermark of no notice that names an event": _changed(BEFORE, n=9, since=10, ids=[ID]),
        "a watermark of the future": _changed(BEFORE, n=1, since=3, ids=[]),
        "a reply that is fine and an error": _changed(REPLY, error="busy"),
        "a reply that is an error of no kind": _changed(REPLY, status="error"),
        "a request to erase nothing": _request("erase"),
        "a request to erase no ids": _request("erase", ids=[]),
        "a request not to erase all": _request("erase", all=False),
        "a request to erase in two ways": _request("erase", last=1, last_minutes=5),
        "a request to erase all and one": _request("erase", all=True, ids=[ID]),
    }.items()
]
"""What only the code refuses: fields that contradict each other."""

NO_OBJECTS = [
    pytest.param(b"online", id="no JSON"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b"null", id="null"),
    pytest.param(b'"action"', id="a text"),
    pytest.param(b"\xff\x00", id="no UTF-8"),
    pytest.param(b"[" * 900, id="a deep nest"),
    pytest.param(b" " * 256, id="nothing but padding"),
]
