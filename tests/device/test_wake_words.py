"""`[wake]`: which words, which models, and what a person is told when one cannot be."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pymicro_wakeword
import pytest

from fadeout_device.config import load, located, parse
from fadeout_device.errors import ConfigError
from fadeout_device.policy import PolicyError
from fadeout_device.wake_words import BUNDLED, WakeSettings, check_files, first_models, second_models

MICRO = Path(pymicro_wakeword.__file__).parent / "models"


def own_model(folder: Path, name: str = "computer", **changes: object) -> Path:
    """Give a copy of the bundled alexa under another name."""
    (folder / f"{name}.tflite").write_bytes((MICRO / "alexa.tflite").read_bytes())
    description = json.loads((MICRO / "alexa.json").read_text()) | {"model": f"{name}.tflite"} | changes
    (folder / f"{name}.json").write_text(json.dumps(description))
    return folder / f"{name}.json"


def test_the_bundled_names_are_those_of_the_libraries() -> None:
    assert [m.value for m in pymicro_wakeword.Model] == list(BUNDLED["microwakeword"])
    openwakeword = pytest.importorskip("pyopen_wakeword")
    assert [m.value for m in openwakeword.Model] == list(BUNDLED["openwakeword"])


def test_a_cutoff_of_a_words_own_stands_before_that_of_all() -> None:
    settings = WakeSettings(words=("okay_nabu", "alexa"), cutoff=0.7, cutoffs={"alexa": 0.9})
    assert {model.word: model.cutoff for model in first_models(settings)} == {"okay_nabu": 0.7, "alexa": 0.9}


def test_a_path_is_called_like_its_file_and_says_its_engine() -> None:
    models = first_models(WakeSettings(words=("/m/computer.json", "/m/lumos_2.tflite", "alexa")))
    assert [(model.word, model.engine) for model in models] == [
        ("computer", "microwakeword"), ("lumos_2", "openwakeword"), ("alexa", "microwakeword"),
    ]  # fmt: skip


def test_the_second_stage_is_asked_about_the_first_engines_words_only() -> None:
    settings = WakeSettings(
        words=("okay_nabu", "/m/computer.json", "/m/lumos.tflite"),
        second_stage="openwakeword",
        second_stage_models={"computer": "/m/second.tflite"},
    )
    assert [(model.word, model.path) for model in second_models(settings)] == [
        ("okay_nabu", None), ("computer", Path("/m/second.tflite")),
    ]  # fmt: skip
    assert second_models(WakeSettings()) == ()


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        pytest.param('words = ["open_sesame"]', 'x:2: wake.words.0: given "open_sesame"', "okay_nabu, hey_j",
                     id="a word there is not"),
        pytest.param('words = ["hey_rhasspy"]', 'words.0: given "hey_rhasspy"', "okay_nabu",
                     id="a word of the other engine"),
        pytest.param('words = ["computer.json"]', 'words.0: given "computer.json"', "a whole path",
                     id="a path that depends on the folder"),
        pytest.param('words = ["/m/computer.onnx"]', 'words.0: given "/m/comp', "/….json of microWakeWord",
                     id="a model of no engine"),
        pytest.param('words = ["/m/Hey You.json"]', 'given "/m/Hey You.json"', "small letters, digits and _",
                     id="a file whose name is no word"),
        pytest.param('words = ["alexa", "/m/alexa.json"]', 'words.1: "alexa" stands twice', "once",
                     id="one word of two models"),
        pytest.param('engine = "porcupine"', 'x:2: wake.engine: given "porcupine"', '"openwakeword"',
                     id="an engine there is not"),
        pytest.param("refractory_ms = 10001", "x:2: wake.refractory_ms: given 10001", "<= 10000",
                     id="deaf for too long"),
        pytest.param("cutoffs = { alexa = 0.9 }", 'x:2: wake.cutoffs: nobody listens for "alexa"',
                     "okay_nabu", id="a cutoff for a word that is not listened for"),
        pytest.param("cutoffs = { okay_nabu = 85 }", "x:2: wake.cutoffs.okay_nabu: given 85", "between 0",
                     id="a cutoff that nothing passes"),
        pytest.param('second_stage = "yes"', 'x:2: wake.second_stage: given "yes"', '"openwakeword"',
                     id="a second stage there is not"),
        pytest.param('engine = "openwakeword"\nsecond_stage = "openwakeword"', "second_stage: no word is",
                     "already listens alone", id="an engine that is asked about itself"),
        pytest.param('words = ["/m/computer.json"]\nsecond_stage = "openwakeword"',
                     'x:3: wake.second_stage: no openWakeWord model for "computer"', "second_stage_models",
                     id="a word that the second stage does not know"),
        pytest.param('second_stage_models = { alexa = "/m/a.tflite" }',
                     'x:2: wake.second_stage_models: nobody is asked about "alexa"', "allowed: okay_nabu",
                     id="a second model for a word that is not listened for"),
        pytest.param('second_stage_models = { okay_nabu = "a.onnx" }', 'models: given "a.onnx"', ".tflite",
                     id="a second model of no engine"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_its_line(text: str, told: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"[wake]\n{text}", "x")
    assert told in str(caught.value)
    assert hint in (caught.value.hint or "")


def file_error(path: Path, tmp_path: Path) -> ConfigError:
    """Give what a person is told of a file; the configuration is beside it."""
    written = tmp_path / "f.toml"
    written.write_text(f'\n[wake]\nwords = ["alexa", "{path}"]\n')
    with pytest.raises(PolicyError) as caught:
        check_files(load(written).wake)
    return located(caught.value, written)


def test_an_own_model_that_is_there_is_taken(tmp_path: Path) -> None:
    check_files(WakeSettings(words=(str(own_model(tmp_path)), "alexa")))


def test_a_file_that_is_not_there_is_told_with_its_line(tmp_path: Path) -> None:
    missing = tmp_path / "computer.json"
    assert str(file_error(missing, tmp_path)) == (
        f"{tmp_path}/f.toml:3: wake.words.1: {missing}: no such file or directory"
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="nothing"),
        pytest.param("[]", id="a list"),
        pytest.param('{"wake_word": "x", "model": "x.tflite"}', id="version 1"),
        pytest.param('{"wake_word": "x", "model": "x.tflite", "micro": {"probability_cutoff": 7}}', id="a 7"),
    ],
)
def test_a_file_that_describes_no_model_is_told(content: str, tmp_path: Path) -> None:
    path = tmp_path / "computer.json"
    path.write_text(content)
    assert str(file_error(path, tmp_path)).endswith(f"{path}: does not describe a model")


def test_a_model_file_that_is_none_is_told(tmp_path: Path) -> None:
    path = own_model(tmp_path)
    path.with_suffix(".tflite").write_bytes(b"<html>not found</html>")
    refused = file_error(path, tmp_path)
    assert str(refused).endswith(f"{path.with_suffix('.tflite')}: cannot be run")
    assert (refused.hint or "").startswith("expected a whole model of microWakeWord")
    path.with_suffix(".tflite").unlink()
    assert str(file_error(path, tmp_path)).endswith("computer.tflite: no such file or directory")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (WakeSettings(engine="openwakeword"), "wake.engine"),
        (WakeSettings(second_stage="openwakeword"), "wake.second_stage"),
        (WakeSettings(words=("/m/lumos.tflite",)), "wake.words.0"),
    ],
)
def test_the_extra_that_is_not_installed_is_named_with_the_next_step(
    settings: WakeSettings, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "pyopen_wakeword", raising=False)
    with pytest.raises(PolicyError, match="openwakeword is not installed") as caught:
        check_files(settings)
    told = located(caught.value, None)
    assert str(told) == f"{key}: openwakeword is not installed"
    assert "pip install 'fadeout[openwakeword]'" in (told.hint or "")
