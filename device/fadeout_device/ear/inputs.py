"""Which of the inputs a configuration means, and in which formats to try it. Pure: knows no sound system.

A name is looked for, because names stay when indexes move. A name that means
two inputs is refused: to listen to the wrong room would be worse than not to listen.
For the same reason a name may mean what another program has, and does not fall to the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fadeout_device.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Channel = int | Literal["mix"]

FADEOUT = "fadeout"
"""As which the ear holds a microphone."""
LIST_HINT = "list the microphones with: fadeout devices"

Why = Literal["no device", "no such device", "ambiguous", "no such channel", "busy", "cannot open", "lost"]

RATES_HZ = (48_000, 44_100, 32_000, 96_000, 192_000, 8_000)
# ALSA's plug-ins (default, pulse, plughw) claim 32 channels and more, and make up what the device has not.
_MOST_REAL_CHANNELS = 16
# The widest layout that has names: a sound server copies channels by name, and mixes into fewer.
_WIDEST_LAYOUT = 8
_MOST_CANDIDATES = 6
# Where a card is plugged in, at the end of ALSA's names: it moves as indexes do.
_PLACE = re.compile(r":? *-? *\(hw:\d+,\d+\)$")


class MicrophoneError(UnavailableError):
    """There is no microphone to listen to; `why` says which kind of reason it is."""

    def __init__(self, message: str, hint: str | None, why: Why) -> None:
        super().__init__(message, hint)
        self.why = why


@dataclass(frozen=True)
class InputDevice:
    """A device that PortAudio can record from."""

    index: int
    """Moves when something else is plugged in."""
    name: str
    channels: int
    """At most so many; plug-ins claim more than the device has."""
    rate_hz: int
    """The device's own rate."""
    is_default: bool

    @property
    def lasting_name(self) -> str:
        """The name without the place where it is plugged in, for the configuration."""
        return _lasting(self.name)


@dataclass(frozen=True)
class HeldInput:
    """A microphone that is there, and cannot be opened, so that PortAudio does not list it."""

    name: str
    """As PortAudio would call it."""
    holder: str = ""
    """Which program has it, in words; empty: not known."""
    is_forbidden: bool = False
    """Nobody has it, but this user may not open it."""

    @property
    def lasting_name(self) -> str:
        """The name without the place where it is plugged in."""
        return _lasting(self.name)

    @property
    def words(self) -> str:
        """Say that it is in use, and by whom, or why else it cannot be had."""
        if self.is_forbidden:
            return "not open to this user"
        if self.holder == FADEOUT:
            return "in use by fadeout, which listens to it"
        return f"in use by another program{f' ({self.holder})' if self.holder else ''}"


def choose(
    inputs: Sequence[InputDevice],
    wanted: str | int,
    held: Sequence[HeldInput] = (),
    known_as: str = "",
) -> InputDevice:
    """Find the input that `[microphone] device` means.

    A name that fits whole goes before names of which it is a part.

    Args:
        inputs: the inputs that can be opened.
        wanted: the setting.
        held: what is there and cannot be had; a name may mean one of these, too.
        known_as: of a setting that is a number, the name of what it meant before; empty: not known.

    Raises:
        MicrophoneError: there is none, more than one, or another program has it.
    """
    if not (inputs or held):
        raise MicrophoneError(
            "no microphone was found",
            "plug one in, or join the group audio, and look again with: fadeout devices;"
            " or replay files with: fadeout replay",
            "no device",
        )
    if isinstance(wanted, int):
        return _by_index(inputs, wanted, held, known_as)
    found: Sequence[InputDevice | HeldInput]
    if wanted == "default":
        found = [one for one in inputs if one.is_default] or [one for one in held if one.name == wanted]
        found = (found or [*inputs, *held])[:1]
    else:
        found = _by_name([*inputs, *held], wanted)
    if not found:
        raise MicrophoneError(f'there is no microphone named "{wanted}"', LIST_HINT, "no such device")
    if len(found) > 1:
        listed = ", ".join(_listed(one) for one in found[:_MOST_CANDIDATES])
        more = ", and more" if len(found) > _MOST_CANDIDATES else ""
        raise MicrophoneError(
            f'"{wanted}" is a part of the names of {len(found)} microphones: {listed}{more}',
            "write more of the name; two that are named alike can only be told apart by their index",
            "ambiguous",
        )
    return _free(found[0])


def in_use(held: HeldInput) -> MicrophoneError:
    """Return the error for a microphone that is there, and cannot be had."""
    if held.is_forbidden:
        hint = "join the group audio: sudo usermod -aG audio $USER, and log in again"
        return MicrophoneError(f'the microphone "{held.name}" is {held.words}', hint, "cannot open")
    return MicrophoneError(
        f'the microphone "{held.name}" is {held.words}',
        "end that program, or choose a device that can be shared, like default or pulse",
        "busy",
    )


def _free(found: InputDevice | HeldInput) -> InputDevice:
    if isinstance(found, HeldInput):
        raise in_use(found)
    return found


def _by_index(
    inputs: Sequence[InputDevice], index: int, held: Sequence[HeldInput], known_as: str
) -> InputDevice:
    """Return what a number means; one that means another input than before, what it meant then."""
    now = next((device for device in inputs if device.index == index), None)
    if known_as and (now is None or now.lasting_name != _lasting(known_as)):
        try:
            return choose(inputs, known_as, held)
        except MicrophoneError as err:
            if err.why == "busy":
                raise
            hint = LIST_HINT
            if now is not None:
                hint = f'number {index} is another one now; if you mean that: device = "{now.lasting_name}"'
            message = f'the microphone "{_lasting(known_as)}", which was number {index}, is not there'
            raise MicrophoneError(message, hint, "no such device") from err
    if now is None:
        taken = "".join(f'; "{one.name}" is {one.words}' for one in held[:_MOST_CANDIDATES])
        raise MicrophoneError(
            f"there is no microphone number {index}{taken}", LIST_HINT, "busy" if held else "no such device"
        )
    return now


def _listed(one: InputDevice | HeldInput) -> str:
    return f'{one.index} "{one.name}"' if isinstance(one, InputDevice) else f'"{one.name}" ({one.words})'


def formats(
    device: InputDevice, channel: Channel, best_hz: int, rate_hz: int | Literal["auto"] = "auto"
) -> Iterator[tuple[int, int]]:
    """Yield what to open a device with, pairs of rate and channels, the cheapest to convert first.

    Args:
        device: the device.
        channel: which of its channels is heard.
        best_hz: the rate that needs no conversion.
        rate_hz: the only rate to try; `auto`: the best one, the device's own, and then others.

    Raises:
        MicrophoneError: it has no such channel.
    """
    is_plug_in = device.channels > _MOST_REAL_CHANNELS
    most = min(device.channels, _WIDEST_LAYOUT) if is_plug_in else device.channels
    if channel == "mix":
        counts = [1, most]
    elif channel < device.channels:
        counts = [max(most, channel + 1)]
    else:
        raise MicrophoneError(
            f'there is no channel {channel}: the microphone "{device.name}" has {device.channels},'
            " counted from 0",
            LIST_HINT,
            "no such channel",
        )
    rates = dict.fromkeys((best_hz, device.rate_hz, *RATES_HZ) if rate_hz == "auto" else (rate_hz,))
    for channels in dict.fromkeys(counts):
        for rate in rates:
            yield rate, channels


def _by_name(inputs: Sequence[InputDevice | HeldInput], wanted: str) -> list[InputDevice | HeldInput]:
    """Return what a name means: the one that fits whole; else wherever it is plugged in; else as a part."""
    sought, place_less = wanted.casefold(), _lasting(wanted).casefold()
    return (
        [device for device in inputs if device.name.casefold() == sought]
        or [device for device in inputs if device.lasting_name.casefold() == place_less]
        or [device for device in inputs if sought in device.name.casefold()]
    )


def _lasting(name: str) -> str:
    return _PLACE.sub("", name) or name
