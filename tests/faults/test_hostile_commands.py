"""Whatever is sent as a command: the vault lives, holds what it held, loosens nothing, logs nothing of it."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from fadeout_broker import arrow, contract
from rig_fadeout import Home, Process, hear, new_home, vault_command
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig_speech import Speech

MARK = "xyzzy"
"""Stands in every payload, and must stand nowhere else."""
NAMES = [
    *contract.COMMANDS,
    "unmute",
    "policy",
    "",
    "erase/all",
    "../erase",
    "mute\n",
    "\x00",
    "M\u00fcte",
    "+",
    "#",
]

PAYLOADS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"xyzzy",
    "zeros": bytes(100),
    "no UTF-8": b'{"transaction":"\xff\xfexyzzy"}',
    "half a surrogate": b'{"transaction":"\\ud800xyzzy"}',
    "a NUL": b'{"transaction":"xyzzy\\u0000"}',
    "a NUL as it is": b'{"transaction":"xyzzy\x00"}',
    "a line feed": b'{"transaction":"xyzzy\\n"}',
    "other letters": '{"transaction":"xyzzy\u202e\u2028"}'.encode(),
    "a transaction too long": json.dumps({"transaction": MARK * 20}).encode(),
    "an empty transaction": b'{"transaction":"","xyzzy":1}',
    "a transaction that is a number": b'{"transaction":1,"xyzzy":1}',
    "an unknown field": b'{"xyzzy":1}',
    "a list": b'["xyzzy"]',
    "a string": b'"xyzzy"',
    "null": b"null",
    "deep nesting": b"[" * 1024,
    "deep nesting in a field": b'{"ids":' + b"[" * 500 + b"]" * 500 + b"}",
    "ids that are none": b'{"ids":["xyzzy"]}',
    "ids that are paths": b'{"ids":["../../../../xyzzy"]}',
    "too many ids": json.dumps({"ids": ["0" * 16] * 40}).encode(),
    "ids twice": b'{"ids":["0000000000000000"],"all":true,"xyzzy":1}',
    "the same field twice": b'{"all":true,"all":false,"transaction":"xyzzy"}',
    "two ways": b'{"all":true,"last":1,"transaction":"xyzzy"}',
    "no way": b'{"all":false,"transaction":"xyzzy"}',
    "all that is a number": b'{"all":1,"transaction":"xyzzy"}',
    "a number too large": b'{"last":1e999,"transaction":"xyzzy"}',
    "a thousand digits": b'{"last":' + b"9" * 1000 + b"}",
    "a number of minus one": b'{"last":-1,"keep_s":-1,"last_minutes":-1}',
    "zero": b'{"last":0,"transaction":"xyzzy"}',
    "half a second": b'{"keep_s":0.5,"transaction":"xyzzy"}',
    "no second": b'{"keep_s":0,"transaction":"xyzzy"}',
    "for ever": b'{"keep_s":null,"transaction":"xyzzy"}',
    "longer than the ceiling": b'{"keep_s":99999999,"transaction":"xyzzy"}',
    "not a number": b'{"keep_s":NaN,"transaction":"xyzzy"}',
    "an outcome there is not": b'{"keep_s":60,"outcome":"xyzzy"}',
    "a result of nobody": b'{"id":"0123456789abcdef","result":"failed","xyzzy":1}',
    "a result that keeps": b'{"id":"0123456789abcdef","result":"xyzzy","keep_s":60}',
    "a switch": b'{"is_on":false,"xyzzy":1}',
    "as long as may be": b'{"transaction":"' + b"x" * 1000 + b'"}',
    "a byte too long": (b'{"transaction":"xyzzy' + b"x" * 1024)[: contract.MAX_REQUEST_BYTES + 1],
}
"""None of them is an erasure or a shortening; the empty one is a mute or a ping."""
REPLIES = [
    None, "", "#", "fadeout/+/reply", "homeassistant/xyzzy", "fadeout/sp-test/cmd/mute", "x" * 300, "\x00",
]  # fmt: skip


def asked(name: str, payload: bytes, reply_to: str | None, correlation: bytes | None) -> bytes:
    """Return the line of a reporter that checks nothing."""
    fields: dict[str, Any] = {"say": "asked", "name": name, "payload": base64.b64encode(payload).decode()}
    if reply_to is not None:
        fields["reply_to"] = reply_to
    if correlation is not None:
        fields["correlation"] = base64.b64encode(correlation).decode()
    return json.dumps(fields).encode() + b"\n"


class Reporter:
    """The reporter's end of the arrow to a real vault."""

    def __init__(self, home: Home) -> None:
        self._connection = home.connect("reporter", 30.0)
        self._lines = self._connection.sock.makefile("rb")
        self.answers: list[contract.Reply] = []
        self._read()
        self.say(msgspec.json.encode(arrow.BrokerLink(connected=True)) + b"\n")

    def say(self, line: bytes) -> None:
        self._connection.sock.sendall(line)

    def _read(self) -> arrow.ToReporter:
        line = self._lines.readline()
        assert line, "the vault closed the connection"
        message: arrow.ToReporter = msgspec.json.decode(line, type=arrow.ToReporter)
        return message

    def ask(self, line: bytes) -> None:
        """Send a command and then a ping that is answered, whatever becomes of the command."""
        ping = f"p{len(self.answers)}"
        self.say(line)
        self.say(asked("mute", b'{"transaction":"%s"}' % ping.encode(), None, None))
        while True:
            message = self._read()
            if isinstance(message, arrow.Publish):
                self.say(msgspec.json.encode(arrow.Published(message.seq)) + b"\n")
                if isinstance(message.payload, contract.Reply):
                    if message.payload.transaction == ping:
                        return
                    assert message.reply_to is None, "an answer that goes where none may go"
                    contract.encode(message.payload)
                    self.answers.append(message.payload)

    def close(self) -> None:
        self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._connection.close()


@pytest.fixture(scope="module")
def vault(speech: Speech) -> Iterator[tuple[Home, Process]]:
    with new_home() as home:
        home.config.write_text('[outcome]\nwait_s = 30\n[mqtt]\nnode = "sp-test"\n')
        with Process(home, vault_command(home), FADEOUT_LOG="debug") as process:
            wait_for(home.status, "the vault answers")
            hear(home, speech.path)
            yield home, process


@pytest.mark.system
@pytest.mark.parametrize("what", PAYLOADS)
def test_a_hostile_command_does_nothing_but_get_one_word(vault: tuple[Home, Process], what: str) -> None:
    home, process = vault
    before = home.status()
    assert before is not None
    with contextlib.closing(Reporter(home)) as reporter:
        for number, name in enumerate(NAMES):
            reply_to = REPLIES[number % len(REPLIES)]
            reporter.ask(asked(name, PAYLOADS[what], reply_to, b"\x00xyzzy"))
        answers = reporter.answers
    after = home.status()
    assert process.process.poll() is None, "the vault is gone"
    assert after is not None
    assert (after.held, after.held_bytes, after.overdue) == (before.held, before.held_bytes, 0)
    assert (after.held, after.policy_hash) == (1, before.policy_hash)
    for answer in answers:
        assert answer.error in {*get_args(contract.ReplyError), None}
        assert answer.error or answer.command in {"mute", "ping"}
    said = "\n".join(process.err)
    assert "Traceback" not in said
    assert MARK not in said
