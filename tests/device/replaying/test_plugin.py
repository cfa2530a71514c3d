"""The pytest plugin, in a suite of somebody else's."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rig_replay import PLAIN
from rig_speech import Speech, silence, speech, write_wav

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["speech"]

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from fadeout_device.errors import AudioDataError, ConfigError

def test_passes(fadeout_replay):
    result = fadeout_replay("said.wav")
    assert result.outcomes == ["failed"]
    assert result.actions == []
    assert result.utterance.wake_word == "okay_nabu"
    assert result.utterance.kept == ("audio", "action")
    assert result.utterance.speech_start_s > result.utterance.wake_s
    nothing = {"audio": {"keep": "none"}, "words": {"keep": "none"}, "action": {"keep": "none"}}
    other = fadeout_replay("said.wav", config={"retention": {"failed": nothing}})
    assert other.utterance.kept == ()

def test_fails_and_says_what_was_heard(fadeout_replay):
    assert fadeout_replay("said.wav").outcomes == ["served"]

def test_fails_where_nothing_was_heard(fadeout_replay):
    fadeout_replay("silence.wav").utterance

def test_check_passes(fadeout_replay):
    fadeout_replay.check("good")

def test_check_fails(fadeout_replay):
    fadeout_replay.check("wrong", "good")

def test_check_of_nothing_fails(fadeout_replay):
    fadeout_replay.check("said.wav")

def test_raises(fadeout_replay):
    with pytest.raises(AudioDataError, match="no such file"):
        fadeout_replay("gone.wav")
    with pytest.raises(AudioDataError, match="good: is a folder"):
        fadeout_replay("good")
    with pytest.raises(ConfigError, match="wake.word"):
        fadeout_replay("said.wav", config={"wake": {"word": 1}})
"""
SAID = '[files."said.wav"]\nutterances = [{{ wake_word = "okay_nabu", outcome = "{}" }}]\n'


@pytest.mark.system
def test_a_suite_of_somebody_else(pytester: pytest.Pytester, speech: Speech) -> None:
    folder = pytester.path
    for name, outcome in (("good", "failed"), ("wrong", "served")):
        (folder / name).mkdir()
        write_wav(folder / name / "said.wav", speech.pcm)
        (folder / name / "expect.toml").write_text(SAID.format(outcome))
    write_wav(folder / "said.wav", speech.pcm)
    write_wav(folder / "silence.wav", silence(3))
    (folder / "plain.toml").write_text(PLAIN)
    pytester.makeini("[pytest]\nfadeout_config = plain.toml\n")
    pytester.makepyfile(SUITE)
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    ran.assert_outcomes(passed=3, failed=4)
    ran.stdout.fnmatch_lines([
        "*AssertionError: assert ?'failed'? == ?'served'?",
        "*not one utterance, but 0:*",
        "E *silence.wav (3.00 s): 0 heard",
        "1 of 2 files are not as expected:",
        "wrong/said.wav: utterance 1: outcome: expected served, came failed",
        "nothing is expected of these files: no expect.toml names them",
    ])  # fmt: skip


def test_loading_it_is_cheap(tmp_path: Path) -> None:
    program = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport fadeout_device.replaying.plugin\n"
        "print(*sorted(name for name in set(sys.modules) - before), sep='\\n')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert ran.stdout.split() == [
        "fadeout_device", "fadeout_device.replaying", "fadeout_device.replaying.plugin",
    ]  # fmt: skip
