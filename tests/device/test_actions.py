"""The actions file: what ships, what is refused, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fadeout_broker import contract
from fadeout_device import actions_file
from fadeout_device.actions import MAX_IDS, NO_ACTIONS, spoken
from fadeout_device.actions_file import load_actions, parse_actions, with_reported_actions
from fadeout_device.config import Config, RecogniserSettings, load
from fadeout_device.errors import ConfigError

ON = RecogniserSettings(engine="pocketsphinx")


def test_the_file_that_ships_is_the_built_in_one() -> None:
    assert (Path(__file__).parents[2] / "config" / "actions.toml").resolve() == actions_file.BUILT_IN


def test_the_file_that_ships_fits_the_contract() -> None:
    ids = load_actions(ON).ids
    assert len(ids) <= contract.MAX_ACTIONS == MAX_IDS
    assert msgspec.convert(list(ids), list[contract.Action]) == list(ids)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("turn on the kitchen light", "light.on"),
        ("Turn the living room lights off!", "light.off"),
        ("set a timer for ten minutes", "timer.start"),
        ("turn on", None),
        ("turn on the kitchen light now", None),
        ("tell the walrus about marmalade", None),
        ("", None),
    ],
)
def test_words_lead_to_an_action_of_the_list_or_to_none(text: str, action: str | None) -> None:
    assert load_actions(ON).action(text) == action


def test_an_id_takes_the_value_that_was_said_and_no_other() -> None:
    text = """
    [actions]
    "light.{state}" = ["{state} in the {room}"]
    [slots]
    room = ["hall"]
    [slots.state]
    on = ["lights on", "let there be light"]
    off = ["lights out"]
    """
    actions = parse_actions(text, "x")
    assert actions.ids == ("light.on", "light.off")
    assert actions.action("let there be light in the hall") == "light.on"
    assert actions.action("lights out in the hall") == "light.off"
    assert actions.words == {"lights", "on", "let", "there", "be", "light", "out", "in", "the", "hall"}


def test_phones_may_be_copied_from_cmudict_with_their_stress() -> None:
    actions = parse_actions("[actions]\na = ['roomba']\n[pronunciations]\nroomba = 'R UW1 M B AH0'", "x")
    assert actions.pronunciations == {"roomba": "R UW M B AH"}


def test_spoken_leaves_the_words() -> None:
    assert spoken("  What\u2019s ON,\n5 o'clock?") == "what's on o'clock"


MANY = "(a | b | c | d | e | f | g | h | i | j)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "x:1: actions: has no action", id="an empty file"),
        pytest.param("[actions]", "x:1: actions: has no action", id="no action"),
        pytest.param("[actoins]\na = ['b']", "x:1: actoins: no such key", id="a typo"),
        pytest.param("[actions]\na = 'b'", "x:2: actions.a: is no list", id="a text for a list"),
        pytest.param("[actions]\na = []", "x:2: actions.a: is no list", id="no sentence"),
        pytest.param("[actions]\na = ['b', 3]", "x:2: actions.a: is no list", id="a number"),
        pytest.param("[actions]\n\nLight = ['b']", "x:3: actions.Light: is no action id", id="a capital"),
        pytest.param("[actions]\n'a.b' = ['c']\n'd.e' = ['(f']", 'x:3: actions.d.e: "(f"', id="line"),
        pytest.param("[actions]\nnone = ['b']", "x:2: actions.none: is taken", id="no action's own name"),
        pytest.param("[actions]\nother = ['b']", "x:2: actions.other: is taken", id="other's own name"),
        pytest.param(f"[actions]\n{'a' * 41} = ['b']", "is no action id", id="an id that is too long"),
        pytest.param("[actions]\na = ['b']\nc = ['b']", 'x:3: actions.c: "b" leads to a already', id="twice"),
        pytest.param(
            "[actions]\n'a.{w}' = ['b {w}']\n[slots]\nw = ['c']",
            "no slot {w} with values",
            id="a list in an id",
        ),
        pytest.param(
            "[actions]\n'a.{w}' = ['b [{w}]']\n[slots.w]\nc = ['c']", "does not say {w}", id="not always said"
        ),
        pytest.param(
            "[actions]\n'a.{w}' = ['b {w}']\n[slots.w]\n\"c d\" = ['c']",
            "x:4: slots.w.c d: is no",
            id="no name",
        ),
        pytest.param(f"[actions]\na = ['{MANY * 5}']", "100000 ways", id="too many ways"),
        pytest.param(
            "[actions]\n"
            + "".join(f"a{n} = ['{chr(97 + n % 26)} {chr(97 + n // 26)}']\n" for n in range(65)),
            "65 action ids",
            id="ids",
        ),
        pytest.param(
            "[actions]\na=['b']\n[pronunciations]\nb = 'x'", "x:4: pronunciations.b", id="no phones"
        ),
        pytest.param(
            "[actions]\na=['b']\n[pronunciations]\nb = 'B QQ'",
            'x:4: pronunciations.b: "QQ" is no phone',
            id="a phone that there is not",
        ),
        pytest.param(
            "[actions]\na=['b']\n[pronunciations]\nb = ''", "x:4: pronunciations.b: is no", id="no sound"
        ),
        pytest.param(
            "[actions]\nlight.on = ['b']", "x:2: actions.light.on: is a table", id="a name without quotes"
        ),
        pytest.param("a = ", "x: ", id="no TOML"),
        pytest.param("a = " + "[" * 5000, "x", id="very deep TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_actions(text, "x")
    assert told in str(caught.value)


def test_a_file_is_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[actions]\nhello = ['hello there']")
    config = tmp_path / "fadeout.toml"
    config.write_text('[recogniser]\nengine = "pocketsphinx"\nactions = "mine.toml"')
    assert load_actions(load(config).recogniser).ids == ("hello",)


def test_a_file_that_is_not_there_or_too_long_is_refused(tmp_path: Path) -> None:
    missing = RecogniserSettings("pocketsphinx", actions=str(tmp_path / "no.toml"))
    with pytest.raises(ConfigError, match=r"no\.toml: no such file"):
        load_actions(missing)
    (tmp_path / "long.toml").write_text("#" * (actions_file.MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="longer than"):
        load_actions(RecogniserSettings("pocketsphinx", actions=str(tmp_path / "long.toml")))


def test_the_reported_actions_are_the_file_s_unless_the_configuration_names_them() -> None:
    config = Config(recogniser=ON)
    assert with_reported_actions(config).mqtt.actions == load_actions(ON).ids
    named = msgspec.structs.replace(config, mqtt=msgspec.structs.replace(config.mqtt, actions=("light.on",)))
    assert with_reported_actions(named).mqtt.actions == ("light.on",)
    assert with_reported_actions(Config(recogniser=RecogniserSettings("none"))).mqtt.actions == ()


def test_without_a_recogniser_no_file_is_read() -> None:
    assert load_actions(RecogniserSettings("none", actions="/nowhere")) == NO_ACTIONS
