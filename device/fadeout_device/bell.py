"""What a thread waits for, and what other threads and signal handlers ring.

`threading.Event` is not for signal handlers: one that interrupts the waiting thread between two of
its own steps meets the event's lock, which that thread holds, and neither goes on. `SimpleQueue.put`
may be called there: Python's documentation of `queue.SimpleQueue` says that it is reentrant.
"""

from __future__ import annotations

import queue


class Bell:
    """One thread waits, anybody rings; several rings before it waits are one."""

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Wake who waits; or keep the next `wait` from waiting."""
        self._rings.put(None)

    def wait(self, timeout_s: float) -> None:
        """Wait until it rings, but not longer than so many seconds."""
        try:
            self._rings.get(timeout=timeout_s)
            for _ in range(self._rings.qsize()):
                self._rings.get_nowait()
        except queue.Empty:
            return
