"""The parts of scripts/try_home_assistant that need no Home Assistant."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path

import pytest
import yaml
from home_assistant import installation, instance, recorded, scenario
from home_assistant.installation import Installation

FORM = [
    {"name": "broker", "required": True, "selector": {"text": {}}},
    {"name": "port", "required": True, "default": 1883, "selector": {"number": {}}},
    {"name": "protocol", "required": True, "default": "5", "selector": {"select": {}}},
    {"name": "username", "required": False, "selector": {"text": {}}},
    {
        "name": "other_settings",
        "type": "expandable",
        "required": True,
        "schema": [
            {"name": "set_client_cert", "required": True, "selector": {"boolean": {}}},
            {"name": "set_ca_cert", "required": True, "selector": {"select": {}}},
            {"name": "keepalive", "required": False, "selector": {"number": {}}},
        ],
    },
]


def test_a_token_is_the_one_of_the_standard() -> None:
    made = instance.token("abc", "key", 1_700_000_000, lasts_s=60)
    head, claims, _signature = made.split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {
        "iss": "abc",
        "iat": 1_700_000_000,
        "exp": 1_700_000_060,
    }
    # Computed with openssl dgst -sha256 -hmac key.
    assert made.endswith(".VoLP-wrKYn9bfD5KHM8kt-PLlZ8Msss6PO2At-Q2aYc")


def test_a_form_is_filled_in_with_no_more_than_it_must_be() -> None:
    assert instance.filled_in(FORM, {"broker": "127.0.0.1", "port": 1}) == {
        "broker": "127.0.0.1",
        "port": 1,
        "other_settings": {"set_client_cert": False, "set_ca_cert": "off"},
    }


def test_it_listens_on_loopback_only() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!include", lambda _loader, node: node.value)
    configuration = yaml.load(instance.configuration(8123, "*.fadeout_*"), Loader)  # noqa: S506 - a SafeLoader with one tag more
    assert configuration["recorder"] == {"exclude": {"entity_globs": ["*.fadeout_*"]}}
    assert configuration["http"] == {"server_host": "127.0.0.1", "server_port": 8123}


def test_its_storage_lets_the_token_in() -> None:
    storage = instance.auth_storage("user", "refresh", "key")
    (refresh,) = storage["data"]["refresh_tokens"]
    (user,) = storage["data"]["users"]
    assert (refresh["id"], refresh["jwt_key"], refresh["user_id"]) == ("refresh", "key", user["id"])
    assert user["is_owner"]


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("2024.3.3", False),
        ("2024.11.3", False),
        ("2024.12.0", True),
        ("2026.11.0", True),
        ("2026.2.0b1", True),
    ],
)
def test_a_home_assistant_without_device_discovery_is_too_old(version: str, enough: bool) -> None:  # noqa: FBT001 - a table
    assert installation.is_new_enough(version) is enough


def test_the_constraints_come_out_of_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "homeassistant-2026.11.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("homeassistant/package_constraints.txt", "paho-mqtt==2.1.0\n")
    assert installation.constraints_of(wheel) == "paho-mqtt==2.1.0\n"


def test_paths_are_seen_from_inside() -> None:
    forky = Installation(("chroot", "/a/forky"), Path("/a/forky"), "/opt/home-assistant")
    assert forky.inside(Path("/a/forky/tmp/try")) == "/tmp/try"  # noqa: S108 - only a name
    assert forky.command("python", "-m", "homeassistant") == [
        *("chroot", "/a/forky"),
        *("/opt/home-assistant/bin/python", "-m", "homeassistant"),
    ]
    here = Installation((), Path("/"), "/a/venv")
    assert here.inside(Path("/a/config")) == "/a/config"


def test_nothing_is_found_where_nothing_was_installed(tmp_path: Path) -> None:
    assert installation.found_in(tmp_path) == []


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('it is broken')")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to("/usr/bin/python3")
    with pytest.raises(installation.InstallationError, match="it is broken"):
        Installation((), Path("/"), str(tmp_path)).run_inside(program)


def test_recorded_facts_come_back_the_same() -> None:
    facts = {
        "2026.11.0": {"device": {"required": ["a"], "optional": []}, "platforms": {"event": {"required": []}}}
    }
    text = recorded.formatted(facts)
    assert json.loads(text) == facts
    path = Path(__file__).with_name("home_assistant_facts.json")
    assert recorded.formatted(json.loads(path.read_text())) == path.read_text()


def test_every_check_says_what_it_looks_for() -> None:
    assert all(check.__doc__ for check in scenario.CHECKS)


def test_a_check_that_fails_does_not_keep_the_next_from_being_made() -> None:
    def fails(_room: object) -> str:
        """Fails."""
        raise instance.NotSeenError("no")

    def passes(_room: object) -> str:
        """Passes."""
        return "yes"

    seen = list(scenario.run(None, (fails, passes)))  # type: ignore[arg-type]  # because these need no room
    assert [(each.what, each.ok, each.detail) for each in seen] == [
        ("Fails", False, "no"),
        ("Passes", True, "yes"),
    ]


def test_files_with_an_id_are_named(tmp_path: Path) -> None:
    ident = scenario.event(1).id
    (tmp_path / "with").write_text(f"... {ident} ...")
    (tmp_path / "without").write_text("...")
    assert scenario.left_behind(tmp_path, ident) == "with"
    assert scenario.left_behind(tmp_path, scenario.event(2).id) == "no file"


def test_the_newest_python_is_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, code in (("python3.14", 127), ("python3.13", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    assert installation.newest_python() == str(tmp_path / "python3.13")
    (tmp_path / "python3.13").unlink()
    with pytest.raises(installation.InstallationError, match="--python PATH"):
        installation.newest_python()
