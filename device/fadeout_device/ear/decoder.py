"""`python -m fadeout_device.ear.decoder`: pocketsphinx, for the ear at the other end of standard input.

Started by the ear alone (`adapters/decoder_line.py`), with a Unix socket as standard
input. Confined as the ear is. Keeps nothing of an utterance once it is answered, and
writes nothing anywhere.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import fadeout_device.ear.lean  # noqa: F401 - before anything else
from fadeout_device.confine import confine

if TYPE_CHECKING:
    from fadeout_device.wire import Connection


def main() -> int:
    """Serve the ear until it goes."""
    # First of all: what is imported below must not have the network either.
    confine()
    from fadeout_device.errors import WireError  # noqa: PLC0415 - after confine
    from fadeout_device.wire import Connection  # noqa: PLC0415

    connection = Connection(socket.socket(fileno=sys.stdin.fileno()))
    try:
        serve(connection)
    except WireError:
        # The ear is gone, or has had enough of us.
        return os.EX_UNAVAILABLE
    return 0


def serve(connection: Connection) -> None:
    """Answer the ear until it closes the connection.

    Raises:
        WireError: it broke the protocol, or is gone.
    """
    from fadeout_device.ear.adapters.decoder_line import Begin, Begun, Decode, Decoded  # noqa: PLC0415
    from fadeout_device.ear.adapters.sphinx import Sphinx  # noqa: PLC0415

    frame = connection.receive()
    if frame is None:
        return
    begin: Begin = frame.message(Begin)
    try:
        sphinx = Sphinx(frame.payload.decode(), begin.pronunciations)
    except (RuntimeError, ValueError) as err:
        connection.send(Begun(f"pocketsphinx refuses the grammar or its model: {err}"))
        return
    connection.send(Begun())
    while frame := connection.receive():
        frame.message(Decode)
        likeness = sphinx.likeness(frame.payload)
        connection.send(Decoded(*likeness))


if __name__ == "__main__":
    sys.exit(main())
