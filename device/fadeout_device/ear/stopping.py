"""SIGTERM and SIGINT as a flag that loops look at; the same signal once more ends the process at once.

The same one: Ctrl-C sends SIGINT to everybody, and the supervisor then SIGTERM,
which must not cut short the sealing of what was just said.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Stop:
    """Whether this process was told to stop."""

    def __init__(self) -> None:
        self.is_set = False

    def on_signals(self) -> None:
        """Be set by the first SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.is_set = True
        signal.signal(number, signal.SIG_DFL)
