"""`fadeout-broker check`: what is right passes, and each thing that is wrong is named in plain words."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker.provision.house import HOST, House, program
from fadeout_broker.__main__ import main
from fadeout_broker.adapters.mqtt_client import tls_context
from fadeout_broker.local import LocalBroker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fadeout_broker.arrow import BrokerSettings

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(170),
    # When a handshake fails paho leaves the socket to the garbage collector, which closes it at once.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TIMEOUT = ("--timeout", "30")
"""Longer than any answer takes on a machine that is busy with other tests."""


class Findings:
    """What `check` said and how it ended."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        self.code = main(["check", "--json", *arguments])
        self.rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def failed(self) -> dict[str, str]:
        failed = [row for row in self.rows if row["status"] == "failed"]
        return {row["check"]: f"{row['detail']}; {row['next']}" for row in failed}

    def status(self, check: str) -> str:
        return next(str(row["status"]) for row in self.rows if row["check"] == check)


def options(settings: BrokerSettings) -> list[str]:
    given = ["--host", settings.host, "--port", str(settings.port), "--tls"]
    for name in ("ca_file", "cert_file", "key_file"):
        if (value := getattr(settings, name)) is not None:
            given += [f"--{name.replace('_', '-')}", value]
    return given


def change_acl(house: House, lines: Sequence[str], without: str = "never") -> None:
    acl = house.path / "broker/acl"
    kept = [line for line in acl.read_text(encoding="utf-8").splitlines() if line != without]
    acl.write_text("\n".join([*kept, *lines]) + "\n", encoding="utf-8")
    house.reload()


@pytest.mark.parametrize("name", ["sp-1", "nodered", "display", "ha"])
def test_what_provision_makes_passes(running: House, capsys: pytest.CaptureFixture[str], name: str) -> None:
    found = Findings(capsys, *options(running.settings(name)), *TIMEOUT)

    assert found.failed() == {}
    assert found.code == 0
    assert found.status("hears itself") == "ok"
    assert found.status("is refused: a stranger") == "ok"


def test_a_device_is_checked_by_its_own_configuration(
    running: House, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = running.home("sp-1")
    config = tmp_path / "fadeout.toml"
    settings = (home / "mqtt.toml").read_text(encoding="utf-8")
    config.write_text(settings.replace("/etc/fadeout/mqtt", str(home)), encoding="utf-8")

    found = Findings(capsys, "--config", str(config), *TIMEOUT)

    assert found.failed() == {}
    assert found.status("hears only its own") == "ok"


def test_one_connection_for_each_certificate_passes_too(
    mosquitto: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with House(tmp_path, mosquitto, ["--node", "sp-1", "--one-connection"]) as house:
        found = Findings(capsys, *options(house.settings("sp-1")), *TIMEOUT)

    assert found.failed() == {}


def test_a_certificate_of_another_house_is_named(
    running: House, capsys: pytest.CaptureFixture[str], tmp_path: Path, mosquitto: str
) -> None:
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", mosquitto, ["--node", "sp-1"])
    ours, theirs = running.settings("sp-1"), other.home("sp-1")
    certificate = ["--cert-file", str(theirs / "client.crt"), "--key-file", str(theirs / "client.key")]

    found = Findings(capsys, *options(ours), *certificate, *TIMEOUT)

    assert found.code == 1
    (words,) = found.failed().values()
    # OpenSSL says so with an alert, which is lost if the connection is closed before it was read.
    assert any(said in words for said in ("from another CA", "does not know the CA")), words


def test_an_unknown_ca_is_named(
    running: House, capsys: pytest.CaptureFixture[str], tmp_path: Path, mosquitto: str
) -> None:
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", mosquitto)

    found = Findings(
        capsys, *options(running.settings("sp-1")), "--ca-file", str(other.path / "ca/ca.crt"), *TIMEOUT
    )

    assert "is from an unknown CA; set --ca-file" in found.failed()["connects"]


def test_a_missing_client_certificate_is_named(running: House, capsys: pytest.CaptureFixture[str]) -> None:
    there = [
        "--host",
        HOST,
        "--port",
        str(running.port),
        "--tls",
        "--ca-file",
        str(running.path / "ca/ca.crt"),
    ]

    found = Findings(capsys, *there, "--node", "sp-1", *TIMEOUT)

    assert "client certificate" in found.failed()["connects"]


def test_a_certificate_of_another_name_is_named(running: House, capsys: pytest.CaptureFixture[str]) -> None:
    found = Findings(capsys, *options(running.settings("sp-1")), "--node", "sp-2", "--timeout", "5")

    assert "our certificate says sp-1" in found.failed()["is who it says"]
    assert "not authorised" in found.failed()["publishes"]


def test_an_acl_that_swallows_the_subscription_is_named(
    running: House, capsys: pytest.CaptureFixture[str]
) -> None:
    change_acl(running, [], without="pattern read fadeout/%u/cmd/+")

    found = Findings(capsys, *options(running.settings("sp-1")), "--timeout", "5")

    assert "subscribed to fadeout/sp-1/cmd/+, and nothing comes" in found.failed()["hears itself"]
    assert found.status("clears what it retained") == "skipped"


def test_an_acl_that_allows_everything_is_named(running: House, capsys: pytest.CaptureFixture[str]) -> None:
    change_acl(running, ["user sp-1", "topic readwrite #"])

    found = Findings(capsys, *options(running.settings("sp-1")), *TIMEOUT)

    assert set(found.failed()) == {
        "hears only its own",
        "is refused: another device's topic",
        "is refused: a topic outside of fadeout",
        "is refused: a command to another device",
    }


def test_older_tls_is_named(running: House, capsys: pytest.CaptureFixture[str]) -> None:
    conf = running.path / "broker/fadeout.conf"
    lines = conf.read_text(encoding="utf-8")
    conf.write_text(lines.replace("tls_version tlsv1.3", "tls_version tlsv1.2"), encoding="utf-8")
    running.restart()

    found = Findings(capsys, *options(running.settings("sp-1")), *TIMEOUT)

    assert set(found.failed()) == {"is refused: TLS 1.2"}


def test_a_second_device_of_one_name_is_named(running: House, capsys: pytest.CaptureFixture[str]) -> None:
    settings = running.settings("sp-1")
    twin = Client(CallbackAPIVersion.VERSION2, client_id="fadeout-sp-1", protocol=MQTTProtocolVersion.MQTTv5)
    twin.tls_set_context(tls_context(settings))
    twin.reconnect_delay_set(1, 1)
    twin.connect(settings.host, settings.port)
    twin.loop_start()
    try:
        found = Findings(capsys, *options(settings), "--with-own-id", *TIMEOUT)
    finally:
        twin.disconnect()
        twin.loop_stop()

    assert "does another device use our client id fadeout-sp-1" in found.failed()["is the only one"]


def test_nobody_else_uses_our_name(running: House, capsys: pytest.CaptureFixture[str]) -> None:
    found = Findings(capsys, *options(running.settings("sp-1")), "--with-own-id", *TIMEOUT)

    assert found.status("is the only one") == "ok"


# ---- a broker that was not made by provision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if program(None) is None:
        pytest.skip("Mosquitto is not installed: sudo apt-get install mosquitto")
    path = tmp_path / "local"
    path.mkdir()
    return path


def test_a_bad_password_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users, password = folder / "users", folder / "password"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "sp-1", "right"], check=True)
    password.write_text("wrong\n", encoding="utf-8")
    with LocalBroker(folder, password_file=users) as broker:
        found = Findings(
            capsys, "--port", str(broker.port), "--host", broker.host, "--username", "sp-1",
            "--password-file", str(password), *TIMEOUT,
        )  # fmt: skip

    assert "check --username and --password-file" in found.failed()["connects"]
    assert "wrong" not in json.dumps(found.rows)


def test_a_broker_that_lets_everybody_in_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LocalBroker(folder) as broker:
        found = Findings(
            capsys, "--host", broker.host, "--port", str(broker.port), "--node", "sp-1", *TIMEOUT
        )

    assert "lets everybody in" in found.failed()["is refused: a stranger"]
    assert found.status("is encrypted") == "skipped"


def test_a_broker_that_is_not_there_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LocalBroker(folder) as broker:
        port = broker.port

    found = Findings(capsys, "--host", HOST, "--port", str(port), "--node", "sp-1", *TIMEOUT)

    assert "connection refused" in found.failed()["connects"]
    assert found.code == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "who are we", id="no name"),
        pytest.param(["--config", "/nonexistent.toml"], "no such file", id="no such configuration"),
        pytest.param(["--node", "a", "--ca-file", "/nonexistent", "--tls"], "/nonexistent", id="no such CA"),
    ],
)
def test_what_cannot_be_asked_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code = main(["check", *arguments])

    assert code not in (0, 1)
    assert says in capsys.readouterr().err
