"""`fadeout replay --through-microphone`: the real live ear, a loop of its own, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fadeout_device.config import MicrophoneSettings
from fadeout_device.errors import UnavailableError, UsageError
from fadeout_device.replaying.sound_loop import Devices, opened
from rig_replay import LONG_S, PLAIN, run_replay
from rig_speech import LEAD_S, PAUSE_S, RATE_HZ, WAKE, Speech, say, silence, speech, write_wav
from sound_card import missing_programs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["speech"]

pytestmark = pytest.mark.system
_LEAD_S = 0.3
# Not found where it is, it would be off by the second of the mark, and more.
SAID = (
    "[tolerance]\nspeech_start_s = 0.8\n"
    '[files."said.wav"]\nutterances = [{ wake_word = "okay_nabu", outcome = "failed", speech_start_s = '
)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder in which everything temporary is made, and hold that nothing is left in it."""
    if missing := missing_programs():
        pytest.skip(f"not installed: {missing} (Debian: pulseaudio pulseaudio-utils libasound2-plugins)")
    with tempfile.TemporaryDirectory(prefix="loop") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)
        assert list(Path(folder).iterdir()) == []


@pytest.mark.usefixtures("temporary")
def test_what_is_played_is_heard_where_it_is(tmp_path: Path, speech: Speech) -> None:
    # It takes as long as it is: less room before and after.
    phrase_s = _LEAD_S + len(say(WAKE)) / 2 / RATE_HZ + PAUSE_S
    write_wav(tmp_path / "said.wav", speech.pcm[2 * int((LEAD_S - _LEAD_S) * RATE_HZ) : -len(silence(0.8))])
    (tmp_path / "broken.flac").write_bytes(b"not audio")
    (tmp_path / "expect.toml").write_text(f'{SAID}{phrase_s} }}]\n[files."broken.flac"]\nreadable = false\n')
    played = run_replay(
        tmp_path, "broken.flac", "said.wav", "--through-microphone", "--json", "--junit", "x.xml"
    )
    assert played.returncode == 0, played.stderr
    heard, microphone, *verdicts = [json.loads(line) for line in played.stdout.splitlines()]
    assert [line["result"] for line in verdicts] == ["passed", "passed"]
    assert _LEAD_S < heard["wake_s"] < phrase_s
    assert {item["kind"] for item in heard["kept"]} == {"audio", "action"}
    assert microphone["microphone"]["source"] == "fadeout_loop"
    assert "through a microphone, in real time" in (tmp_path / "x.xml").read_text()


@pytest.mark.usefixtures("temporary")
def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path: Path, speech: Speech) -> None:
    (tmp_path / "plain.conf").write_text(PLAIN)
    replay = subprocess.Popen(
        [
            sys.executable, "-m", "fadeout_device.cli", "replay", "--config", tmp_path / "plain.conf",
            speech.path, "--through-microphone", "--junit", tmp_path / "x.xml",
        ],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert replay.stderr is not None
    assert b"one.wav" in replay.stderr.readline()
    replay.send_signal(signal.SIGINT)
    replay.communicate(timeout=LONG_S)
    assert replay.returncode == 130
    assert not (tmp_path / "x.xml").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["--speed", "max"], "--speed max with", id="faster than sound"),
        pytest.param(["--state", "s"], "--state with", id="a state that stays"),
        pytest.param(["--record-expectations"], "--record-expectations with", id="what is never the same"),
        pytest.param(["--play-device", "hw:9,0"], "--play-device and --microphone", id="one end of a loop"),
        pytest.param(
            ["--play-device", "hw:9,0", "--microphone", "x", "--jobs", "2"], "--jobs with --play-device",
            id="one loop for two ears",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    answer = run_replay(tmp_path, "x.wav", "--through-microphone", *arguments)
    assert (answer.returncode, answer.stderr.startswith(f"error: {complaint}")) == (os.EX_USAGE, True)


def test_the_ends_of_a_loop_without_it(tmp_path: Path) -> None:
    answer = run_replay(tmp_path, "x.wav", "--microphone", "Loopback")
    assert answer.stderr.startswith("error: --microphone without --through-microphone")


@pytest.mark.parametrize(
    ("devices", "package"),
    [
        pytest.param(None, "pulseaudio", id="a loop of our own"),
        pytest.param(Devices("hw:Loopback,0", "Loopback"), "alsa-utils", id="a loop that is there"),
    ],
)
def test_a_program_that_is_missing(
    devices: Devices | None, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UnavailableError) as caught, opened(devices, MicrophoneSettings()):
        pass
    assert (caught.value.hint or "").split(";")[0] == f"sudo apt-get install {package}"


@pytest.mark.skipif(shutil.which("aplay") is None, reason="aplay is not installed")
def test_a_loop_that_is_there() -> None:
    with opened(Devices("hw:Loopback,0", "Loopback"), MicrophoneSettings()) as loop:
        assert loop.player(48_000, 2) == [
            "aplay", "-q", "--device=hw:Loopback,0", "--file-type=raw", "--format=S16_LE",
            "--rate=48000", "--channels=2",
        ]  # fmt: skip


@pytest.mark.usefixtures("temporary")
def test_a_channel_that_no_loop_of_our_own_has() -> None:
    with pytest.raises(UsageError, match="channel = 8"), opened(None, MicrophoneSettings(channel=8)):
        pass
