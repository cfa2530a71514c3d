"""`fadeout tune` on real speech, and what it says of audio that it cannot use."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from fadeout_device.cli.__main__ import main
from rig_speech import say, silence, write_wav

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORD = "okay nabu"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a word three times, and a sentence without it, as somebody would sort them."""
    folder = tmp_path_factory.mktemp("corpus")
    for part in ("wake", "other"):
        (folder / part).mkdir()
    for voice in ("rms", "awb", "kal16"):
        # Cut close to the word, as collections are.
        write_wav(folder / "wake" / f"{voice}.wav", say(WORD, voice))
    write_wav(folder / "other" / "talk.wav", say("the train leaves at seven", "rms") + silence(10))
    return folder


@pytest.fixture
def tuned(capsysbinary: pytest.CaptureFixture[bytes]) -> Callable[..., str]:
    """Give a function that runs the command and returns what it prints."""

    def run(*arguments: str | Path) -> str:
        assert main(["tune", *map(str, arguments)]) == 0
        return capsysbinary.readouterr().out.decode()

    return run


def test_a_cutoff_is_recommended_and_drawn(corpus: Path, tuned: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    png = tmp_path / "curve.png"
    found = json.loads(tuned(corpus, "--json", "--jobs", "1", "--png", png))
    (word,) = found["words"]
    assert (found["second_stage"], found["unreadable"]) == (None, [])
    assert (word["word"], word["spoken"], word["cutoff"]) == ("okay_nabu", 3, 0.85)
    assert 10 < word["other_s"] < 15
    at = {point["cutoff"]: point for point in word["points"]}
    assert (at[0.85]["detected"], at[0.85]["detection"], at[0.85]["false_accepts"]) == (3, 1.0, 0)
    assert at[0.99]["detected"] < 3
    assert word["recommended"] is not None
    assert at[word["recommended"]]["detected"] == 3
    assert png.read_bytes().startswith(b"\x89PNG")


def test_several_processes_find_the_same(corpus: Path, tuned: Callable[..., str]) -> None:
    one, two = (tuned(corpus, "--json", "--jobs", jobs) for jobs in ("1", "2"))
    assert one == two


def test_a_table_is_for_people(corpus: Path, tuned: Callable[..., str]) -> None:
    shown = tuned(corpus, "--jobs", "1")
    assert "3 of 3" in shown
    assert "now" in shown
    assert "okay_nabu: of 3 words, each is 33 %" in shown
    assert "for no false wake in this audio: cutoffs = { okay_nabu = 0." in shown
    assert "\n  [wake]\n  cutoffs = { okay_nabu = 0." in shown


def test_a_second_stage_is_measured_with_the_first_one_as_it_is_set(
    corpus: Path, tuned: Callable[..., str], tmp_path: Path
) -> None:
    pytest.importorskip("pyopen_wakeword")
    second = json.loads(tuned(corpus, "--json", "--jobs", "1", "--second-stage"))["second_stage"]
    assert (second["words"], second["spoken"], second["alone"]["detected"]) == (["okay_nabu"], 3, 3)
    detected = [point["detected"] for point in second["points"]]
    assert (detected[0], detected) == (3, sorted(detected, reverse=True))
    # A first stage that hears nothing leaves nothing to ask about.
    path = tmp_path / "f.toml"
    path.write_text('[wake]\ncutoff = 0.999\nsecond_stage = "openwakeword"\n')
    arguments = ("--json", "--jobs", "1", "--config", path, "--word", "okay_nabu")
    second = json.loads(tuned(corpus, *arguments))["second_stage"]
    assert (second["alone"]["detected"], second["points"][0]["detected"]) == (0, 0)


def test_the_recommendation_of_a_second_stage_is_ready_for_the_file(
    corpus: Path, tuned: Callable[..., str]
) -> None:
    pytest.importorskip("pyopen_wakeword")
    shown = tuned(corpus, "--jobs", "1", "--second-stage")
    assert "second stage, asked about okay_nabu" in shown
    assert '\n  [wake]\n  second_stage = "openwakeword"\n  second_stage_cutoff = 0.' in shown


def test_labels_beside_the_files_are_taken(corpus: Path, tuned: Callable[..., str], tmp_path: Path) -> None:
    for name in ("rms", "awb"):
        (tmp_path / f"{name}.wav").write_bytes((corpus / "wake" / f"{name}.wav").read_bytes())
    (tmp_path / "labels.json").write_text(
        json.dumps({"rms.wav": {"expected": [{"wake_word": "okay_nabu", "outcome": "failed"}]}})
    )
    (tmp_path / "awb.wav").write_bytes((corpus / "other" / "talk.wav").read_bytes())
    labels = json.loads((tmp_path / "labels.json").read_text())
    (tmp_path / "labels.json").write_text(json.dumps(labels | {"awb.wav": {"expected": ()}}))
    (word,) = json.loads(tuned(tmp_path, "--json", "--jobs", "1"))["words"]
    assert word["spoken"] == 1
    assert word["other_s"] > 10


def test_what_a_replay_expects_is_a_label(corpus: Path, tuned: Callable[..., str], tmp_path: Path) -> None:
    below = tmp_path / "kitchen"
    below.mkdir()
    write_wav(below / "said.wav", say(WORD, "rms"))
    (below / "talk.wav").write_bytes((corpus / "other" / "talk.wav").read_bytes())
    (below / "broken.wav").write_bytes(b"RIFF")
    manifest = tmp_path / "expect.toml"
    manifest.write_text(
        '[files."kitchen/said.wav"]\nutterances = [{ wake_word = "okay_nabu", outcome = "false_wake" }]\n'
        '[files."kitchen/talk.wav"]\nutterances = []\n'
        '[files."kitchen/broken.wav"]\nreadable = false\n'
    )
    for given in (tmp_path, manifest):
        found = json.loads(tuned(given, "--json", "--jobs", "1"))
        assert (found["words"][0]["spoken"], found["unreadable"]) == (1, [])


def test_a_file_that_cannot_be_heard_is_left_out_and_told(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "broken.wav").write_bytes(b"RIFF")
    assert main(["tune", str(corpus), str(folder), "--jobs", "1"]) == 65
    out, err = capsys.readouterr()
    assert "3 of 3" in out
    assert f"error: {folder}/broken.wav: is no audio that can be read" in err
    assert "hint: all numbers are without the 1 file that was left out" in err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    code = main(["tune", *map(str, arguments)])
    return code, capsys.readouterr().err


def test_audio_that_nobody_labelled_is_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes((corpus / "wake" / "rms.wav").read_bytes())
    code, told = refused(capsys, path)
    assert code == 65
    assert f"error: {path}: nobody said what is in it" in told
    assert "hint: put it below a folder wake or other" in told


@pytest.mark.parametrize(
    ("files", "told", "hint"),
    [
        pytest.param((), "no audio file in this folder", "looked for", id="an empty folder"),
        pytest.param(("wake/a.wav",), "no file without okay_nabu, among 1 file", "put talk",
                     id="only the word"),
        pytest.param(("other/a.wav",), "no file in which okay_nabu is said, among 1 file", "put files below",
                     id="never the word"),
        pytest.param(("wake/alexa/a.wav", "other/a.wav"), "okay_nabu is said, among 2 files",
                     "the files hold alexa: say --word WORD", id="another word"),
    ],
)  # fmt: skip
def test_audio_that_can_tell_nothing_is_refused_before_it_is_heard(
    files: tuple[str, ...], told: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"not heard")
    code, err = refused(capsys, tmp_path)
    assert code == 65
    assert told in err
    assert f"hint: {hint}" in err


@pytest.mark.parametrize(
    ("manifest", "code", "told"),
    [
        pytest.param('[files."a.wav"]\nutterances = 3\n', 78, "toml:2: files.a.wav.utterances: expected",
                     id="a manifest that cannot be"),
        pytest.param('[files."b.wav"]\nreadable = false\n', 65, "a.wav: nobody said what is in it",
                     id="a file that it does not name"),
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_help_is_told(
    manifest: str, code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.wav").write_bytes(b"not heard")
    (tmp_path / "expect.toml").write_text(manifest)
    found, err = refused(capsys, tmp_path)
    assert (found, told in err) == (code, True)


def test_an_utterance_that_does_not_name_its_word_is_of_the_only_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "expect.toml").write_text('[files."a.wav"]\nutterances = [{ outcome = "failed" }]\n')
    assert "no file without okay_nabu" in refused(capsys, tmp_path / "expect.toml")[1]
    config = tmp_path / "f.toml"
    config.write_text('[wake]\nwords = ["okay_nabu", "alexa"]\n')
    code, err = refused(capsys, tmp_path / "expect.toml", "--config", config)
    assert code == 64
    assert "a.wav: which of okay_nabu, alexa is in it?" in err


def test_a_path_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = refused(capsys, "/nowhere/at/all")
    assert (code, "error: /nowhere/at/all: no such file or directory" in err) == (65, True)


def test_of_several_words_the_file_must_say_which(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "f.toml"
    config.write_text('[wake]\nwords = ["okay_nabu", "alexa"]\n')
    code, told = refused(capsys, corpus, "--config", config)
    assert code == 64
    assert "which of okay_nabu, alexa is in it?" in told
    assert main(["tune", str(corpus), "--config", str(config), "--word", "alexa", "--jobs", "1"]) == 0
    assert "alexa: 3 times" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--word", "sesame"), 'error: --word: given "sesame"'),
        (("--jobs", "0"), "error: --jobs: given 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    arguments: tuple[str, ...], told: str, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = refused(capsys, corpus, *arguments)
    assert (code, told in err) == (64, True)


def test_a_curve_without_the_extra_is_refused_before_anything_is_heard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    code, told = refused(capsys, "/nowhere", "--png", "x.png")
    assert code == 69
    assert "hint: pip install 'fadeout[tune]'" in told
