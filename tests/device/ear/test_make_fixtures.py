"""The script that makes the spoken fixtures."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from device.ear.conftest import ROOT
from fadeout_device.replaying.expectations import load
from rig_replay import run_replay

if TYPE_CHECKING:
    from pathlib import Path

    from device.ear.conftest import Spoken

SCRIPT = ROOT / "scripts" / "make_fixtures"


def test_a_second_run_keeps_what_is_there(spoken: Spoken) -> None:
    def written() -> dict[str, int]:
        return {name: (spoken.folder / name).stat().st_mtime_ns for name in spoken.labels}

    before = written()
    ran = subprocess.run([SCRIPT, spoken.folder], check=True, capture_output=True, text=True)
    assert written() == before
    assert ran.stdout.endswith(", 0 of them new\n")


def test_missing_voices_are_named_with_the_next_step(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], env={"PATH": ""}, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 69
    assert ran.stderr.splitlines() == [
        "error: not installed: flite, espeak-ng, sox",
        "hint: apt install flite espeak-ng sox",
    ]
    assert list(tmp_path.iterdir()) == []


def corpus(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [SCRIPT, folder, "--corpus", "--quick", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.usefixtures("spoken")
def test_a_corpus_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("one", "7"), ("same", "7"), ("other", "8")):
        assert corpus(tmp_path / name, "--seed", seed).returncode == 0
    one, same, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "same", "other")
    )
    assert one == same
    assert one.keys() == other.keys()
    assert one["expect.toml"] != other["expect.toml"]
    manifest = load(tmp_path / "one" / "expect.toml")
    assert manifest.files.keys() | {"expect.toml"} == one.keys()
    assert {name.rsplit("_", 1)[0] for name in manifest.files} == {
        "request", "wake_alone", "talk", "near_miss", "silence", "noise",
    }  # fmt: skip
    assert 'outcome = "served"' in one["expect.toml"].decode()
    again = corpus(tmp_path / "one")
    assert (again.returncode, again.stderr.splitlines()[0]) == (64, f"error: {tmp_path}/one is not empty")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other", "same"]


@pytest.mark.system
@pytest.mark.usefixtures("spoken")
def test_the_requests_of_a_corpus_are_served(tmp_path: Path) -> None:
    assert corpus(tmp_path / "corpus").returncode == 0
    (tmp_path / "fadeout.toml").write_text("[recogniser]\ntimeout_s = 60.0\n")
    replayed = run_replay(tmp_path, "corpus/request_*.wav", config=tmp_path / "fadeout.toml")
    assert (replayed.returncode, replayed.stdout.count("served")) == (0, 3), replayed.stderr


@pytest.mark.usefixtures("spoken")
def test_a_corpus_for_an_ear_that_recognises_nothing(tmp_path: Path) -> None:
    assert corpus(tmp_path / "corpus", "--no-recognised").returncode == 0
    assert "served" not in (tmp_path / "corpus" / "expect.toml").read_text()
