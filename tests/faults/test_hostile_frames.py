"""Whatever comes through the vault's sockets, it closes that connection and serves the others."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

import pytest

import rig_processes
from fadeout_device import wire
from rig_fadeout import Home, Process, Run, hear, new_home, vault_command
from rig_speech import Speech, silence, write_wav
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

SOCKETS = ["control", "ear", "reporter"]
IDLE_THREADS = 2 + len(SOCKETS)
"""The one that sweeps, the watchdog, and one that accepts on each socket."""
_TIMEOUT_S = 30.0


def header(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


UTTERANCE = {
    "type": "utterance", "delivery": "0" * 16, "wake_word": "okay_nabu", "score": 0.9, "age_s": 1.0,
    "duration_s": 1.0, "speech_s": 1.0, "outcome": "failed", "action": "none",
}  # fmt: skip

FRAMES = {
    "nothing": b"",
    "an empty line": b"\n",
    "zeros": bytes(100),
    "no JSON": b"hello\n",
    "no end of line": b'{"type":"status"}',
    "no UTF-8": b'{"type":"show","recording":"\xff\xfe"}\n',
    "half a surrogate": b'{"type":"show","recording":"\\ud800"}\n',
    "a list": b"[]\n",
    "a number": b"1\n",
    "null": b"null\n",
    "a string": b'"status"\n',
    "no type": b"{}\n",
    "a type that is no string": b'{"type":[]}\n',
    "an unknown type": header(type="shutdown"),
    "an unknown field": header(type="status", more=1),
    "a message of another socket": header(type="sealed", delivery="0" * 16, recording="", kept=[]),
    "a number too large": b'{"type":"erase","since_s":1e999}\n',
    "a number with a thousand digits": b'{"type":"erase","last":' + b"9" * 1000 + b"}\n",
    "deep nesting": b"[" * 60_000 + b"\n",
    "deep nesting in a field": b'{"type":"status","x":' + b'{"x":' * 10_000 + b"1" + b"}" * 10_001 + b"\n",
    "the same field twice": b'{"type":"status","type":"list"}\n',
    "a header without an end": b"a" * (wire.MAX_HEADER_BYTES + 100),
    "a payload too large": header(type="status", payload_length=wire.MAX_PAYLOAD_BYTES + 1),
    "a payload of negative length": header(type="status", payload_length=-1),
    "a payload length that is no number": header(type="status", payload_length="1"),
    "a payload length beyond 64 bits": header(type="status", payload_length=2**70),
    "a payload that does not come": header(type="status", payload_length=1_000_000) + b"abc",
    "an utterance with half a sample": header(**UTTERANCE, payload_length=3) + b"abc",
    "an utterance longer than it says": header(**UTTERANCE, payload_length=64_000) + bytes(64_000),
    "an utterance with a path for a token": header(**{**UTTERANCE, "delivery": "../../etc/passwd"}),
    "an utterance of an outcome there is not": header(**{**UTTERANCE, "outcome": "x"}),
    "an utterance of negative age": header(**{**UTTERANCE, "age_s": -1.0}),
    "an utterance with a line feed in its word": header(**{**UTTERANCE, "wake_word": "alexa\n"}),
    "a time at the end of time": header(type="tick", time_s=1e300),
    "a broker that says too much": b'{"say":"link","connected":true,"detail":"' + b"x" * 5_000 + b'"}\n',
    "a line that is too long for the reporter": b'{"say":"' + b"x" * 20_000 + b'"}\n',
    "an event that was never sent": b'{"say":"published","seq":99999}\n',
    "an event number beyond 64 bits": b'{"say":"published","seq":' + b"9" * 30 + b"}\n",
}


class Vault:
    """A vault alone that holds one recording; started again if a test before has ended it."""

    def __init__(self, home: Home, speech: Speech) -> None:
        self.home = home
        self.process = self._start()
        hear(home, speech.path)
        (self.recording,) = home.held()

    def _start(self) -> Process:
        process = Process(self.home, vault_command(self.home))
        wait_for(self.home.status, "the vault answers")
        return process

    def threads(self) -> int:
        """Return how many threads the vault has; none when it is gone."""
        return len(rig_processes.status(self.process.process.pid, "State"))

    def revive(self) -> None:
        if self.home.status() is None:
            self.process.end()
            self.process = self._start()
        self.process.err.clear()


@pytest.fixture(scope="module")
def one_vault(speech: Speech) -> Iterator[Vault]:
    with new_home() as home:
        vault = Vault(home, speech)
        yield vault
        vault.process.end()


@pytest.fixture
def vault(one_vault: Vault) -> Vault:
    one_vault.revive()
    return one_vault


def attack(home: Home, name: str, data: bytes) -> bytes:
    """Send bytes and hang up; return what came back."""
    connection = home.connect(name, _TIMEOUT_S)
    came = b""
    with contextlib.closing(connection), contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sock.sendall(data)
        connection.sock.shutdown(socket.SHUT_WR)
        while part := connection.sock.recv(65_536):
            came += part
    return came


@pytest.mark.parametrize("name", SOCKETS)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_hostile_frame_ends_its_connection_and_nothing_else(vault: Vault, name: str, frame: str) -> None:
    before = vault.home.status()
    came = attack(vault.home, name, FRAMES[frame])
    # The thread that took it is through, one way or the other.
    wait_for(lambda: vault.threads() <= IDLE_THREADS, "nobody serves that connection any more")
    after = vault.home.status()
    assert vault.process.process.poll() is None, f"the vault ended with {vault.process.process.returncode}"
    assert before is not None
    assert after is not None
    assert after.held == before.held == 1
    assert (after.ear, after.reporter, after.overdue) == ("away", "away", 0)
    if name == "control":
        assert b"Traceback" not in came
    assert not [line for line in vault.process.err if "Traceback" in line or "CRITICAL" in line]


def test_after_all_that_the_recording_is_still_there(vault: Vault) -> None:
    assert vault.home.held() == [vault.recording]
    assert vault.home.verb("play", vault.recording, "-o", vault.home.folder / "out.wav").returncode == 0


def test_a_client_that_dies_in_the_middle_of_an_answer_harms_nobody(vault: Vault) -> None:
    for _ in range(20):
        connection = vault.home.connect("control")
        connection.sock.sendall(header(type="play", recording=vault.recording))
        connection.sock.recv(100)
        connection.close()
    assert vault.home.held() == [vault.recording]


def test_a_client_that_never_reads_does_not_hold_the_others_up(vault: Vault) -> None:
    stalled = [vault.home.connect("control") for _ in range(4)]
    for connection in stalled:
        for _ in range(3):
            connection.sock.sendall(header(type="play", recording=vault.recording))
    assert vault.home.held() == [vault.recording]
    for connection in stalled:
        connection.close()


def test_many_connections_that_say_nothing_do_not_hold_the_others_up(vault: Vault) -> None:
    silent = [vault.home.connect(name, timeout_s=None) for name in SOCKETS for _ in range(50)]
    assert vault.home.held() == [vault.recording]
    for connection in silent:
        connection.close()
    assert vault.home.held() == [vault.recording]


def test_a_stranger_on_the_reporters_socket_does_not_cut_off_the_reporter(
    home: Home,
    tmp_path: Path,
    mosquitto: None,  # noqa: ARG001 - it skips
) -> None:
    quiet = write_wav(tmp_path / "quiet.wav", silence(60))
    with Run(home, "--local-broker", "--replay", quiet) as run:
        run.wait_until_up()
        attack(home, "reporter", b"")
        attack(home, "reporter", b'{"say":"link","connected":false}\n')
        run.wait_until_up(timeout_s=10.0)


def test_a_stranger_on_the_ears_socket_does_not_deafen_the_vault(home: Home, tmp_path: Path) -> None:
    home.config.write_text("[mqtt]\nenabled = false\n")
    quiet = write_wav(tmp_path / "quiet.wav", silence(60))
    with Run(home, "--replay", quiet):
        wait_for(lambda: (now := home.status()) and now.listening, "the ear listens")
        attack(home, "ear", b"")
        now = home.status()
        assert now is not None
        assert (now.ear, now.listening) == ("connected", True)
