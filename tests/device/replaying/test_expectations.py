"""Manifests: what they say, what they must not say and on which line; written as they are read."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.messages import Told
from fadeout_device.replaying.expectations import (
    Expected,
    ExpectedFile,
    Manifest,
    ManifestError,
    Tolerance,
    dump,
    from_heard,
    load,
    parse,
)
from fadeout_device.replaying.heard import HeardFile, Utterance

PATH = Path("expect.toml")
GOOD = """\
# what should come
[tolerance]
speech_start_s = 0.3

[files."kitchen.wav"]
utterances = [
  { wake_word = "okay_nabu", outcome = "failed", speech_start_s = 3, kept = ["audio", "action"] },
  { outcome = "false_wake" },
]

[files."a/hall.ogg"]
tolerance = { speech_end_s = 1.5 }
utterances = []

[files.'noise "x".bin']
readable = false
"""


def test_a_manifest_is_read() -> None:
    manifest = parse(GOOD, PATH)
    first, second = manifest.files["kitchen.wav"].utterances or ()
    assert (first.wake_word, first.speech_start_s, first.kept) == ("okay_nabu", 3.0, ("audio", "action"))
    assert second == Expected(outcome="false_wake")
    assert manifest.files["a/hall.ogg"].utterances == ()
    assert not manifest.files['noise "x".bin'].readable
    assert manifest.tolerance_of("kitchen.wav") == Tolerance(speech_start_s=0.3)
    assert manifest.tolerance_of("a/hall.ogg") == Tolerance(speech_end_s=1.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("\nfiles = 1 2", "2: column 11: expected newline", id="two values"),
        pytest.param("[files", "1: expected ']' at the end", id="no TOML"),
        pytest.param("\nfile = 1", "2: file: no such key", id="an unknown key at the top"),
        pytest.param(
            '\n[files."a.wav"]\nutterances = []\nlisten = 1', "4: files.a.wav.listen: no such key",
            id="an unknown key of a file",
        ),
        pytest.param('\n\n[files."a.wav"]\n', "3: files.a.wav: utterances is missing", id="nothing is said"),
        pytest.param(
            '[files."a.wav"]\nreadable = false\nutterances = []\n',
            "1: files.a.wav: of a file that is refused no utterances", id="utterances of what is refused",
        ),
        pytest.param(
            '[files."b.wav"]\nutterances = [\n  { },\n]\n'
            '[files."a.wav"]\nutterances = [\n  { },\n  { outcome = "no" },\n]\n',
            "8: files.a.wav.utterances.2.outcome: invalid enum value 'no'", id="an outcome that is none",
        ),
        pytest.param(
            '[files."a.wav"]\n[[files."a.wav".utterances]]\n[[files."a.wav".utterances]]\n'
            'outcome = "failed"\nkept = ["sound"]\n',
            "5: files.a.wav.utterances.2.kept: invalid enum value 'sound'", id="a kind that is none",
        ),
        pytest.param(
            '[files."a.wav"]\nutterances = [{ wakeword = "x" }]\n',
            "2: files.a.wav.utterances.1.wakeword: no such key", id="a misspelt key",
        ),
        pytest.param(
            "[tolerance]\nspeech_end_s = -1\n", "2: tolerance.speech_end_s: expected float >= 0.0",
            id="a negative tolerance",
        ),
        pytest.param(
            '[files."../a.wav"]\nutterances = []\n', "1: files.../a.wav: lies outside the manifest's folder",
            id="a file elsewhere",
        ),
        pytest.param(
            '[files."a.wav"]\nreadable = false\n[files."./a.wav"]\nutterances = []\n',
            "3: files../a.wav: is no plain path", id="one file under two names",
        ),
        pytest.param('\n[files.""]\nutterances = []\n', "2: files.: is no plain path", id="no name"),
        pytest.param(
            '[files."a.wav"]\nreadable = false\n[files."a.wav"]\nreadable = false\n',
            "3: column 15: files.a.wav: stands twice", id="a file twice",
        ),
        pytest.param(
            '[files."a.wav"]\nutterances = [{ told = "muted", action = 1 }]\n',
            "2: files.a.wav.utterances.1.action: expected str", id="a number for a name",
        ),
        pytest.param(
            '[files."a.wav"]\nutterances = [{ told = "yes" }]\n',
            "2: files.a.wav.utterances.1.told: invalid enum value 'yes'", id="an answer that is none",
        ),
        pytest.param('[files]\n"a.wav" = 3\n', "2: files.a.wav: expected table, got int", id="no table"),
    ],
)  # fmt: skip
def test_what_a_manifest_must_not_say(text: str, complaint: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text, PATH)
    assert str(caught.value).startswith(f"expect.toml:{complaint}")
    assert caught.value.exit_code == 78


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        load(tmp_path / "expect.toml")
    (tmp_path / "expect.toml").write_bytes(b"\xff")
    with pytest.raises(ManifestError, match="not UTF-8 at byte 0"):
        load(tmp_path / "expect.toml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "expect.toml").write_text("\n[files.a]\nutterances = []\n")
    with pytest.raises(ManifestError, match=r"expect\.toml:2: files\.a: is a folder"):
        load(tmp_path / "expect.toml")


NAMES = st.text(min_size=1, max_size=12).filter(
    lambda name: (
        not name.startswith("/")
        and posixpath.normpath(name) == name
        and name != "."
        and not name.startswith("..")
    )
)
SECONDS = st.integers(0, 10**6).map(lambda ms: ms / 1000) | st.just(msgspec.UNSET)
EXPECTED = st.builds(
    Expected,
    wake_word=NAMES | st.just(msgspec.UNSET),
    outcome=st.sampled_from(["served", "failed", "false_wake", msgspec.UNSET]),
    action=NAMES | st.just(msgspec.UNSET),
    speech_start_s=SECONDS,
    speech_end_s=SECONDS,
    kept=st.lists(st.sampled_from(["audio", "words", "action"]), max_size=3).map(tuple)
    | st.just(msgspec.UNSET),
    told=st.sampled_from(["erased", "held", "none", msgspec.UNSET]),
)
TOLERANCES = st.builds(Tolerance, speech_start_s=st.floats(0, 10), speech_end_s=st.floats(0, 10))
FILES = st.one_of(
    st.builds(
        ExpectedFile,
        utterances=st.lists(EXPECTED, max_size=3).map(tuple),
        readable=st.just(True),
        tolerance=st.none() | TOLERANCES,
    ),
    st.just(ExpectedFile(readable=False)),
)


@given(st.dictionaries(NAMES, FILES, max_size=4), TOLERANCES)
def test_what_is_written_is_read_again(files: dict[str, Any], tolerance: Tolerance) -> None:
    manifest = Manifest(PATH, files, tolerance)
    text = dump(manifest)
    assert parse(text, PATH) == manifest
    assert dump(parse(text, PATH)) == text


def test_what_came_becomes_what_is_expected() -> None:
    came = Utterance("okay_nabu", 2.6, 0.9, 1.1, 4.0, 1.2, "failed", "none", 3.1, 4.3, ("audio", "action"))
    alone = Utterance("okay_nabu", 2.6, 0.9, 1.1, 4.0, 0.0, "false_wake", "none", None, None, ())
    asked = msgspec.structs.replace(
        came, outcome="served", action="data.tell_held", told=Told("held", held=3)
    )
    before = Manifest(PATH, {"a.wav": ExpectedFile((), tolerance=Tolerance(1.0)), "b.wav": ExpectedFile(())})
    now = from_heard(
        {
            "a.wav": HeardFile("x/a.wav", 5.0, [came, alone, asked]),
            "c.wav": HeardFile("x/c.wav", error="no audio"),
        },
        before,
        PATH,
    )
    assert now.files["b.wav"] == ExpectedFile(())
    assert not now.files["c.wav"].readable
    assert now.files["a.wav"].tolerance == Tolerance(1.0)
    assert now.files["a.wav"].utterances == (
        Expected("okay_nabu", "failed", "none", 3.1, 4.3, ("audio", "action")),
        Expected("okay_nabu", "false_wake", "none", kept=()),
        Expected("okay_nabu", "served", "data.tell_held", 3.1, 4.3, ("audio", "action"), told="held"),
    )
