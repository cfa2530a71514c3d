"""`fadeout devices` and `fadeout doctor audio` on a real PortAudio and a virtual sound card."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import soundfile

from rig_fadeout import Run
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig_fadeout import Home
    from sound_card import SoundCard

pytestmark = pytest.mark.system

RATE_HZ = 16_000


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.out)


def fadeout(*arguments: str, state: Path, config: str = "") -> Ran:
    (state / "fadeout.toml").write_text(config)
    ran = subprocess.run(
        [
            sys.executable, "-m", "fadeout_device.cli",
            *arguments, "--state", state, "--config", state / "fadeout.toml",
        ],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def kinds(ran: Ran) -> list[str]:
    """Return what was found; how exact a rate is measured on a busy machine is not at stake here."""
    return [finding["kind"] for finding in ran.json["findings"] if finding["kind"] != "wrong rate"]


def syllables(level: float = 0.2, duration_s: float = 60.0) -> np.ndarray:
    times_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * hz * times_s + hz) for hz in (220, 440, 660, 1_100, 2_300)) / 5
    signal = voice * np.clip(np.sin(2 * np.pi * 2 * times_s), 0, 1)
    return np.asarray(signal / np.abs(signal).max() * level)


@contextlib.contextmanager
def somebody_speaks(
    card: SoundCard,
    folder: Path,
    level: float = 0.2,
    offset: float = 0.0,
    channels: dict[int, float] | None = None,
) -> Iterator[None]:
    """Play into `fakemic`; or into channels of `fakemic6`, each so loud."""
    voice = syllables(level)
    frames = voice[:, None]
    if channels is not None:
        frames = np.stack([voice * channels.get(index, 0.0) for index in range(6)], axis=1)
    soundfile.write(folder / "said.wav", np.clip(frames + offset, -1, 32_767 / 32_768), RATE_HZ, "PCM_16")
    playing = card.play(folder / "said.wav", "fakemic" if channels is None else "fakemic6")
    try:
        wait_for(lambda: card.players() == 1, "it plays")
        yield
    finally:
        playing.kill()
        playing.wait()


@pytest.mark.parametrize(
    ("said", "config", "expected"),
    [
        pytest.param({}, 'device = "fakemic"', ("", ""), id="all is well"),
        pytest.param({"level": 0.002}, 'device = "fakemic"', ("too quiet", "gain_db = "), id="too quiet"),
        pytest.param({"level": 3.0}, 'device = "fakemic"', ("clipping", ""), id="clipping"),
        pytest.param({"offset": 0.1}, 'device = "fakemic"', ("dc offset", ""), id="off zero"),
        pytest.param(
            {"channels": {4: 1.0}}, 'device = "fakemic6"\nchannel = 0', ("wrong channel", "channel = 4"),
            id="another of six channels",
        ),
        pytest.param(
            {"channels": {4: 1.0}}, 'device = "fakemic6"\nchannel = 4\nrate_hz = 48000', ("", ""),
            id="the right one of six channels, at 48 kHz",
        ),
        pytest.param({}, 'device = "fakemic"\nrate_hz = 44100', ("", ""), id="44.1 kHz"),
    ],
)  # fmt: skip
def test_the_doctor_says_what_is_wrong(
    sound_card: SoundCard, tmp_path: Path, said: dict[str, Any], config: str, expected: tuple[str, str]
) -> None:
    with somebody_speaks(sound_card, tmp_path, **said):
        ran = fadeout("doctor", "audio", "--json", state=tmp_path, config=f"[microphone]\n{config}\n")
    kind, setting = expected
    assert ran.err == ""
    assert kinds(ran) == ([kind] if kind else [])
    findings = ran.json["findings"]
    assert ran.code == (os.EX_DATAERR if findings else os.EX_OK)
    assert not kind or findings[-1]["setting"].startswith(setting)


@pytest.mark.usefixtures("sound_card")
def test_silence_is_said_in_words_with_what_to_do(tmp_path: Path) -> None:
    ran = fadeout("doctor", "audio", state=tmp_path, config='[microphone]\ndevice = "fakemic"\n')
    assert ran.code == os.EX_DATAERR
    assert "silent: nothing but zeros come" in ran.out
    assert "alsamixer" in ran.out
    assert ran.err == "speak now: recording two seconds, in memory only\n"


def test_the_doctor_writes_nothing_of_it_to_a_disk(sound_card: SoundCard, tmp_path: Path) -> None:
    with somebody_speaks(sound_card, tmp_path):
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        ran = fadeout(
            "doctor", "audio", "--json", state=tmp_path, config='[microphone]\ndevice = "fakemic"\n'
        )
    assert ran.json["device"] == "fakemic"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before <= {tmp_path / "fadeout.toml"}


@pytest.mark.parametrize(
    ("config", "kind", "words"),
    [
        pytest.param('device = "rode"', "no such device", 'no microphone named "rode"', id="no such name"),
        pytest.param('device = "kemic"', "ambiguous", "names of 2 microphones", id="a name of two"),
        pytest.param(
            'device = "fakemic"\nchannel = 60',
            "no such channel",
            "there is no channel 60",
            id="no such channel",
        ),
    ],
)
@pytest.mark.usefixtures("sound_card")
def test_what_cannot_be_opened_is_named(tmp_path: Path, config: str, kind: str, words: str) -> None:
    ran = fadeout("doctor", "audio", "--json", state=tmp_path, config=f"[microphone]\n{config}\n")
    assert ran.code == os.EX_UNAVAILABLE
    assert kinds(ran) == [kind]
    assert words in ran.err
    assert "hint: " in ran.err


@pytest.mark.usefixtures("no_sound_card")
def test_without_a_microphone_the_doctor_says_so(tmp_path: Path) -> None:
    ran = fadeout("doctor", "audio", "--json", state=tmp_path)
    assert (ran.code, kinds(ran)) == (os.EX_UNAVAILABLE, ["no device"])


def test_an_unplugged_microphone_is_not_listed(sound_card: SoundCard, tmp_path: Path) -> None:
    """Its name may stay, in ALSA's configuration; then it cannot be opened."""
    sound_card.unplug()
    ran = fadeout("doctor", "audio", "--json", state=tmp_path, config='[microphone]\ndevice = "fakemic"\n')
    assert ran.code == os.EX_UNAVAILABLE
    assert kinds(ran)[0] in ("no device", "no such device", "cannot open", "lost")


def test_devices_are_listed_with_channels_rates_and_levels(sound_card: SoundCard, tmp_path: Path) -> None:
    with somebody_speaks(sound_card, tmp_path):
        ran = fadeout("devices", "--levels", "--json", state=tmp_path)
        table = fadeout("devices", "--levels", state=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    listed = {device["name"]: device for device in ran.json}
    assert {16_000, 44_100, 48_000} <= set(listed["fakemic"]["rates_hz"])
    assert -50 < max(listed["fakemic"]["levels_dbfs"]) < 0
    assert max(listed["fakemic6"]["levels_dbfs"]) == -120
    assert listed["fakemic"]["problem"] == ""
    assert table.code == 0
    assert "fakemic6" in table.out
    assert "█" in table.out


def test_a_running_fadeout_says_what_became_of_its_microphone(home: Home, sound_card: SoundCard) -> None:
    """Pulled out, plugged in again, and a sound system that is stuck: without anybody's doing anything."""
    home.config.write_text(
        '[microphone]\ndevice = "fakemic"\n[mqtt]\nenabled = false\n[voice]\nspeak = "espaek-ng"\n'
    )

    def listens() -> bool:
        status = home.status()
        return status is not None and status.listening

    with Run(home) as run:
        wait_for(listens, "it listens")
        sound_card.unplug()
        lost = wait_for(lambda: (now := home.status()) and not now.listening and now, "the loss is told")
        assert "fakemic" in lost.problem or "microphone" in lost.problem
        status = home.verb("status").stdout
        assert "not listening: " in status
        assert "there is no program espaek-ng" in status
        sound_card.plug_in()
        wait_for(listens, "it listens again")
        assert home.ask("status")["reopened"] == 1
        ear = run.rooms()["ear"]
        sound_card.hang()
        home.verb("mute")
        wait_for(lambda: run.rooms().get("ear", ear) != ear or not listens(), "the microphone is given up")
        sound_card.go_on()
        wait_for(lambda: (now := home.status()) and now.ear == "connected", "the ear is there again")
        wait_for(lambda: sound_card.recorders() == 0, "no microphone is open")
        muted = home.verb("doctor", "audio")
        assert muted.returncode == os.EX_UNAVAILABLE
        assert "it is muted" in muted.stderr
        assert home.verb("devices", "--levels").returncode == os.EX_UNAVAILABLE
        assert sound_card.recorders() == 0
        home.ask("unmute")
        wait_for(listens, "it listens after the mute")
