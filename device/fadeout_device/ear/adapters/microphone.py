"""One open microphone as a stream of 16 kHz mono blocks.

PortAudio fills the stream from a thread of its own, through one bounded queue.
Where a device gives no 16 kHz mono, its own rate and channels are taken and
converted. Knows nothing of what is heard.

Source: PortAudio, portaudio.h; PyAudio.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import pyaudio

from fadeout_device.ear.adapters.conversion import Blocks, Converter
from fadeout_device.ear.adapters.portaudio import inputs_of, quiet_portaudio, stderr_discarded
from fadeout_device.ear.capture import BLOCK_SAMPLES, RATE_HZ
from fadeout_device.ear.inputs import LIST_HINT, MicrophoneError, choose, formats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fadeout_device.config import MicrophoneSettings
    from fadeout_device.ear.inputs import InputDevice

QUEUE_BLOCKS = 134
"""12 s of audio: what the ear may fall behind, while it waits for the vault, before sound is lost."""
SILENT_S = 2.0
"""A stream that delivers nothing for so long is dead; a quiet room still delivers samples."""


class Block(NamedTuple):
    """A block of 16 kHz mono s16le, and when its last sample had arrived."""

    pcm: bytes
    arrived_mono_s: float

    def __repr__(self) -> str:
        """Say only the size: a block is speech."""
        return f"Block({len(self.pcm)} B)"


class Microphone:
    """One open input stream. Not for two threads.

    Args:
        settings: which device, which of its channels, and how much louder.

    Raises:
        MicrophoneError: there is no such device, or it cannot be opened.
    """

    def __init__(self, settings: MicrophoneSettings) -> None:
        self.overflows = 0
        """Times the sound card's buffer ran over: samples were lost before they came here."""
        self.behind = 0
        """Buffers dropped here, because the queue was full."""
        # When it is full the newest audio is dropped, and counted.
        self._queue: queue.Queue[tuple[bytes, float]] = queue.Queue(QUEUE_BLOCKS)
        self._ready: deque[Block] = deque()
        self._blocks = Blocks()
        with contextlib.ExitStack() as opened:
            audio = opened.enter_context(quiet_portaudio())
            self.device = choose(inputs_of(audio), settings.device)
            self._stream, self.rate_hz, self.channels = self._open(audio, settings)
            opened.callback(self._stream.close)
            self._converter = Converter(self.rate_hz, self.channels, settings.channel, settings.gain_db)
            self._opened = opened.pop_all()
        self._heard_mono_s = time.monotonic()

    @property
    def name(self) -> str:
        """The device's name."""
        return self.device.name

    @property
    def clipped(self) -> int:
        """Samples as loud as samples can be: what was louder is cut off."""
        return self._converter.clipped

    def read(self, timeout_s: float) -> Block | None:
        """Return the next block, or None when none is complete within `timeout_s`.

        Raises:
            MicrophoneError: the stream is dead; close it, and open a new one.
        """
        if not self._ready:
            self._fetch(timeout_s)
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Close the stream; what was not read is dropped."""
        self._opened.close()

    def _fetch(self, timeout_s: float) -> None:
        try:
            data, arrived_mono_s = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            silent_s = time.monotonic() - self._heard_mono_s
            if silent_s > SILENT_S or not self._stream.is_active():
                raise MicrophoneError(
                    f'the microphone "{self.name}" gives no audio any more', "is it still plugged in?", "lost"
                ) from None
            return
        self._heard_mono_s = arrived_mono_s
        for pcm in self._blocks.cut(self._converter.from_s16(data)):
            self._ready.append(Block(pcm, arrived_mono_s))

    def _open(self, audio: pyaudio.PyAudio, settings: MicrophoneSettings) -> tuple[pyaudio.Stream, int, int]:
        # Tried by opening: PyAudio holds all other threads while it asks whether a format is supported.
        refused: OSError | None = None
        for rate_hz, channels in formats(self.device, settings.channel, RATE_HZ, settings.rate_hz):
            try:
                with stderr_discarded():
                    stream = audio.open(
                        rate_hz, channels, pyaudio.paInt16,
                        input=True, input_device_index=self.device.index,
                        frames_per_buffer=BLOCK_SAMPLES * rate_hz // RATE_HZ,
                        stream_callback=self._on_audio,
                    )  # fmt: skip
            except OSError as err:
                refused = err
                if err.errno == pyaudio.paDeviceUnavailable:
                    break
                continue
            return stream, rate_hz, channels
        assert refused is not None  # noqa: S101 - there is at least one format
        raise _cannot_open(self.device, refused) from refused

    def _on_audio(
        self, data: bytes, _frames: int, _times: Mapping[str, float], status: int
    ) -> tuple[None, int]:
        """Take a buffer from PortAudio, in its thread; must not wait."""
        if status & pyaudio.paInputOverflow:
            self.overflows += 1
        try:
            self._queue.put_nowait((data, time.monotonic()))
        except queue.Full:
            self.behind += 1
        return None, pyaudio.paContinue


def _cannot_open(device: InputDevice, err: OSError) -> MicrophoneError:
    if err.errno == pyaudio.paDeviceUnavailable:
        return MicrophoneError(
            f'the microphone "{device.name}" is in use by another program',
            "end that program, or choose a device that can be shared, like default or pulse",
            "busy",
        )
    reason = str(err.strerror or err).lower()
    return MicrophoneError(
        f'the microphone "{device.name}" cannot be opened: {reason}', LIST_HINT, "cannot open"
    )
