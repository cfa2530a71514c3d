"""Commands over a real broker to a real fadeout: the answer, and what has come of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.subscriber import WAIT_S, Message, Subscriber
from fadeout_broker import contract
from fadeout_broker.local import LocalBroker
from fadeout_device.vault.afar import LIMITS
from rig_fadeout import Home, Run, seal_beforehand
from rig_speech import Speech, silence, write_wav
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sound_card import SoundCard

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]

NODE = "sp-afar"
CONFIG = f'[mqtt]\nnode = "{NODE}"\nhost = "{{host}}"\nport = {{port}}\n'
REPLY_TO = f"fadeout/{NODE}/reply/test"


@pytest.fixture
def broker(tmp_path: Path, home: Home) -> Iterator[LocalBroker]:
    (tmp_path / "broker").mkdir()
    with LocalBroker(tmp_path / "broker") as running:
        home.config.write_text(CONFIG.format(host=running.host, port=running.port))
        yield running


@pytest.fixture
def integrator(broker: LocalBroker) -> Iterator[Subscriber]:
    with Subscriber(broker) as subscriber:
        yield subscriber


def send(integrator: Subscriber, name: str, payload: dict[str, Any], correlation: bytes = b"c-1") -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    properties.ResponseTopic, properties.CorrelationData = REPLY_TO, correlation
    integrator.publish(f"fadeout/{NODE}/cmd/{name}", json.dumps(payload).encode(), properties)


def decoded(message: Message) -> contract.Outgoing:
    return contract.decode(message.payload)


def ask(integrator: Subscriber, name: str, payload: dict[str, Any]) -> contract.Reply:
    """Send a command; return the reply, which comes where it was asked for."""
    correlation = f"{name} {time.monotonic()}".encode()
    send(integrator, name, {"transaction": "t-1", **payload}, correlation)
    message = integrator.expect(REPLY_TO)
    reply = decoded(message)
    assert isinstance(reply, contract.Reply)
    assert message.correlation == correlation
    assert (reply.command, reply.transaction) == (name, "t-1")
    return reply


def expect_each(integrator: Subscriber, *topics: str) -> list[Message]:
    """Return the next message on each of these topics, in whatever order they come."""
    came: dict[str, Message] = {}
    while len(came) < len(topics):
        message = integrator.heard.get(timeout=WAIT_S)
        if message.topic in topics:
            came.setdefault(message.topic, message)
    return [came[topic] for topic in topics]


def expect_until(integrator: Subscriber, topic: str, part: bytes) -> None:
    while part not in integrator.expect(topic).payload:
        pass


def test_commands_are_obeyed_and_answered(
    home: Home, integrator: Subscriber, speech: Speech, tmp_path: Path
) -> None:
    recordings = seal_beforehand(home, speech.path, 3)
    with Run(home, "--replay", write_wav(tmp_path / "quiet.wav", silence(600))) as run:
        events = [decoded(integrator.expect(f"fadeout/{NODE}/event/action")) for _ in recordings]
        first = events[0]
        assert isinstance(first, contract.ActionEvent)

        assert ask(integrator, "ping", {}).status == "ok"

        send(integrator, "erase", {"ids": [first.id], "transaction": "t-2"})
        came = expect_each(integrator, f"fadeout/{NODE}/erase/notice", REPLY_TO)
        notice, reply = (decoded(message) for message in came)
        assert isinstance(notice, contract.EraseNotice)
        assert notice.ids == (first.id,)
        assert isinstance(reply, contract.Reply)
        assert (reply.status, reply.data.erased, reply.transaction) == ("ok", 1, "t-2")
        assert home.held() == recordings[:2], "the oldest was the first that was told"

        configured = home.ask("policy")["policy_hash"]
        shortened = ask(integrator, "shorten", {"keep_s": 3600, "outcome": "failed"}).data.hash
        assert shortened == home.ask("policy")["policy_hash"] != configured
        assert home.ask("policy", "--restore")["policy_hash"] == configured

        assert ask(integrator, "mute", {}).status == "ok"
        assert home.ask("status")["modes"]["muted_by"] == "mqtt"
        assert ask(integrator, "erase", {"all": True}).data.erased == 2
        assert home.held() == []
        assert home.ask("status")["modes"]["muted_by"] == "mqtt", "a renewal forgets no mute"
        assert home.ask("unmute")["muted_by"] == ""
        expect_until(integrator, f"fadeout/{NODE}/state", b'"muted":false')

        send(integrator, "unmute", {})
        reply = decoded(integrator.expect(REPLY_TO))
        assert isinstance(reply, contract.Reply)
        assert (reply.command, reply.status, reply.error) == ("unknown", "error", "unknown_command")
        run.end()
    assert not [line for line in run.err if "t-1" in line or "Traceback" in line]


def test_the_limit_outlives_the_processes_that_the_vault_becomes(
    home: Home, integrator: Subscriber, speech: Speech, tmp_path: Path
) -> None:
    seal_beforehand(home, speech.path, 1)
    limit = LIMITS["erase"]
    with Run(home, "--replay", write_wav(tmp_path / "quiet.wav", silence(600))) as run:
        run.wait_until_up()
        began_s = time.monotonic()
        assert ask(integrator, "erase", {"last": 1}).data.erased == 1
        obeyed = 1
        wait_for(lambda: not home.held(), "it is erased, and the vault has become another process")
        for number in range(limit.burst + 5):
            reply = ask(integrator, "erase", {"last_minutes": number + 1})
            obeyed += reply.status == "ok"
            assert reply.error in {None, "rate_limited"}
        passed_s = time.monotonic() - began_s
    assert obeyed <= limit.burst + passed_s / limit.every_s + 1
    assert obeyed >= limit.burst


def test_a_mute_from_afar_leaves_no_client_at_the_sound_server(
    home: Home, broker: LocalBroker, integrator: Subscriber, sound_card: SoundCard
) -> None:
    home.config.write_text(
        f'[microphone]\ndevice = "fakemic"\n{CONFIG.format(host=broker.host, port=broker.port)}'
    )
    with Run(home) as run:
        run.wait_until_up()
        assert sound_card.recorders() == 1
        assert ask(integrator, "mute", {}).status == "ok"
        expect_until(integrator, f"fadeout/{NODE}/state", b'"listening":false,"muted":true')
        assert sound_card.recorders() == 0
        assert home.ask("mute") == {"type": "muting", "muted_by": "mqtt", "microphone": "closed"}
        run.end()
    with Run(home) as run:
        wait_for(lambda: (now := home.status()) and now.ear == "connected", "the ear is there again")
        assert sound_card.recorders() == 0
        assert home.ask("unmute")["muted_by"] == ""
        wait_for(lambda: sound_card.recorders() == 1, "the microphone is open again")
