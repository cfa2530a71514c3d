"""The arrow from the ear: one connection at a time, believed about nothing.

A frame that is no message of the ear ends the connection; the ear comes back with a
new one. Audio is bounded by the wire and checked to be whole samples.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from typing import TYPE_CHECKING

from fadeout_device import channels
from fadeout_device.errors import StorageError, WireError
from fadeout_device.messages import FromEar, Lit, Pressed, Tick, ToEar, Utterance
from fadeout_device.vault import ratchet

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.messages import NotSealed, Sealed
    from fadeout_device.vault.service import Service
    from fadeout_device.wire import Connection, Frame

    Hear = Callable[[Utterance, bytes, bytes], Sealed | NotSealed]

log = logging.getLogger(__name__)

BYTES_PER_SECOND = 32_000
_SEND_TIMEOUT = struct.pack("@ll", 5, 0)
"""5 seconds as a struct timeval: an ear is muted under the service's lock, and must not hold it up."""
GREETED = "greeted"
"""The stage of a connection whose ear was told that it may listen."""


def serve(connection: Connection, service: Service, hear: Hear, *, is_replay: bool) -> None:
    """Serve the ear until it goes.

    Args:
        connection: to it.
        service: of this vault.
        hear: what becomes of an utterance, its audio and the words of its request.
        is_replay: whether the ear says what time it is.

    Raises:
        WireError: it broke the protocol.
    """
    ear = _Ear(connection)
    is_new = connection.stage != GREETED
    if is_new:
        # Overdue items die before the microphone opens.
        service.is_ready.wait()
    service.ear_is_here(ear.send, is_new=is_new)
    connection.stage = GREETED
    try:
        while frame := connection.receive():
            _answer(ear, frame, service, hear, is_replay=is_replay)
    finally:
        service.ear_is_away()


class _Ear:
    """The ear's end, as two threads tell it something: the one that serves it, and whoever mutes it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)

    def send(self, message: ToEar) -> None:
        """Send a message; where that fails the connection ends, and the ear comes back. Raises WireError."""
        with self._sending:
            try:
                self._connection.send(message)
            except WireError:
                with contextlib.suppress(OSError):
                    self._connection.sock.shutdown(socket.SHUT_RDWR)
                raise


def _answer(ear: _Ear, frame: Frame, service: Service, hear: Hear, *, is_replay: bool) -> None:
    message = frame.message(FromEar)
    if isinstance(message, Utterance):
        audio, words = _parts(message, frame.payload)
        ear.send(hear(message, audio, words))
    elif isinstance(message, Tick):
        # Live, the ear may replay files too, but what time it is is not its business.
        if is_replay:
            service.advance(message.time_s)
    elif isinstance(message, Pressed):
        _press(message, service)
    elif isinstance(message, Lit):
        service.light_shows(message)
    else:
        service.hear(message)


def _press(pressed: Pressed, service: Service) -> None:
    if not service.has_button or not channels.is_allowed("mute" if pressed.mute else "unmute", "button"):
        raise WireError("a button was pressed that there is not")
    try:
        if pressed.mute:
            ratchet.mute(service, "button")
        else:
            ratchet.unmute(service, "button")
    except StorageError as err:
        # It holds; the next start of the vault is what cannot be provided for. Nobody waits for an answer.
        log.error("the button: %s", err)  # noqa: TRY400 - expected, and said


def _parts(message: Utterance, payload: bytes) -> tuple[bytes, bytes]:
    """Return the audio of an utterance and the words of its request, as a line.

    Raises:
        WireError: they do not fit what the message says of them.
    """
    words_at = len(payload) - message.request_bytes
    if words_at < 0 or words_at % 2 or words_at > message.duration_s * BYTES_PER_SECOND + 2:
        raise WireError(f"an utterance's payload of {len(payload)} bytes does not fit its duration and words")
    if words_at == len(payload):
        return payload, b""
    return payload[:words_at], payload[words_at:] + b"\n"
