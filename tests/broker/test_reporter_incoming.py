"""What reaches the vault from a real Mosquitto, and how its answers leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.contract_cases import INFO
from broker.fake_vault import ReporterProcess
from broker.subscriber import Subscriber
from fadeout_broker import arrow, contract, discovery
from fadeout_broker.arrow import BrokerSettings, Publish, Published
from fadeout_broker.contract import Ack
from fadeout_broker.local import LocalBroker
from rig_waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from broker.fake_vault import FakeVault

pytestmark = pytest.mark.system

CMD = "fadeout/sp-test/cmd/"
REPLY = contract.Reply(v=1, command="erase", status="ok", transaction="t1", data=contract.ReplyData(erased=3))


def _asking(reply_to: str, correlation: bytes) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # because paho leaves it untyped
    properties.ResponseTopic = reply_to
    properties.CorrelationData = correlation
    return properties


@pytest.mark.usefixtures("reporter")
def test_a_command_reaches_the_vault_and_its_answer_goes_where_it_was_asked_for(
    vault: FakeVault, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        house.publish(CMD + "erase", b'{"last":1}', _asking("fadeout/sp-test/reply/desk", b"\x00\x01"))
        asked = vault.expect(arrow.Asked)
        assert asked == arrow.Asked("erase", b'{"last":1}', "fadeout/sp-test/reply/desk", b"\x00\x01")
        vault.send(Publish(1, REPLY, None, asked.reply_to, asked.correlation))
        answer = house.expect("fadeout/sp-test/reply/desk")
        assert contract.decode(answer.payload) == REPLY
        assert answer.correlation == b"\x00\x01"
        assert vault.expect(Published).seq == 1

        house.publish(CMD + "mute", b"")
        vault.send(Publish(2, REPLY, reply_to=vault.expect(arrow.Asked).reply_to))
        assert house.expect("fadeout/sp-test/reply").correlation is None


@pytest.mark.usefixtures("reporter")
def test_an_acknowledgement_reaches_the_vault(
    vault: FakeVault, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        house.publish("fadeout/sp-test/erase/ack/ha", b'{"v":1,"era":"0123abcd","n":3,"x":1}')
        house.publish("fadeout/sp-test/erase/ack/ha", b'{"v":1,"era":"0123abcd","n":4}')
        assert vault.expect(arrow.Acknowledged) == arrow.Acknowledged("ha", Ack(1, "0123abcd", 4))


@pytest.mark.usefixtures("reporter")
def test_an_open_broker_lets_everything_in(vault: FakeVault, settings: BrokerSettings) -> None:
    vault.configure(settings)
    assert vault.expect(arrow.Incoming) == arrow.Incoming(works=True)


@pytest.mark.usefixtures("mosquitto")
def test_an_acl_that_swallows_the_subscription_is_noticed_and_so_is_its_mending(
    vault: FakeVault, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write fadeout/sp-test/#\n")
    with (
        LocalBroker(tmp_path, extra=[f"acl_file {acl}"]) as strict,
        ReporterProcess(vault.path, tmp_path / "log", "--ping-wait-s", "2"),
    ):
        vault.configure(BrokerSettings(host=strict.host, port=strict.port))
        vault.expect_link(connected=True)
        told = vault.expect(arrow.Incoming)
        assert not told.works
        assert "delivers nothing from fadeout/sp-test/cmd/+ and fadeout/sp-test/erase/ack/+" in told.detail
        strict.stop()
        acl.write_text("topic write fadeout/sp-test/#\ntopic read fadeout/sp-test/cmd/+\n")
        strict.start()
        vault.expect_link(connected=True)
        assert "delivers nothing from fadeout/sp-test/erase/ack/+;" in vault.expect(arrow.Incoming).detail
        strict.stop()
        acl.write_text("topic readwrite fadeout/sp-test/#\n")
        strict.start()
        vault.expect_link(connected=True)
        while not vault.expect(arrow.Incoming).works:
            pass  # a busy machine may have needed longer than two seconds


@pytest.mark.usefixtures("reporter")
def test_home_assistant_is_told_again_after_its_birth(
    vault: FakeVault, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        vault.send(Publish(1, INFO))
        topic, payload = discovery.build("sp-test", INFO, "homeassistant")
        assert house.expect(topic).payload == payload
        house.publish("homeassistant/status", b"online")
        assert house.expect(topic).payload == payload
        assert house.expect("fadeout/sp-test/info").payload == contract.encode(INFO)
    with Subscriber(broker) as latecomer:
        assert latecomer.expect(topic).retain


def test_a_retained_command_never_fires(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        house.publish(CMD + "erase", b'{"all":true}', retain=True)
        house.expect(CMD + "erase")
        vault.configure(settings)
        vault.expect_link(connected=True)
        house.publish(CMD + "mute", b"")
        assert vault.expect(arrow.Asked).name == "mute"
    assert reporter.process.poll() is None


def test_without_commands_none_arrives(
    vault: FakeVault, reporter: ReporterProcess, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(BrokerSettings(host=broker.host, port=broker.port, commands=False))
        vault.expect_link(connected=True)
        house.publish(CMD + "mute", b"")
        house.publish("fadeout/sp-test/erase/ack/ha", b'{"v":1,"era":"0123abcd","n":4}')
        while not isinstance(said := vault.next(), arrow.Acknowledged):
            assert not isinstance(said, arrow.Asked)
    assert reporter.process.poll() is None


def test_a_flood_of_commands_costs_no_memory_and_stops_nothing(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        before_kb = reporter.resident_kb()
        for number in range(3000):
            house.publish(CMD + "erase", b"x" * (3500 if number % 2 else 50_000))
        asked = 0

        def is_acknowledged() -> bool:
            nonlocal asked
            # Again and again: the broker itself drops what is more than it queues for us.
            house.publish("fadeout/sp-test/erase/ack/ha", b'{"v":1,"era":"0123abcd","n":4}')
            while not vault.said.empty():
                said = vault.next()
                asked += isinstance(said, arrow.Asked)
                if isinstance(said, arrow.Acknowledged):
                    return True
            return False

        wait_for(is_acknowledged, "an acknowledgement among the commands")
        vault.send(Publish(1, REPLY))
        house.expect("fadeout/sp-test/reply")
        assert 1 <= asked < 1000
        assert reporter.resident_kb() - before_kb < 4000
    assert "too many or of no shape" in reporter.log


@pytest.mark.usefixtures("reporter")
def test_withdrawn_means_nothing_is_left_and_nothing_is_said(
    vault: FakeVault, settings: BrokerSettings, broker: LocalBroker
) -> None:
    state = contract.DeviceState(
        v=1,
        listening=True,
        muted=False,
        held=1,
        overdue=0,
        sweep="ok",
        swept=0,
        next_end=None,
        forgetting=True,
    )
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        vault.send(Publish(1, state))
        vault.send(arrow.Withdraw(2))
        assert [vault.expect(Published).seq for _ in range(2)] == [1, 2]
        assert "withdrawn" in vault.expect_link(connected=False).detail
        vault.send(Publish(3, state))
        cleared = {
            topic: house.expect(topic).payload
            for topic in ("fadeout/sp-test/state", "fadeout/sp-test/policy")
        }
        assert set(cleared) == {"fadeout/sp-test/state", "fadeout/sp-test/policy"}
    with Subscriber(broker) as latecomer:
        latecomer.publish("here", b"")
        assert latecomer.heard.get().topic == "here", "something is retained"
        vault.configure(settings)
        vault.expect_link(connected=True)
        latecomer.expect("fadeout/sp-test/availability")
