"""Against a small real Wyoming server, and against servers that misbehave."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fadeout_device import wire
from fadeout_device.actions_file import load_actions
from fadeout_device.config import RecogniserSettings, parse
from fadeout_device.ear.adapters.wyoming import Wyoming, _Stream
from fadeout_device.errors import ConfigError, UnavailableError
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).with_name("wyoming_server.py")
PCM = bytes(range(256)) * 400
ACTIONS = load_actions(RecogniserSettings("pocketsphinx"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder whose sockets have short enough paths."""
    with tempfile.TemporaryDirectory(prefix="wy") as name:
        yield Path(name)


def client(path: Path, timeout_s: float = 60.0) -> Wyoming:
    return Wyoming(ACTIONS, RecogniserSettings("wyoming", socket=str(path), timeout_s=timeout_s))


@contextlib.contextmanager
def real_server(folder: Path, text: str) -> Iterator[Path]:
    path = folder / "asr.sock"
    process = subprocess.Popen([sys.executable, SERVER, path, text, folder / "heard.json"])
    try:
        wait_for(path.exists, "the server listens")
        yield path
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("Turn on the kitchen light.", "light.on"),
        (" turn the volume\nup", "volume.up"),
        ("Tell the walrus about marmalade.", "none"),
        ("", "none"),
    ],
)
def test_a_transcript_leads_to_an_action_or_to_none(folder: Path, text: str, action: str) -> None:
    with real_server(folder, text) as path:
        recogniser = client(path)
        assert recogniser.recognise(PCM) == (action, " ".join(text.split()))
        assert recogniser.recognise(PCM).action == action
        heard = json.loads((folder / "heard.json").read_text())
    assert heard == {
        "language": "en", "rate": 16_000, "width": 2, "channels": 1, "bytes": len(PCM), "sum": sum(PCM),
    }  # fmt: skip


@contextlib.contextmanager
def bad_server(folder: Path, answer: bytes, *, stays: bool = False) -> Iterator[Path]:
    """Answer with these bytes whatever is said, and hang up or stay."""
    path = folder / "bad.sock"
    done = threading.Event()
    server = wire.listen(path)

    def serve() -> None:
        connection: socket.socket
        with contextlib.suppress(OSError), server.accept()[0] as connection:
            received = b""
            while b"audio-stop" not in received:
                received += connection.recv(65_536)
            connection.sendall(answer)
            if stays:
                done.wait(60.0)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield path
    finally:
        done.set()
        thread.join()
        server.close()


OTHER = b'{"type":"info","data":{}}\n'
RARE = "walrus"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(b"", "closed the connection", id="nothing"),
        pytest.param(b'{"type":"transcript"', "closed the connection", id="half a header"),
        pytest.param(b'{"type":"transcript","data_length":9}\n{}', "closed the conn", id="half of the data"),
        pytest.param(b"walrus\n", "does not speak Wyoming", id="no JSON"),
        pytest.param(b'["walrus"]\n', "does not speak Wyoming", id="a list"),
        pytest.param(b'{"type":3,"data":{"text":"walrus"}}\n', "does not speak", id="a number for a type"),
        pytest.param(b"[" * 70_000, "longer than 65536", id="an endless header"),
        pytest.param(b"[" * 60_000 + b"\n", "does not speak", id="a deep header"),
        pytest.param(b'{"type":"x","data_length":-1}\n', "longer than", id="less than nothing"),
        pytest.param(b'{"type":"x","payload_length":99999999}\n', "longer than", id="too much"),
        pytest.param(b'{"type":"transcript"}\n', "no text", id="no text"),
        pytest.param(b'{"type":"transcript","data":{"text":["walrus"]}}\n', "no text", id="a list of words"),
        pytest.param(
            b'{"type":"transcript","data":{"text":"%s"}}\n' % (b"a" * 5000), "no text of at most", id="a book"
        ),
        pytest.param(OTHER * 101, "100 events came", id="no end"),
    ],
)
def test_a_server_that_misbehaves_is_told_without_its_words(folder: Path, answer: bytes, told: str) -> None:
    with bad_server(folder, answer) as path, pytest.raises(UnavailableError) as caught:
        client(path).recognise(PCM)
    assert told in str(caught.value)
    assert RARE not in repr(caught.value) + repr(caught.value.__cause__)


def test_what_comes_before_the_transcript_is_left_alone(folder: Path) -> None:
    answer = OTHER + b'{"type":"transcript-chunk","data_length":2,"payload_length":3}\n{}abc'
    answer += b'{"type":"transcript","data_length":24}\n{"text":"what time is it"}'
    with bad_server(folder, answer.replace(b"24", b"%d" % len(b'{"text":"what time is it"}'))) as path:
        assert client(path).recognise(PCM).action == "time.tell"


def test_a_server_that_hangs_is_given_up(folder: Path) -> None:
    with (
        bad_server(folder, b"{", stays=True) as path,
        pytest.raises(UnavailableError, match=r"gave no transcript within 1 s"),
    ):
        client(path, timeout_s=1.0).recognise(PCM)


def test_a_server_that_drips_is_given_up_too() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 60_000)
        theirs.shutdown(socket.SHUT_WR)
        times = itertools.count()
        # As much as arrives at once, a second apart: never silent for long, and never done.
        with pytest.raises(TimeoutError):
            _Stream(ours, 3.0, lambda: float(next(times))).line()


@pytest.mark.parametrize("path", ["no.sock", "no/folder/asr.sock"])
def test_a_server_that_is_not_there_is_told(folder: Path, path: str) -> None:
    with pytest.raises(UnavailableError, match=r"no folder|nobody answers"):
        client(folder / path).recognise(PCM)


def test_the_engine_needs_its_socket() -> None:
    with pytest.raises(ConfigError, match=r"x:1: recogniser\.socket: is missing"):
        parse('[recogniser]\nengine = "wyoming"', "x")
    assert parse('[recogniser]\nengine = "wyoming"\nsocket = "/run/asr"', "x").recogniser.socket == "/run/asr"
