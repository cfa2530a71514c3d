"""The ear's end of the process that decodes: starts it, asks it, and ends it when it takes too long.

pocketsphinx is no part of the ear's own process. It holds Python's lock while it
decodes, and samples would be lost meanwhile; a library that parses sound is better
ended than waited for; and the 45 MB of its model are given back when nobody has
spoken for a while. The process is started by the first utterance, and has no more of
the network than the ear.

Source: wire.py for the frames.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_device import wire
from fadeout_device.confine import PARENT_PID_VARIABLE
from fadeout_device.ear.recognition import Heard, Likeness, judged
from fadeout_device.errors import UnavailableError, WireError

if TYPE_CHECKING:
    from fadeout_device.actions import Actions
    from fadeout_device.config import RecogniserSettings

_START_S = 30.0
"""How long loading the model may take: 0.1 s here, longer from a cold SD card."""
_MODULE = "fadeout_device.ear.decoder"


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first frame to the process; its payload is the grammar in JSGF."""

    pronunciations: dict[str, str]


class Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to `Begin`."""

    error: str = ""
    """Why it cannot decode; empty: it can."""


class Decode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frame whose payload is an utterance."""


class Decoded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to `Decode`: a `Likeness`."""

    words: str
    ratio: float
    beside: float

    def __repr__(self) -> str:
        """Say nothing: words are speech."""
        return "Decoded()"


class DecoderLine:
    """The recogniser `pocketsphinx`. Not for two threads."""

    def __init__(self, actions: Actions, settings: RecogniserSettings) -> None:
        self._actions = actions
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: wire.Connection | None = None

    @property
    def pid(self) -> int | None:
        """The process that decodes, if there is one."""
        return None if self._process is None else self._process.pid

    def recognise(self, pcm: bytes) -> Heard:
        """Listen to an utterance after its wake word.

        Raises:
            UnavailableError: the process does not start, died, or took too long.
        """
        try:
            connection = self._connection or self._start()
            connection.sock.settimeout(self._settings.timeout_s)
            connection.send(Decode(), pcm)
            found: Decoded = _answer(connection, Decoded)
        except (OSError, WireError) as err:
            # Whatever it is in the middle of: the next utterance gets a new one.
            self.close()
            raise UnavailableError(f"the recogniser gives no answer: {err}") from err
        except UnavailableError:
            self.close()
            raise
        return judged(Likeness(found.words, found.ratio, found.beside), self._actions, self._settings)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> wire.Connection:
        ours, theirs = socket.socketpair()
        ours.settimeout(_START_S)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", _MODULE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, PARENT_PID_VARIABLE: str(os.getpid())},
            )
        self._connection = connection = wire.Connection(ours)
        connection.send(Begin(self._actions.pronunciations), self._actions.grammar.encode())
        begun: Begun = _answer(connection, Begun)
        if begun.error:
            raise UnavailableError(f"the recogniser cannot start: {begun.error}")
        return connection


def _answer(connection: wire.Connection, kind: Any) -> Any:  # noqa: ANN401 - one of the structs above
    frame = connection.receive()
    if frame is None:
        raise WireError("its process ended")
    return frame.message(kind)
