"""The vault's three sockets, and whoever has come in through them.

One thread accepts on each socket, one serves each visitor. `pause` brings all of them
to rest between two messages, so that sockets and visitors can be handed to the
process that follows this one (`handover.py`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device import wire
from fadeout_device.errors import WireError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

ARROWS = ("ear", "reporter", "control")
"""In the order in which they open: whoever gets an answer on the last one finds the others there."""


class Visitor(NamedTuple):
    """One connection."""

    arrow: str
    connection: wire.Connection


class Doors:
    """Listens, and knows who is in."""

    def __init__(self, serve: Mapping[str, Callable[[wire.Connection], None]]) -> None:
        """Take, for each of `ARROWS`, what serves a visitor until it goes."""
        self._serve = serve
        self._listeners: dict[str, socket.socket] = {}
        self._visitors: list[Visitor] = []
        self._registry = threading.Lock()
        """Held while somebody comes in or goes; `pause` keeps it, so that nobody does."""

    def open(self, folder: Path) -> None:
        """Listen on `<arrow>.sock` in a folder. Raises UnavailableError."""
        for arrow in ARROWS:
            self.take_listener(arrow, wire.listen(folder / f"{arrow}.sock"))

    def take_listener(self, arrow: str, listener: socket.socket) -> None:
        """Accept visitors on a socket that listens."""
        self._listeners[arrow] = listener
        threading.Thread(target=self._accept, args=(arrow,), name=f"{arrow} accept", daemon=True).start()

    def take_visitor(self, arrow: str, sock: socket.socket, stage: str = "") -> None:
        """Serve a visitor, from the stage at which it is."""
        connection = wire.Connection(sock)
        connection.stage = stage
        visitor = Visitor(arrow, connection)
        self._visitors.append(visitor)
        threading.Thread(target=self._attend, args=(visitor,), name=arrow, daemon=True).start()

    def pause(self, patience_s: float) -> tuple[dict[str, socket.socket], list[Visitor]] | None:
        """Bring everybody to rest; returns the sockets that listen and the visitors, for good.

        Args:
            patience_s: visitors that are busy for longer are sent away: one that stalls in
                the middle of a message must not keep erased keys in memory.

        Returns:
            None when somebody is busy and patience is not at its end: try again.
        """
        self._registry.acquire()
        resting: list[Visitor] = []
        deadline_mono_s = time.monotonic() + _PAUSE_S
        for visitor in list(self._visitors):
            left_s = max(0.0, deadline_mono_s - time.monotonic())
            if visitor.connection.busy.acquire(timeout=left_s):
                resting.append(visitor)
            elif patience_s <= 0:
                log.warning("a visitor that was busy for too long is sent away: arrow=%s", visitor.arrow)
                visitor.connection.close()
            else:
                for each in resting:
                    each.connection.busy.release()
                self._registry.release()
                return None
        return dict(self._listeners), resting

    def _accept(self, arrow: str) -> None:
        listener = self._listeners[arrow]
        while True:
            # Waited for without the registry, accepted with it: nobody is lost on the doorstep.
            select.select([listener], [], [])
            with self._registry:
                sock, _ = listener.accept()
                if wire.peer_uid(sock) in (os.getuid(), 0):
                    self.take_visitor(arrow, sock)
                else:
                    sock.close()

    def _attend(self, visitor: Visitor) -> None:
        arrow, connection = visitor
        with contextlib.closing(connection):
            try:
                self._serve[arrow](connection)
            except WireError as err:
                log.warning("%s: connection closed: %s", arrow, err)
            finally:
                connection.rest()
                with self._registry:
                    self._visitors.remove(visitor)


_PAUSE_S = 0.5
"""How long one attempt to bring everybody to rest may hold up those who rest already."""
