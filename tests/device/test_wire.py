"""Frames on a real socket: bounds, cuts, and what is no frame."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from fadeout_device import messages, wire
from fadeout_device.errors import UnavailableError, WireError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, wire.Connection]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    connection = wire.Connection(theirs)
    yield ours, connection
    connection.close()
    ours.close()


def test_a_frame_comes_out_as_it_went_in(pair: tuple[socket.socket, wire.Connection]) -> None:
    ours, connection = pair
    sender = wire.Connection(ours)
    sent = messages.Utterance("0" * 16, "alexa", 0.5, 1.0, 1.0, 0.5, "failed", "none")
    sender.send(sent, b"\x01\x02" * 8000)
    sender.send(messages.Tick(3.5))
    first, second = connection.receive(), connection.receive()
    assert first is not None
    assert second is not None
    assert first.message(messages.FromEar) == sent
    assert first.payload == b"\x01\x02" * 8000
    assert second.message(messages.FromEar) == messages.Tick(3.5)
    sender.close()


def test_a_close_between_frames_is_an_end(pair: tuple[socket.socket, wire.Connection]) -> None:
    ours, connection = pair
    ours.shutdown(socket.SHUT_WR)
    assert connection.receive() is None
    assert connection.is_closed()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b'{"type":"tick"', id="a header is cut"),
        pytest.param(b"x" * (wire.MAX_HEADER_BYTES + 1) + b"\n", id="a header is too long"),
        pytest.param(b"not json\n", id="a header is no JSON"),
        pytest.param(b"[1]\n", id="a header is no object"),
        pytest.param(b'{"payload_length":-1}\n', id="a payload is shorter than nothing"),
        pytest.param(b'{"payload_length":4194305}\n', id="a payload is one byte too long"),
        pytest.param(b'{"payload_length":"9"}\n', id="a length is a text"),
        pytest.param(b'{"payload_length":10}\nonly', id="a payload is cut"),
        pytest.param(b"\xff\xfe\n", id="a header is no text"),
    ],
)
def test_what_is_no_frame_ends_the_connection(
    pair: tuple[socket.socket, wire.Connection], sent: bytes
) -> None:
    ours, connection = pair
    ours.sendall(sent)
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(WireError):
        connection.receive()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b'{"type":"shout"}', id="unknown type"),
        pytest.param(b'{"type":"tick","time_s":1.0,"note":"x"}', id="unknown field"),
        pytest.param(b'{"type":"tick"}', id="missing field"),
        pytest.param(b'{"type":"wake","wake_word":"Rm -rf","score":0.5}', id="free text"),
        pytest.param(b'{"type":"wake","wake_word":"alexa","score":1.5}', id="out of range"),
        pytest.param(b'"tick"', id="a text"),
    ],
)
def test_what_is_no_message_of_the_ear_is_refused(header: bytes) -> None:
    with pytest.raises(WireError):
        wire.Frame(header, b"").message(messages.FromEar)


def test_a_frame_does_not_show_its_payload() -> None:
    assert "secret" not in repr(wire.Frame(b"{}", b"secret"))


def test_only_this_user_can_reach_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    path.touch()  # as a dead process leaves it
    server = wire.listen(path)
    client = wire.connect(path, 5)
    accepted, _ = server.accept()
    assert path.stat().st_mode & 0o777 == 0o600
    assert wire.peer_uid(accepted) == os.getuid()
    for each in (client, accepted, server):
        each.close()


def test_nobody_listening_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"a\.sock"):
        wire.connect(tmp_path / "a.sock")


def test_a_state_folder_may_lie_deeper_than_a_socket_s_address_is_long(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    server = wire.listen(folder / "a.sock")
    wire.connect(folder / "a.sock", 5).close()
    server.close()
