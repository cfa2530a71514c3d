"""PortAudio: started and stopped without its noise, the inputs it knows, and calls that may never return.

Opens streams, and knows nothing of what is recorded.

Source: PortAudio, portaudio.h; PyAudio.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pyaudio

from fadeout_device.ear.adapters.quiet import give_back_stderr, stderr_discarded
from fadeout_device.ear.capture import BLOCK_SAMPLES, RATE_HZ
from fadeout_device.ear.inputs import (
    LIST_HINT,
    RATES_HZ,
    HeldInput,
    InputDevice,
    MicrophoneError,
    formats,
    in_use,
)
from fadeout_device.errors import FadeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

GRACE_S = 4.0
"""How long a call may still take once nobody waits for what it does."""
_LOOK_EVERY_S = 0.05


class StuckError(FadeoutError):
    """The sound system does not return from a call: only the end of the process lets go of it."""

    # Not a refusal: whoever runs the ear starts it again.
    exit_code = os.EX_OSERR


def rates_of(audio: pyaudio.PyAudio, device: InputDevice) -> tuple[int, ...]:
    """Return which of the usual rates a device takes; none, where another program holds it."""
    return tuple(
        rate_hz
        for rate_hz in sorted({RATE_HZ, *RATES_HZ})
        if any(_takes(audio, device, *tried) for tried in formats(device, "mix", rate_hz, rate_hz))
    )


def _takes(audio: pyaudio.PyAudio, device: InputDevice, rate_hz: int, channels: int) -> bool:
    with stderr_discarded(), contextlib.suppress(ValueError):
        return bool(
            audio.is_format_supported(
                rate_hz, input_device=device.index, input_channels=channels, input_format=pyaudio.paInt16
            )
        )
    return False


def inputs_of(audio: pyaudio.PyAudio) -> tuple[InputDevice, ...]:
    """Return the input devices that were there when `audio` was started."""
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


class Opened(NamedTuple):
    """A stream, and what it was opened with."""

    stream: pyaudio.Stream
    rate_hz: int
    channels: int


def open_input(
    audio: pyaudio.PyAudio,
    device: InputDevice,
    tried: Iterable[tuple[int, int]],
    take: Callable[..., tuple[None, int]] | None,
) -> Opened:
    """Open an input with the first rate and number of channels that it takes; it does not run yet.

    Args:
        audio: PortAudio.
        device: the input.
        tried: pairs of rate and channels.
        take: PyAudio's stream callback, for blocks of 90 ms; called in a thread of PortAudio's. None: the
            stream is read.

    Raises:
        MicrophoneError: it cannot be opened.
    """
    refused: OSError | None = None
    rates: set[int] = set()
    # Tried by opening: PyAudio holds all other threads while it asks whether a format is supported.
    for rate_hz, channels in tried:
        rates.add(rate_hz)
        try:
            with stderr_discarded():
                stream = audio.open(
                    rate_hz, channels, pyaudio.paInt16,
                    input=True, input_device_index=device.index, start=False,
                    frames_per_buffer=BLOCK_SAMPLES * rate_hz // RATE_HZ, stream_callback=take,
                )  # fmt: skip
        except OSError as err:
            refused = err
            if err.errno == pyaudio.paDeviceUnavailable:
                break
            continue
        return Opened(stream, rate_hz, channels)
    assert refused is not None  # noqa: S101 - there is at least one format
    if refused.errno == pyaudio.paInvalidSampleRate and len(rates) == 1:
        raise MicrophoneError(
            f'the microphone "{device.name}" has no rate of {rates.pop()} Hz',
            "leave out rate_hz, or choose one that is listed by: fadeout devices",
            "cannot open",
        ) from refused
    raise _cannot_open(device, refused) from refused


def start(opened: Opened, device: InputDevice) -> None:
    """Start a stream. Raises MicrophoneError."""
    try:
        opened.stream.start_stream()
    except OSError as err:
        raise _cannot_open(device, err) from err


def _cannot_open(device: InputDevice, err: OSError) -> MicrophoneError:
    if err.errno == pyaudio.paDeviceUnavailable:
        return in_use(HeldInput(device.name))
    reason = str(err.strerror or err).lower()
    return MicrophoneError(
        f'the microphone "{device.name}" cannot be opened: {reason}', LIST_HINT, "cannot open"
    )


@contextlib.contextmanager
def quiet_portaudio() -> Iterator[pyaudio.PyAudio]:
    """Start PortAudio and stop it, without its noise on standard error.

    Its list of devices is made when it starts.
    """
    # JACK's library would start a JACK server if it could.
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    with stderr_discarded():
        audio = pyaudio.PyAudio()
    try:
        yield audio
    finally:
        audio.terminate()


def patiently(call: Callable[[], T], limit_s: float, is_wanted: Callable[[], bool]) -> T:
    """Run a call that may never return, in a thread of its own, and return what it returns.

    PyAudio lets the other threads run meanwhile, so that a mute or a stop is still noticed.

    Args:
        call: what to do; what it raises is raised here.
        limit_s: how long it may take.
        is_wanted: asked again and again; once it says no, the call has `GRACE_S` to end.

    Raises:
        StuckError: it has not returned. Its thread is still there: end the process with `os._exit`.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as err:  # noqa: BLE001 - raised again below
            errors.append(err)

    thread = threading.Thread(target=run, name="portaudio", daemon=True)
    thread.start()
    end_mono_s = time.monotonic() + limit_s
    while thread.is_alive():
        if time.monotonic() > end_mono_s:
            give_back_stderr()
            raise StuckError("the sound system does not answer", "is the sound server, or the driver, stuck?")
        thread.join(_LOOK_EVERY_S)
        if not is_wanted():
            end_mono_s = min(end_mono_s, time.monotonic() + GRACE_S)
            is_wanted = _never
    if errors:
        raise errors[0]
    return results[0]


def _never() -> bool:
    return True
