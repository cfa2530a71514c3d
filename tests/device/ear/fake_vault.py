"""A small vault on a real socket: takes what the ear sends, and misbehaves on request."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING, Literal

from fadeout_device import wire
from fadeout_device.errors import WireError
from fadeout_device.messages import (
    EarState,
    FromEar,
    Kept,
    Lit,
    Mute,
    NotSealed,
    Opening,
    Pressed,
    Ready,
    Sealed,
    Tick,
    Told,
    Unmute,
    Utterance,
    Wake,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fadeout_device.messages import MutedBy

Behaviour = Literal["seal", "refuse", "die", "die after sealing", "babble", "mute first", "tell"]

WAIT_S = 30.0
RECORDING = "r1"


class FakeVault:
    """Serves one ear at a time, in a thread, from `start` to `stop`.

    What is sealed is sealed once per delivery token, as the real one does it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.says_ready = True
        self.is_muted = False
        self.behaviours: list[Behaviour] = []
        """What to do with the next utterances; `seal` with all others."""
        self.messages: list[EarState | Lit | Pressed | Wake | Tick | Utterance] = []
        self.sealed: dict[str, tuple[Utterance, bytes]] = {}
        self.news = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: wire.Connection | None = None

    def start(self) -> None:
        """Listen."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, args=(wire.listen(self.path),))
        self._thread.start()

    def stop(self) -> None:
        """Be gone as if killed: the socket's file stays."""
        self._stopping.set()
        while self._thread is not None and self._thread.is_alive():
            with contextlib.suppress(OSError, AttributeError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # suppressed
            self._thread.join(0.05)
        self._thread = None

    def mute(self, *, is_muted: bool, by: MutedBy = "") -> None:
        """Mute the ear, or end that."""
        self.is_muted = is_muted
        assert self._connection is not None
        self._connection.send(Mute(by) if is_muted else Unmute())

    def open(self, opening: Opening) -> None:
        """Say that something is about to be opened."""
        assert self._connection is not None
        self._connection.send(opening)

    def of(self, kind: type) -> list[EarState | Lit | Pressed | Wake | Tick | Utterance]:
        """Return the messages of a kind so far."""
        return [message for message in self.messages if isinstance(message, kind)]

    def wait_for(
        self, kind: type, count: int = 1
    ) -> list[EarState | Lit | Pressed | Wake | Tick | Utterance]:
        """Wait until so many messages of a kind have come."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.of(kind)) >= count, WAIT_S), f"no {kind.__name__} came"
        return self.of(kind)

    def wait_until_alone(self) -> None:
        """Wait until the ear has gone, and all that it sent has come."""
        with self.news:
            assert self.news.wait_for(lambda: self._connection is None, WAIT_S), "the ear stayed"

    def _serve(self, server: socket.socket) -> None:
        with server:
            while not self._stopping.is_set():
                if select.select([server], [], [], 0.02)[0]:
                    self._connection = wire.Connection(server.accept()[0])
                    with contextlib.suppress(WireError):
                        self._talk(self._connection)
                    self._connection.close()
                    with self.news:
                        self._connection = None
                        self.news.notify_all()

    def _talk(self, connection: wire.Connection) -> None:
        if self.says_ready:
            connection.send(Ready(self.is_muted))
        while (frame := connection.receive()) and not self._stopping.is_set():
            message = frame.message(FromEar)
            with self.news:
                self.messages.append(message)
                self.news.notify_all()
            if isinstance(message, Utterance) and not self._seal(connection, message, frame.payload):
                return

    def _seal(self, connection: wire.Connection, utterance: Utterance, pcm: bytes) -> bool:
        behaviour = self.behaviours.pop(0) if self.behaviours else "seal"
        if behaviour == "die":
            return False
        if behaviour == "babble":
            connection.send(Ready())
        elif behaviour == "refuse":
            connection.send(NotSealed(utterance.delivery, "the disk is full"))
        else:
            self.sealed.setdefault(utterance.delivery, (utterance, pcm))
            if behaviour == "die after sealing":
                return False
            if behaviour == "mute first":
                self.mute(is_muted=True)
            is_kept = utterance.outcome == "failed"
            kept = (Kept("audio", 1_000_000),) if is_kept else ()
            told = Told("held", held=3) if behaviour == "tell" else None
            connection.send(Sealed(utterance.delivery, RECORDING if is_kept else "", kept, told))
        return True


@contextlib.contextmanager
def running_vault(path: Path) -> Iterator[FakeVault]:
    """Run a vault for the length of a `with` block."""
    vault = FakeVault(path)
    vault.start()
    try:
        yield vault
    finally:
        vault.stop()
