"""Every form of audio becomes the same blocks, and every bad file one clear line."""

from __future__ import annotations

import os
import struct
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from fadeout_device.audio_paths import find_files
from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.conversion import Blocks, Converter
from fadeout_device.ear.capture import BLOCK_BYTES, RATE_HZ
from fadeout_device.errors import AudioDataError

if TYPE_CHECKING:
    from pathlib import Path

    from device.ear.conftest import Spoken

DATA_SIZE_AT = 40


def heard(path: Path) -> bytes:
    file = AudioFile(path)
    try:
        return b"".join(file.blocks())
    finally:
        file.close()


def tone(path: Path, rate_hz: int = RATE_HZ, channels: int = 1, **form: str) -> Path:
    """Write one second of 440 Hz at half of full scale."""
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate_hz, **form)
    return path


def wav_bytes(folder: Path) -> bytearray:
    return bytearray(tone(folder / "whole.wav").read_bytes())


def as_float(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2") / 32768


@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "form"),
    [
        pytest.param("a.wav", 8_000, 1, {}, id="8 kHz"),
        pytest.param("a.wav", 11_025, 2, {}, id="11025 Hz stereo"),
        pytest.param("a.wav", 44_100, 2, {"subtype": "FLOAT"}, id="floating point"),
        pytest.param("a.wav", 96_000, 6, {"subtype": "PCM_24"}, id="96 kHz, six channels, 24 bits"),
        pytest.param("a.wav", 16_000, 1, {"subtype": "PCM_U8"}, id="8 bits"),
        pytest.param("a.wav", 16_000, 1, {"subtype": "ULAW"}, id="u-law"),
        pytest.param("a.flac", 48_000, 2, {}, id="FLAC"),
        pytest.param("a.ogg", 44_100, 1, {}, id="Ogg Vorbis"),
        pytest.param("a.ogg", 48_000, 1, {"format": "OGG", "subtype": "OPUS"}, id="Ogg Opus"),
        pytest.param("a.aiff", 22_050, 1, {}, id="something else that libsndfile reads"),
        pytest.param("a.raw", 16_000, 1, {"format": "WAV"}, id="a WAV file by another name"),
    ],
)
def test_any_form_becomes_16_khz_mono(
    tmp_path: Path, name: str, rate_hz: int, channels: int, form: dict[str, str]
) -> None:
    sound = as_float(heard(tone(tmp_path / name, rate_hz, channels, **form)))
    assert abs(len(sound) - RATE_HZ) <= 2
    spectrum = np.abs(np.fft.rfft(sound[:RATE_HZ], RATE_HZ))
    assert int(spectrum.argmax()) == 440
    assert float(np.abs(sound[2000:-2000]).max()) == pytest.approx(0.5, abs=0.03)


def test_16_bit_mono_stays_as_it_is(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, 50_001, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    assert heard(tmp_path / "a.wav") == samples.astype("<i2").tobytes()


def test_blocks_have_one_size(tmp_path: Path) -> None:
    file = AudioFile(tone(tmp_path / "a.wav", 44_100))
    *blocks, last = [len(block) for block in file.blocks()]
    file.close()
    assert set(blocks) == {BLOCK_BYTES}
    assert 0 < last <= BLOCK_BYTES


def test_mix_is_the_mean_and_a_channel_is_itself() -> None:
    frames = np.array([[100, 300], [-100, -300]], dtype="<i2").tobytes()
    assert Converter(RATE_HZ, 2).from_s16(frames) == np.array([200, -200], "<i2").tobytes()
    assert Converter(RATE_HZ, 2, 1).from_s16(frames) == np.array([300, -300], "<i2").tobytes()


def test_what_is_too_loud_is_clipped_and_what_is_no_number_is_silence() -> None:
    frames = np.array([[2.0], [-2.0], [np.nan], [np.inf]], dtype=np.float32)
    pcm = Converter(RATE_HZ, 1).from_float(frames, last=True)
    assert np.frombuffer(pcm, "<i2").tolist() == [32767, -32768, 0, 32767]


def test_blocks_do_not_depend_on_the_pieces() -> None:
    pcm = os.urandom(5 * BLOCK_BYTES + 6)
    for size in (2, 160, BLOCK_BYTES, 3 * BLOCK_BYTES + 2, len(pcm)):
        blocks = Blocks()
        cut = [b for at in range(0, len(pcm), size) for b in blocks.cut(pcm[at : at + size])]
        assert [len(block) for block in cut] == [BLOCK_BYTES] * 5
        assert b"".join(cut) + blocks.rest() == pcm


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], ids=hex)
def test_a_streamed_wav_ends_where_the_file_ends(tmp_path: Path, size: int) -> None:
    data = wav_bytes(tmp_path)
    struct.pack_into("<I", data, DATA_SIZE_AT, size)
    (tmp_path / "streamed.wav").write_bytes(data)
    assert heard(tmp_path / "streamed.wav") == heard(tmp_path / "whole.wav")


def test_a_wav_that_sox_streamed(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    with (tmp_path / "piped.wav").open("wb") as target:
        convert = subprocess.Popen(["sox", tmp_path / "a.wav", "-t", "wav", "-"], stdout=subprocess.PIPE)
        assert convert.stdout is not None
        target.write(convert.stdout.read())
        convert.stdout.close()
        assert convert.wait() == 0
    assert heard(tmp_path / "piped.wav") == heard(tmp_path / "a.wav")


CUT: dict[str, tuple[str, dict[str, str], float]] = {
    "half a FLAC": ("flac", {}, 0.5),
    "most of a FLAC": ("flac", {}, 0.99),
    "half an MP3": ("mp3", {}, 0.5),
    "half a Vorbis": ("ogg", {}, 0.5),
    "most of a Vorbis": ("ogg", {}, 0.999),
    "start of a Vorbis": ("ogg", {}, 0.02),
    "half an Opus": ("opus", {"format": "OGG", "subtype": "OPUS"}, 0.5),
}


def bad_file(folder: Path, kind: str) -> Path:
    path = folder / "bad.wav"
    whole = bytes(wav_bytes(folder))
    contents = {
        "no bytes": b"",
        "no frames": whole[:DATA_SIZE_AT] + bytes(4),
        "text": b"this is a shopping list\n" * 50,
        "half": whole[: len(whole) // 2],
        "half a header": whole[:30],
        "one byte short": whole[:-1],
        "no channels": whole[:22] + bytes(2) + whole[24:],
        "no rate": whole[:24] + bytes(4) + whole[28:],
        "unknown encoding": whole[:20] + b"\x77\x77" + whole[22:],
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind in CUT:
        suffix, form, share = CUT[kind]
        path = tone(folder / f"bad.{suffix}", 48_000, 1, **form)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    elif kind == "pages of a Vorbis":
        path = tone(folder / "bad.ogg", 48_000)
        whole = path.read_bytes()
        path.write_bytes(whole[: whole.rindex(b"OggS")])
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        pytest.param("missing", "no such file or directory", id="there is no such file"),
        pytest.param("folder", "is a directory", id="a folder named .wav"),
        pytest.param("no bytes", "is empty: 0 bytes", id="no byte in it"),
        pytest.param("no frames", "is empty: 0 frames of audio", id="a header and no audio"),
        pytest.param("text", "is no audio that can be read: format not recognised", id="a text named .wav"),
        pytest.param(
            "half", "its header promises 32000 bytes of audio, and 15978 are there", id="half of it is gone"
        ),
        pytest.param(
            "one byte short", "its header promises 32000 bytes of audio, and 31999 are there",
            id="the last byte is gone",
        ),
        pytest.param("half a header", "is cut short: no audio in 30 bytes", id="it ends within its header"),
        pytest.param("no channels", "is no audio that can be read", id="zero channels"),
        pytest.param("no rate", "is no audio that can be read", id="zero samples per second"),
        pytest.param("unknown encoding", "is no audio that can be read", id="an encoding nobody knows"),
        pytest.param(
            "half a FLAC", "is cut short or damaged: cannot be decoded after 0.",
            id="the second half of a FLAC is gone",
        ),
        pytest.param("most of a FLAC", "is cut short or damaged: cannot", id="the end of a FLAC is gone"),
        pytest.param("half an MP3", "is cut short: its header promises", id="half of an MP3 is gone"),
        pytest.param("half a Vorbis", "is cut short: its last page of Ogg", id="half of an Ogg file is gone"),
        pytest.param("most of a Vorbis", "is cut short: its last page of Ogg", id="the end of it is gone"),
        pytest.param("start of a Vorbis", "is cut short: its last page of Ogg", id="there is its start only"),
        pytest.param("pages of a Vorbis", "is cut short: its last page of Ogg", id="whole pages are gone"),
        pytest.param("half an Opus", "is cut short: its last page of Ogg", id="half of an Opus file is gone"),
        pytest.param("pipe", "is no file: a pipe, or a device", id="a named pipe, for which nobody waits"),
        pytest.param("circle", "too many levels of symbolic links", id="a link to itself"),
    ],
)  # fmt: skip
def test_a_bad_file_gets_one_clear_line(tmp_path: Path, kind: str, line: str) -> None:
    path = bad_file(tmp_path, kind)
    with pytest.raises(AudioDataError) as refused:
        heard(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert line in message
    assert "\n" not in message
    assert refused.value.hint
    assert refused.value.exit_code == os.EX_DATAERR


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_that_is_cut_while_it_is_heard(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, 20 * RATE_HZ, dtype=np.int16)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise, RATE_HZ)
    file = AudioFile(path)
    blocks = file.blocks()
    next(blocks)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(AudioDataError, match=r"a\.\w+: is cut short"):
        list(blocks)
    file.close()


def test_a_file_that_is_removed_while_it_is_heard_is_heard_to_its_end(tmp_path: Path) -> None:
    path = tone(tmp_path / "a.wav")
    file = AudioFile(path)
    blocks = file.blocks()
    first = next(blocks)
    path.unlink()
    assert len(first + b"".join(blocks)) == 2 * RATE_HZ
    file.close()


def test_a_whole_mp3_is_heard_without_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tone(tmp_path / "a.mp3", 48_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    path.write_bytes(data)
    with pytest.raises(AudioDataError):
        heard(path)
    assert capfd.readouterr().err == ""


def test_every_spoken_fixture_can_be_read(spoken: Spoken) -> None:
    for path in find_files(spoken.folder):
        assert heard(path)
    assert {path.name for path in find_files(spoken.folder)} == spoken.labels.keys()
