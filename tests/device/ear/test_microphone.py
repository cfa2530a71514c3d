"""Real PortAudio on a sound card that exists only in software."""

from __future__ import annotations

import queue
import subprocess
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import soundfile

from fadeout_device.config import MicrophoneSettings
from fadeout_device.ear.adapters.conversion import Blocks, Converter
from fadeout_device.ear.adapters.microphone import QUEUE_BLOCKS, Microphone
from fadeout_device.ear.adapters.portaudio import inputs_of, quiet_portaudio
from fadeout_device.ear.capture import BLOCK_BYTES
from fadeout_device.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from sound_card import SoundCard

pytestmark = pytest.mark.system

WAIT_S = 10.0


def record(microphone: Microphone, duration_s: float, most: int = 1) -> np.ndarray:
    pcm = b""
    while len(pcm) < duration_s * 32_000:
        block = microphone.read(1.0, most)
        if block is not None:
            assert len(block.pcm) in range(BLOCK_BYTES, most * BLOCK_BYTES + 1, BLOCK_BYTES)
            assert 0 <= time.monotonic() - block.arrived_mono_s < WAIT_S
            pcm += block.pcm
    return np.frombuffer(pcm, "<i2")


def test_inputs_are_listed_without_noise_on_stderr(
    sound_card: SoundCard, capfd: pytest.CaptureFixture[str]
) -> None:
    with quiet_portaudio() as audio:
        found = {device.name: device for device in inputs_of(audio)}
    assert {"fakemic", "fakemic6"} <= found.keys()
    assert [device.name for device in found.values() if device.is_default] == ["default"]
    assert capfd.readouterr().err == ""
    assert sound_card.environment


@pytest.mark.parametrize("most", [1, 3])
def test_a_mono_microphone_gives_every_sample_unchanged(
    sound_card: SoundCard, tmp_path: Path, most: int
) -> None:
    played = np.random.default_rng(7).integers(-20_000, 20_000, 16_000, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", played, 16_000)
    microphone = Microphone(MicrophoneSettings(device="fakemic"))
    assert microphone.name == "fakemic"
    playing = sound_card.play(tmp_path / "a.wav")
    heard = record(microphone, 2.5, most)
    assert playing.wait() == 0
    assert heard.astype("<i2").tobytes().find(played.astype("<i2").tobytes()) >= 0
    assert microphone.overflows == 0
    microphone.close()


@pytest.mark.parametrize(
    ("channel", "level"),
    [
        pytest.param(4, 8_000, id="the channel that speaks"),
        pytest.param(0, 0, id="a channel that is silent"),
    ],
)
def test_one_channel_of_an_array_is_heard(
    sound_card: SoundCard, tmp_path: Path, channel: int, level: int
) -> None:
    frames = np.zeros((32_000, 6), dtype=np.int16)
    frames[:, 4] = 8_000
    soundfile.write(tmp_path / "a.wav", frames, 16_000)
    microphone = Microphone(MicrophoneSettings(device="fakemic6", channel=channel))
    playing = sound_card.play(tmp_path / "a.wav", "fakemic6")
    assert int(np.abs(record(microphone, 2.0).astype(int)).max()) == level
    microphone.close()
    playing.wait()


@pytest.mark.parametrize(
    ("device", "channel", "rate_hz"),
    [
        pytest.param("fakemic", "mix", 44_100, id="mono, 44.1 kHz"),
        pytest.param("fakemic", "mix", 48_000, id="mono, 48 kHz"),
        pytest.param("fakemic6", 4, 44_100, id="one of six channels, 44.1 kHz"),
        pytest.param("fakemic6", 4, 48_000, id="one of six channels, 48 kHz"),
    ],
)
def test_any_rate_is_converted_and_the_tone_stays(
    sound_card: SoundCard, tmp_path: Path, device: str, channel: int | Literal["mix"], rate_hz: int
) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(40_000) / 16_000) * 8_000
    frames = np.zeros((40_000, 6 if device == "fakemic6" else 1), dtype=np.int16)
    frames[:, 4 if device == "fakemic6" else 0] = tone
    soundfile.write(tmp_path / "a.wav", frames, 16_000)
    microphone = Microphone(MicrophoneSettings(device=device, channel=channel, rate_hz=rate_hz, gain_db=6.0))
    assert microphone.rate_hz == rate_hz
    playing = sound_card.play(tmp_path / "a.wav", device)
    heard = record(microphone, 2.5).astype(float)
    microphone.close()
    playing.wait()
    spectrum = np.abs(np.fft.rfft(heard))
    assert abs(np.argmax(spectrum) * 16_000 / len(heard) - 440) < 3, "another pitch"
    assert 14_000 < np.abs(heard).max() < 17_500, "not twice as loud"
    assert microphone.clipped == 0


@pytest.mark.usefixtures("sound_card")
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        pytest.param(
            MicrophoneSettings(device="nosuchmic"), 'no microphone named "nosuchmic"', id="a wrong name"
        ),
        pytest.param(MicrophoneSettings(device=99), "no microphone number 99", id="a wrong number"),
        pytest.param(
            MicrophoneSettings(device="fakemic", channel=63), "there is no channel 63", id="a wrong channel"
        ),
        pytest.param(
            MicrophoneSettings(device="kemic"), '"kemic" is a part of the names of 2', id="a name of two"
        ),
    ],
)
def test_a_microphone_that_is_not_there_is_named(settings: MicrophoneSettings, line: str) -> None:
    with pytest.raises(UnavailableError, match=line) as refused:
        Microphone(settings)
    assert refused.value.hint


@pytest.mark.usefixtures("no_sound_card")
def test_a_machine_without_a_microphone_has_an_empty_list() -> None:
    program = (
        "from fadeout_device.ear.adapters.portaudio import inputs_of, quiet_portaudio\n"
        "with quiet_portaudio() as audio: print(inputs_of(audio))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("()\n", "")


def test_a_microphone_that_is_unplugged_is_noticed(sound_card: SoundCard) -> None:
    microphone = Microphone(MicrophoneSettings(device="fakemic"))
    record(microphone, 0.5)
    sound_card.unplug()
    with pytest.raises(UnavailableError, match='"fakemic" gives no audio any more'):
        record(microphone, WAIT_S)
    microphone.close()
    sound_card.plug_in()
    microphone = Microphone(MicrophoneSettings(device="fakemic"))
    record(microphone, 0.5)
    microphone.close()


@pytest.mark.usefixtures("sound_card")
def test_audio_that_nobody_takes_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fadeout_device.ear.adapters.microphone.QUEUE_BLOCKS", 3)
    microphone = Microphone(MicrophoneSettings(device="fakemic"))
    end_mono_s = time.monotonic() + WAIT_S
    while microphone.behind == 0:
        assert time.monotonic() < end_mono_s
        time.sleep(0.05)
    microphone.close()


def test_what_came_during_a_rest_is_one_block_and_a_queue_that_is_full_drops_the_newest() -> None:
    microphone = object.__new__(Microphone)
    microphone._queue, microphone._ready, microphone._blocks = queue.SimpleQueue(), deque(), Blocks()
    microphone._converter = Converter(16_000, 1)
    microphone.overflows = microphone.behind = 0
    microphone._most = 1
    buffers = [bytes([number]) * BLOCK_BYTES for number in range(QUEUE_BLOCKS + 2)]
    for buffer in buffers:
        microphone._take(buffer)
    assert microphone.behind == 2
    sizes = [3, 3, 1, *[3] * 43]
    read = [block.pcm for most in sizes if (block := microphone.read(0.0, most)) is not None]
    assert [len(pcm) // BLOCK_BYTES for pcm in read] == [3, 3, 1, *[3] * 42, 1]
    assert b"".join(read) == b"".join(buffers[:QUEUE_BLOCKS])
