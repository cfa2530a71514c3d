"""What is let in, with the clock in hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_broker import arrow, contract
from fadeout_broker.incoming import MAX_WAITING, Born, CameBack, Door
from fadeout_broker.uplink import Arrived

HOME = arrow.Configure(arrow.BrokerSettings(), "sp-test")
CMD = "fadeout/sp-test/cmd/"
ACKS = "fadeout/sp-test/erase/ack/"
ACK = b'{"v":1,"era":"0123abcd","n":7}'


def _awaits_nothing(_payload: bytes) -> bool:
    return False


def _take(arrived: Arrived) -> object:
    door = Door(HOME, _awaits_nothing)
    return door.take(arrived, 0.0) if door.admits(arrived, 0.0) else "dropped"


@pytest.mark.parametrize(
    ("arrived", "said"),
    [
        pytest.param(Arrived(CMD + "mute", b""), arrow.Asked("mute", b""), id="a command"),
        pytest.param(
            Arrived(CMD + "erase", b"{}", reply_to="fadeout/sp-test/reply/me", correlation=b"7"),
            arrow.Asked("erase", b"{}", "fadeout/sp-test/reply/me", b"7"),
            id="a command that wants its answer somewhere",
        ),
        pytest.param(
            Arrived(CMD + "mute", b"", reply_to="elsewhere"),
            arrow.Asked("mute", b""),
            id="an answer elsewhere",
        ),
        pytest.param(
            Arrived(CMD + "mute", b"", reply_to="fadeout/sp-test/reply/" + "x" * 400),
            arrow.Asked("mute", b""),
            id="an answer on an endless topic",
        ),
        pytest.param(
            Arrived(CMD + "mute", b"", correlation=b"x" * 129),
            arrow.Asked("mute", b""),
            id="endless correlation",
        ),
        pytest.param(
            Arrived(CMD + "x" * 60_000, b"y" * 90_000),
            arrow.Asked("x" * 32, b"y" * (contract.MAX_REQUEST_BYTES + 1)),
            id="an endless name and payload are cut off: the vault refuses them",
        ),
        pytest.param(
            Arrived(CMD + "\x1b[2J", b"\xff"), arrow.Asked("\x1b[2J", b"\xff"), id="noise is the vault's"
        ),
        pytest.param(
            Arrived(ACKS + "ha", ACK), arrow.Acknowledged("ha", contract.Ack(1, "0123abcd", 7)), id="an ack"
        ),
        pytest.param(Arrived("homeassistant/status", b"online"), Born(), id="Home Assistant has started"),
        pytest.param(Arrived("homeassistant/status", b"offline"), "dropped", id="Home Assistant has stopped"),
        pytest.param(
            Arrived(CMD + "erase", b'{"all":true}', is_retained=True), "dropped", id="a retained command"
        ),
        pytest.param(Arrived(ACKS + "ha", ACK, is_retained=True), "dropped", id="a retained ack"),
        pytest.param(Arrived(ACKS + "ha", b"{}"), None, id="half an ack"),
        pytest.param(Arrived(ACKS + "ha", ACK + b"x"), None, id="an ack and more"),
        pytest.param(Arrived(ACKS + "Home Assistant", ACK), None, id="a consumer that is no name"),
        pytest.param(Arrived(ACKS + "x" * 33, ACK), None, id="a consumer with an endless name"),
        pytest.param(Arrived(ACKS + "sp-test", ACK), None, id="ourselves, too late"),
        pytest.param(Arrived("fadeout/sp-2/cmd/mute", b""), "dropped", id="another node's"),
        pytest.param(Arrived("", b""), "dropped", id="no topic"),
    ],
)
def test_what_comes_in(arrived: Arrived, said: object) -> None:
    assert _take(arrived) == said


@given(st.text(), st.binary(max_size=2000), st.none() | st.text(), st.none() | st.binary())
def test_whatever_is_said_fits_the_arrow(
    topic: str, payload: bytes, reply_to: str | None, correlation: bytes | None
) -> None:
    import msgspec  # noqa: PLC0415 - only here

    for place in (CMD, ACKS, ""):
        said = _take(Arrived(place + topic, payload, reply_to=reply_to, correlation=correlation))
        if isinstance(said, arrow.Asked | arrow.Acknowledged):
            assert msgspec.json.decode(msgspec.json.encode(said), type=arrow.FromReporter) == said


def test_a_flood_of_commands_is_cut_down_and_keeps_nothing_else_out() -> None:
    door = Door(HOME, _awaits_nothing)
    admitted = 0
    for number in range(100_000):
        arrived = Arrived(CMD + "erase", b"x")
        if door.admits(arrived, number / 10_000):  # ten seconds of it
            admitted += 1
            door.take(arrived, number / 10_000)
    assert 60 <= admitted <= 71
    assert door.dropped == 100_000 - admitted
    assert door.admits(Arrived(ACKS + "ha", ACK), 10.0)
    assert door.admits(Arrived(CMD + "mute", b""), 10.0)


def test_what_waits_is_bounded() -> None:
    door = Door(HOME, _awaits_nothing)
    waiting = [Arrived(CMD + "mute", b"") for _ in range(1000)]
    waiting += [Arrived(ACKS + "ha", ACK) for _ in range(1000)]
    assert sum(door.admits(each, at * 1000.0) for at, each in enumerate(waiting)) == 2 * MAX_WAITING
    door.take(waiting[0], 0.0)
    assert door.admits(waiting[0], 10_000_000.0)


def test_what_we_ask_ourselves_comes_back_through_any_flood() -> None:
    door = Door(HOME, lambda payload: payload == b"ours")
    while door.admits(Arrived(CMD + "mute", b""), 0.0):
        pass
    ours = Arrived(CMD + "ping", b"ours")
    assert door.admits(ours, 0.0)
    assert door.take(ours, 0.0) == CameBack(b"ours")
    assert not door.admits(Arrived(CMD + "mute", b"ours"), 0.0), "another topic"


def test_dropping_is_logged_once_a_minute_without_content(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(HOME, _awaits_nothing)
    for second in range(120):
        door.admits(Arrived("canary", b"canary"), float(second))
    assert [record.getMessage() for record in caplog.records] == [
        f"messages that were too many or of no shape: dropped={count}" for count in (1, 61)
    ]
