"""The contract: what is accepted, and the many things that are not."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import contract_cases as cases
from broker.contract_cases import ACTION, ALARM, ERASE, ID, LARGEST_OF, POLICY, STATE, Shape
from fadeout_broker import contract, payloads, requests, vocabulary
from fadeout_broker.contract import OUTGOING, ContractError, EraseNotice, Outgoing
from fadeout_device import policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHAPES: tuple[type[msgspec.Struct], ...] = (
    *OUTGOING, *(get_args(contract.Request)), contract.Ack,
)  # fmt: skip


@pytest.mark.parametrize("shape", cases.FITS)
def test_what_fits_comes_back_the_same(shape: Shape) -> None:
    assert cases.decode(cases.kind_of(shape), cases.encode(shape)) == shape


@pytest.mark.parametrize(("kind", "data"), [*cases.MISFITS, *cases.CONTRADICTIONS])
def test_what_does_not_fit_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(ContractError):
        cases.decode(kind, data)


@pytest.mark.parametrize("kind", cases.KINDS)
@pytest.mark.parametrize("data", cases.NO_OBJECTS)
def test_what_is_no_object_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(ContractError):
        cases.decode(kind, data)


def test_every_shape_is_tried() -> None:
    assert {type(shape) for shape in cases.SHAPES_THAT_FIT} == set(SHAPES)
    assert set(LARGEST_OF) == set(OUTGOING)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(contract.encode(ACTION) + b"x", id="something after the padding"),
        pytest.param(contract.encode(ACTION) + b"{}", id="a second value after the padding"),
        pytest.param(contract.encode(ACTION).rstrip()[:-1], id="cut short"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_not_one_payload_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        contract.decode(data)


def _with_a_field_more(value: object) -> Iterator[object]:
    """Yield the value once for each object in it, with a field nobody knows in that object."""
    if isinstance(value, dict):
        yield {**value, "words": "turn on the light"}
        for name, inner in value.items():
            yield from ({**value, name: changed} for changed in _with_a_field_more(inner))


@pytest.mark.parametrize("shape", cases.FITS)
def test_an_unknown_field_is_refused_wherever_it_is(shape: Shape) -> None:
    changed = list(_with_a_field_more(msgspec.to_builtins(shape)))
    assert changed
    for value in changed:
        with pytest.raises(ContractError):
            cases.decode(cases.kind_of(shape), json.dumps(value).encode())


@pytest.mark.parametrize(("kind", "data"), [*cases.MISFITS, *cases.CONTRADICTIONS])
def test_an_error_does_not_show_what_it_is_about(kind: str, data: bytes) -> None:
    with pytest.raises(ContractError) as caught:
        cases.decode(kind, data)
    for shown in ("turn on", "disk", "because", "cloud", "kitchen", "owner", "note", "/var"):
        assert shown not in str(caught.value)
    # msgspec's own text may show the value: a log with a traceback would, too.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(msgspec.structs.replace(ACTION, ttl=0), id="no life left"),
        pytest.param(msgspec.structs.replace(ACTION, action="turn on the light"), id="free text"),
        pytest.param(msgspec.structs.replace(ACTION, id="\ud800"), id="half a character"),
        pytest.param(msgspec.structs.replace(ACTION, ttl=2**70), id="a number beyond JSON"),
        pytest.param(EraseNotice(v=1, era="0123abcd", n=1, ids=()), id="nothing to forget"),
        pytest.param(EraseNotice(v=1, era="0123abcd", n=1, ids=(ID,) * 40), id="larger than its class"),
    ],
)
def test_a_struct_that_breaks_its_bounds_is_not_encoded(payload: Outgoing) -> None:
    with pytest.raises(ContractError):
        contract.encode(payload)


# ---- round trips of whatever the structs allow


def _strategy(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - a table of types
    """Return what makes every value that a type of the contract allows."""
    inspect = msgspec.inspect
    match kind:
        case inspect.StrType(pattern=str(pattern), max_length=longest):
            return st.from_regex(pattern).filter(lambda text: longest is None or len(text) <= longest)
        case inspect.IntType(ge=int(low), le=int(high)):
            return st.integers(low, high)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.UnionType(types=types):
            return st.one_of(*map(_strategy, types))
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=int(high)):
            return st.lists(_strategy(item), min_size=low or 0, max_size=high).map(tuple)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_strategy(key), _strategy(value), max_size=9)
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: _strategy(field.type) for field in fields})
    raise AssertionError(f"a type the contract should not have: {kind}")


def _is_consistent(shape: Shape) -> bool:
    match shape:
        case contract.EraseBefore():
            return shape.is_whole
        case contract.Reply():
            return (shape.status == "error") == (shape.error is not None)
        case contract.EraseRequest():
            return shape.is_one_way
    return True


ANYTHING = st.one_of(*(_strategy(msgspec.inspect.type_info(shape)) for shape in SHAPES)).filter(
    _is_consistent
)


@settings(deadline=None)  # the machine may be busy
@given(ANYTHING)
def test_whatever_the_structs_allow_comes_back_the_same_and_in_one_size(shape: Shape) -> None:
    data = cases.encode(shape)
    assert cases.decode(cases.kind_of(shape), data) == shape
    if isinstance(shape, Outgoing):
        assert len(data) == shape.padded_bytes
        assert contract.decode_known(data) == shape
    else:
        assert len(data) <= contract.MAX_REQUEST_BYTES


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=300))
def test_bytes_are_decoded_or_refused_and_nothing_else(data: bytes) -> None:
    decoders: list[Callable[[bytes], object]] = [
        contract.decode, contract.decode_known, contract.decode_ack,
        *(lambda data, name=name: contract.decode_request(name, data) for name in contract.COMMANDS),
    ]  # fmt: skip
    for decoder in decoders:
        try:
            decoder(data)
        except ContractError:
            continue


def _strings(kind: msgspec.inspect.Type, where: str) -> Iterator[tuple[str, msgspec.inspect.StrType]]:
    """Yield every text in a type, with its place."""
    inspect = msgspec.inspect
    match kind:
        case inspect.StrType():
            yield where, kind
        case inspect.UnionType(types=types):
            for inner in types:
                yield from _strings(inner, where)
        case inspect.VarTupleType(item_type=item):
            yield from _strings(item, where + "[]")
        case inspect.DictType(key_type=key, value_type=value):
            yield from _strings(key, where + ".keys")
            yield from _strings(value, where + "[]")
        case inspect.StructType(fields=fields):
            for field in fields:
                yield from _strings(field.type, f"{where}.{field.name}")


# What is not a word of a list, an id, a number or a hash, and why it may leave.
FREE_TEXT = {
    "PolicyNow.document.rules[].purpose": "GDPR 5(1)(b) wants the purpose said; whoever installs writes it",
}
TEXT_ALPHABETS = {
    "^[0-9a-v]{16}", "^[0-9a-v]{8}", "^[0-9a-f]{64}", "^[0-9a-f]{128}", "^[a-z][a-z0-9_.]{0,39}",
    "^[A-Za-z0-9_.-]{1,64}", "^[0-9][0-9a-z.+]{0,31}", "^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}",
    "^(served|failed|false_wake)\\.(audio|words|action)",
}  # fmt: skip


def test_no_text_is_free() -> None:
    free = set()
    for shape in SHAPES:
        for where, text in _strings(msgspec.inspect.type_info(shape), shape.__name__):
            pattern = text.pattern or ""
            # A bare `$` would let a line feed follow.
            if not pattern.endswith("$(?!\\n)"):
                pytest.fail(f"{where} can end with a line feed")
            if pattern.removesuffix("$(?!\\n)") not in TEXT_ALPHABETS:
                free.add(where)
    assert free == set(FREE_TEXT)


def test_every_number_has_bounds_that_json_holds() -> None:
    def numbers(kind: object) -> Iterator[msgspec.inspect.IntType]:
        if isinstance(kind, msgspec.inspect.IntType):
            yield kind
        for inner in getattr(kind, "types", ()):
            yield from numbers(inner)
        for field in getattr(kind, "fields", ()):
            yield from numbers(field.type)
        for name in ("item_type", "key_type", "value_type"):
            if hasattr(kind, name):
                yield from numbers(getattr(kind, name))

    for shape in SHAPES:
        for number in numbers(msgspec.inspect.type_info(shape)):
            assert number.ge is not None
            assert number.le is not None
            assert 0 <= number.ge < number.le < 2**53


# ---- sizes


@pytest.mark.parametrize("kind", OUTGOING, ids=lambda kind: kind.__name__)
def test_the_largest_payload_fits_its_class(kind: type[Outgoing]) -> None:
    assert len(contract.encode(LARGEST_OF[kind])) == kind.padded_bytes


def test_all_actions_are_of_one_size() -> None:
    longest = msgspec.structs.replace(ACTION, action="a" * 40, ttl=contract.MAX_TTL_S, outcome="failed")
    shortest = msgspec.structs.replace(ACTION, action="a", ttl=1)
    assert len(contract.encode(longest)) == len(contract.encode(shortest)) == 256


def test_actions_states_and_alarms_are_of_one_size() -> None:
    # Their lengths on the wire do not even say which of them it was.
    sizes = {kind.padded_bytes for kind in (type(ACTION), type(STATE), type(ALARM))}
    assert len(sizes) == 1


def test_a_cover_is_of_the_size_of_what_it_covers() -> None:
    assert contract.Cover.padded_bytes == max(
        kind.padded_bytes for kind in OUTGOING if not kind.is_retained and kind is not contract.Reply
    )


@pytest.mark.parametrize("param", cases.FITS)
def test_after_the_value_there_are_only_spaces(param: Shape) -> None:
    if not isinstance(param, Outgoing):
        return
    data, value = contract.encode(param), msgspec.json.encode(param)
    assert data[: len(value)] == value
    assert data[len(value) :].strip(b" ") == b""


def test_a_payload_can_be_padded_further() -> None:
    data = contract.encode(ACTION, size_bytes=512)
    assert len(data) == 512
    assert contract.decode(data) == ACTION


def test_a_payload_cannot_be_padded_to_less_than_its_class() -> None:
    with pytest.raises(ContractError, match="a size of 255 bytes"):
        contract.encode(ACTION, size_bytes=255)


# ---- what a subscriber must be able to read


def test_a_subscriber_leaves_out_what_it_does_not_know() -> None:
    for shape in cases.SHAPES_THAT_FIT:
        if isinstance(shape, Outgoing):
            for changed in _with_a_field_more(msgspec.to_builtins(shape)):
                if "words" not in changed.get("document", {}).get("rules", {}):  # type: ignore[attr-defined]  # an object
                    assert contract.decode_known(json.dumps(changed).encode()) == shape


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"v":1,"type":"weather","sun":true}   ', id="a type"),
        pytest.param(b'{"v":2,"type":"action"}', id="a version of the future"),
        pytest.param(b'{"v":"one","type":"weather"}', id="both"),
    ],
)
def test_a_subscriber_ignores_what_it_does_not_know(data: bytes) -> None:
    assert contract.decode_known(data) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"v":true,"type":"cover"}', id="a version that is true"),
        pytest.param(b'{"type":"cover"}', id="no version"),
        pytest.param(b'{"v":1}', id="no type"),
        pytest.param(b'{"v":1,"type":["cover"]}', id="a type that is a list"),
        pytest.param(b'{"v":1,"type":"alarm","alarm":"fire","on":true}', id="a word that is not of the list"),
        pytest.param(b'{"v":1,"type":"alarm","alarm":"sweep"}', id="a field that is missing"),
        pytest.param(b'{"v":1,"type":"policy","hash":"","document":[]}', id="a list for an object"),
        *cases.NO_OBJECTS,
    ],
)
def test_what_a_subscriber_cannot_take_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        contract.decode_known(data)


# ---- what comes in


@pytest.mark.parametrize("name", ["mute", "ping"])
def test_an_empty_request_is_an_empty_object(name: str) -> None:
    assert contract.decode_request(name, b"") == contract.decode_request(name, b"{}")


@pytest.mark.parametrize(
    "name",
    ["unmute", "listen", "export", "play", "policy", "lengthen", "", "mute/", "MUTE", "mute\n", "__class__"],
)
def test_there_is_no_other_command(name: str) -> None:
    assert contract.COMMANDS == ("mute", "erase", "shorten", "result", "ping")
    with pytest.raises(ContractError, match="no such command"):
        contract.decode_request(name, b"{}")


@pytest.mark.parametrize("kind", ["cmd/mute", "erase/ack"])
def test_what_comes_in_is_bounded_before_it_is_read(kind: str) -> None:
    whole = cases.encode(cases.ACK) if kind == "erase/ack" else b"{}"
    assert cases.decode(kind, whole.ljust(contract.MAX_REQUEST_BYTES))
    with pytest.raises(ContractError, match="more than 1024 bytes"):
        cases.decode(kind, whole.ljust(contract.MAX_REQUEST_BYTES + 1))


@pytest.mark.parametrize(
    ("topic", "is_one"),
    [
        pytest.param("fadeout/sp-1/reply", True, id="the usual one"),
        pytest.param("fadeout/sp-1/reply/me", True, id="one of one's own"),
        pytest.param("fadeout/sp-1/reply/a/b/c", True, id="three levels below"),
        pytest.param("fadeout/sp-1/reply/a/b/c/d", False, id="four levels below"),
        pytest.param("fadeout/sp-1/reply/", False, id="an empty level"),
        pytest.param("fadeout/sp-1/reply/#", False, id="a wildcard"),
        pytest.param("fadeout/sp-1/reply/+", False, id="another wildcard"),
        pytest.param("fadeout/sp-1/reply/a\n", False, id="a line feed"),
        pytest.param("fadeout/sp-1/reply/" + "a" * 65, False, id="a long level"),
        pytest.param("fadeout/sp-1/replyto", False, id="a longer word"),
        pytest.param("fadeout/sp-1/state", False, id="the state"),
        pytest.param("fadeout/sp-1/cmd/mute", False, id="a command"),
        pytest.param("fadeout/sp-2/reply", False, id="another device's"),
        pytest.param("homeassistant/device/x/config", False, id="Home Assistant's discovery"),
        pytest.param("xfadeout/sp-1/reply", False, id="something before it"),
        pytest.param("", False, id="none"),
    ],
)
def test_replies_go_below_the_devices_own_topic(topic: str, is_one: bool) -> None:  # noqa: FBT001 - a table
    assert contract.is_reply_topic("sp-1", topic) is is_one


# ---- topics, and the policy's hash


def test_topics_and_retain_flags() -> None:
    assert contract.topic_of("sp-1", ACTION) == "fadeout/sp-1/event/action"
    assert contract.topic_of("sp-1", ERASE) == "fadeout/sp-1/erase/notice"
    assert contract.topic_of("sp-1", STATE) == "fadeout/sp-1/state"
    assert contract.topic_of("sp-1", ALARM) == "fadeout/sp-1/event/alarm"
    assert contract.availability_topic("sp-1") == "fadeout/sp-1/availability"
    assert contract.command_filter("sp-1") == "fadeout/sp-1/cmd/+"
    assert contract.ack_filter("sp-1") == "fadeout/sp-1/erase/ack/+"
    assert set(contract.retained_topics("sp-1")) == {
        f"fadeout/sp-1/{end}" for end in ("availability", "erase/before", "state", "info", "policy")
    }


def test_every_type_has_a_topic_of_its_own() -> None:
    assert len({kind.topic for kind in OUTGOING}) == len({kind.__struct_config__.tag for kind in OUTGOING})
    assert len({kind.topic for kind in OUTGOING}) == len(OUTGOING)


def test_what_a_receipt_is_signed_over() -> None:
    signed = contract.receipt_signed(n=7, items=2, reason="user", hour=3600, root="file")
    assert signed == (
        b'fadeout receipt v1\n{"hour":3600,"items":2,"n":7,"reason":"user","root":"file","v":1}'
    )


@pytest.mark.parametrize(
    "retention",
    [
        pytest.param(policy.Retention(), id="the default"),
        pytest.param(
            policy.Retention(
                quiet_hours="22:00-06:30",
                debug_capture="12h",
                failed=policy.FailedRules(words=policy.Rule("2d", 'sort out "caf\u00e9 \U0001f642"')),
            ),
            id="one with other letters",
        ),
    ],
)
def test_the_policy_of_the_device_fits_and_keeps_its_hash(retention: policy.Retention) -> None:
    compiled = policy.compile_policy(retention)
    document = msgspec.json.decode(compiled.document, type=contract.PolicyDocument)
    sent = contract.encode(msgspec.structs.replace(POLICY, hash=compiled.hash, document=document))
    # As whoever subscribes computes it: RFC 8785.
    canonical = json.dumps(
        json.loads(sent)["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert hashlib.sha256(canonical.encode()).hexdigest() == compiled.hash


def test_the_contract_has_every_public_name_of_its_parts() -> None:
    for part in (vocabulary, payloads, requests):
        made_there = {
            name
            for name, value in vars(part).items()
            if not name.startswith("_")
            and name not in {"Annotated", "ClassVar", "Final", "Literal", "Meta", "annotations"}
            and getattr(value, "__module__", part.__name__) not in {"typing", "msgspec"}
            and not isinstance(value, type(msgspec))
        }
        assert made_there <= set(vars(contract)), made_there - set(vars(contract))
