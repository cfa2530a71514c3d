"""Which microphones are there and cannot be had: PortAudio leaves them out, as if they were not.

Another program has them, or this user may not open them. A card's state stands in /proc/asound. A
device that only ALSA's configuration knows (`default`, or one of ~/.asoundrc) is asked by opening it.
Records nothing.

Source: Linux, sound/core/init.c and pcm.c (what stands in /proc/asound); ALSA, pcm.h; PortAudio,
pa_linux_alsa.c, "BuildDeviceList" (what it leaves out, and how it calls the rest).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fadeout_device.ear.adapters.portaudio import inputs_of
from fadeout_device.ear.adapters.quiet import stderr_discarded
from fadeout_device.ear.inputs import FADEOUT, HeldInput, choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyaudio

    from fadeout_device.ear.inputs import InputDevice

_PROC = Path("/proc")
_DEVICES = Path("/dev/snd")
_EAR = "fadeout_device.ear"
_LIBRARY = "libasound.so.2"
_CAPTURE, _NONBLOCK = 1, 1
_CARD = re.compile(r"^ *(\d+) \[.*?\]: .*? - (.*)$", re.MULTILINE)
_PCM = re.compile(r"^(\d+)-(\d+): .*? : (.*?) : .*capture \d+", re.MULTILINE)
_OWNER = re.compile(r"^owner_pid *: (\d+)", re.MULTILINE)


def find_input(audio: pyaudio.PyAudio, wanted: str | int, known_as: str = "") -> InputDevice:
    """Find the input that `[microphone] device` means.

    Args:
        audio: PortAudio.
        wanted: the setting.
        known_as: as in `choose`.

    Raises:
        MicrophoneError: there is none, more than one, or another program has it.
    """
    inputs = inputs_of(audio)
    return choose(inputs, wanted, held_inputs(inputs, wanted), known_as)


def held_inputs(inputs: Sequence[InputDevice], wanted: str | int = "") -> list[HeldInput]:
    """Return the inputs that other programs have; `wanted` is asked for if no input is called so."""
    listed = {device.name for device in inputs}
    held = [one for one in held_cards() if one.name not in listed]
    is_listed = wanted in listed or (wanted == "default" and any(device.is_default for device in inputs))
    if isinstance(wanted, str) and wanted and not is_listed and is_held(wanted):
        held.append(HeldInput(wanted))
    return held


def is_held(name: str) -> bool:
    """Say whether a device of ALSA's configuration is there, and another program has it."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    opened = ctypes.c_void_p()
    with stderr_discarded():
        code = library.snd_pcm_open(ctypes.byref(opened), name.encode(), _CAPTURE, _NONBLOCK)
        if code == 0:
            library.snd_pcm_close(opened)
    return bool(code == -errno.EBUSY)


def held_cards(proc: Path = _PROC, devices: Path = _DEVICES) -> Iterator[HeldInput]:
    """Yield the inputs of sound cards that cannot be had, called as PortAudio calls them."""
    cards = dict(_CARD.findall(_read(proc / "asound" / "cards")))
    for first, second, name in _PCM.findall(_read(proc / "asound" / "pcm")):
        card, device = str(int(first)), str(int(second))
        streams = (proc / "asound" / f"card{card}" / f"pcm{device}c").glob("sub*/status")
        states = [_read(path) for path in streams]
        called = f"{cards.get(card, '')}: {name} (hw:{card},{device})"
        node = devices / f"pcmC{card}D{device}c"
        if node.exists() and not os.access(node, os.R_OK | os.W_OK):
            yield HeldInput(called, is_forbidden=True)
        elif states and not any(state.startswith("closed") for state in states):
            owner = _OWNER.search(states[0])
            yield HeldInput(called, _holder(proc, owner[1]) if owner else "")


def _holder(proc: Path, process_id: str) -> str:
    if _EAR in _read(proc / process_id / "cmdline"):
        return FADEOUT
    program = _read(proc / process_id / "comm").strip()
    return f"{program}, process {process_id}" if program else f"process {process_id}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
