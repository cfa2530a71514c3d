"""What `fadeout-broker listen` shows, and that it survives its broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from paho.mqtt import publish

from broker.contract_cases import INFO
from fadeout_broker import contract, discovery
from fadeout_broker.__main__ import main
from fadeout_broker.listen import _BOLD, _END, _FAINT, _RED, Heard, _coloured, _plain, hear

if TYPE_CHECKING:
    from fadeout_broker.local import LocalBroker

WAIT_S = 30.0
ACTION = contract.ActionEvent(v=1, id="0123456789abcdef", action="light.on", outcome="served", ttl=60)
REPLY = contract.Reply(v=1, command="mute", status="ok")
ACK = b'{"v":1,"era":"0123abcd","n":1}'
TOPIC = "fadeout/sp-1/event/action"
DISCOVERY = discovery.build("sp-1", INFO, "homeassistant")[1]


@pytest.mark.parametrize(
    ("topic", "data", "problem"),
    [
        pytest.param(TOPIC, contract.encode(ACTION), None, id="an action"),
        pytest.param("fadeout/sp-1/availability", b"online", None, id="a word"),
        pytest.param("fadeout/sp-1/availability", b"away", "not a word", id="another word"),
        pytest.param(
            "fadeout/sp-1/state", contract.encode(ACTION), "not the topic", id="an action as a state"
        ),
        pytest.param("fadeout/sp-1/event/words", b"turn it on", "not a payload", id="words"),
        pytest.param(TOPIC, contract.encode(ACTION, size_bytes=600), None, id="an action in a train"),
        pytest.param(TOPIC, contract.encode(ACTION)[:-1], "padded", id="one space less"),
        pytest.param(TOPIC, b" " + contract.encode(ACTION)[:-1], "padded", id="a space before"),
        pytest.param(
            "fadeout/sp-1/reply/me", contract.encode(REPLY), None, id="a reply where it was asked for"
        ),
        pytest.param("fadeout/sp-1/state", contract.encode(REPLY), "not the topic", id="a reply as a state"),
        pytest.param("fadeout/sp-1/cmd/mute", b"", None, id="a request"),
        pytest.param(
            "fadeout/sp-1/cmd/mute", b'{"on":false}', "not a request", id="another field in a request"
        ),
        pytest.param("fadeout/sp-1/cmd/unmute", b"{}", "no such command", id="another request"),
        pytest.param("fadeout/sp-1/erase/ack/me", ACK, None, id="an acknowledgement"),
        pytest.param("fadeout/sp-1/erase/ack/me", b"ok", "not an ack", id="another acknowledgement"),
        pytest.param("fadeout/sp-1/state", b"", None, id="a state that is no longer said"),
        pytest.param("fadeout/sp-1/availability", b"", None, id="a word that is no longer said"),
        pytest.param(TOPIC, msgspec.json.encode(ACTION), "padded", id="no padding"),
        pytest.param(TOPIC, b'{"type":"action"}', "not a payload", id="half an action"),
        pytest.param(TOPIC, b"\xff\x00", "not a payload", id="bytes"),
        pytest.param(TOPIC, b"", "not a payload", id="nothing"),
    ],
)
def test_what_does_not_fit_is_marked(topic: str, data: bytes, problem: str | None) -> None:
    heard = hear(topic, data, retain=False)
    assert heard is not None
    if problem is None:
        assert heard.problem is msgspec.UNSET
    else:
        assert problem in str(heard.problem)


def test_json_is_shown_as_json_and_text_as_text() -> None:
    shown = json.loads(msgspec.json.encode(hear(TOPIC, contract.encode(ACTION), retain=False)))
    assert shown == {"topic": TOPIC, "payload": msgspec.to_builtins(ACTION), "retain": False}
    word = hear("fadeout/sp-1/availability", b"online", retain=True)
    assert word is not None
    assert word.payload == "online"


@pytest.mark.parametrize(
    ("topic", "data", "problem"),
    [
        pytest.param("homeassistant/device/sp-1/config", DISCOVERY, msgspec.UNSET, id="a device of ours"),
        pytest.param(
            "homeassistant/device/sp-2/config", DISCOVERY, "not the topic of this node", id="another's topic"
        ),
        pytest.param(
            "homeassistant/device/sp-1/config",
            DISCOVERY.replace(b'"Held"', b'"Words"'),
            "not a discovery of ours",
            id="with a name that is none of ours",
        ),
        pytest.param("homeassistant/device/sp-1/config", b"", msgspec.UNSET, id="a device that went"),
    ],
)
def test_of_a_discovery_only_the_size_is_shown(
    topic: str, data: bytes, problem: str | msgspec.UnsetType
) -> None:
    assert hear(topic, data, retain=True) == Heard(
        topic, f"discovery of {len(data)} bytes", retain=True, problem=problem
    )


def test_what_other_programs_tell_home_assistant_is_not_shown() -> None:
    assert hear("homeassistant/device/0x00158d/config", b'{"o":{"name":"zigbee2mqtt"}}', retain=True) is None


def test_colours_draw_nothing_else_and_are_for_terminals() -> None:
    heard = hear(TOPIC + "\x1b[2J", b"\x1b[31m", retain=True)
    assert heard is not None
    assert "\x1b" not in _plain(heard)
    shown = _coloured(heard)
    for code in (_BOLD, _FAINT, _RED, _END):
        shown = shown.replace(code, "")
    assert shown[8:] == _plain(heard)[8:]


class Listening:
    """The command, listening to a broker."""

    def __init__(self, broker: LocalBroker, *options: str) -> None:
        self._broker = broker
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fadeout_broker", "listen", "--port", str(broker.port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        publish.single(topic, payload, 1, retain, self._broker.host, self._broker.port)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def complaint(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=WAIT_S)
        assert self.process.returncode == 0


@pytest.mark.system
def test_it_shows_messages_and_survives_the_broker(broker: LocalBroker) -> None:
    listening = Listening(broker, "--json")
    assert "listening to fadeout/+/#" in listening.complaint()
    listening.publish("elsewhere", b"not ours")
    listening.publish(TOPIC, contract.encode(ACTION))
    expected: dict[str, Any] = {"topic": TOPIC, "payload": msgspec.to_builtins(ACTION), "retain": False}
    assert json.loads(listening.line()) == expected
    broker.kill()
    assert "lost" in listening.complaint()
    broker.start()
    while "listening" not in listening.complaint():
        pass
    listening.publish(TOPIC, contract.encode(ACTION))
    assert json.loads(listening.line()) == expected
    listening.stop()


@pytest.mark.system
def test_the_line_for_people_draws_nothing(broker: LocalBroker) -> None:
    listening = Listening(broker, "--node", "sp-1")
    assert "listening to fadeout/sp-1/#" in listening.complaint()
    listening.publish("fadeout/sp-2/availability", b"online")
    listening.publish("fadeout/sp-1/availability", b"\x1b[2Jonline")
    line = listening.line()
    assert "\x1b" not in line
    assert "! not a word of the contract" in line
    listening.stop()


@pytest.mark.system
def test_a_reader_that_has_had_enough_ends_it_quietly(broker: LocalBroker) -> None:
    listening = Listening(broker)
    assert "listening" in listening.complaint()
    assert listening.process.stdout is not None
    assert listening.process.stderr is not None
    listening.process.stdout.close()
    listening.publish(TOPIC, contract.encode(ACTION))
    assert listening.process.wait(WAIT_S) == 0
    assert listening.process.stderr.read() == ""
    listening.process.stderr.close()


def test_a_broker_that_is_not_there_is_named_with_the_options_that_were_given() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fadeout_broker", "listen", "--host", "127.0.0.1", "--port", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_S)
    assert "refused by 127.0.0.1:1; is the broker running? check --host and --port" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["listen", "--node", "Kitchen Pi"], 64, "--help", id="a node that is no topic"),
        pytest.param(
            ["listen", "--username", "x", "--password-file", "/nowhere/x"],
            78,
            "/nowhere/x: no such file or directory\nhint: check --password-file\n",
            id="no password file",
        ),
        pytest.param(
            ["listen", "--password-file", "/nowhere/x"], 78, "without a username", id="a password for nobody"
        ),
    ],
)
def test_options_that_cannot_be_are_errors(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert words in shown


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fadeout-broker ")
