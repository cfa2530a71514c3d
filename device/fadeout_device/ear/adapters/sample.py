"""A few seconds of a microphone as it is, in RAM only and wiped after use: to look at, not to keep.

PyAudio hands out immutable bytes, which nobody can wipe: the process that takes a sample
has no swap and no core dump (confine.py), and ends soon.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyaudio

from fadeout_device.ear.adapters.alsa import find_input
from fadeout_device.ear.adapters.portaudio import open_input, quiet_portaudio, start
from fadeout_device.ear.capture import RATE_HZ, SAMPLE_BYTES
from fadeout_device.ear.diagnosis import Recorded
from fadeout_device.ear.inputs import MicrophoneError, formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fadeout_device.config import MicrophoneSettings
    from fadeout_device.ear.inputs import InputDevice

# What comes first is the noise of switching on, or silence until the sound server begins.
_SKIPPED_S = 0.3
_PATIENCE_S = 5.0
_MEASURED_BUFFERS = 12
# ALSA's plug-ins claim so many, and mix or copy what the device has: then what the ear hears is what counts.
_PLUG_IN_CHANNELS = 16


class Sample:
    """What was recorded; `wipe` it."""

    def __init__(self, device: InputDevice, rate_hz: int, channels: int, duration_s: float) -> None:
        self.device = device
        self.overflows = 0
        self._rate_hz, self._channels = rate_hz, channels
        self._skip = int(_SKIPPED_S * rate_hz) * channels * SAMPLE_BYTES
        self._pcm = bytearray(int(duration_s * rate_hz) * channels * SAMPLE_BYTES)
        self._filled = 0
        self._arrivals: list[tuple[float, int]] = []
        self._is_full = threading.Event()

    def take(self, data: bytes, status: int) -> None:
        """Take a buffer from PortAudio, in its thread."""
        if status & pyaudio.paInputOverflow:
            self.overflows += 1
        if self._is_full.is_set():
            return
        if self._skip > 0:
            self._skip -= len(data)
            return
        self._arrivals.append((time.monotonic(), len(data) // SAMPLE_BYTES // self._channels))
        end = min(len(self._pcm), self._filled + len(data))
        self._pcm[self._filled : end] = data[: end - self._filled]
        self._filled = end
        if end == len(self._pcm):
            self._is_full.set()

    def wait(self, timeout_s: float) -> None:
        """Wait until it is complete.

        Raises:
            MicrophoneError: it is not, within so long.
        """
        if not self._is_full.wait(timeout_s):
            raise MicrophoneError(
                f'the microphone "{self.device.name}" gives no audio',
                "is it plugged in, and not stuck?",
                "lost",
            )

    def recorded(self) -> Recorded:
        """Return it; no longer good once it is wiped."""
        frames = np.frombuffer(self._pcm, "<i2").reshape(-1, self._channels)
        return Recorded(frames, self._rate_hz, self._measured_hz())

    def wipe(self) -> None:
        """Overwrite it with zeros."""
        np.frombuffer(self._pcm, np.uint8)[:] = 0

    def _measured_hz(self) -> float | None:
        """Return the slope of frames over time: one late buffer does not change it much."""
        if self.overflows or len(self._arrivals) < _MEASURED_BUFFERS:
            return None
        times_s = np.array([at_s for at_s, _ in self._arrivals])
        frames = np.cumsum([count for _, count in self._arrivals])
        return float(np.polyfit(times_s - times_s[0], frames, 1)[0])


@contextlib.contextmanager
def sampled(
    settings: MicrophoneSettings,
    duration_s: float,
    known_as: str = "",
    on_start: Callable[[], None] = lambda: None,
) -> Iterator[Sample]:
    """Record from the microphone of a configuration, all its channels; wipe it after the block.

    Args:
        settings: which, and how.
        duration_s: for so long.
        known_as: as in `choose`.
        on_start: called when the microphone is open.

    Raises:
        MicrophoneError: there is no such device, it cannot be opened, or it gives nothing.
    """
    sample: Sample | None = None

    def take(data: bytes, _frames: int, _times: Any, status: int) -> tuple[None, int]:  # noqa: ANN401 - unused
        if sample is not None:
            sample.take(data, status)
        return None, pyaudio.paContinue

    with contextlib.ExitStack() as opened:
        audio = opened.enter_context(quiet_portaudio())
        device = find_input(audio, settings.device, known_as)
        # Refuses a channel that is not there.
        as_heard = list(formats(device, settings.channel, RATE_HZ, settings.rate_hz))
        whole = list(formats(device, 0, RATE_HZ, settings.rate_hz))
        tried = as_heard if device.channels > _PLUG_IN_CHANNELS else whole
        stream = open_input(audio, device, tried, take)
        opened.callback(stream.stream.close)
        sample = Sample(device, stream.rate_hz, stream.channels, duration_s)
        opened.callback(sample.wipe)
        start(stream, device)
        on_start()
        sample.wait(duration_s + _SKIPPED_S + _PATIENCE_S)
        yield sample
