"""A queue that threads and signals put into and a selector can wait on."""

from __future__ import annotations

import contextlib
import queue
import socket
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class Inbox(Generic[T]):
    """First in, first out; any thread puts, one takes. Readable while something is inside."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return what to select for reading."""
        return self._reader.fileno()

    def wake_fd(self) -> int:
        """Return what `signal.set_wakeup_fd` may write to, so that a signal ends the waiting."""
        return self._writer.fileno()

    def put(self, item: T) -> None:
        """Add an item and wake whoever waits."""
        self._items.put(item)
        # A full socket already wakes the reader.
        with contextlib.suppress(BlockingIOError):
            self._writer.send(b"\0")

    def take(self) -> Iterator[T]:
        """Take everything out."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
        while True:
            try:
                yield self._items.get_nowait()
            except queue.Empty:
                return

    def close(self) -> None:
        """Close what is selected for; nobody may put any more."""
        self._reader.close()
        self._writer.close()
