"""Ends this process when the one that started it is gone.

A supervisor killed with -9 can stop nobody; the kernel does it instead. Without
this an orphaned reporter would go on telling the house that the device is online.

Source: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import signal

from fadeout_broker.errors import UnavailableError

PARENT_PID_VARIABLE = "FADEOUT_PARENT_PID"

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel send SIGTERM when the thread that started this process is gone.

    Raises:
        UnavailableError: the parent says who it is in `FADEOUT_PARENT_PID`, and was gone before we asked.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    parent = os.environ.get(PARENT_PID_VARIABLE)
    if parent is not None and os.getppid() != int(parent):
        # It died before we asked: the signal will not come.
        raise UnavailableError("the process that started this one is gone")
