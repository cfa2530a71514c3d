"""`fadeout actions`, and what check-config says of the actions file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fadeout_device.cli.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    """Give the options for a configuration with two actions of its own."""
    (tmp_path / "actions.toml").write_text("[actions]\nhello = ['hello [there]']\nbye = ['goodbye']\n")
    (tmp_path / "f.toml").write_text('[recogniser]\nengine = "pocketsphinx"\nactions = "actions.toml"\n')
    return ["--config", str(tmp_path / "f.toml")]


def test_the_actions_are_listed(config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*config, "--json", "actions"]) == 0
    assert json.loads(capsys.readouterr().out)["actions"] == {"hello": 2, "bye": 1}
    assert main([*config, "actions"]) == 0
    assert "2 actions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("Hello there!", 0, "hello"),
        (
            "hello thre",
            1,
            (
                "no action: it would be a failed request\nin no sentence of the file: thre\n"
                "the nearest sentence: hello there"
            ),
        ),
        ("", 1, "no action: it would be a failed request"),
    ],
)
def test_a_sentence_can_be_tried(
    config: list[str], capsys: pytest.CaptureFixture[str], text: str, code: int, told: str
) -> None:
    assert main([*config, "actions", "--try", text]) == code
    assert capsys.readouterr().out.strip() == told
    assert main([*config, "--json", "actions", "--try", text]) == code
    assert json.loads(capsys.readouterr().out)["action"] == (told if code == 0 else None)


def test_words_tell_the_phones_of_one_that_the_dictionary_has_not(
    config: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*config, "actions", "--sound", "Room bah"]) == 0
    assert capsys.readouterr().out == "R UW M B AA\n"
    assert main([*config, "--json", "actions", "--sound", "bah"]) == 0
    assert json.loads(capsys.readouterr().out) == {"words": "bah", "phones": "B AA"}
    assert main([*config, "actions", "--sound", "room xqzzy"]) == 78
    assert 'how "xqzzy" sounds' in capsys.readouterr().err
    assert main([*config, "actions", "--sound", "5"]) == 78


def test_all_words_without_a_sound_are_told_with_what_to_do(
    config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "actions.toml").write_text("[actions]\na = ['start xqzzy']\nb = ['stop vvvzz']")
    assert main([*config, "check-config"]) == 78
    told = capsys.readouterr().err
    assert 'actions.toml:3: the recogniser does not know how "vvvzz" sounds (nor xqzzy)' in told
    assert "fadeout actions --sound" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [("[actions]\nhello = ['(hello']", ":2: actions.hello: "), ("[actions]\na = ['xqzzy']", ":2: the recog")],
)
def test_check_config_checks_the_actions_too(
    config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    assert main([*config, "check-config"]) == 0
    (tmp_path / "actions.toml").write_text(text)
    assert main([*config, "check-config"]) == 78
    assert f"actions.toml{told}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("voice", "warned"),
    [
        pytest.param('speak = "espaek-ng"', True, id="a program that is not there"),
        pytest.param('speak = "espaek-ng"\ncommands = false', False, id="nothing is answered"),
        pytest.param('speak = "none"', False, id="nothing is to be said"),
    ],
)
def test_check_config_warns_of_a_program_that_cannot_speak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], voice: str, *, warned: bool
) -> None:
    (tmp_path / "f.toml").write_text(f"[voice]\n{voice}\n")
    assert main(["--config", str(tmp_path / "f.toml"), "check-config"]) == 0
    told = "warning: answers are not spoken: there is no program espaek-ng; see speak under [voice]\n"
    assert (told in capsys.readouterr().out) is warned
