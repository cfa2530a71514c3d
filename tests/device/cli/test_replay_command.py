"""`fadeout replay` on real speech, as testers run it: verdicts, reports, exit codes, recording."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from fadeout_device.cli.replay_report import Report
from fadeout_device.replaying.events import Event
from rig_replay import run_replay
from rig_speech import Speech, silence, speech, write_wav

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["speech"]

pytestmark = pytest.mark.system


@pytest.fixture
def corpus(tmp_path: Path, speech: Speech) -> Path:
    """Give a folder with speech in two forms, silence, and what is no audio; the tests stand above it."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_wav(folder / "1 said.wav", speech.pcm)
    samples = np.frombuffer(speech.pcm, "<i2")
    soundfile.write(folder / "2.mp3", np.repeat(samples[:, None], 3, axis=0), 48_000, format="MP3")
    write_wav(folder / "3 silence.wav", silence(3))
    (folder / "4 broken.flac").write_bytes(b"not audio")
    return tmp_path


def test_record_then_check_then_a_change(corpus: Path) -> None:
    recorded = run_replay(corpus, "corpus", "--record-expectations")
    assert recorded.returncode == os.EX_DATAERR, recorded.stderr
    manifest = corpus / "corpus" / "expect.toml"
    text = manifest.read_text()
    assert 'outcome = "failed"' in text
    assert '[files."4 broken.flac"]\nreadable = false\n' in text
    assert recorded.stderr.count("error: corpus/4 broken.flac: is no audio") == 1

    again = run_replay(corpus, "corpus", "--record-expectations")
    assert again.returncode == os.EX_USAGE
    assert again.stderr == "error: corpus/expect.toml is there already\nhint: replace it with --force\n"
    assert run_replay(corpus, "corpus", "--record-expectations", "--force").returncode == os.EX_DATAERR
    assert manifest.read_text() == text

    passed = run_replay(corpus, "corpus", "--junit", "report.xml")
    assert passed.returncode == 0, passed.stderr
    assert passed.stderr.endswith("4 as expected, 0 not\n")
    assert ET.parse(corpus / "report.xml").getroot().get("failures") == "0"  # noqa: S314 - our own

    manifest.write_text(text.replace('"failed"', '"served"', 1))
    (corpus / "corpus" / "3 silence.wav").unlink()
    failed = run_replay(corpus, "corpus/expect.toml", "--junit", "report.xml")
    assert failed.returncode == 1
    rows = [line.split(maxsplit=2) for line in failed.stdout.splitlines() if line.startswith("corpus/")]
    assert [row[0] for row in rows] == ["corpus/1", "corpus/3"]
    assert "served" in failed.stdout
    assert "missing" in failed.stdout
    assert failed.stderr.endswith("2 as expected, 2 not\n")
    assert ET.parse(corpus / "report.xml").getroot().get("failures") == "2"  # noqa: S314 - our own

    # What was asked for and is not there is told, and not recorded; what went is forgotten.
    (corpus / "corpus" / "empty").mkdir()
    given = ("corpus", "corpus/gone.wav", "corpus/empty")
    recorded = run_replay(corpus, *given, "--record-expectations", "--force")
    assert recorded.returncode == os.EX_DATAERR
    assert "error: corpus/gone.wav: no such file or directory\n" in recorded.stderr
    assert "error: corpus/empty: no audio file in this folder\n" in recorded.stderr
    assert manifest.read_text().count("[files.") == 3

    unchecked = run_replay(corpus, "corpus/1 said.wav", "--unchecked")
    assert (unchecked.returncode, "expected" in unchecked.stderr) == (0, False)


def test_the_same_bytes_with_one_pair_and_with_several(corpus: Path) -> None:
    expected = '[files."1 said.wav"]\nutterances = [{ outcome = "failed", kept = ["action", "audio"] }]\n'
    (corpus / "corpus" / "expect.toml").write_text(expected)
    one = run_replay(corpus, "corpus/*", "--json", "--junit", "one.xml")
    several = run_replay(corpus, "corpus/*", "--json", "--junit", "several.xml", "--jobs", "3")
    assert one.returncode == several.returncode == os.EX_DATAERR
    assert one.stdout == several.stdout
    assert (corpus / "one.xml").read_bytes() == (corpus / "several.xml").read_bytes()
    lines = [json.loads(line) for line in one.stdout.splitlines()]
    assert [line["result"] for line in lines if "result" in line] == [
        "passed", "unchecked", "unchecked", "bad",
    ]  # fmt: skip
    first, second = [line for line in lines if "outcome" in line]
    assert first["speech_start_s"] == pytest.approx(second["speech_start_s"], abs=0.5)
    assert first["wake_s"] < first["speech_start_s"] < first["speech_end_s"]


def test_in_real_time_several_at_once(tmp_path: Path) -> None:
    for name in ("1.wav", "2.wav", "3.wav"):
        write_wav(tmp_path / name, silence(0.5))
    (tmp_path / "4.wav").write_bytes(b"not audio")
    files = ["1.wav", "2.wav", "4.wav", "3.wav"]
    real = run_replay(tmp_path, *files, "--json", "--speed", "real", "--jobs", "3")
    assert real.returncode == os.EX_DATAERR
    assert [line.split()[0] for line in real.stderr.splitlines()] == [
        "1.wav", "2.wav", "error:", "hint:", "3.wav", "4",
    ]  # fmt: skip
    # Nothing is expected of them; of what cannot be replayed there is a line all the same.
    (bad,) = [json.loads(line) for line in real.stdout.splitlines()]
    assert (bad["file"], bad["result"]) == ("4.wav", "bad")
    assert bad["error"].startswith("4.wav: is no audio that can be read")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["--state", "s", "--jobs", "2"], "--state with --jobs", id="one state for two vaults"),
        pytest.param(["--force"], "--force without --record-expectations", id="nothing to replace"),
        pytest.param(["--junit", "x", "--record-expectations"], "--junit with", id="nothing to report"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    answer = run_replay(tmp_path, "x.wav", *arguments)
    assert answer.returncode == os.EX_USAGE
    assert answer.stderr.startswith(f"error: {complaint}")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("place", [".", "nowhere/x.xml"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_heard(
    tmp_path: Path, place: str
) -> None:
    answer = run_replay(tmp_path, "x.wav", "--junit", place)
    assert answer.returncode == os.EX_CANTCREAT
    first, hint = answer.stderr.splitlines()
    assert first.startswith(f"error: {place}: ")
    assert hint == "hint: choose another file with --junit"


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["long/a/x.wav", "long/b/x.wav"], ["a/x.wav", "b/x.wav"]),
        (["a/x.wav", "x.wav"], ["a/x.wav", "x.wav"]),
        (["/a/x.wav", "x.wav"], ["/a/x.wav", "x.wav"]),
        (["/x.wav", "/y.wav"], ["/x.wav", "/y.wav"]),
        (["ab/x.wav"], ["x.wav"]),
    ],
)
def test_files_of_one_name_are_told_apart(
    names: list[str], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(names, as_json=False)
    said = {
        "wake_word": "okay_nabu", "wake_s": 1.0, "score": 0.9, "start_s": 0.0, "duration_s": 2.0,
        "speech_s": 0.0, "outcome": "false_wake", "action": "none",
        "speech_start_s": None, "speech_end_s": None, "kept": [],
    }  # fmt: skip
    for index, name in enumerate(names):
        report.take(Event(index, "utterance", {"file": name, **said}))
    report.summarise()
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:]] == shown


def test_a_mistake_in_a_manifest_is_placed(corpus: Path) -> None:
    (corpus / "corpus" / "expect.toml").write_text(
        '[files."1 said.wav"]\nutterances = [{ outcome = "ok" }]\n'
    )
    answer = run_replay(corpus, "corpus")
    assert answer.returncode == os.EX_CONFIG
    assert answer.stderr.startswith("error: corpus/expect.toml:2: files.1 said.wav.utterances.1.outcome: ")
