"""Which files are meant, which manifest speaks of them, and what the report for CI systems says."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fadeout_device.replaying.differences import Difference
from fadeout_device.replaying.expectations import Expected, ExpectedFile, Manifest, ManifestError, Tolerance
from fadeout_device.replaying.heard import HeardFile, Utterance
from fadeout_device.replaying.junit import junit_xml
from fadeout_device.replaying.rounds import shares
from fadeout_device.replaying.verdicts import MICROPHONE_TOLERANCE_S, Asked, Verdict, judge, look_up


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.wav", "a/2.flac", "a/b/3.mp3", "a/b/c/4.ogg", "a/notes.txt", "odd[1].wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = '[files."1.wav"]\nutterances = []\n[files."gone.wav"]\nreadable = false\n'
    (tmp_path / "a" / "expect.toml").write_text(expected)
    (tmp_path / "a" / "b" / "expect.toml").write_text('[files."c/4.ogg"]\nutterances = []\n')
    return tmp_path


def meant(*given: str, is_checked: bool = True) -> list[str]:
    """Return `file: manifest` for each file; `*` marks the files that the manifest names."""
    return [
        f"{one.path}: {one.manifest.path if one.manifest else None}"
        f"{'*' if one.manifest and one.name in one.manifest.files else ''}"
        for one in look_up(given, is_checked=is_checked)
    ]


@pytest.mark.usefixtures("corpus")
def test_which_files_and_which_manifest() -> None:
    assert meant("a") == [
        "a/1.wav: a/expect.toml*",
        "a/2.flac: a/expect.toml",
        "a/b/3.mp3: a/b/expect.toml",
        "a/b/c/4.ogg: a/b/expect.toml*",
        "a/gone.wav: a/expect.toml*",
    ]
    assert meant("a/b/c/4.ogg", "a/1.wav") == ["a/b/c/4.ogg: None", "a/1.wav: a/expect.toml*"]
    assert meant("a/expect.toml") == ["a/1.wav: a/expect.toml*", "a/gone.wav: a/expect.toml*"]
    assert meant("a/*.*") == [
        "a/1.wav: a/expect.toml*", "a/2.flac: a/expect.toml", "a/gone.wav: a/expect.toml*",
        "a/notes.txt: a/expect.toml",
    ]  # fmt: skip
    assert meant("a/**/*.[om]*") == ["a/b/3.mp3: a/b/expect.toml", "a/b/c/4.ogg: None"]
    assert meant("odd[1].wav", "none*.wav", "a/b/c") == [
        "odd[1].wav: None", "none*.wav: None", "a/b/c/4.ogg: None",
    ]  # fmt: skip
    assert meant("a/b", is_checked=False) == ["a/b/3.mp3: None", "a/b/c/4.ogg: None"]
    assert meant("a/1.wav", "a/1.wav", is_checked=False) == ["a/1.wav: None"] * 2


def test_a_manifest_with_a_mistake_stops_it(corpus: Path) -> None:
    (corpus / "a" / "b" / "expect.toml").write_text("[files]\nx = 1\n")
    with pytest.raises(ManifestError, match=r"^a/b/expect\.toml:2: files\.x: "):
        look_up(["a"])


@pytest.mark.usefixtures("corpus")
def test_a_missing_file_is_not_as_expected_even_if_it_should_be_refused() -> None:
    (gone,) = [one for one in look_up(["a"]) if one.name == "gone.wav"]
    verdict = judge(gone, HeardFile("a/gone.wav", error="a/gone.wav: no such file or directory"))
    assert verdict.result == "failed"
    assert [one.line() for one in verdict.differences] == ["the file: file: expected there, came missing"]


def test_through_a_microphone_positions_may_be_further_off() -> None:
    said = Utterance("okay_nabu", 2.6, 0.9, 1.1, 4.0, 1.2, "failed", "none", 3.1, 4.3, ())
    expected = ExpectedFile((Expected(speech_start_s=3.35, speech_end_s=4.3),))
    for tolerance, direct, heard in ((0.15, "failed", "passed"), (0.4, "passed", "passed")):
        manifest = Manifest(Path("expect.toml"), {Path(__file__).name: expected}, Tolerance(tolerance, 0.0))
        # A file that is there; what it holds is no matter here.
        asked = Asked(Path(__file__), Path(__file__).parent, manifest)
        came = HeardFile("a.wav", 5.0, [said])
        assert judge(asked, came).result == direct
        assert judge(asked, came, MICROPHONE_TOLERANCE_S).result == heard


def test_the_report_says_that_a_microphone_heard_it() -> None:
    root = ET.fromstring(junit_xml([], through_microphone=True))  # noqa: S314 - our own
    (heard,) = root.iter("property")
    assert heard.attrib == {"name": "heard", "value": "through a microphone, in real time"}


def test_of_a_file_nothing_is_expected() -> None:
    asked = Asked(Path("x.wav"), Path())
    assert judge(asked, HeardFile("x.wav")) == Verdict("x.wav", "unchecked")
    assert judge(asked, HeardFile("x.wav", error="no")) == Verdict("x.wav", "bad", error="no")


def test_the_report_for_ci_systems() -> None:
    verdicts = [
        Verdict("a/1.wav", "passed", "a/expect.toml"),
        Verdict("a/2.wav", "failed", "a/expect.toml", (Difference(1, "outcome", "served", "failed"),)),
        Verdict("b\x00<.wav", "bad", None, (), "b\x00<.wav: is no audio"),
        Verdict("c.wav", "unchecked"),
    ]
    report = junit_xml(verdicts)
    assert report == junit_xml(verdicts)
    root = ET.fromstring(report)  # noqa: S314 - our own
    (suite,) = root
    assert suite.attrib == {
        "name": "fadeout replay", "tests": "4", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    passed, failed, bad, unchecked = suite
    assert (passed.attrib, list(passed)) == ({"classname": "a/expect.toml", "name": "a/1.wav"}, [])
    assert failed[0].tag == "failure"
    assert failed[0].text == "utterance 1: outcome: expected served, came failed"
    assert (bad[0].tag, bad[0].get("message")) == ("error", "b\ufffd<.wav: is no audio")
    assert unchecked[0].tag == "skipped"


@pytest.mark.parametrize(
    ("sizes", "pairs", "shared"),
    [
        pytest.param([], 4, [], id="no file"),
        pytest.param([5, 5, 5], 1, [[0, 1, 2]], id="one pair takes all"),
        pytest.param([5, 5, 5, 5], 2, [[0, 1], [2, 3]], id="halves"),
        pytest.param([100, 1, 1], 2, [[0], [1, 2]], id="a large one alone"),
        pytest.param([0, 0], 3, [[0, 1]], id="files that are not there"),
        pytest.param([1, 1], 8, [[0], [1]], id="more pairs than files"),
    ],
)
def test_how_files_are_shared(sizes: list[int], pairs: int, shared: list[list[int]]) -> None:
    assert shares(sizes, pairs) == shared
