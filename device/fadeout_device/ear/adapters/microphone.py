"""One open microphone as a stream of 16 kHz mono blocks.

A thread of its own reads the stream into one bounded queue: that costs less than to be
called by PortAudio for each block, and several blocks can be waited for at once.
Where a device gives no 16 kHz mono, its own rate and channels are taken and
converted. Knows nothing of what is heard.

Source: PortAudio, portaudio.h; PyAudio.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import pyaudio

from fadeout_device.ear.adapters.alsa import find_input
from fadeout_device.ear.adapters.conversion import Blocks, Converter
from fadeout_device.ear.adapters.portaudio import open_input, quiet_portaudio, start
from fadeout_device.ear.capture import BLOCK_SAMPLES, RATE_HZ
from fadeout_device.ear.inputs import MicrophoneError, formats

if TYPE_CHECKING:
    from fadeout_device.config import MicrophoneSettings

QUEUE_BLOCKS = 134
"""12 s of audio: what the ear may fall behind, while it waits for the vault, before sound is lost."""
SILENT_S = 2.0
"""A stream that delivers nothing for so long is dead; a quiet room still delivers samples."""


class Block(NamedTuple):
    """One block of 16 kHz mono s16le, or several, and when the last sample had arrived."""

    pcm: bytes
    arrived_mono_s: float

    def __repr__(self) -> str:
        """Say only the size: a block is speech."""
        return f"Block({len(self.pcm)} B)"


class Microphone:
    """One open input stream. Not for two threads.

    Args:
        settings: which device, which of its channels, and how much louder.
        known_as: as in `choose`.

    Raises:
        MicrophoneError: there is no such device, or it cannot be opened.
    """

    def __init__(self, settings: MicrophoneSettings, known_as: str = "") -> None:
        self.overflows = 0
        """Times the sound card's buffer ran over: samples were lost before they came here."""
        self.behind = 0
        """Buffers dropped here, because the queue was full."""
        # It takes any number, at a tenth of what a bounded one costs; `_take` counts.
        self._queue: queue.SimpleQueue[tuple[bytes, float]] = queue.SimpleQueue()
        self._ready: deque[Block] = deque()
        self._most = 1
        self._is_closing = False
        self._blocks = Blocks()
        with contextlib.ExitStack() as opened:
            audio = opened.enter_context(quiet_portaudio())
            self.device = find_input(audio, settings.device, known_as)
            tried = formats(self.device, settings.channel, RATE_HZ, settings.rate_hz)
            stream = open_input(audio, self.device, tried, None)
            opened.callback(stream.stream.close)
            self._stream, self.rate_hz, self.channels = stream
            self._block_frames = BLOCK_SAMPLES * self.rate_hz // RATE_HZ
            self._converter = Converter(self.rate_hz, self.channels, settings.channel, settings.gain_db)
            self._heard_mono_s = time.monotonic()
            start(stream, self.device)
            self._reader = threading.Thread(target=self._read_on, name="microphone", daemon=True)
            self._reader.start()
            self._opened = opened.pop_all()

    @property
    def name(self) -> str:
        """The device's name."""
        return self.device.name

    @property
    def clipped(self) -> int:
        """Samples as loud as samples can be: what was louder is cut off."""
        return self._converter.clipped

    def read(self, timeout_s: float, most: int = 1) -> Block | None:
        """Return the next block, or None when none is complete within `timeout_s`.

        Args:
            timeout_s: seconds.
            most: so many blocks may come at once, and later for that.

        Raises:
            MicrophoneError: the stream is dead; close it, and open a new one.
        """
        self._most = most
        if not self._ready:
            self._fetch(timeout_s, most)
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Close the stream; what was not read is dropped."""
        self._is_closing = True
        self._reader.join()
        self._opened.close()

    def _fetch(self, timeout_s: float, most: int) -> None:
        try:
            data, arrived_mono_s = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            silent_s = time.monotonic() - self._heard_mono_s
            if silent_s > SILENT_S or not self._reader.is_alive():
                raise MicrophoneError(
                    f'the microphone "{self.name}" gives no audio any more', "is it still plugged in?", "lost"
                ) from None
            return
        self._heard_mono_s = arrived_mono_s
        if most == 1:
            for pcm in self._blocks.cut(self._converter.from_s16(data)):
                self._ready.append(Block(pcm, arrived_mono_s))
            return
        buffers = [data]
        while len(buffers) < most and not self._queue.empty():
            data, self._heard_mono_s = self._queue.get_nowait()
            buffers.append(data)
        if pcm := b"".join(self._blocks.cut(self._converter.from_s16(b"".join(buffers)))):
            self._ready.append(Block(pcm, self._heard_mono_s))

    def _read_on(self) -> None:
        """Read the stream until it is dead or closed, in a thread that does nothing else."""
        while not self._is_closing:
            try:
                data = self._stream.read(self._block_frames * self._most)
            except OSError as err:
                if err.errno != pyaudio.paInputOverflowed:
                    return
                self.overflows += 1
            else:
                self._take(data)

    def _take(self, data: bytes) -> None:
        """Queue what was read; when the queue is full the newest audio is dropped, and counted."""
        if self._queue.qsize() * self._most < QUEUE_BLOCKS:
            self._queue.put((data, time.monotonic()))
        else:
            self.behind += 1
