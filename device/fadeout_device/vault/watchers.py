"""Who watches: happenings go to every `fadeout watch`, and are never waited for."""

from __future__ import annotations

import contextlib
import select
import threading
from collections import deque
from typing import TYPE_CHECKING

from fadeout_device.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fadeout_device.answers import Happening
    from fadeout_device.wire import Connection

_MAX_WAITING = 1000
"""A watcher that is so far behind loses the newest happenings: it must not cost the vault memory."""


class Watcher:
    """The happenings that one watcher has still to be told. Thread-safe."""

    def __init__(self, connection: Connection | None = None) -> None:
        self._connection = connection
        self._waiting: deque[Happening] = deque()
        self._has_more = threading.Condition()

    def add(self, happening: Happening) -> None:
        """Add a happening, unless too many wait already."""
        with self._has_more:
            if len(self._waiting) < _MAX_WAITING:
                self._waiting.append(happening)
                self._has_more.notify()

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to tell, or for so long."""
        with self._has_more:
            self._has_more.wait_for(lambda: self._waiting, timeout_s)

    def take(self) -> list[Happening]:
        """Take what there is to tell."""
        with self._has_more:
            taken = list(self._waiting)
            self._waiting.clear()
            return taken

    def finish(self) -> None:
        """Send what waits, unless the other side does not read."""
        if self._connection is None:
            return
        for happening in self.take():
            _, writable, _ = select.select([], [self._connection.sock], [], 0)
            if not writable:
                return
            with contextlib.suppress(WireError):
                self._connection.send(happening)


class Watchers:
    """All who watch. Thread-safe."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def tell(self, happening: Happening) -> None:
        """Tell everybody."""
        for watcher in list(self._watchers):
            watcher.add(happening)

    def finish(self) -> None:
        """Tell every watcher, whose connection the caller holds at rest, what it has not been told yet."""
        for watcher in list(self._watchers):
            watcher.finish()

    @contextlib.contextmanager
    def watch(self, connection: Connection | None = None) -> Iterator[Watcher]:
        """Watch for as long as the block runs; a connection, so that `finish` can tell the rest."""
        watcher = Watcher(connection)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
