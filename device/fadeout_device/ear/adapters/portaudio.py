"""PortAudio: started and stopped without its noise, the inputs it knows, and calls that may never return.

Knows nothing of what is recorded.

Source: PortAudio, portaudio.h; PyAudio.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pyaudio

from fadeout_device.ear.inputs import InputDevice
from fadeout_device.errors import FadeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

GRACE_S = 4.0
"""How long a call may still take once nobody waits for what it does."""
_LOOK_EVERY_S = 0.05
_stderr: list[int] = []
"""Where standard error led to before it was discarded; empty while it is not."""


class StuckError(FadeoutError):
    """The sound system does not return from a call: only the end of the process lets go of it."""

    # Not a refusal: whoever runs the ear starts it again.
    exit_code = os.EX_OSERR


def list_inputs() -> tuple[InputDevice, ...]:
    """Return all input devices, in PortAudio's order; empty when there is none."""
    with quiet_portaudio() as audio:
        return inputs_of(audio)


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


@contextlib.contextmanager
def stderr_discarded() -> Iterator[None]:
    """Discard what C libraries, and other threads, write to standard error. One at a time.

    ALSA and JACK print some fifty lines about devices that do not exist
    whenever PortAudio looks for those that do.
    """
    _stderr.append(os.dup(2))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.close(nowhere)
        _give_back_stderr()


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
            _give_back_stderr()
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


def _give_back_stderr() -> None:
    if _stderr:
        kept = _stderr.pop()
        os.dup2(kept, 2)
        os.close(kept)
