"""The reporter as a process, between a real Unix socket and a real Mosquitto."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.contract_cases import POLICY
from broker.fake_vault import GONE, WAIT_S, FakeVault, ReporterProcess
from broker.subscriber import Subscriber
from fadeout_broker import arrow, contract
from fadeout_broker.arrow import BrokerSettings, Configure, Publish, Published
from fadeout_broker.contract import ActionEvent, DeviceState, EraseNotice
from fadeout_broker.local import LocalBroker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

AVAILABILITY = "fadeout/sp-test/availability"
ACTIONS = "fadeout/sp-test/event/action"
STATE = DeviceState(
    v=1, listening=True, muted=False, held=1, overdue=0, sweep="ok", swept=0, next_end=None, forgetting=True
)
CANARY = "a canary sang"


def _action(number: int) -> ActionEvent:
    return ActionEvent(v=1, id=f"{number:016d}", action="none", outcome="failed", ttl=600)


def test_an_event_arrives_as_the_contract_says(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        assert house.expect(AVAILABILITY).payload == b"online"

        vault.send(Publish(41, _action(1), 600))
        heard = house.expect(ACTIONS)
        assert contract.decode(heard.payload) == _action(1)
        assert len(heard.payload) == contract.ActionEvent.padded_bytes
        assert heard.expiry_s is not None
        assert 590 <= heard.expiry_s <= 600
        assert not heard.retain
        assert vault.expect(Published).seq == 41

        vault.send(Publish(42, EraseNotice(v=1, era="0123abcd", n=1, ids=("0" * 16,))))
        assert len(house.expect("fadeout/sp-test/erase/notice").payload) == contract.EraseNotice.padded_bytes
        vault.send(Publish(43, STATE))
        assert [vault.expect(Published).seq for _ in range(2)] == [42, 43]
    with Subscriber(broker) as latecomer:
        stored = {m.topic: m.payload for m in (latecomer.heard.get(timeout=WAIT_S) for _ in range(2))}
        assert stored == {AVAILABILITY: b"online", "fadeout/sp-test/state": contract.encode(STATE)}
    assert reporter.resident_kb() <= 35_000


@pytest.mark.usefixtures("reporter")
def test_a_window_full_of_events_arrives_in_order(
    vault: FakeVault, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        for number in range(arrow.MAX_IN_FLIGHT):
            vault.send(Publish(number, _action(number), 600))
        for number in range(arrow.MAX_IN_FLIGHT):
            assert vault.expect(Published).seq == number
            assert contract.decode(house.expect(ACTIONS).payload) == _action(number)


def test_a_clean_stop_says_stopped(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        assert reporter.terminate() == 0
        assert [house.expect(AVAILABILITY).payload for _ in range(2)] == [b"online", b"stopped"]
    with Subscriber(broker) as latecomer:
        assert latecomer.expect(AVAILABILITY).payload == b"stopped"


def test_a_stop_before_there_is_a_vault_or_a_broker_is_clean(tmp_path: Path) -> None:
    with ReporterProcess(tmp_path / "missing.sock", tmp_path / "log") as alone:
        while "does not answer" not in alone.log:
            assert alone.process.poll() is None
        assert alone.terminate() == 0


def test_a_killed_reporter_is_offline(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        reporter.process.kill()
        assert [house.expect(AVAILABILITY).payload for _ in range(2)] == [b"online", b"offline"]


@pytest.mark.usefixtures("reporter")
def test_a_broker_that_crashes_and_comes_back_gets_what_it_missed(
    vault: FakeVault, settings: BrokerSettings, broker: LocalBroker
) -> None:
    vault.configure(settings)
    vault.expect_link(connected=True)
    broker.kill()
    assert "lost" in vault.expect_link(connected=False).detail
    vault.send(Publish(1, _action(1), 600))  # sent before the vault knew: nobody may send it later
    broker.start()
    vault.expect_link(connected=True)
    with Subscriber(broker) as house:
        vault.send(Publish(1, _action(1), 300))
        heard = house.expect(ACTIONS)
        assert heard.expiry_s is not None
        assert heard.expiry_s <= 300, "an old message with its old expiry"
        assert vault.expect(Published).seq == 1
        vault.send(Publish(2, STATE))
        vault.expect(Published)
        assert [m for m in house.rest() if m.topic == ACTIONS] == []


@pytest.mark.usefixtures("reporter")
def test_a_broker_that_is_down_at_the_start(
    vault: FakeVault, settings: BrokerSettings, broker: LocalBroker
) -> None:
    broker.stop()
    vault.configure(settings)
    link = vault.expect_link(connected=False)
    assert f"connection refused by 127.0.0.1:{broker.port}" in link.detail
    broker.start()
    vault.expect_link(connected=True)


@pytest.mark.usefixtures("reporter")
def test_a_host_that_does_not_exist(vault: FakeVault) -> None:
    vault.configure(BrokerSettings(host="mqtt.invalid"))
    assert "mqtt.invalid" in vault.expect_link(connected=False).detail


@pytest.mark.usefixtures("mosquitto")
def test_passwords(vault: FakeVault, reporter: ReporterProcess, tmp_path: Path) -> None:
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "speaker", "right"], check=True)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("right\n")
    wrong.write_text(CANARY)
    with LocalBroker(tmp_path, password_file=users) as closed:

        def as_speaker(password_file: Path) -> BrokerSettings:
            return BrokerSettings(
                host=closed.host, port=closed.port, username="speaker", password_file=str(password_file)
            )

        vault.configure(BrokerSettings(host=closed.host, port=closed.port))
        assert "wants a user name and password" in vault.expect_link(connected=False).detail
        vault.configure(as_speaker(wrong))
        assert "[mqtt] username and password_file" in vault.expect_link(connected=False).detail
        vault.configure(as_speaker(tmp_path / "missing"))
        assert "missing: no such file or directory" in vault.expect_link(connected=False).detail
        vault.configure(as_speaker(right))
        vault.expect_link(connected=True)
    assert CANARY not in reporter.log


@pytest.mark.usefixtures("mosquitto", "reporter")
def test_an_event_that_the_broker_refuses_is_not_published(vault: FakeVault, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write fadeout/sp-test/availability\ntopic write fadeout/sp-test/state\n")
    with LocalBroker(tmp_path, extra=[f"acl_file {acl}"]) as strict:
        vault.configure(BrokerSettings(host=strict.host, port=strict.port))
        vault.expect_link(connected=True)
        vault.send(Publish(5, _action(5), 600))
        while not isinstance(said := vault.next(), arrow.BrokerLink):
            assert isinstance(said, arrow.Incoming)  # it may not ask itself, either
        assert not said.connected
        assert "not authorised to publish fadeout/sp-test/#" in said.detail
        vault.expect_link(connected=True)
        vault.send(Publish(6, STATE))
        assert vault.expect(Published).seq == 6


@pytest.mark.usefixtures("mosquitto", "reporter")
def test_an_acl_that_forbids_everything_never_looks_connected(vault: FakeVault, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write somewhere/else\n")
    with LocalBroker(tmp_path, extra=[f"acl_file {acl}"]) as strict:
        vault.configure(BrokerSettings(host=strict.host, port=strict.port))
        assert "not authorised to publish" in vault.expect_link(connected=False).detail


def test_the_vault_comes_back_and_the_broker_notices_nothing(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker
) -> None:
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        vault.die()
        assert reporter.process.poll() is None
        with FakeVault(vault.path) as reborn:
            reborn.configure(settings)
            assert reborn.expect(arrow.BrokerLink).connected
            reborn.send(Publish(1, _action(1), 600))
            assert reborn.expect(Published).seq == 1
        house.expect(ACTIONS)
        assert [m.payload for m in house.rest() if m.topic == AVAILABILITY] == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param(b"x" * 20_000 + b"\n", "more than 8192 bytes", id="an endless line"),
        pytest.param(b'{"do":"canary"}\n', "does not fit the contract", id="an unknown command"),
        pytest.param(b"canary\n", "no JSON", id="no JSON"),
        pytest.param(
            msgspec.json.encode(Publish(1, STATE)) + b"\n", "before the configuration", id="too early"
        ),
    ],
)
def test_a_hostile_line_ends_the_connection_and_nothing_leaves(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, line: bytes, complaint: str
) -> None:
    with Subscriber(settings) as house:
        if b"publish" not in line:
            vault.configure(settings)
            vault.expect_link(connected=True)
        vault.send_raw(line + msgspec.json.encode(Publish(9, _action(9), 600)) + b"\n")
        while vault.said.get(timeout=WAIT_S) != GONE:
            pass
        vault.configure(settings)  # it comes back
        vault.expect_link(connected=True)
        assert [m.topic for m in house.rest() if m.topic.startswith("fadeout/sp-test/event")] == []
    assert complaint in reporter.log
    assert "canary" not in reporter.log


def test_an_event_that_does_not_fit_is_dropped_and_counted(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker
) -> None:
    payload = {**msgspec.to_builtins(_action(3)), "text": CANARY}
    unfit = msgspec.json.encode({"do": "publish", "seq": 3, "payload": payload, "expiry_s": 600})
    with Subscriber(broker) as house:
        vault.configure(settings)
        vault.expect_link(connected=True)
        vault.send_raw(unfit + b"\n")
        assert vault.expect(arrow.Dropped) == arrow.Dropped(3, "$.payload")
        vault.send(Publish(4, _action(4), 10 * contract.MAX_TTL_S))
        assert vault.expect(arrow.Dropped) == arrow.Dropped(4, "expiry_s")
        vault.send(Publish(5, _action(5), 0))
        assert vault.expect(Published).seq == 5
        vault.send(Publish(6, _action(6), 600))
        assert contract.decode(house.expect(ACTIONS).payload) == _action(6)
    assert "seq=3 at=$.payload dropped=1" in reporter.log
    assert "seq=4 at=expiry_s dropped=2" in reporter.log
    assert CANARY not in reporter.log


def test_a_vault_that_does_not_wait_is_cut_off(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker
) -> None:
    vault.configure(settings)
    vault.expect_link(connected=True)
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)  # takes bytes, acknowledges nothing
    try:
        for number in range(arrow.MAX_IN_FLIGHT + 1):
            vault.send(Publish(number, _action(number), 600))
        assert vault.said.get(timeout=WAIT_S) == GONE
        assert "more than 16 events at once" in reporter.log
        # What the first vault left behind fills the window: a second one gets a fresh connection.
        vault.configure(settings)
        assert vault.expect(arrow.BrokerLink).connected
        vault.send(Publish(100, _action(100), 600))
        assert "does not acknowledge" in vault.expect_link(connected=False).detail
    finally:
        broker.process.send_signal(signal.SIGCONT)
    vault.expect_link(connected=True)
    vault.send(Publish(100, _action(100), 600))
    assert vault.expect(Published).seq == 100


class NarrowBroker(LocalBroker):
    """Takes no policy: it is too large."""

    def _write_config(self) -> None:
        super()._write_config()
        config = self._folder / "mosquitto.conf"
        config.write_text(config.read_text().replace("max_packet_size 65536", "max_packet_size 2000"))


@pytest.mark.usefixtures("mosquitto", "reporter")
def test_what_is_too_large_for_the_broker_is_dropped_and_the_rest_goes_on(
    vault: FakeVault, tmp_path: Path
) -> None:
    with NarrowBroker(tmp_path) as narrow:
        vault.configure(BrokerSettings(host=narrow.host, port=narrow.port))
        vault.expect_link(connected=True)
        vault.send(Publish(1, POLICY))
        vault.send(Publish(2, STATE))
        assert vault.expect(arrow.Dropped) == arrow.Dropped(1, "the broker's maximum packet size")
        assert vault.expect(Published).seq == 2


@pytest.mark.usefixtures("reporter")
def test_a_broker_of_mqtt_3(vault: FakeVault) -> None:
    with socket.create_server(("127.0.0.1", 0)) as old:

        def refuse() -> None:
            peer, _ = old.accept()
            with peer:
                peer.recv(1024)
                peer.sendall(b"\x20\x02\x00\x01")  # MQTT 3.1.1, CONNACK: unacceptable protocol version
                peer.recv(1024)

        threading.Thread(target=refuse, daemon=True).start()
        vault.configure(BrokerSettings(host="127.0.0.1", port=old.getsockname()[1]))
        assert "does not speak MQTT 5" in vault.expect_link(connected=False).detail


def test_two_devices_of_one_name_are_told(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, tmp_path: Path
) -> None:
    with FakeVault(tmp_path / "twin.sock") as twin, ReporterProcess(twin.path, tmp_path / "twin.log"):
        vault.configure(settings)
        vault.expect_link(connected=True)
        twin.configure(settings)
        detail = ""
        while "fadeout-sp-test" not in detail and "another client" not in detail:
            detail = vault.expect_link(connected=False).detail
        assert reporter.process.poll() is None


def test_the_reporter_dies_with_its_parent_and_says_stopped(
    vault: FakeVault, settings: BrokerSettings, broker: LocalBroker
) -> None:
    start = (
        "import os, subprocess, sys, time\n"
        "environ = {**os.environ, 'FADEOUT_PARENT_PID': str(os.getpid())}\n"
        "command = [sys.executable, '-m', 'fadeout_broker.reporter', '--socket', sys.argv[1]]\n"
        "subprocess.Popen(command, env=environ)\n"
        "time.sleep(60)\n"
    )
    with (
        Subscriber(broker) as house,
        subprocess.Popen([sys.executable, "-c", start, str(vault.path)]) as parent,
    ):
        vault.configure(settings)
        vault.expect_link(connected=True)
        parent.kill()
        assert [house.expect(AVAILABILITY).payload for _ in range(2)] == [b"online", b"stopped"]


def test_another_configuration_moves_to_the_other_broker(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker, tmp_path: Path
) -> None:
    with Subscriber(broker) as house, LocalBroker(tmp_path) as other:
        vault.configure(settings)
        vault.expect_link(connected=True)
        vault.send(Configure(BrokerSettings(host=other.host, port=other.port), "sp-moved"))
        vault.expect_link(connected=True)
        assert [house.expect(AVAILABILITY).payload for _ in range(2)] == [b"online", b"stopped"]
        assert reporter.terminate() == 0


@pytest.mark.usefixtures("reporter")
def test_a_half_open_connection_of_before_does_not_overwrite_online(
    vault: FakeVault, reporter: ReporterProcess, settings: BrokerSettings, broker: LocalBroker, tmp_path: Path
) -> None:
    vault.configure(settings)
    vault.expect_link(connected=True)
    reporter.process.send_signal(signal.SIGSTOP)  # as after a power cut: the broker still thinks it is there
    with (
        Subscriber(broker) as house,
        FakeVault(tmp_path / "reborn.sock") as reborn,
        ReporterProcess(reborn.path, tmp_path / "reborn.log"),
    ):
        reborn.configure(settings)
        reborn.expect_link(connected=True)
        reporter.process.kill()
        words = [house.expect(AVAILABILITY).payload for _ in range(3)]
        assert words == [b"online", b"offline", b"online"]
