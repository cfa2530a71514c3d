"""Files through the whole ear: the report, the audio's time, and a vault that comes and goes."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time as wall
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from device.ear.fake_vault import FakeVault, running_vault
from fadeout_device.config import Config
from fadeout_device.ear.adapters.vault_link import VaultLink
from fadeout_device.ear.listening import Listening
from fadeout_device.ear.replay import Replay, Speed
from fadeout_device.ear.stopping import Stop
from fadeout_device.messages import EarState, Tick, Utterance

if TYPE_CHECKING:
    from pathlib import Path

    from device.ear.conftest import Spoken

START_AT_S = 1_700_000_000.0
OKAY_NABU = [
    "command_rms.wav", "wake_alone_kal16.wav", "speech_only.wav", "two_utterances.wav",
    "command_cut_off.wav", "command_96k_6ch.wav", "command_44k.flac",
]  # fmt: skip

Lines = list[dict[str, Any]]


class Time:
    """A clock that only sleeping moves, a thousand times as fast as it says."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.first_read_s: float | None = None
        """When it was first looked at: the vault was ready then, and the first file began."""

    def read(self) -> float:
        if self.first_read_s is None:
            self.first_read_s = self.now_s
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        wall.sleep(duration_s / 1000)


def replay(
    state: Path, paths: list[Path], speed: Speed = "max", time: Time | None = None
) -> tuple[int, Lines]:
    report = io.BytesIO()
    link = VaultLink(state / "run" / "ear.sock", ages=False)
    clock = {"clock": time.read, "sleep": time.sleep} if time else {}
    player = Replay(
        Listening(Config()), link, Stop(), report, speed=speed, start_at_s=START_AT_S, **clock  # type: ignore[arg-type]  # right by name
    )  # fmt: skip
    try:
        code = player.run(paths)
    finally:
        link.close()
    return code, [json.loads(line) for line in report.getvalue().splitlines()]


def of(lines: Lines, kind: str) -> Lines:
    return [line for line in lines if line["type"] == kind]


@pytest.mark.usefixtures("vault")
def test_every_utterance_is_reported_as_its_label_says(state: Path, spoken: Spoken) -> None:
    code, lines = replay(state, [spoken.folder / name for name in OKAY_NABU])
    assert code == 0
    for name in OKAY_NABU:
        said = [line for line in of(lines, "utterance") if line["file"].endswith(f"/{name}")]
        came = [{"wake_word": line["wake_word"], "outcome": line["outcome"]} for line in said]
        assert came == spoken.labels[name]["expected"], name
        for line in said:
            is_kept = line["outcome"] == "failed"
            assert line["kept"] == ([{"kind": "audio", "expires_at_s": 1_000_000}] if is_kept else [])
            assert line["action"] == "none"
            assert line["start_s"] == pytest.approx(line["wake_s"] - 1.5)
            assert 0.85 < line["score"] <= 1
            assert (line["speech_s"] > 0) == is_kept
            assert (line["speech_start_s"] is not None) == (line["speech_end_s"] is not None) == is_kept
            if is_kept:
                end_s = line["start_s"] + line["duration_s"]
                assert line["wake_s"] < line["speech_start_s"] < line["speech_end_s"] <= end_s
    assert [line["file"] for line in of(lines, "file")] == [str(spoken.folder / name) for name in OKAY_NABU]
    (end,) = of(lines, "end")
    assert (end["files"], end["bad_files"], end["utterances"]) == (len(OKAY_NABU), 0, 7)
    assert end["audio_s"] == pytest.approx(sum(line["duration_s"] for line in of(lines, "file")), abs=0.01)


def test_the_audio_of_a_false_wake_never_leaves_the_ear(
    state: Path, spoken: Spoken, vault: FakeVault
) -> None:
    replay(state, [spoken.folder / "wake_alone_kal16.wav", spoken.folder / "command_rms.wav"])
    assert {(utterance.outcome, bool(pcm)) for utterance, pcm in vault.sealed.values()} == {
        ("false_wake", False),
        ("failed", True),
    }


def test_a_block_is_heard_when_its_last_sample_would_have_been_spoken(state: Path, spoken: Spoken) -> None:
    with running_vault(state / "run" / "ear.sock"):
        time = Time()
        replay(state, [spoken.folder / "silence.wav"], "real", time)
    assert time.first_read_s is not None
    duration_s = soundfile.info(spoken.folder / "silence.wav").duration
    assert time.now_s - time.first_read_s >= duration_s - 0.001


def test_the_vault_hears_the_audio_s_time(state: Path, spoken: Spoken, vault: FakeVault) -> None:
    first, second = "command_rms.wav", "two_utterances.wav"
    _, lines = replay(state, [spoken.folder / first, spoken.folder / second])
    vault.wait_until_alone()
    first_s, second_s = [line["duration_s"] for line in of(lines, "file")]
    messages = [m for m in vault.messages if isinstance(m, Utterance | Tick)]
    starts = []
    for before, message in itertools.pairwise(messages):
        if isinstance(message, Utterance):
            assert isinstance(before, Tick), "the time was not told right before an utterance"
            starts.append(before.time_s - message.age_s - START_AT_S)
    offsets = [0.0, first_s, first_s]
    shown = [line["start_s"] + offset for line, offset in zip(of(lines, "utterance"), offsets, strict=True)]
    assert starts == pytest.approx(shown, abs=0.001)
    ticks = [m.time_s - START_AT_S for m in messages if isinstance(m, Tick)]
    assert ticks == sorted(ticks)
    assert ticks[-1] == pytest.approx(first_s + second_s, abs=0.001)


def test_time_is_told_at_least_every_minute(state: Path, tmp_path: Path, vault: FakeVault) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(16_000 * 150, dtype=np.int16), 16_000)
    replay(state, [tmp_path / "long.wav"])
    vault.wait_until_alone()
    ticks = [m.time_s - START_AT_S for m in vault.of(Tick) if isinstance(m, Tick)]
    assert ticks == pytest.approx([60, 120, 150], abs=0.1)


@pytest.mark.usefixtures("vault")
def test_results_do_not_depend_on_speed(state: Path, spoken: Spoken) -> None:
    paths = [spoken.folder / name for name in ("two_utterances.wav", "wake_alone_rms.wav")]
    _, fast = replay(state, paths)
    time = Time()
    _, real = replay(state, paths, "real", time)
    assert of(real, "utterance") == of(fast, "utterance")
    assert of(real, "end") == of(fast, "end")
    audio_s = of(real, "end")[0]["audio_s"]
    assert time.first_read_s is not None
    assert time.now_s - time.first_read_s == pytest.approx(audio_s, abs=0.2)
    assert len(of(real, "progress")) > 15, "no progress was shown"


@pytest.mark.parametrize("behaviour", ["die", "die after sealing"])
def test_a_vault_that_dies_changes_nothing(
    state: Path, spoken: Spoken, vault: FakeVault, behaviour: str
) -> None:
    paths = [spoken.folder / "two_utterances.wav"]
    _, undisturbed = replay(state, paths)
    vault.sealed.clear()
    vault.behaviours = [behaviour, "seal", behaviour]  # type: ignore[list-item]  # of the right two
    _, disturbed = replay(state, paths)
    assert of(disturbed, "utterance") == of(undisturbed, "utterance")
    assert len(vault.sealed) == 2


def test_an_utterance_that_cannot_be_sealed_is_reported(
    state: Path, spoken: Spoken, vault: FakeVault
) -> None:
    vault.behaviours = ["refuse"]
    code, lines = replay(state, [spoken.folder / "command_rms.wav"])
    (utterance,) = of(lines, "utterance")
    assert utterance["kept"] == []
    assert utterance["error"] == "the disk is full"
    assert code == 0


@pytest.mark.usefixtures("vault")
def test_bad_files_are_named_and_passed_over(state: Path, spoken: Spoken, tmp_path: Path) -> None:
    flac = (spoken.folder / "command_44k.flac").read_bytes()
    (tmp_path / "1.wav").write_bytes(b"not audio")
    (tmp_path / "2.wav").write_bytes((spoken.folder / "command_rms.wav").read_bytes())
    (tmp_path / "3.flac").write_bytes(flac[: len(flac) * 3 // 4])
    (tmp_path / os.fsdecode(b"4\xff.wav")).write_bytes(b"")
    (tmp_path / "5.wav").write_bytes((spoken.folder / "command_rms.wav").read_bytes())
    code, lines = replay(state, [tmp_path, tmp_path / "6.wav"])
    assert code == os.EX_DATAERR
    bad = of(lines, "bad_file")
    assert [line["file"][-5:] for line in bad] == ["1.wav", ".flac", "\ufffd.wav", "6.wav"]
    assert all(line["error"] and line["hint"] for line in bad)
    said = of(lines, "utterance")
    # What was said before a file broke off counts.
    assert [line["file"][-6:] for line in said] == ["/2.wav", "3.flac", "/5.wav"]
    (end,) = of(lines, "end")
    assert (end["files"], end["bad_files"]) == (6, 4)


def test_the_source_is_the_file(state: Path, spoken: Spoken, vault: FakeVault) -> None:
    replay(state, [spoken.folder / "silence.wav"])
    vault.wait_until_alone()
    (told,) = vault.of(EarState)
    assert told == EarState(
        listening=True, source=str(spoken.folder / "silence.wav"), wake_words=("okay_nabu",)
    )


def start(state: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fadeout_device.ear", "--state", state, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_the_program_waits_for_its_vault_and_reports(state: Path, spoken: Spoken) -> None:
    ear = start(state, "--replay", spoken.folder / "command_rms.wav", "--start-at", str(START_AT_S))
    with running_vault(state / "run" / "ear.sock") as vault:
        out, err = ear.communicate(timeout=60)
        assert (ear.returncode, err) == (0, b"")
        assert len(vault.sealed) == 1
        assert [json.loads(line)["type"] for line in out.splitlines() if b"progress" not in line] == [
            "file", "utterance", "end",
        ]  # fmt: skip


def test_sigterm_ends_a_replay(state: Path, spoken: Spoken, vault: FakeVault) -> None:
    ear = start(state, "--replay", spoken.folder, "--speed", "real")
    vault.wait_for(EarState)
    ear.send_signal(signal.SIGTERM)
    out, err = ear.communicate(timeout=60)
    assert (ear.returncode, err) == (0, b"")
    assert b'"end"' not in out


def test_an_unknown_wake_word_stops_the_start(state: Path, tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text('[wake]\nwords = ["open_sesame"]\n')
    ear = start(state, "--config", tmp_path / "f.toml", "--replay", tmp_path)
    _, err = ear.communicate(timeout=60)
    assert ear.returncode == os.EX_CONFIG
    first, second = err.decode().splitlines()
    assert first.startswith(f"error: {tmp_path}/f.toml:2: wake.words")
    assert "open_sesame" in first
    assert "okay_nabu" in second
