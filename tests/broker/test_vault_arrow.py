"""Lines from the vault: what is taken, and what ends the connection."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from fadeout_broker import arrow, contract
from fadeout_broker.adapters.vault_arrow import UnfitEvent, VaultArrow, parse
from fadeout_broker.errors import ArrowError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENT = contract.ActionEvent(v=1, id="0123456789abcdef", action="light.on", outcome="served", ttl=60)
PUBLISH = arrow.Publish(7, EVENT, 60)


def _publish(**payload: object) -> bytes:
    return json.dumps(
        {"do": "publish", "seq": 7, "payload": {**msgspec.to_builtins(EVENT), **payload}, "expiry_s": 60}
    ).encode()


def test_a_line_of_the_contract_is_read() -> None:
    assert parse(msgspec.json.encode(PUBLISH)) == PUBLISH


@pytest.mark.parametrize(
    ("line", "where"),
    [
        pytest.param(_publish(ttl=0), "$.payload.ttl", id="no life left"),
        pytest.param(_publish(text="canary words"), "$.payload", id="a field the contract does not know"),
        pytest.param(_publish(action="canary words"), "$.payload.action", id="free text"),
        pytest.param(_publish(type="canary"), "$.payload.type", id="a type the contract does not know"),
        pytest.param(
            b'{"do":"publish","seq":7,"payload":"canary"}', "$.payload", id="a payload that is text"
        ),
    ],
)
def test_an_event_that_does_not_fit_is_told_by_its_number(line: bytes, where: str) -> None:
    assert parse(line) == UnfitEvent(7, where)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"canary", id="no JSON"),
        pytest.param(b'"canary"', id="text"),
        pytest.param(b"\xff\xfe\x00", id="no UTF-8"),
        pytest.param(b'{"do":"canary"}', id="a command the contract does not know"),
        pytest.param(b'{"do":"configure","node":"sp-1"}', id="no settings"),
        pytest.param(b'{"do":"configure","settings":{"canary":1},"node":"sp-1"}', id="an unknown setting"),
        pytest.param(
            b'{"do":"configure","settings":{},"node":"canary canary"}', id="a node that is no topic"
        ),
        pytest.param(b'{"do":"publish","seq":"canary","payload":{}}', id="a number in text"),
        pytest.param(b'{"do":"publish","payload":{"type":"canary"}}', id="no number"),
        pytest.param(_publish()[:-1] + b',"canary":1}', id="a field beside the payload"),
        pytest.param(b"[" * 5000, id="deeply nested"),
    ],
)
def test_any_other_line_is_refused_without_quoting_it(line: bytes) -> None:
    with pytest.raises(ArrowError) as caught:
        parse(line)
    assert "canary" not in str(caught.value)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[VaultArrow, socket.socket]]:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        arrow = VaultArrow(path)
        peer, _ = server.accept()
        with peer:
            yield arrow, peer
        arrow.close()


def test_a_line_in_pieces_is_put_together(ends: tuple[VaultArrow, socket.socket]) -> None:
    reporter, peer = ends
    line = msgspec.json.encode(PUBLISH) + b"\n"
    peer.sendall(line[:20])
    assert reporter.read() == []
    peer.sendall(line[20:] + line)
    assert reporter.read() == [PUBLISH, PUBLISH]


def test_an_endless_line_is_not_kept(ends: tuple[VaultArrow, socket.socket]) -> None:
    reporter, peer = ends
    peer.sendall(b"x" * arrow.MAX_LINE_BYTES)
    assert reporter.read() == []
    peer.sendall(b"x")
    with pytest.raises(ArrowError, match="more than 8192 bytes"):
        reporter.read()


def test_a_vault_that_closes_is_gone(ends: tuple[VaultArrow, socket.socket]) -> None:
    reporter, peer = ends
    peer.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ArrowError, match="closed the connection"):
        reporter.read()


def test_no_vault(tmp_path: Path) -> None:
    with pytest.raises(ArrowError, match="does not answer"):
        VaultArrow(tmp_path / "missing.sock")
