"""From what a sound card gives to 16 kHz mono: channels, rates, gain, and what is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import soxr

from fadeout_device.ear.adapters.conversion import Converter
from fadeout_device.ear.loudness import Loudness

if TYPE_CHECKING:
    from numpy.typing import NDArray

TONE_HZ = 440


def tone(rate_hz: int, amplitude: float = 0.25, duration_s: float = 1.0) -> NDArray[np.int16]:
    times_s = np.arange(int(rate_hz * duration_s)) / rate_hz
    return np.round(np.sin(2 * np.pi * TONE_HZ * times_s) * amplitude * 32_767).astype("<i2")


def convert(converter: Converter, data: bytes, piece_bytes: int) -> NDArray[np.int16]:
    pieces = (data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes))
    return np.frombuffer(b"".join(converter.from_s16(piece) for piece in pieces), "<i2")


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_a_tone_keeps_its_pitch_and_level_at_any_rate(rate_hz: int) -> None:
    heard = convert(Converter(rate_hz, 1), tone(rate_hz).tobytes(), 2 * (rate_hz // 11))
    assert 14_000 < len(heard) <= 16_000, "too much is still in the filter"
    middle = heard[2_000:14_000].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(np.argmax(spectrum) * 16_000 / len(middle) - TONE_HZ) < 2
    assert abs(20 * np.log10(middle.std() / (0.25 * 32_767 / np.sqrt(2)))) < 0.1


def test_how_the_stream_is_cut_changes_nothing() -> None:
    data = tone(44_100).tobytes()
    whole, cut = convert(Converter(44_100, 1), data, len(data)), convert(Converter(44_100, 1), data, 2_222)
    common = min(len(whole), len(cut)) - 600
    assert np.abs(whole[:common].astype(int) - cut[:common]).max() <= 1


def test_it_is_the_resampler_that_is_also_used_for_whole_files() -> None:
    frames = tone(48_000).astype(np.float32) / 32_768
    streamed = convert(Converter(48_000, 1), tone(48_000).tobytes(), 8_640)
    whole = soxr.resample(frames, 48_000, 16_000) * 32_768
    assert np.abs(streamed[:14_000] - whole[:14_000]).max() < 2


@pytest.mark.parametrize(
    ("channel", "level"),
    [
        pytest.param(0, 1_000, id="the first channel"),
        pytest.param(2, 3_000, id="the last channel"),
        pytest.param("mix", 2_000, id="the mean of all"),
    ],
)
def test_a_channel_or_the_mean_of_all_is_heard(channel: int | Literal["mix"], level: int) -> None:
    frames = np.tile(np.array([1_000, 2_000, 3_000], "<i2"), (100, 1))
    heard = np.frombuffer(Converter(16_000, 3, channel).from_s16(frames.tobytes()), "<i2")
    assert set(heard.tolist()) == {level}


@pytest.mark.parametrize(
    ("gain_db", "played", "heard", "clipped"),
    [
        pytest.param(0.0, 1_000, 1_000, 0, id="as it comes"),
        pytest.param(6.0206, 1_000, 2_000, 0, id="twice as loud"),
        pytest.param(-20.0, 1_000, 100, 0, id="a tenth"),
        pytest.param(20.0, 4_000, 32_767, 10, id="too much gain is cut off"),
        pytest.param(20.0, -4_000, -32_768, 10, id="and below, too"),
        pytest.param(0.0, 32_767, 32_767, 10, id="cut off by the sound card"),
        pytest.param(0.0, -32_768, -32_768, 10, id="cut off by the sound card, below"),
        pytest.param(-6.0206, 32_767, 16_384, 10, id="a lower gain hides nothing of that"),
    ],
)
def test_gain_is_applied_and_what_is_cut_off_is_counted(
    gain_db: float, played: int, heard: int, clipped: int
) -> None:
    converter = Converter(16_000, 1, 0, gain_db)
    out = np.frombuffer(converter.from_s16(np.full(10, played, "<i2").tobytes()), "<i2")
    assert set(out.tolist()) == {heard}
    assert converter.clipped == clipped


def test_a_channel_that_nobody_hears_is_not_counted() -> None:
    frames = np.tile(np.array([5, 32_767], "<i2"), (10, 1))
    for channel, clipped in ((0, 0), (1, 10)):
        converter = Converter(16_000, 2, channel)
        converter.from_s16(frames.tobytes())
        assert converter.clipped == clipped


@pytest.mark.parametrize(
    ("pcm", "level"),
    [
        pytest.param(b"", -120, id="nothing yet"),
        pytest.param(bytes(2_880), -120, id="zeros"),
        pytest.param(np.full(1_440, 9_000, "<i2").tobytes(), -120, id="a constant is no sound"),
        pytest.param(tone(16_000, 1.0).tobytes(), -3, id="the loudest tone"),
        pytest.param(tone(16_000, 0.1).tobytes(), -23, id="a tenth of it"),
        pytest.param(np.tile(np.array([-32_768, 32_767], "<i2"), 720).tobytes(), 0, id="the loudest of all"),
    ],
)
def test_the_level_is_that_of_the_loudest_moment(pcm: bytes, level: int) -> None:
    loudness = Loudness()
    loudness.hear(pcm)
    loudness.hear(bytes(1_440))
    assert loudness.peak_dbfs == level
    assert loudness.heard_s == len(pcm) / 32_000 + 0.045


def test_several_blocks_at_once_are_as_loud_as_one_by_one() -> None:
    rng = np.random.default_rng(2)
    loud = (rng.normal(0, 1, 1_440 * 3) * np.repeat([50, 5_000, 500], 1_440) + 300).astype("<i2").tobytes()
    together, apart = Loudness(), Loudness()
    together.hear(loud)
    for at in range(0, len(loud), 2_880):
        apart.hear(loud[at : at + 2_880])
    assert together.peak_dbfs == apart.peak_dbfs == -16
    assert together.heard_s == pytest.approx(apart.heard_s) == pytest.approx(0.27)
