"""What this machine says about the time: the wall clock, the running time, the battery clock.

Reads and believes nothing: `belief.py` does the believing.

Source: adjtimex(2); Linux, include/uapi/linux/timex.h; Documentation/ABI/testing/sysfs-class-rtc.
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from fadeout_device.vault.belief import Reading

_ADJTIMEX = getattr(ctypes.CDLL(None), "adjtimex", None)
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_TIMEX_BYTES = 256
"""struct timex is 208 bytes at most."""
_STATUS_OFFSET = 5 * ctypes.sizeof(ctypes.c_long)
"""modes (padded), offset, freq, maxerror, esterror come before it."""
_RTC_EVERY_S = 60.0
_RTC = Path("/sys/class/rtc/rtc0/since_epoch")


class Sources:
    """Every source of this machine, cheap enough to be asked for every item."""

    def __init__(self) -> None:
        self._boot = boot_id()
        self._rtc_s: float | None = None
        self._rtc_running_s: float | None = None

    def read(self) -> Reading:
        """Read them."""
        running_s = boottime_s()
        return Reading(time.time(), running_s, self._boot, is_synchronised(), self._rtc(running_s))

    def _rtc(self, running_s: float) -> float | None:
        """Ask the battery clock, which may be behind a slow bus, once a minute; it goes on meanwhile."""
        if self._rtc_running_s is None or running_s - self._rtc_running_s >= _RTC_EVERY_S:
            self._rtc_s, self._rtc_running_s = rtc_s(), running_s
        return None if self._rtc_s is None else self._rtc_s + running_s - self._rtc_running_s


def boottime_s() -> float:
    """Return the seconds since the machine started, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the kernel's name for this start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def is_synchronised() -> bool:
    """Say whether the kernel's clock is disciplined by somebody."""
    if _ADJTIMEX is None:
        return False
    # No bit of modes is set: it only reads.
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = _ADJTIMEX(timex)
    status = ctypes.c_int.from_buffer(timex, _STATUS_OFFSET).value
    return 0 <= state < _TIME_ERROR and not status & _STA_UNSYNC


def rtc_s(path: Path = _RTC) -> float | None:
    """Return the battery clock's time, in UTC as Linux keeps it; None: there is none to be read."""
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
