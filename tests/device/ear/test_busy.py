"""A microphone that another program has is told apart from one that is not there, and heard once free."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from device.ear.fake_vault import WAIT_S, FakeVault
from fadeout_device.confine import STARTED_AGAIN_VARIABLE
from fadeout_device.ear.adapters.alsa import held_cards
from fadeout_device.ear.inputs import HeldInput, MicrophoneError, choose
from fadeout_device.messages import EarState, Wake
from rig_held_microphone import NAME, WRAPPER, held_microphone
from rig_speech import WAKE, say, silence
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig_held_microphone import HeldMicrophone
    from sound_card import SoundCard

CARDS = """\
 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi
                      vc4-hdmi
 1 [ArrayUAC10     ]: USB-Audio - ReSpeaker 4 Mic Array (UAC1.0)
                      SEEED ReSpeaker 4 Mic Array (UAC1.0) at usb-0000:01:00.0-1.1, high speed
"""
PCM = """\
00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-00: USB Audio : USB Audio : playback 1 : capture 1
"""
RUNNING = "state: RUNNING\nowner_pid   : 612\ntrigger_time: 91.1\n"
RESPEAKER = "ReSpeaker 4 Mic Array (UAC1.0): USB Audio (hw:1,0)"


@pytest.mark.parametrize(
    ("status", "comm", "held"),
    [
        pytest.param(RUNNING, "arecord\n", [HeldInput(RESPEAKER, "arecord, process 612")], id="by a program"),
        pytest.param(RUNNING, None, [HeldInput(RESPEAKER, "process 612")], id="by one in a container"),
        pytest.param("closed\n", "arecord\n", [], id="by nobody"),
        pytest.param(None, None, [], id="it was pulled out just now"),
    ],
)
def test_whose_a_card_is_stands_in_proc(
    tmp_path: Path, status: str | None, comm: str | None, held: list[HeldInput]
) -> None:
    for name, text in {
        "asound/cards": CARDS,
        "asound/pcm": PCM,
        "asound/card0/pcm0p/sub0/status": RUNNING,
        "asound/card1/pcm0c/sub0/status": status,
        "612/comm": comm,
    }.items():
        if text is not None:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    assert list(held_cards(tmp_path, tmp_path)) == held


@pytest.mark.parametrize("mode", [0o600, 0o000])
def test_a_card_that_this_user_may_not_open_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    (tmp_path / "asound").mkdir()
    (tmp_path / "asound/cards").write_text(CARDS)
    (tmp_path / "asound/pcm").write_text(PCM)
    node = tmp_path / "pcmC1D0c"
    node.touch(mode)
    # root may open everything
    monkeypatch.setattr("os.access", lambda path, _: bool(path.stat().st_mode & 0o400))
    held = list(held_cards(tmp_path, tmp_path))
    assert held == ([] if mode else [HeldInput(RESPEAKER, is_forbidden=True)])
    if held:
        with pytest.raises(MicrophoneError, match="not open to this user") as refused:
            choose((), "default", held)
        assert "group audio" in (refused.value.hint or "")


def test_that_it_is_fadeout_that_has_a_card_is_not_said_of_another_program(tmp_path: Path) -> None:
    for name, text in {
        "asound/cards": CARDS,
        "asound/pcm": PCM,
        "asound/card1/pcm0c/sub0/status": RUNNING,
        "612/comm": "python3\n",
        "612/cmdline": "/usr/bin/python3\0-m\0fadeout_device.ear\0--state\0/var/lib/fadeout\0",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (held,) = held_cards(tmp_path, tmp_path)
    assert held.words == "in use by fadeout, which listens to it"


def test_without_sound_cards_nobody_has_one(tmp_path: Path) -> None:
    assert list(held_cards(tmp_path, tmp_path)) == []


@pytest.fixture
def microphone(sound_card: SoundCard) -> Iterator[HeldMicrophone]:
    with held_microphone(sound_card) as made:
        made.take()
        yield made


@pytest.fixture
def config(state: Path) -> Path:
    path = state / "fadeout.toml"
    path.write_text(f'[microphone]\ndevice = "{NAME}"\n')
    return path


@pytest.mark.system
def test_what_another_program_has_is_waited_for_and_heard_once_it_is_let_go(
    microphone: HeldMicrophone, state: Path, config: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed: sudo apt-get install flite")
    where = ("--state", state, "--config", config)
    ear = subprocess.Popen(
        [*WRAPPER, sys.executable, "-m", "fadeout_device.ear", *where], stderr=subprocess.PIPE
    )
    _, err = ear.communicate(timeout=WAIT_S)
    told = f'error: the microphone "{NAME}" is in use by another program'
    assert (ear.returncode, err.decode().splitlines()[0]) == (os.EX_UNAVAILABLE, told)

    monkeypatch.setenv(STARTED_AGAIN_VARIABLE, "1")
    ear = subprocess.Popen(
        [*WRAPPER, sys.executable, "-m", "fadeout_device.ear", *where], stderr=subprocess.PIPE
    )
    (first,) = vault.wait_for(EarState)
    assert first == EarState(
        listening=False, source="", wake_words=("okay_nabu",), problem=told.removeprefix("error: ")
    )
    microphone.let_go()
    listening = wait_for(lambda: (last := vault.of(EarState)[-1]) != first and last, "it listens")
    assert listening == EarState(listening=True, source=NAME, wake_words=("okay_nabu",))
    microphone.say(silence(1.0) + say(WAKE) + silence(1.0))
    vault.wait_for(Wake)
    ear.terminate()
    assert ear.communicate(timeout=WAIT_S)[1].count(b"\n") <= 2, "it is said once, not at every try"
    assert ear.returncode == 0


@pytest.mark.system
@pytest.mark.usefixtures("microphone")
def test_the_commands_say_that_it_is_in_use(state: Path, config: Path) -> None:
    def fadeout(*words: str) -> subprocess.CompletedProcess[str]:
        where = ("--state", state, "--config", config)
        command = [*WRAPPER, sys.executable, "-m", "fadeout_device.cli", *words, *where]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    told = f'the microphone "{NAME}" is in use by another program'
    listed = fadeout("devices")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert f'[microphone] device = "{NAME}": {told}' in listed.stdout.replace("\n", " ")
    asked = fadeout("doctor", "audio", "--json")
    assert asked.returncode == os.EX_UNAVAILABLE
    assert [finding["kind"] for finding in json.loads(asked.stdout)["findings"]] == ["busy"]
    assert asked.stderr.splitlines()[0] == f"error: {told}"
