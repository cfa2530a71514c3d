"""Who watches: happenings go to every `fadeout watch`, and are never waited for."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fadeout_device.messages import Happening

_MAX_WAITING = 1000
"""A watcher that is so far behind loses the newest happenings: it must not cost the vault memory."""


class Watchers:
    """The queues of those who watch. Thread-safe."""

    def __init__(self) -> None:
        self._queues: set[queue.Queue[Happening]] = set()

    def tell(self, happening: Happening) -> None:
        """Put a happening into every watcher's queue."""
        for waiting in list(self._queues):
            with contextlib.suppress(queue.Full):
                waiting.put_nowait(happening)

    @contextlib.contextmanager
    def watch(self) -> Iterator[queue.Queue[Happening]]:
        """Watch for as long as the block runs."""
        waiting: queue.Queue[Happening] = queue.Queue(_MAX_WAITING)
        self._queues.add(waiting)
        try:
            yield waiting
        finally:
            self._queues.discard(waiting)
