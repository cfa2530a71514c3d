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
    (word,) = json.loads(tuned(corpus, "--json", "--jobs", "1", "--png", png))
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
    assert "recommended: [wake] cutoffs = { okay_nabu = 0." in shown


def test_without_other_audio_nothing_is_recommended(corpus: Path, tuned: Callable[..., str]) -> None:
    assert "no recommendation: it takes files without the word" in tuned(corpus / "wake", "--jobs", "1")


def test_labels_beside_the_files_are_taken(corpus: Path, tuned: Callable[..., str], tmp_path: Path) -> None:
    for name in ("rms", "awb"):
        (tmp_path / f"{name}.wav").write_bytes((corpus / "wake" / f"{name}.wav").read_bytes())
    (tmp_path / "labels.json").write_text(
        json.dumps({"rms.wav": {"expected": [{"wake_word": "okay_nabu", "outcome": "failed"}]}})
    )
    (word,) = json.loads(tuned(tmp_path, "--json", "--jobs", "1"))
    assert (word["spoken"], word["other_s"]) == (1, 0.0)


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
