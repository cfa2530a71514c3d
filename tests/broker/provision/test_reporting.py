"""The reporter, a subscriber and Home Assistant in a provisioned house: nobody is kept from their work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker import contract_cases
from broker.provision.house import PATIENCE_S
from fadeout_broker import arrow, contract
from fadeout_broker.subscriber import Subscriber
from rig_waiting import wait_for

if TYPE_CHECKING:
    from broker.fake_vault import FakeVault
    from broker.provision.house import House
    from fadeout_broker.provision.probe import Probe

pytestmark = [pytest.mark.system, pytest.mark.timeout(170), pytest.mark.usefixtures("reporter")]

EVERYTHING: tuple[contract.Outgoing, ...] = (
    contract_cases.INFO,
    contract_cases.POLICY,
    contract_cases.STATE,
    contract_cases.BEFORE,
    contract_cases.ALARM,
    contract_cases.RECEIPT,
    contract_cases.ACTION,
)


def retained(probe: Probe, topic_filter: str, last: str) -> set[str]:
    """Return the topics on which something is retained that this client may read."""
    assert probe.subscribe(topic_filter)
    mark = b'{"transaction":"last"}'
    assert probe.publish(last, mark)
    came, before = probe.hear(last, mark)
    assert came
    return {message.topic for message in before if message.retain}


def test_everything_that_is_reported_is_let_through_and_leaves_again(
    vault: FakeVault, running: House
) -> None:
    vault.configure(running.settings("sp-1"), "sp-1")
    vault.expect_link(connected=True)
    assert vault.expect(arrow.Incoming) == arrow.Incoming(works=True)
    for seq, payload in enumerate(EVERYTHING, start=1):
        vault.send(arrow.Publish(seq, payload))
    for seq in range(1, len(EVERYTHING) + 1):
        assert vault.expect(arrow.Published).seq == seq

    with running.probe("ha") as ha:
        discovery = "homeassistant/device/sp-1/config"
        wait_for(
            lambda: discovery in retained(ha, "homeassistant/#", "homeassistant/last"),
            "Home Assistant is told of the device",
            PATIENCE_S,
        )
        assert retained(ha, "fadeout/#", "fadeout/sp-9/cmd/ping") == set(contract.retained_topics("sp-1"))

        vault.send(arrow.Withdraw(99))
        while vault.expect(arrow.Published).seq != 99:
            pass
        assert retained(ha, "fadeout/#", "fadeout/sp-9/cmd/ping") == set()
        assert retained(ha, "homeassistant/#", "homeassistant/last") == set()


def test_an_erasure_reaches_a_subscriber_and_its_acknowledgement_the_vault(
    vault: FakeVault, running: House
) -> None:
    settings = running.settings("display")
    vault.configure(running.settings("sp-1"), "sp-1")
    vault.expect_link(connected=True)
    forgotten: list[str] = []
    with Subscriber(
        "display",
        host=settings.host,
        port=settings.port,
        ca_file=settings.ca_file,
        cert_file=settings.cert_file,
        key_file=settings.key_file,
        on_forget=lambda gone: forgotten.extend(each.id for each in gone),
    ) as display:
        assert display.wait_until_connected(PATIENCE_S)
        vault.send(arrow.Publish(1, contract_cases.ACTION))
        assert next(iter(display)).id == contract_cases.ID
        vault.send(arrow.Publish(2, contract_cases.ERASE))

        acknowledged = vault.expect(arrow.Acknowledged)

    assert (acknowledged.consumer, acknowledged.ack.n) == ("display", 1)
    assert forgotten == [contract_cases.ID]


def test_a_command_is_answered_to_whoever_may_give_it(vault: FakeVault, running: House) -> None:
    vault.configure(running.settings("sp-1"), "sp-1")
    vault.expect_link(connected=True)
    with running.probe("nodered") as nodered, running.probe("display") as display:
        assert not display.publish("fadeout/sp-1/cmd/erase", b'{"all":true}')
        assert nodered.publish("fadeout/sp-1/cmd/erase", b'{"last":1}')
        asked = vault.expect(arrow.Asked)
        assert (asked.name, asked.payload) == ("erase", b'{"last":1}')

        assert nodered.subscribe("fadeout/+/reply")
        vault.send(arrow.Publish(1, contract_cases.REPLY))

        assert nodered.hear("fadeout/sp-1/reply", contract.encode(contract_cases.REPLY))[0]
