"""What is said in answer to a voice command: counts, a date, a receipt's number, and no content."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fadeout_device.messages import Told


def sentence(told: Told) -> str:
    """Return the answer in English, with the date by the local clock."""
    match told.what:
        case "held":
            said = _held(told)
        case "muted":
            said = "The microphone is off. It can only be switched on at the device."
        case "muted_until_restart":
            said = "The microphone is off, but only until I start again. Something is wrong with my storage."
        case "not_erased":
            said = "That could not be erased. Look at my status."
        case "asked":
            said = (
                f"That erases everything: {_recordings(told.held)}."
                " If you mean it, call me again and say: yes, forget everything."
            )
        case "erased":
            said = _forgotten(told)
    return said


def _forgotten(told: Told) -> str:
    if not told.erased:
        return f"There was nothing to forget. {_held(told)}"
    receipt = "" if told.receipt is None else f" The receipt is number {told.receipt}."
    return f"I have forgotten {_recordings(told.erased)}. {_held(told)}{receipt}"


def _held(told: Told) -> str:
    if not told.held:
        return "I have nothing on you."
    if told.next_end_s is None:
        return f"I have {_recordings(told.held)}."
    # English whatever the locale: names of days are written out.
    ends = time.localtime(told.next_end_s)
    day = f"{_DAYS[ends.tm_wday]}, {_MONTHS[ends.tm_mon - 1]} {ends.tm_mday}"
    which = "It" if told.held == 1 else "The first"
    return f"I have {_recordings(told.held)}. {which} ends on {day}, at {ends.tm_hour}:{ends.tm_min:02}."


def _recordings(count: int) -> str:
    return "1 recording" if count == 1 else f"{count} recordings"


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
