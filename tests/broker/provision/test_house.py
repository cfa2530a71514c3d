"""A provisioned house on real Mosquittos: who gets in, who may say and hear what, and what revoking does."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

import rig_waiting
from broker.provision.house import HOST, PATIENCE_S, House, free_port, version, wait_for
from fadeout_broker.__main__ import main
from fadeout_broker.arrow import BrokerSettings
from fadeout_broker.provision.probe import Probe, ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = [pytest.mark.system, pytest.mark.timeout(170)]

ROLES = ("sp-1", "sp-2", "nodered", "display", "ha")
_ALL_SUBSCRIBERS = {"nodered", "display", "ha"}
_COMMANDERS = {"nodered", "ha"}

# topic: who may write it, who may read it
TABLE = {
    "fadeout/sp-1/availability": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/state": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/info": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/policy": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/event/action": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/event/alarm": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/event/receipt": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/event/cover": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/erase/notice": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/erase/before": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/reply": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/reply/a/b": ({"sp-1"}, _ALL_SUBSCRIBERS),
    "fadeout/sp-1/cmd/ping": ({"sp-1"} | _COMMANDERS, {"sp-1"} | _ALL_SUBSCRIBERS),
    "fadeout/sp-1/cmd/mute": (_COMMANDERS, {"sp-1"} | _ALL_SUBSCRIBERS),
    "fadeout/sp-1/cmd/erase": (_COMMANDERS, {"sp-1"} | _ALL_SUBSCRIBERS),
    "fadeout/sp-1/cmd/shorten": (_COMMANDERS, {"sp-1"} | _ALL_SUBSCRIBERS),
    "fadeout/sp-1/erase/ack/sp-1": ({"sp-1"}, {"sp-1"} | _ALL_SUBSCRIBERS),
    "fadeout/sp-1/erase/ack/nodered": ({"nodered"}, {"sp-1"} | _ALL_SUBSCRIBERS),
    "fadeout/sp-1/erase/ack/display": ({"display"}, {"sp-1"} | _ALL_SUBSCRIBERS),
    "fadeout/sp-1/erase/ack/ha": ({"ha"}, {"sp-1"} | _ALL_SUBSCRIBERS),
    "fadeout/sp-1/something/else": (set(), _ALL_SUBSCRIBERS),
    # No subscriber can pose as a device of its own name.
    "fadeout/nodered/event/action": (set(), {"display", "ha"}),
    "fadeout/display/state": (set(), {"nodered", "ha"}),
    "homeassistant/device/nodered/config": ({"ha"}, {"ha"}),
    "homeassistant/device/sp-1/config": ({"sp-1", "ha"}, {"ha"}),
    "homeassistant/status": ({"ha"}, {"sp-1", "sp-2", "ha", "nodered", "display"}),
    "elsewhere": (set(), set()),
}
# Something that each role can hear, and the operator sends last.
_LAST = {"sp-1": "fadeout/sp-1/cmd/erase", "sp-2": "fadeout/sp-2/cmd/erase"}


@pytest.fixture
def operator(running: House) -> Probe:
    """Somebody whom the operator's own lines of the ACL allow everything."""
    running.run("add-subscriber", "operator")
    acl = running.path / "broker/acl"
    acl.write_text(acl.read_text(encoding="utf-8") + "user operator\ntopic readwrite #\n", encoding="utf-8")
    running.reload()
    return running.probe("operator")


def test_every_role_may_write_and_read_exactly_what_the_table_says(running: House, operator: Probe) -> None:
    probes = {name: running.probe(name) for name in ROLES}
    # A subscription is granted whatever it is, and then nothing comes: MQTT has no word for it here.
    assert all(probe.subscribe("#") for probe in probes.values())

    writes = {topic: {name for name, probe in probes.items() if probe.publish(topic, b"")} for topic in TABLE}
    for topic in TABLE:
        assert operator.publish(topic, b"read me")
    reads: dict[str, set[str]] = {topic: set() for topic in TABLE}
    for name, probe in probes.items():
        last = _LAST.get(name, "fadeout/sp-1/state")
        assert operator.publish(last, b"last")
        came, before = probe.hear(last, b"last")
        assert came, name
        for message in before:
            if message.payload == b"read me":
                reads[message.topic].add(name)
        probe.close()
    operator.close()

    assert writes == {topic: writers for topic, (writers, _) in TABLE.items()}
    assert reads == {topic: readers for topic, (_, readers) in TABLE.items()}


def _settings_copied(running: House, name: str, folder: Path) -> BrokerSettings:
    """Keep a certificate and key as whoever holds the device has them."""
    folder.mkdir()
    for file in ("client.crt", "client.key"):
        shutil.copy(running.home(name) / file, folder / file)
    return msgspec.structs.replace(
        running.settings(name), cert_file=str(folder / "client.crt"), key_file=str(folder / "client.key")
    )


def test_a_revoked_device_is_refused_and_a_rotated_one_let_in(running: House, tmp_path: Path) -> None:
    stolen = _settings_copied(running, "sp-1", tmp_path / "stolen")
    running.probe("sp-1", stolen).close()

    running.run("rotate", "sp-1")
    running.reload()

    with pytest.raises(ProbeError):
        running.probe("sp-1", stolen)
    with running.probe("sp-1") as renewed:
        assert renewed.publish("fadeout/sp-1/state", b"")
    running.run("revoke", "sp-1")
    running.reload()
    with running.probe("sp-2") as other:
        assert other.publish("fadeout/sp-2/state", b"")
    running.restart()
    for refused in (stolen, _settings_of_revoked(running, tmp_path)):
        with pytest.raises(ProbeError):
            running.probe("sp-1", refused)
    running.run("add-device", "sp-1")
    running.reload()
    with running.probe("sp-1") as back:
        assert back.publish("fadeout/sp-1/state", b"")


def _settings_of_revoked(running: House, tmp_path: Path) -> BrokerSettings:
    # revoke deletes the key here; any key will do to be refused, if it fits. So make one more and revoke it.
    running.run("add-device", "sp-9")
    settings = _settings_copied(running, "sp-9", tmp_path / "sp-9")
    running.run("revoke", "sp-9")
    running.reload()
    return settings


def test_a_connection_that_is_open_when_its_certificate_is_revoked_can_do_nothing_more(
    running: House,
) -> None:
    nodered, display = running.probe("nodered"), running.probe("display")
    with running.probe("sp-1") as device, nodered, display:
        assert nodered.subscribe("fadeout/#")
        assert display.subscribe("fadeout/#")
        assert device.publish("fadeout/sp-1/state", b"before", retain=True)
        assert nodered.hear("fadeout/sp-1/state", b"before")[0]
        running.run("revoke", "nodered")
        running.reload()

        assert device.publish("fadeout/sp-1/state", b"after")
        assert display.hear("fadeout/sp-1/state", b"after")[0]
        assert not nodered.publish("fadeout/sp-1/cmd/mute", b"")
        # Its refusal came after `after` would have: one connection keeps the order.
        assert nodered.heard.empty()

        running.run("revoke", "sp-1")
        running.reload()
        assert not device.publish("fadeout/sp-1/state", b"")
    with running.probe("ha") as ha:
        # Nor does anybody learn what it had retained.
        assert ha.subscribe("fadeout/#")
        assert ha.publish("fadeout/sp-2/cmd/ping", b"last")
        came, before = ha.hear("fadeout/sp-2/cmd/ping", b"last")
        assert came
        assert before == []


def _without_certificate(settings: BrokerSettings) -> BrokerSettings:
    return msgspec.structs.replace(settings, cert_file=None, key_file=None)


def _with_password(settings: BrokerSettings) -> BrokerSettings:
    return msgspec.structs.replace(_without_certificate(settings), username="sp-1")


def _without_tls(settings: BrokerSettings) -> BrokerSettings:
    return msgspec.structs.replace(_without_certificate(settings), tls=False)


@pytest.mark.parametrize("changed", [_without_certificate, _with_password, _without_tls])
def test_without_a_certificate_nobody_gets_in(
    running: House, changed: Callable[[BrokerSettings], BrokerSettings]
) -> None:
    with pytest.raises(ProbeError):
        running.probe("sp-1", changed(running.settings("sp-1")))


def test_a_certificate_of_another_house_is_refused(running: House, mosquitto: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", mosquitto, ["--node", "sp-1"])
    forged = msgspec.structs.replace(
        running.settings("sp-1"),
        cert_file=str(other.home("sp-1") / "client.crt"),
        key_file=str(other.home("sp-1") / "client.key"),
    )

    with pytest.raises(ProbeError):
        running.probe("sp-1", forged)


@pytest.mark.parametrize(
    ("options", "is_pushed_out"),
    [
        pytest.param([], True, id="unless asked for"),
        pytest.param(["--one-connection"], False, id="with one connection for each certificate"),
    ],
)
def test_a_subscriber_can_push_a_device_out_with_its_client_id(
    mosquitto: str, tmp_path: Path, options: list[str], *, is_pushed_out: bool
) -> None:
    with House(tmp_path, mosquitto, ["--node", "sp-1", *options]) as house:
        house.run("add-subscriber", "nodered")
        house.reload()
        device = Probe(house.settings("sp-1"), "fadeout-sp-1", PATIENCE_S)
        subscriber = Probe(house.settings("nodered"), "fadeout-sp-1", PATIENCE_S)
        with device, subscriber:
            device.open()
            subscriber.open()
            try:
                is_there = device.publish("fadeout/sp-1/state", b"")
            except ProbeError:
                is_there = False
            assert subscriber.publish("fadeout/sp-1/cmd/ping", b"")

    assert is_there is not is_pushed_out


def test_older_tls_is_refused(running: House) -> None:
    settings = running.settings("sp-1")
    assert settings.cert_file is not None
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.load_cert_chain(settings.cert_file, settings.key_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with socket.create_connection((HOST, running.port), timeout=20) as plain, pytest.raises(OSError):  # noqa: PT011 - the alert or a reset, as it comes
        context.wrap_socket(plain, server_hostname=HOST)


def test_the_brokers_new_certificate_is_used_after_a_reload(running: House) -> None:
    with running.probe("sp-1") as probe:
        before = probe.peer_certificate_der()

    running.run("rotate", "broker")
    running.reload()

    with running.probe("sp-1") as probe:
        assert probe.peer_certificate_der() not in (None, before)


def test_nothing_is_on_the_brokers_disk_unless_asked_for(running: House) -> None:
    with running.probe("sp-1") as probe:
        assert probe.publish("fadeout/sp-1/state", b"retained", retain=True)

    running.stop()

    # Debian's own file says `persistence true`.
    assert [path.name for path in (running.path.parent / "run").iterdir() if path.suffix == ".db"] == []


def test_what_was_cleared_leaves_the_disk_of_a_broker_that_keeps_things(
    mosquitto: str, tmp_path: Path
) -> None:
    payload = b"sixteen bytes or more of a retained message"
    database = tmp_path / "run/mosquitto.db"

    def holds() -> bool:
        return database.exists() and payload in database.read_bytes()

    with (
        House(tmp_path, mosquitto, ["--node", "sp-1", "--persistence"]) as house,
        house.probe("sp-1") as probe,
    ):
        assert probe.publish("fadeout/sp-1/state", payload, retain=True)
        assert probe.publish("fadeout/sp-1/info", b"one change more", retain=True)
        rig_waiting.wait_for(holds, "it is on the disk")
        assert probe.publish("fadeout/sp-1/state", b"", retain=True)
        assert probe.publish("fadeout/sp-1/info", b"", retain=True)
        rig_waiting.wait_for(lambda: not holds(), "it is gone from the disk")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_the_readmes_commands_put_everything_where_mosquittos_own_user_can_read_it(mosquitto: str) -> None:
    if shutil.which("mosquitto") is None:
        pytest.skip("there is no user mosquitto: sudo apt-get install mosquitto")
    port = free_port()
    # Not pytest's own folder: nobody but root may look into that.
    with tempfile.TemporaryDirectory() as root:
        etc, run, made = Path(root) / "etc", Path(root) / "run", Path(root) / "house"
        Path(root).chmod(0o755)
        for folder in (etc / "conf.d", run):
            folder.mkdir(parents=True)
        shutil.chown(run, "mosquitto")
        listens = ["--host", HOST, "--bind", HOST, "--port", str(port), "--mosquitto", version(mosquitto)]
        made_for = [*listens, "--broker-folder", str(etc / "fadeout"), "--node", "sp-1"]
        assert main(["provision", str(made), *made_for]) == 0
        lines = (made / "README").read_text(encoding="utf-8").partition("A DEVICE")[0].splitlines()
        commands = [line.strip().removeprefix("sudo ") for line in lines if line.startswith("  sudo ")]
        assert commands.pop() == "systemctl restart mosquitto"
        script = "\n".join(commands).replace("/etc/mosquitto/conf.d", str(etc / "conf.d"))
        subprocess.run(["bash", "-euc", script], cwd=made, check=True, timeout=60)
        (etc / "mosquitto.conf").write_text(
            f"pid_file {run}/pid\nlog_dest file {run}/log\ninclude_dir {etc}/conf.d\n", encoding="utf-8"
        )

        home = made / "devices/sp-1"
        settings = BrokerSettings(
            host=HOST, port=port, tls=True, ca_file=str(home / "ca.crt"), cert_file=str(home / "client.crt"),
            key_file=str(home / "client.key"),
        )  # fmt: skip
        start = [mosquitto, "-c", str(etc / "mosquitto.conf")]
        with subprocess.Popen(start, stderr=subprocess.DEVNULL) as broker:
            try:
                wait_for(port)
                broker.send_signal(signal.SIGHUP)
                with Probe(settings, "test", PATIENCE_S) as probe:
                    probe.open()
                    assert probe.publish("fadeout/sp-1/state", b"")
            finally:
                broker.terminate()


def test_the_broker_complains_of_nothing_but_what_is_known(running: House) -> None:
    known = (
        "ACL pattern 'homeassistant/status' does not contain",  # it is the same topic for every device
        "should not be run as root",  # by the tests
        "'per_listener_settings' option is now deprecated",  # needed by 2.0.21
    )
    complaints = [
        line
        for line in running.says().splitlines()
        if ("arning" in line or "deprecated" in line) and not any(words in line for words in known)
    ]

    assert complaints == []
