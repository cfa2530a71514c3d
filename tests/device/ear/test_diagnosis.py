"""What is wrong with two seconds of a microphone: a table of rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from fadeout_device.ear.diagnosis import Recorded, diagnose

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
_RANDOM = np.random.default_rng(11)


def speech(level_dbfs: float = -26.0, rate_hz: int = RATE_HZ) -> NDArray[np.float64]:
    """Something like two seconds of syllables: tones of a voice, that come and go four times a second."""
    times_s = np.arange(2 * rate_hz) / rate_hz
    voice = sum(np.sin(2 * np.pi * hz * times_s + hz) for hz in (220, 440, 660, 1_100, 2_300))
    syllables = np.clip(np.sin(2 * np.pi * 2 * times_s), 0, 1)
    signal = voice * syllables
    return np.asarray(signal / np.abs(signal).std() * 10 ** (level_dbfs / 20) * 0.6)


def noise(level_dbfs: float = -70.0) -> NDArray[np.float64]:
    return _RANDOM.normal(0, 10 ** (level_dbfs / 20), 2 * RATE_HZ)


def hum(level_dbfs: float = -20.0) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * 50 * np.arange(2 * RATE_HZ) / RATE_HZ) * 10 ** (level_dbfs / 20)


NOTHING = np.zeros(2 * RATE_HZ)


def recorded(*channels: NDArray[np.float64], measured_hz: float | None = None) -> Recorded:
    frames = np.stack(channels, axis=1) * 32_768
    return Recorded(np.clip(np.round(frames), -32_768, 32_767).astype("<i2"), RATE_HZ, measured_hz)


@pytest.mark.parametrize(
    ("rec", "settings", "kinds", "setting"),
    [
        pytest.param(recorded(speech() + noise()), {}, [], "", id="all is well"),
        pytest.param(recorded(speech() + noise(), measured_hz=15_700), {}, [], "", id="an imprecise clock"),
        pytest.param(recorded(speech() + hum()), {}, [], "", id="hum is no speech"),
        pytest.param(recorded(speech(-35)), {}, [], "", id="a bit quiet will do"),
        pytest.param(recorded(NOTHING), {}, ["silent"], "", id="zeros"),
        pytest.param(recorded(NOTHING + 0.2), {}, ["dc offset", "silent"], "", id="nothing but a constant"),
        pytest.param(recorded(speech() + noise() + 0.05), {}, ["dc offset"], "", id="off zero"),
        pytest.param(recorded(speech(12)), {}, ["clipping"], "", id="cut off by the sound card"),
        pytest.param(recorded(speech(12)), {"gain_db": -20.0}, ["clipping"], "", id="gain cannot mend that"),
        pytest.param(
            recorded(speech(-26)), {"gain_db": 30.0}, ["clipping"], "gain_db = ", id="cut off by the gain"
        ),
        pytest.param(
            recorded(speech(-55) + noise(-85)), {}, ["too quiet"], "gain_db = 2", id="too quiet: a gain"
        ),
        pytest.param(
            recorded(speech(-55) + noise(-85)), {"gain_db": 25.0}, [], "", id="and with that gain it is well"
        ),
        pytest.param(recorded(speech(-12)), {}, ["too loud"], "gain_db = -1", id="too loud: less gain"),
        pytest.param(recorded(noise(-50)), {}, ["nobody spoke"], "", id="nobody spoke"),
        pytest.param(recorded(hum()), {}, ["nobody spoke"], "", id="only hum"),
        pytest.param(
            recorded(speech(), measured_hz=48_100.0), {}, ["wrong rate"], "rate_hz = 48", id="3 x the rate"
        ),
        pytest.param(
            recorded(speech(), measured_hz=14_700.0), {}, ["wrong rate"], "", id="a rate that is none"
        ),
        pytest.param(
            recorded(noise(), speech(), noise()), {"channel": 0}, ["wrong channel"], "channel = 1",
            id="speech on another channel",
        ),
        pytest.param(
            recorded(NOTHING, speech()), {"channel": 0}, ["wrong channel"], "channel = 1", id="a dead channel"
        ),
        pytest.param(
            recorded(*[noise()] * 4, speech() + noise(), noise()), {}, ["wrong channel"], "channel = 4",
            id="the mix of six, of which one hears",
        ),
        pytest.param(
            recorded(speech(), -speech()), {}, ["wrong channel"], "channel = ", id="two that cancel out"
        ),
        pytest.param(recorded(speech(), speech(-29)), {}, [], "", id="two that both hear"),
        pytest.param(recorded(speech(), speech(-22)), {"channel": 0}, [], "", id="a bit louder elsewhere"),
        pytest.param(recorded(NOTHING, noise()), {"channel": 0}, ["silent"], "", id="dead, and no speech"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    rec: Recorded, settings: dict[str, Any], kinds: list[str], setting: str
) -> None:
    found = diagnose(rec, **settings)
    assert [finding.kind for finding in found.findings] == kinds
    assert found.is_good == (kinds in ([], ["nobody spoke"]))
    if kinds:
        assert found.findings[-1].setting.startswith(setting)
        assert bool(found.findings[-1].setting) == bool(setting)


@pytest.mark.parametrize(
    ("level_dbfs", "gain_db"),
    [
        pytest.param(-60, 0.0, id="quiet"),
        pytest.param(-12, 0.0, id="loud"),
        pytest.param(-26, -30.0, id="gain"),
    ],
)
def test_the_gain_that_is_suggested_helps(level_dbfs: float, gain_db: float) -> None:
    rec = recorded(speech(level_dbfs))
    (finding,) = diagnose(rec, gain_db=gain_db).findings
    mended = float(finding.setting.removeprefix("gain_db = "))
    assert diagnose(rec, gain_db=mended).findings == ()


@pytest.mark.parametrize("channel", [0, 1, "mix"])
def test_the_level_is_that_of_speech_with_the_gain(channel: int | Literal["mix"]) -> None:
    one = speech(-30)
    plain, loud = (diagnose(recorded(one, one), channel, gain_db) for gain_db in (0.0, 6.0))
    assert -32 < plain.level_dbfs < -20
    assert loud.level_dbfs == pytest.approx(plain.level_dbfs + 6)
    assert loud.channels_dbfs == plain.channels_dbfs == pytest.approx((plain.level_dbfs,) * 2)


@pytest.mark.parametrize("samples", [1, 10, 479, 481])
def test_little_audio_is_diagnosed_too(samples: int) -> None:
    found = diagnose(Recorded(np.zeros((samples, 1), "<i2"), RATE_HZ))
    assert [finding.kind for finding in found.findings] == ["silent"]


def test_what_was_said_is_not_shown() -> None:
    assert repr(recorded(speech())) == "Recorded((32000, 1), 16000 Hz)"
