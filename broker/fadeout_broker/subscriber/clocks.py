"""Reads this machine's clocks."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from fadeout_broker.subscriber.passing import Reading

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return secrets.token_hex(8)  # no Linux: what passed is known within this process only


_BOOT = _boot()
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read_clocks() -> Reading:
    """Read them."""
    return Reading(time.time(), time.clock_gettime(_BOOT_CLOCK), _BOOT)
