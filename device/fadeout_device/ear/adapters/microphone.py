"""PortAudio inputs: which there are, and one open microphone as a stream of 16 kHz mono blocks.

PortAudio fills the stream from a thread of its own, through one bounded queue.
Where a device gives no 16 kHz mono, its own rate and channels are taken and
converted. Knows nothing of what is heard.

Source: PortAudio, portaudio.h; PyAudio.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyaudio

from fadeout_device.ear.adapters.conversion import Blocks, Converter
from fadeout_device.ear.capture import BLOCK_SAMPLES, RATE_HZ
from fadeout_device.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fadeout_device.config import MicrophoneSettings

QUEUE_BLOCKS = 134
"""12 s of audio: what the ear may fall behind, while it waits for the vault, before sound is lost."""
SILENT_S = 2.0
"""A stream that delivers nothing for so long is dead; a quiet room still delivers samples."""

_LIST_HINT = "list the microphones with: fadeout devices"
# ALSA's plug-ins (default, pulse, plughw) claim 32 channels and more, and make up what the device has not.
_MOST_REAL_CHANNELS = 16
# The widest layout that has names: a sound server copies channels by name, and mixes into fewer.
_WIDEST_LAYOUT = 8


@dataclass(frozen=True)
class InputDevice:
    """A device that PortAudio can record from."""

    index: int
    name: str
    channels: int
    """At most so many; plug-ins claim more than the device has."""
    rate_hz: int
    """The device's own rate."""
    is_default: bool


class Block(NamedTuple):
    """A block of 16 kHz mono s16le, and when its last sample had arrived."""

    pcm: bytes
    arrived_mono_s: float

    def __repr__(self) -> str:
        """Say only the size: a block is speech."""
        return f"Block({len(self.pcm)} B)"


def list_inputs() -> tuple[InputDevice, ...]:
    """Return all input devices, in PortAudio's order; empty when there is none."""
    with quiet_portaudio() as audio:
        return _inputs(audio)


class Microphone:
    """One open input stream. Not for two threads.

    Args:
        settings: which device, and which of its channels.

    Raises:
        UnavailableError: there is no such device, or it cannot be opened.
    """

    def __init__(self, settings: MicrophoneSettings) -> None:
        self.overflows = 0
        """Times samples were lost: in PortAudio's buffer, or because the queue was full."""
        # When it is full the newest audio is dropped, and counted as an overflow.
        self._queue: queue.Queue[tuple[bytes, float]] = queue.Queue(QUEUE_BLOCKS)
        self._ready: deque[Block] = deque()
        self._blocks = Blocks()
        self._heard_mono_s = time.monotonic()
        with contextlib.ExitStack() as opened:
            audio = opened.enter_context(quiet_portaudio())
            device = _choose(_inputs(audio), settings.device)
            self.name = device.name
            rate_hz, channels = _choose_format(audio, device, settings.channel)
            self._converter = Converter(rate_hz, channels, settings.channel)
            self._stream = self._open(audio, device, rate_hz, channels)
            opened.callback(self._stream.close)
            self._opened = opened.pop_all()

    def read(self, timeout_s: float) -> Block | None:
        """Return the next block, or None when none is complete within `timeout_s`.

        Raises:
            UnavailableError: the stream is dead; close it, and open a new one.
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
                raise UnavailableError(
                    f'the microphone "{self.name}" gives no audio any more', "is it still plugged in?"
                ) from None
            return
        self._heard_mono_s = arrived_mono_s
        for pcm in self._blocks.cut(self._converter.from_s16(data)):
            self._ready.append(Block(pcm, arrived_mono_s))

    def _open(
        self, audio: pyaudio.PyAudio, device: InputDevice, rate_hz: int, channels: int
    ) -> pyaudio.Stream:
        try:
            with _stderr_discarded():
                return audio.open(
                    rate_hz, channels, pyaudio.paInt16,
                    input=True, input_device_index=device.index,
                    frames_per_buffer=BLOCK_SAMPLES * rate_hz // RATE_HZ,
                    stream_callback=self._on_audio,
                )  # fmt: skip
        except OSError as err:
            raise UnavailableError(
                f'the microphone "{device.name}" cannot be opened: {_reason(err)}',
                f"is another program using it? {_LIST_HINT}",
            ) from err

    def _on_audio(
        self, data: bytes, _frames: int, _times: Mapping[str, float], status: int
    ) -> tuple[None, int]:
        """Take a buffer from PortAudio, in its thread; must not wait."""
        if status & pyaudio.paInputOverflow:
            self.overflows += 1
        try:
            self._queue.put_nowait((data, time.monotonic()))
        except queue.Full:
            self.overflows += 1
        return None, pyaudio.paContinue


def _inputs(audio: pyaudio.PyAudio) -> tuple[InputDevice, ...]:
    try:
        default = audio.get_default_input_device_info()["index"]
    except OSError:
        default = None
    found: list[Mapping[str, Any]] = [
        audio.get_device_info_by_index(index) for index in range(audio.get_device_count())
    ]
    return tuple(
        InputDevice(
            info["index"], info["name"], info["maxInputChannels"],
            int(info["defaultSampleRate"]), info["index"] == default,
        )
        for info in found if info["maxInputChannels"] > 0
    )  # fmt: skip


def _choose(inputs: tuple[InputDevice, ...], wanted: str | int) -> InputDevice:
    """Find the device that the configuration means.

    Raises:
        UnavailableError: there is none.
    """
    if not inputs:
        raise UnavailableError(
            "no microphone was found",
            "plug one in, or join the group audio, and look again with: fadeout devices;"
            " or replay files with: fadeout replay",
        )
    if wanted == "default":
        return next((device for device in inputs if device.is_default), inputs[0])
    for device in inputs:
        if wanted == device.index or (isinstance(wanted, str) and wanted.lower() in device.name.lower()):
            return device
    named = f"number {wanted}" if isinstance(wanted, int) else f'named "{wanted}"'
    raise UnavailableError(f"there is no microphone {named}", _LIST_HINT)


def _choose_format(
    audio: pyaudio.PyAudio, device: InputDevice, channel: int | Literal["mix"]
) -> tuple[int, int]:
    """Return the rate and the number of channels to open a device with; the cheapest that it takes.

    Raises:
        UnavailableError: it takes none, or has no such channel.
    """
    is_plug_in = device.channels > _MOST_REAL_CHANNELS
    most = min(device.channels, _WIDEST_LAYOUT) if is_plug_in else device.channels
    if channel == "mix":
        counts = [1, most]
    elif channel < device.channels:
        counts = [max(most, channel + 1)]
    else:
        raise UnavailableError(
            f'there is no channel {channel}: the microphone "{device.name}" has {device.channels},'
            " counted from 0",
            _LIST_HINT,
        )
    for channels in counts:
        for rate_hz in (RATE_HZ, device.rate_hz):
            if _takes(audio, device, rate_hz, channels):
                return rate_hz, channels
    raise UnavailableError(
        f'the microphone "{device.name}" gives neither {RATE_HZ} nor {device.rate_hz} samples per second',
        f"is another program using it? {_LIST_HINT}",
    )


def _takes(audio: pyaudio.PyAudio, device: InputDevice, rate_hz: int, channels: int) -> bool:
    try:
        with _stderr_discarded():
            return bool(
                audio.is_format_supported(
                    rate_hz, input_device=device.index, input_channels=channels, input_format=pyaudio.paInt16
                )
            )
    except ValueError:
        return False


@contextlib.contextmanager
def quiet_portaudio() -> Iterator[pyaudio.PyAudio]:
    """Start PortAudio and stop it, without its noise on standard error.

    Its list of devices is made when it starts.
    """
    # JACK's library would start a JACK server if it could.
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    with _stderr_discarded():
        audio = pyaudio.PyAudio()
    try:
        yield audio
    finally:
        audio.terminate()


@contextlib.contextmanager
def _stderr_discarded() -> Iterator[None]:
    """Discard what C libraries write to standard error.

    ALSA and JACK print some fifty lines about devices that do not exist
    whenever PortAudio looks for those that do.
    """
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _reason(err: OSError) -> str:
    return str(err.strerror or err).lower()
