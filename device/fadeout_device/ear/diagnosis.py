"""What is wrong with two seconds of a microphone, in words. Pure: samples in, findings out.

Speech is judged in the band in which it is understood, so that hum and rumble do not
count, and by its loudest moments, so that pauses do not. Where it should lie is the
active speech level for which telephones and recognisers are made, -26 dB below full
scale (ITU-T P.56); microphones and wake words put up with a good deal around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from fadeout_device.ear.loudness import FULL_SCALE, dbfs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fadeout_device.ear.inputs import Channel

Kind = Literal[
    "silent", "clipping", "dc offset", "wrong channel", "wrong rate", "too quiet", "too loud", "nobody spoke"
]  # fmt: skip

TARGET_DBFS = -26.0
_QUIET_DBFS, _LOUD_DBFS = -42.0, -12.0
_HEADROOM_DB = 3.0
_MOST_GAIN_DB = 40.0
# A moment that is so much louder than the quiet ones, and loud enough to be more than noise of the card.
_SPEECH_ABOVE_NOISE_DB, _SPEECH_DBFS = 10.0, -70.0
# Half a bit and less: not even the noise of an amplifier.
_SILENT_DBFS = -94.0
# The mix of two channels of which one is dead is 6 dB down.
_OTHER_CHANNEL_DB = 5.5
_CLIPPED_SHARE = 0.0005
_OFFSET_SHARE = 0.01
# 44.1 for 48 kHz is 8 %; clocks of cards are off by 0.1 %, and two seconds are measured to about 2 %.
_RATE_SHARE = 0.06
_BAND_HZ = (200.0, 3_800.0)
_MOMENT_S = 0.03
_KNOWN_RATES_HZ = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)


class Recorded(NamedTuple):
    """What was recorded, and as what."""

    frames: NDArray[np.int16]
    """Of shape (n, channels)."""
    rate_hz: int
    """What the device was asked for."""
    measured_hz: float | None = None
    """Frames per second that came; None: not known."""

    def __repr__(self) -> str:
        """Say only the shape: it is speech."""
        return f"Recorded({self.frames.shape}, {self.rate_hz} Hz)"


class Finding(NamedTuple):
    """One thing that is to be known."""

    kind: Kind
    words: str
    setting: str = ""
    """A line for `[microphone]` that mends it; empty: none does."""
    is_fault: bool = True


class Diagnosis(NamedTuple):
    """What two seconds tell."""

    level_dbfs: float
    """The loudest moments of what would be heard, speech only, with the gain that is set."""
    channels_dbfs: tuple[float, ...]
    """The same for each channel, without gain."""
    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to mend."""
        return not any(finding.is_fault for finding in self.findings)


class _Speech(NamedTuple):
    """How loud one channel is in the band of speech."""

    loud_dbfs: float
    quiet_dbfs: float

    @property
    def is_there(self) -> bool:
        return self.loud_dbfs - self.quiet_dbfs >= _SPEECH_ABOVE_NOISE_DB and self.loud_dbfs >= _SPEECH_DBFS


def diagnose(recorded: Recorded, channel: Channel = "mix", gain_db: float = 0.0) -> Diagnosis:
    """Say what is wrong with a recording.

    Args:
        recorded: about two seconds, at least one moment, in which somebody speaks.
        channel: the one that is heard, as `[microphone]` has it.
        gain_db: how much louder it is made.
    """
    frames = recorded.frames.astype(np.float32) / np.float32(FULL_SCALE)
    heard = (frames.mean(axis=1) if channel == "mix" else frames[:, channel]).astype(np.float32)
    each = [_speech(frames[:, index], recorded.rate_hz) for index in range(frames.shape[1])]
    speech = _speech(heard, recorded.rate_hz)
    level_dbfs = speech.loud_dbfs + gain_db
    findings = [
        *_rate(recorded),
        *_offset(heard),
        *_channel(each, speech, channel),
    ]
    if not any(finding.kind == "wrong channel" for finding in findings):
        findings += _silent(heard)
    if not findings or all(finding.kind in ("wrong rate", "dc offset") for finding in findings):
        findings += _clipping(recorded.frames, heard, channel, gain_db) or _level(heard, speech, gain_db)
    return Diagnosis(level_dbfs, tuple(one.loud_dbfs for one in each), tuple(findings))


def _rate(recorded: Recorded) -> list[Finding]:
    measured_hz = recorded.measured_hz
    if measured_hz is None or abs(measured_hz / recorded.rate_hz - 1) < _RATE_SHARE:
        return []
    real_hz = min(_KNOWN_RATES_HZ, key=lambda known: abs(known - measured_hz))
    words = (
        f"wrong rate: about {measured_hz:.0f} samples a second come, and {recorded.rate_hz} were asked for;"
        " speech is heard at the wrong pitch"
    )
    return [Finding("wrong rate", words, f"rate_hz = {real_hz}" if real_hz != recorded.rate_hz else "")]


def _offset(heard: NDArray[np.float32]) -> list[Finding]:
    share = abs(float(heard.mean()))
    if share < _OFFSET_SHARE:
        return []
    words = (
        f"DC offset: the signal does not swing around zero, but around {100 * share:.1f} % of full scale;"
        " a fault of the microphone, its cable or its driver, and loud speech is cut off earlier"
    )
    return [Finding("dc offset", words)]


def _silent(heard: NDArray[np.float32]) -> list[Finding]:
    if dbfs(float(heard.std())) > _SILENT_DBFS:
        return []
    words = "silent: nothing but zeros come; is it switched off, or muted in the mixer (alsamixer, F4)?"
    return [Finding("silent", words)]


def _channel(each: list[_Speech], speech: _Speech, channel: Channel) -> list[Finding]:
    speaking = [index for index, one in enumerate(each) if one.is_there]
    if not speaking:
        return []
    best = max(speaking, key=lambda index: each[index].loud_dbfs)
    above_db = each[best].loud_dbfs - speech.loud_dbfs
    if best == channel or above_db < _OTHER_CHANNEL_DB:
        return []
    now = "in the mix of all channels" if channel == "mix" else f"on channel {channel}"
    words = f"wrong channel: speech is {above_db:.0f} dB louder on channel {best} than {now}"
    return [Finding("wrong channel", words, f"channel = {best}")]


def _clipping(
    frames: NDArray[np.int16], heard: NDArray[np.float32], channel: Channel, gain_db: float
) -> list[Finding]:
    raw = frames if channel == "mix" else frames[:, channel]
    cut = float(np.mean((raw == FULL_SCALE - 1) | (raw == -FULL_SCALE)))
    if cut > _CLIPPED_SHARE:
        words = (
            f"clipping: {100 * cut:.1f} % of the samples are cut off before they come here; turn the"
            " microphone down in the mixer (alsamixer, F4), as a lower gain_db cannot bring back what is lost"
        )
        return [Finding("clipping", words)]
    cut = float(np.mean(np.abs(heard) * 10 ** (gain_db / 20) > 1.0))
    if gain_db <= 0 or cut <= _CLIPPED_SHARE:
        return []
    words = f"clipping: {100 * cut:.1f} % of the samples are cut off by gain_db = {gain_db:g}"
    return [Finding("clipping", words, f"gain_db = {_most_gain_db(heard):.1f}")]


def _level(heard: NDArray[np.float32], speech: _Speech, gain_db: float) -> list[Finding]:
    if not speech.is_there:
        words = "nobody spoke, or it was not heard above the noise: ask again, and speak as you mean to"
        return [Finding("nobody spoke", words, is_fault=False)]
    level_dbfs = speech.loud_dbfs + gain_db
    if _QUIET_DBFS <= level_dbfs <= _LOUD_DBFS:
        return []
    fits_db = max(-_MOST_GAIN_DB, min(TARGET_DBFS - speech.loud_dbfs, _most_gain_db(heard)))
    kind: Kind = "too quiet" if level_dbfs < _QUIET_DBFS else "too loud"
    words = f"{kind}: speech comes at {level_dbfs:.0f} dBFS, and should at about {TARGET_DBFS:.0f}"
    setting = f"gain_db = {fits_db:.1f}" if abs(fits_db - gain_db) >= 1 else ""
    return [Finding(kind, words, setting)]


def _most_gain_db(heard: NDArray[np.float32]) -> float:
    """Return the gain with which the loudest sample keeps a little room."""
    return min(_MOST_GAIN_DB, -dbfs(float(np.abs(heard).max())) - _HEADROOM_DB)


def _speech(signal: NDArray[np.float32], rate_hz: int) -> _Speech:
    spectrum = np.fft.rfft(signal - signal.mean())
    hz = np.fft.rfftfreq(len(signal), 1 / rate_hz)
    spectrum[(hz < _BAND_HZ[0]) | (hz > _BAND_HZ[1])] = 0
    band = np.fft.irfft(spectrum, len(signal)).astype(np.float32)
    size = min(len(band), max(1, int(rate_hz * _MOMENT_S)))
    moments = band[: len(band) // size * size].reshape(-1, size).std(axis=1)
    loud, quiet = np.percentile(moments, [95, 10])
    return _Speech(dbfs(float(loud)), dbfs(float(quiet)))
