"""The arrow from the ear: one connection at a time, believed about nothing.

A frame that is no message of the ear ends the connection; the ear comes back with a
new one. Audio is bounded by the wire and checked to be whole samples.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fadeout_device.errors import WireError
from fadeout_device.messages import FromEar, Tick, Utterance

if TYPE_CHECKING:
    from fadeout_device.vault.service import Service
    from fadeout_device.wire import Connection, Frame

log = logging.getLogger(__name__)

BYTES_PER_SECOND = 32_000
GREETED = "greeted"
"""The stage of a connection whose ear was told that it may listen."""


def serve(connection: Connection, service: Service, *, is_replay: bool) -> None:
    """Serve the ear until it goes.

    Raises:
        WireError: it broke the protocol.
    """
    if connection.stage != GREETED:
        # Overdue items die before the microphone opens.
        service.is_ready.wait()
        greeting = service.ear_is_here()
    try:
        if connection.stage != GREETED:
            connection.send(greeting)
            connection.stage = GREETED
        while frame := connection.receive():
            _answer(connection, frame, service, is_replay=is_replay)
    finally:
        service.ear_is_away()


def _answer(connection: Connection, frame: Frame, service: Service, *, is_replay: bool) -> None:
    message = frame.message(FromEar)
    if isinstance(message, Utterance):
        if len(frame.payload) % 2 or len(frame.payload) > message.duration_s * BYTES_PER_SECOND + 2:
            raise WireError(f"an utterance's audio of {len(frame.payload)} bytes does not fit its duration")
        connection.send(service.seal(message, frame.payload))
    elif isinstance(message, Tick):
        # Live, the ear may replay files too, but what time it is is not its business.
        if is_replay:
            service.advance(message.time_s)
    else:
        service.hear(message)
