"""The ear as a process: a real microphone stream, the real engine, a small vault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from device.ear.fake_vault import WAIT_S, FakeVault
from fadeout_device.confine import STARTED_AGAIN_VARIABLE
from fadeout_device.ear.adapters.portaudio import inputs_of, quiet_portaudio
from fadeout_device.ear.adapters.speaking import ECHO_S
from fadeout_device.messages import EarState, Lit, Utterance, Wake
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from device.ear.conftest import Spoken
    from sound_card import SoundCard

pytestmark = pytest.mark.system

WAV_HEADER_BYTES = 44


def start(state: Path, more: str = "") -> subprocess.Popen[bytes]:
    config = state / "fadeout.toml"
    # Patient: other tests run on the same cores.
    config.write_text(f"[recogniser]\ntimeout_s = 60.0\n{more}")
    return subprocess.Popen(
        [sys.executable, "-m", "fadeout_device.ear", "--state", state, "--config", config],
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def ear(sound_card: SoundCard, state: Path, vault: FakeVault) -> Iterator[subprocess.Popen[bytes]]:
    assert sound_card.environment
    process = start(state)
    vault.wait_for(EarState)
    yield process
    process.kill()
    process.communicate()


def state_of(vault: FakeVault) -> EarState:
    """Return what the ear has said last of itself."""
    told = vault.of(EarState)[-1]
    assert isinstance(told, EarState)
    return told


def stop(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=WAIT_S)
    return process.returncode, err


def test_an_utterance_reaches_the_vault(
    ear: subprocess.Popen[bytes], sound_card: SoundCard, vault: FakeVault, spoken: Spoken
) -> None:
    (told,) = vault.of(EarState)
    assert told == EarState(listening=True, source="default", wake_words=("okay_nabu",))
    with sound_card.play(spoken.folder / "command_rms.wav"):
        (wake,) = vault.wait_for(Wake)
        (utterance,) = vault.wait_for(Utterance)
    assert isinstance(wake, Wake)
    assert isinstance(utterance, Utterance)
    assert (utterance.outcome, utterance.action) == ("served", "light.on")
    assert utterance.wake_word == wake.wake_word == "okay_nabu"
    assert utterance.duration_s <= utterance.age_s < utterance.duration_s + 2
    assert stop(ear) == (0, b"")
    ((_, pcm),) = vault.sealed.values()
    played = (spoken.folder / "command_rms.wav").read_bytes()[WAV_HEADER_BYTES:]
    assert pcm[16_000:-16_000] in played, "what was sealed is not what was said"


def test_the_light_is_on_from_the_wake_word_until_what_was_said_is_sealed(
    sound_card: SoundCard, state: Path, vault: FakeVault, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    ear = start(state, "[light]\npin = 25\n[button]\npin = 17\n")
    vault.wait_for(EarState)
    with sound_card.play(spoken.folder / "command_rms.wav"):
        vault.wait_for(Utterance)
    vault.wait_for(Lit, 3)
    assert stop(ear) == (0, b"")
    assert vault.of(Lit) == [Lit("gpio"), Lit("gpio", ("recording",)), Lit("gpio")]
    order = [type(message) for message in vault.messages if isinstance(message, Lit | Wake | Utterance)]
    assert order == [Lit, Lit, Wake, Utterance, Lit]


@pytest.mark.usefixtures("vault", "no_sound_card")
def test_without_the_lamp_that_is_configured_it_does_not_start(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "no_such_library")
    ear = start(state, "[light]\npin = 25\n")
    _, err = ear.communicate(timeout=WAIT_S)
    assert ear.returncode == os.EX_CONFIG
    assert err.startswith(b"error: light.pin: GPIO 25 cannot be used")
    assert err.count(b"\n") == 2


def test_sigterm_while_recording_seals_what_was_said(
    ear: subprocess.Popen[bytes], sound_card: SoundCard, vault: FakeVault, spoken: Spoken
) -> None:
    with sound_card.play(spoken.folder / "command_rms.wav") as playing:
        vault.wait_for(Wake)
        # As Ctrl-C and then the supervisor do.
        ear.send_signal(signal.SIGINT)
        assert stop(ear) == (0, b"")
        (utterance,) = vault.of(Utterance)
        assert isinstance(utterance, Utterance)
        assert 1.5 <= utterance.duration_s < 3
        playing.kill()


def test_the_ear_goes_on_while_the_vault_is_away(
    ear: subprocess.Popen[bytes], sound_card: SoundCard, vault: FakeVault, spoken: Spoken
) -> None:
    vault.stop()
    with sound_card.play(spoken.folder / "command_rms.wav"):
        pass
    vault.messages.clear()
    vault.start()
    (utterance,) = vault.wait_for(Utterance)
    assert isinstance(utterance, Utterance)
    assert (utterance.outcome, utterance.action) == ("served", "light.on")
    assert vault.messages[0] == EarState(listening=True, source="default", wake_words=("okay_nabu",))
    assert stop(ear) == (0, b"")


def test_an_unplugged_microphone_is_told_and_comes_back(
    ear: subprocess.Popen[bytes], sound_card: SoundCard, vault: FakeVault, spoken: Spoken
) -> None:
    sound_card.unplug()
    wait_for(lambda: not state_of(vault).listening, "the loss is told")
    assert state_of(vault).problem
    sound_card.plug_in()
    wait_for(lambda: state_of(vault).listening, "it listens again")
    assert state_of(vault).problem == ""
    assert state_of(vault).reopened == 1
    with sound_card.play(spoken.folder / "command_rms.wav"):
        vault.wait_for(Wake)
    assert stop(ear)[0] == 0


def test_the_level_is_told_now_and_then(
    ear: subprocess.Popen[bytes], sound_card: SoundCard, vault: FakeVault
) -> None:
    assert sound_card.recorders() == 1
    assert state_of(vault).level_dbfs is None
    assert state_of(vault).spared_percent is None
    wait_for(lambda: state_of(vault).level_dbfs == -120, "the level is told")
    spared_percent = state_of(vault).spared_percent
    assert spared_percent is not None
    assert 40 < spared_percent < 70, "of ten seconds of silence, the first four are heard"
    assert stop(ear)[0] == 0


@pytest.mark.parametrize(
    "ending",
    [pytest.param("mute", id="when muted"), pytest.param("stop", id="when told to stop")],
)
def test_a_sound_system_that_is_stuck_does_not_keep_the_ear_from_closing_the_microphone(
    ear: subprocess.Popen[bytes], sound_card: SoundCard, vault: FakeVault, ending: str
) -> None:
    """Nothing but the end of the process closes it for certain."""
    wait_for(lambda: sound_card.recorders() == 1, "the microphone is open")
    sound_card.hang()
    if ending == "mute":
        vault.mute(is_muted=True)
    else:
        ear.send_signal(signal.SIGTERM)
    _, err = ear.communicate(timeout=WAIT_S)
    assert ear.returncode in (os.EX_OSERR, os.EX_OK)
    vault.wait_until_alone()
    if ear.returncode == os.EX_OSERR:
        assert b"the sound system does not answer" in err
    sound_card.go_on()
    wait_for(lambda: sound_card.recorders() == 0, "the microphone is closed")


def test_an_ear_that_is_started_again_waits_for_a_microphone(
    sound_card: SoundCard, state: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STARTED_AGAIN_VARIABLE, "1")
    sound_card.unplug()
    ear = start(state)
    vault.wait_for(EarState)
    assert not state_of(vault).listening
    assert state_of(vault).problem
    sound_card.plug_in()
    wait_for(lambda: state_of(vault).listening, "it listens")
    assert stop(ear)[0] == 0


def test_the_microphone_stays_closed_until_the_vault_is_ready(
    sound_card: SoundCard, state: Path, vault: FakeVault
) -> None:
    vault.says_ready = False
    ear = start(state)
    with pytest.raises(subprocess.TimeoutExpired):
        ear.wait(1.5)
    assert sound_card.recorders() == 0
    assert vault.messages == []
    assert stop(ear) == (0, b"")


def test_a_number_still_means_the_microphone_that_it_meant_at_the_last_start(
    sound_card: SoundCard, state: Path, vault: FakeVault
) -> None:
    assert sound_card.environment
    with quiet_portaudio() as audio:
        index = next(device.index for device in inputs_of(audio) if device.name == "fakemic")
    (state / "microphone.json").write_text(json.dumps({"device": index, "name": "FAKEMIC6"}))
    ear = start(state, f"[microphone]\ndevice = {index}\n")
    vault.wait_for(EarState)
    assert state_of(vault).source == "fakemic6"
    code, err = stop(ear)
    assert code == 0
    assert f'number {index} is another microphone now: "fakemic6" is used' in err.decode()
    assert json.loads((state / "microphone.json").read_text()) == {"device": index, "name": "fakemic6"}


@pytest.mark.usefixtures("no_sound_card")
def test_that_answers_cannot_be_spoken_is_told_before_anybody_asks(state: Path, vault: FakeVault) -> None:
    vault.is_muted = True
    ear = start(state, '[voice]\nspeak = "espaek-ng"\n')
    vault.wait_for(EarState)
    assert state_of(vault).voice.startswith("answers are not spoken: there is no program espaek-ng")
    assert stop(ear) == (0, b"")


@pytest.mark.usefixtures("vault", "no_sound_card")
def test_without_a_microphone_it_says_so(state: Path) -> None:
    ear = start(state)
    _, err = ear.communicate(timeout=WAIT_S)
    assert ear.returncode == os.EX_UNAVAILABLE
    lines = err.decode().splitlines()
    assert lines[0] == "error: no microphone was found"
    assert "fadeout devices" in lines[1]
    assert len(lines) == 2


def test_muted_the_sound_server_shows_no_client_and_what_was_being_said_is_dropped(
    ear: subprocess.Popen[bytes], sound_card: SoundCard, vault: FakeVault, spoken: Spoken
) -> None:
    wait_for(lambda: sound_card.recorders() == 1, "the microphone is open")
    with sound_card.play(spoken.folder / "command_rms.wav") as playing:
        vault.wait_for(Wake)
        vault.mute(is_muted=True)
        told = vault.wait_for(EarState, 2)
        assert sound_card.recorders() == 0
        playing.kill()
    assert isinstance(told[-1], EarState)
    assert not told[-1].listening
    with sound_card.play(spoken.folder / "command_rms.wav"):
        pass
    assert sound_card.recorders() == 0
    vault.mute(is_muted=False)
    vault.wait_for(EarState, 3)
    assert sound_card.recorders() == 1
    with sound_card.play(spoken.folder / "command_rms.wav"):
        vault.wait_for(Utterance)
    assert len(vault.of(Wake)) == 2, "one was heard while it was muted"
    assert len(vault.of(Utterance)) == 1, "what was being said when the mute came was sent"
    assert stop(ear) == (0, b"")


def test_an_ear_that_starts_muted_opens_no_microphone(
    sound_card: SoundCard, state: Path, vault: FakeVault
) -> None:
    vault.is_muted = True
    ear = start(state)
    (told,) = vault.wait_for(EarState)
    assert isinstance(told, EarState)
    assert not told.listening
    assert sound_card.recorders() == 0
    vault.stop()
    vault.start()
    assert sound_card.recorders() == 0
    vault.wait_for(EarState, 2)
    vault.mute(is_muted=False)
    wait_for(lambda: sound_card.recorders() == 1, "the microphone is open")
    assert stop(ear) == (0, b"")


def test_an_answer_is_spoken_and_not_listened_to(
    sound_card: SoundCard, state: Path, vault: FakeVault, spoken: Spoken
) -> None:
    command = spoken.folder / "command_rms.wav"
    # Whatever it is to say, this program says the wake word and a command, right into the microphone.
    body = f"""
import pathlib, subprocess, sys
pathlib.Path({str(state / "said")!r}).write_text(sys.stdin.read())
subprocess.run(["paplay", "--device=fakemic", {str(command)!r}])
pathlib.Path({str(state / "done")!r}).touch()"""
    vault.behaviours = ["tell"]
    ear = start(state, f"[voice]\nspeak = {json.dumps([sys.executable, '-c', body])}\n")
    vault.wait_for(EarState)
    with sound_card.play(command):
        vault.wait_for(Utterance)
    wait_for((state / "done").exists, "the answer was spoken")
    assert (state / "said").read_text() == "I have 3 recordings.\n"
    # It is in the room for a little longer.
    again_mono_s = time.monotonic() + 4 * ECHO_S
    wait_for(lambda: time.monotonic() > again_mono_s, "the echo is over")
    with sound_card.play(command):
        vault.wait_for(Utterance, 2)
    assert len(vault.of(Wake)) == 2, "it has heard itself"
    assert stop(ear) == (0, b"")
