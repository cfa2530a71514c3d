"""What a microphone that is configured by its number was called when it was opened last.

Numbers move when something else is plugged in, names do not. One small file in the state
folder, with a number and a name and nothing that was ever heard; written only where a number
is configured. Without it, or where it cannot be written, the number counts.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FILE = "microphone.json"


class _Remembered(msgspec.Struct):
    device: int
    name: str


def remembered(state: Path | None, device: str | int) -> str:
    """Return what the input of this number was called; empty: not known, or a name is configured."""
    if state is None:
        return ""
    try:
        known = msgspec.json.decode((state / FILE).read_bytes(), type=_Remembered)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return known.name if known.device == device else ""


def remember(state: Path | None, device: int, name: str) -> None:
    """Note what the input of this number is called."""
    if state is None or remembered(state, device) == name:
        return
    new = state / f"{FILE}.new"
    try:
        new.write_bytes(msgspec.json.encode(_Remembered(device, name)))
        new.replace(state / FILE)
    except OSError as err:
        log.warning("the microphone's name is not remembered: %s", os.strerror(err.errno or 0).lower())


def forget(state: Path) -> None:
    """Let go of what was noted: another owner's number is another microphone's."""
    try:
        (state / FILE).unlink(missing_ok=True)
    except OSError as err:
        log.warning("the microphone's name is not forgotten: %s", os.strerror(err.errno or 0).lower())
