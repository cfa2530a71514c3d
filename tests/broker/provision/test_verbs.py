"""The commands on their folder: complete, private, and never over what is there."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.provision.house import contents
from fadeout_broker.__main__ import main
from fadeout_broker.arrow import BrokerSettings
from fadeout_broker.errors import SettingsError
from fadeout_broker.provision import acl, certificates, files, mosquitto_conf
from fadeout_broker.provision.certificates import Role

if TYPE_CHECKING:
    from pathlib import Path

HOST = "broker.local"  # conftest.py


def test_the_folder_is_complete(house: Path) -> None:
    assert set(contents(house)) == {
        "README",
        *(f"ca/ca.{end}" for end in ("crt", "key")),
        *(
            f"broker/{name}"
            for name in ("acl", "broker.crt", "broker.key", "ca.crl", "ca.crt", "fadeout.conf")
        ),
        *(f"devices/sp-1/{name}" for name in ("ca.crt", "client.crt", "client.key", "mqtt.toml")),
    }


def test_nothing_is_readable_by_the_world_and_keys_only_by_their_owner(house: Path) -> None:
    for path in house.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o007 == 0, path
        if path.suffix == ".key":
            assert mode == files.PRIVATE, path


def test_a_device_takes_its_settings_as_they_are(house: Path) -> None:
    table = tomllib.loads((house / "devices/sp-1/mqtt.toml").read_text(encoding="utf-8"))

    settings = msgspec.convert(table["mqtt"], BrokerSettings)

    assert (settings.host, settings.port, settings.node, settings.tls) == (HOST, 8883, "sp-1", True)
    assert settings.key_file == "/etc/fadeout/mqtt/client.key"


def test_the_same_again_changes_nothing(house: Path) -> None:
    before = contents(house)

    assert main(["provision", str(house), "--host", HOST, "--node", "sp-1", "--mosquitto", "2.0.11"]) == 0

    assert contents(house) == before


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        pytest.param(["provision", "{}", "--port", "1234"], "differs", id="another port"),
        pytest.param(
            ["provision", "{}", "--mosquitto", "2.0.11", "--host", "b"], "not good for b", id="another name"
        ),
        pytest.param(["provision", "{}", "--mosquitto", "new"], "no version", id="no version"),
        pytest.param(["provision", "{}", "--broker-folder", "x"], "not absolute", id="a relative folder"),
        pytest.param(["add-device", "{}", "sp-1"], "certificate already", id="a device twice"),
        pytest.param(
            ["add-subscriber", "{}", "sp-1"], "certificate already", id="a subscriber called as a device"
        ),
        pytest.param(["add-device", "{}", "broker"], "own name", id="a device called broker"),
        pytest.param(["add-device", "{}", "../x"], "no node", id="a path as a name"),
        pytest.param(["add-device", "{}", "a\n"], "no node", id="a line feed in a name"),
        pytest.param(["add-subscriber", "{}", "a+"], "no name", id="a wildcard in a name"),
        pytest.param(["rotate", "{}", "sp-9"], "nobody", id="rotate whom nobody knows"),
        pytest.param(["rotate", "{}", "sp-1", "--host", "x"], "--host is for", id="a host for a device"),
        pytest.param(["revoke", "{}", "broker"], "nobody", id="revoke the broker"),
        pytest.param(["list", "{}/none"], "does not exist", id="no such folder"),
    ],
)
def test_what_is_refused_changes_nothing(
    house: Path, capsys: pytest.CaptureFixture[str], asked: list[str], says: str
) -> None:
    before = contents(house)

    code = main([word.format(house) for word in asked])

    shown = capsys.readouterr().err
    assert code != 0
    assert says in shown
    assert "hint: " in shown
    assert contents(house) == before


def test_without_the_authoritys_key_nobody_is_added(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (house / "ca/ca.key").unlink()
    before = contents(house)

    assert main(["add-device", str(house), "sp-2"]) != 0

    assert "ca.key" in capsys.readouterr().err
    assert contents(house) == before


def test_a_subscriber_gets_a_block_of_the_acl_and_own_lines_stay(house: Path) -> None:
    with (house / "broker/acl").open("a", encoding="utf-8") as file:
        file.write("user zigbee\ntopic readwrite zigbee/#\n")

    assert main(["add-subscriber", str(house), "display", "--read-only"]) == 0

    text = (house / "broker/acl").read_text(encoding="utf-8")
    assert "user display" in text
    assert text.endswith("kept.\nuser zigbee\ntopic readwrite zigbee/#\n")


def test_an_acl_from_elsewhere_is_not_overwritten(house: Path) -> None:
    (house / "broker/acl").write_text("user me\n", encoding="utf-8")

    assert main(["add-subscriber", str(house), "nodered"]) != 0

    assert (house / "broker/acl").read_text(encoding="utf-8") == "user me\n"


def test_rotate_makes_another_key_and_revokes_the_old_certificate(house: Path) -> None:
    home = house / "devices/sp-1"
    old_key, old = (home / "client.key").read_bytes(), certificates.read((home / "client.crt").read_bytes())

    assert main(["rotate", str(house), "sp-1"]) == 0

    new = certificates.read((home / "client.crt").read_bytes())
    assert (home / "client.key").read_bytes() != old_key
    assert (new.name, new.role) == (old.name, old.role)
    assert set(certificates.read_revocations((house / "broker/ca.crl").read_bytes())) == {old.serial}
    assert "deny #" not in (house / "broker/acl").read_text(encoding="utf-8")


def test_an_old_certificate_that_was_kept_is_revoked_later(house: Path) -> None:
    serials = []
    for _ in range(2):
        serials.append(certificates.read((house / "devices/sp-1/client.crt").read_bytes()).serial)
        assert main(["rotate", str(house), "sp-1", "--keep-old"]) == 0
    assert certificates.read_revocations((house / "broker/ca.crl").read_bytes()) == {}

    assert main(["revoke", str(house), "sp-1", "--old"]) == 0

    assert set(certificates.read_revocations((house / "broker/ca.crl").read_bytes())) == set(serials)


def test_revoke_takes_everything_of_somebody_and_lets_the_name_be_used_again(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rotate", str(house), "sp-1", "--keep-old"]) == 0
    assert main(["revoke", str(house), "sp-1"]) == 0
    assert main(["revoke", str(house), "sp-1"]) == 0

    assert len(certificates.read_revocations((house / "broker/ca.crl").read_bytes())) == 2
    assert "user sp-1\ntopic deny #\n" in (house / "broker/acl").read_text(encoding="utf-8")
    assert not (house / "devices/sp-1/client.key").exists()
    assert "nothing was left to revoke" in capsys.readouterr().out

    assert main(["add-subscriber", str(house), "sp-1"]) == 0

    rows = listed(house, capsys)
    assert [(row["role"], row["revoked"]) for row in rows if row["name"] == "sp-1"] == [("subscriber", False)]


def test_the_broker_gets_a_new_certificate_for_other_names(house: Path) -> None:
    assert main(["rotate", str(house), "broker", "--host", "new.local", "--host", "192.0.2.1"]) == 0

    known = certificates.read((house / "broker/broker.crt").read_bytes())
    assert known.hosts == ("new.local", "192.0.2.1")


def test_list_shows_who_is_there_and_for_how_long(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(house, capsys)

    assert [row["name"] for row in rows] == ["fadeout authority", "broker", "sp-1"]
    assert [row["days"] for row in rows] == [3652, 824, 729]
    assert main(["list", str(house)]) == 0
    assert "sp-1" in capsys.readouterr().out


def listed(house: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["list", str(house), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ---- the texts


@pytest.mark.parametrize(
    ("version", "is_there"),
    [
        pytest.param("2.0.11", False, id="unknown to Debian 12's"),
        pytest.param("2.1", True, id="known since 2.0.21"),
    ],
)
def test_a_mosquitto_gets_no_line_that_it_does_not_know(
    tmp_path: Path, version: str, *, is_there: bool
) -> None:
    assert main(["provision", str(tmp_path / "h"), "--host", HOST, "--mosquitto", version]) == 0

    conf = (tmp_path / "h/broker/fadeout.conf").read_text(encoding="utf-8")
    assert ("\nretain_expiry_interval 1\n" in conf) is is_there


def test_persistence_is_asked_for(tmp_path: Path) -> None:
    assert main(["provision", str(tmp_path / "h"), "--host", HOST, "--persistence"]) == 0

    conf = (tmp_path / "h/broker/fadeout.conf").read_text(encoding="utf-8")
    assert "persistence true\nautosave_on_changes true\nautosave_interval 1\n" in conf


def test_no_topic_is_logged(house: Path) -> None:
    conf = (house / "broker/fadeout.conf").read_text(encoding="utf-8")
    kinds = {line.split()[1] for line in conf.splitlines() if line.startswith("log_type ")}

    assert kinds == {"error", "warning", "notice"}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param("mosquitto version 2.0.11\n\nmosquitto is", (2, 0, 11), id="what -h says"),
        pytest.param("2.1", (2, 1, 0), id="two numbers"),
        pytest.param("two", None, id="no number"),
    ],
)
def test_a_version_is_read(text: str, version: tuple[int, ...] | None) -> None:
    assert mosquitto_conf.parse_version(text) == version


def test_a_revoked_name_is_silenced_whatever_it_was() -> None:
    text = acl.text([acl.Client("a", Role.HOME_ASSISTANT, is_revoked=True)])

    assert "user a\ntopic deny #\n" in text
    assert "topic read" not in text


# ---- the files


def test_a_file_that_must_not_be_replaced_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    with pytest.raises(SettingsError, match="exists"):
        files.write(path, b"new", files.PRIVATE, replace=False)

    assert contents(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(SettingsError, match="no space left"):
        files.write(path, b"new", files.PRIVATE, replace=True)

    assert contents(tmp_path) == {"a": b"old"}


def test_the_shell_completes_who_is_there(house: Path) -> None:
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(house / "completed"),
        "COMP_LINE": f"fadeout-broker revoke {house} s",
        "COMP_POINT": str(len(f"fadeout-broker revoke {house} s")),
    }

    subprocess.run([sys.executable, "-m", "fadeout_broker"], env=environment, check=False, timeout=60)

    assert (house / "completed").read_text(encoding="utf-8").split() == ["sp-1"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    assert main(["provision", str(tmp_path / "file/house")]) != 0

    assert str(tmp_path / "file/house") in capsys.readouterr().err
