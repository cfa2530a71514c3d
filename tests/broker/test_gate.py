"""What passes the gate, and what does not, whoever sends it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_broker import arrow, contract
from fadeout_broker.gate import NO_EXPIRY_S, SLOT_BYTES, Gate, Leaving, UnfitError

NODE = "sp-test"
PREFIX = "fadeout/sp-test/"
ACTION = contract.ActionEvent(v=1, id="0123456789abcdef", action="light.on", outcome="served", ttl=60)
BEFORE = contract.EraseBefore(v=1, era="0123abcd", n=0, since=1, ids=())
REPLY = contract.Reply(v=1, command="mute", status="ok")
DISCOVERY = "homeassistant/device/sp-test/config"
PING = b'{"transaction":"abc"}'
ACK = b'{"v":1,"era":"0123abcd","n":0}'


def _read_discovery(data: bytes) -> None:
    if data != b"{}":
        raise contract.ContractError("no discovery")


GATE = Gate(NODE, {DISCOVERY: _read_discovery})


def _in_slot(message: Leaving) -> Leaving:
    fits = message._replace(expiry_s=message.expiry_s or NO_EXPIRY_S)
    return fits._replace(payload=fits.payload.ljust(len(fits.payload) + SLOT_BYTES - fits.slot_bytes))


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Leaving(PREFIX + "event/action", contract.encode(ACTION), expiry_s=60), id="an action"),
        pytest.param(
            Leaving(PREFIX + "erase/before", contract.encode(BEFORE), is_retained=True), id="before"
        ),
        pytest.param(
            _in_slot(Leaving(PREFIX + "event/action", contract.encode(ACTION), expiry_s=60)), id="in a train"
        ),
        pytest.param(
            _in_slot(Leaving(PREFIX + "erase/before", contract.encode(BEFORE), is_retained=True)),
            id="a watermark in a train",
        ),
        pytest.param(Leaving(PREFIX + "reply", contract.encode(REPLY), correlation=b"x" * 128), id="a reply"),
        pytest.param(
            Leaving(PREFIX + "reply/a/b", contract.encode(REPLY)), id="a reply where it was asked for"
        ),
        pytest.param(Leaving(PREFIX + "availability", b"stopped", is_retained=True), id="a word"),
        pytest.param(Leaving(DISCOVERY, b"{}", is_retained=True), id="a discovery"),
        pytest.param(Leaving(DISCOVERY, b"", is_retained=True), id="a discovery cleared"),
        pytest.param(Leaving(PREFIX + "policy", b"", is_retained=True), id="a policy cleared"),
        pytest.param(Leaving(PREFIX + "cmd/ping", PING, expiry_s=60), id="a question to ourselves"),
        pytest.param(Leaving(PREFIX + "erase/ack/sp-test", ACK, expiry_s=60), id="our own acknowledgement"),
    ],
)
def test_what_fits_passes(message: Leaving) -> None:
    GATE.check(message)


def _action(**changed: object) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(ACTION), **changed}).ljust(256)


@pytest.mark.parametrize(
    ("message", "where"),
    [
        pytest.param(Leaving(PREFIX + "event/action", _action(text="canary")), "payload", id="a field more"),
        pytest.param(Leaving(PREFIX + "event/action", _action(ttl=0)), "payload", id="no life left"),
        pytest.param(
            Leaving(
                PREFIX + "event/action", contract.encode(ACTION).replace(b'"v":1,', b'"v":1,"v":1,')[:256]
            ),
            "payload",
            id="a field twice",
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", b" " + contract.encode(ACTION)[:-1]),
            "payload",
            id="a space ahead",
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", contract.encode(ACTION)[:-1] + b"\t"),
            "payload",
            id="a tab at the end",
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", contract.encode(ACTION)[:-1]), "size", id="a byte short"
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", contract.encode(ACTION) + b" "), "size", id="a byte long"
        ),
        pytest.param(Leaving(PREFIX + "state", contract.encode(ACTION)), "topic", id="another type's topic"),
        pytest.param(
            Leaving("fadeout/sp-2/event/action", contract.encode(ACTION)), "topic", id="another node"
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", contract.encode(ACTION), is_retained=True),
            "retain",
            id="an event kept",
        ),
        pytest.param(
            Leaving(PREFIX + "erase/before", contract.encode(BEFORE)), "retain", id="a watermark lost"
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", contract.encode(ACTION), expiry_s=61),
            "expiry_s",
            id="it outlives itself",
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", contract.encode(ACTION), expiry_s=NO_EXPIRY_S),
            "expiry_s",
            id="an event for ever",
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", contract.encode(ACTION), expiry_s=0),
            "expiry_s",
            id="no time to live",
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", contract.encode(ACTION), correlation=b"x"),
            "correlation",
            id="an event that answers",
        ),
        pytest.param(
            Leaving(
                PREFIX + "reply", contract.encode(REPLY), correlation=b"x" * (arrow.CORRELATION_BYTES + 1)
            ),
            "correlation",
            id="too much correlation data",
        ),
        pytest.param(Leaving("elsewhere/reply", contract.encode(REPLY)), "topic", id="a reply elsewhere"),
        pytest.param(
            Leaving(PREFIX + "cmd/mute", contract.encode(REPLY)), "topic", id="a reply as a command"
        ),
        pytest.param(
            Leaving(PREFIX + "availability", b"singing", is_retained=True), "payload", id="another word"
        ),
        pytest.param(Leaving(PREFIX + "availability", b"online"), "retain", id="a word not kept"),
        pytest.param(
            Leaving(DISCOVERY, b'{"name":"canary"}', is_retained=True), "payload", id="another discovery"
        ),
        pytest.param(
            Leaving("homeassistant/device/x/config", b"{}", is_retained=True), "payload", id="another's"
        ),
        pytest.param(
            Leaving("homeassistant/status", b"", is_retained=True), "topic", id="another's topic cleared"
        ),
        pytest.param(
            Leaving(PREFIX + "event/action", b"", is_retained=True), "topic", id="nothing was retained there"
        ),
        pytest.param(Leaving(PREFIX + "event/action", b""), "payload", id="nothing at all"),
        pytest.param(Leaving(PREFIX + "cmd/mute", b"", expiry_s=60), "payload", id="a command"),
        pytest.param(
            Leaving(PREFIX + "cmd/ping", PING + b" ", expiry_s=60), "payload", id="a question and more"
        ),
        pytest.param(Leaving(PREFIX + "cmd/ping", PING), "expiry_s", id="a question that stays"),
        pytest.param(
            Leaving(PREFIX + "cmd/ping", PING, is_retained=True, expiry_s=60), "retain", id="a question kept"
        ),
        pytest.param(
            Leaving(PREFIX + "cmd/ping", PING, expiry_s=60, correlation=b"canary"),
            "correlation",
            id="a question with something beside it",
        ),
        pytest.param(Leaving(DISCOVERY, b"{}"), "retain", id="a discovery not kept"),
        pytest.param(
            Leaving(PREFIX + "erase/ack/else", ACK, expiry_s=60), "payload", id="another's acknowledgement"
        ),
    ],
)
def test_what_does_not_fit_stays(message: Leaving, where: str) -> None:
    with pytest.raises(UnfitError, match=rf"^{where}$") as caught:
        GATE.check(message)
    assert "canary" not in str(caught.value)


@given(
    st.builds(
        Leaving,
        topic=st.sampled_from([*contract.retained_topics(NODE), DISCOVERY, PREFIX + "reply", "x"])
        | st.text(),
        payload=st.binary(max_size=80) | st.text(max_size=80).map(str.encode),
        is_retained=st.booleans(),
        expiry_s=st.none() | st.integers(-1, 2**32),
        correlation=st.none() | st.binary(max_size=200),
    )
)
def test_noise_never_passes(message: Leaving) -> None:
    if message.is_retained and message.payload in (b"", b"{}", b"online", b"offline", b"stopped"):
        return
    with pytest.raises(UnfitError):
        GATE.check(message)


@pytest.mark.parametrize("correlation", [None, b"", b"x" * 119, b"x" * 120, b"x" * 128])
@pytest.mark.parametrize("expiry_s", [None, 1, NO_EXPIRY_S])
def test_the_size_of_a_slot_is_what_goes_over_the_wire(
    correlation: bytes | None, expiry_s: int | None
) -> None:
    message = Leaving("a/topic", b"x" * 300, expiry_s=expiry_s, correlation=correlation)
    assert message.slot_bytes + 7 == len(_packet(message))  # header, two bytes of length, topic's length, id


def _packet(message: Leaving) -> bytes:
    """Write the packet as paho does."""
    from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415 - only here
    from paho.mqtt.properties import Properties  # noqa: PLC0415 - only here

    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # because paho leaves it untyped
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    packed: bytes = properties.pack()  # type: ignore[no-untyped-call]  # the same
    return b"\0" * 7 + message.topic.encode() + packed + message.payload
