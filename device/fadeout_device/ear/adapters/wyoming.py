"""A Wyoming speech-to-text server on a Unix socket, as the recogniser. There is no network here.

One connection for each utterance, as Wyoming's own clients do it: `transcribe`,
`audio-start`, the audio, `audio-stop`, and then the server's `transcript`. The server is
believed about nothing: every length is bounded, and it has `timeout_s` for all of it.
What it makes of the speech is a text, which leads to an action of the list or to none.

Source: https://github.com/OHF-Voice/wyoming, "Format" and "Event Types".
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_device import wire
from fadeout_device.ear.capture import RATE_HZ, SAMPLE_BYTES
from fadeout_device.ear.recognition import Heard
from fadeout_device.errors import UnavailableError, WireError
from fadeout_device.messages import MAX_WORDS_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fadeout_device.actions import Actions
    from fadeout_device.config import RecogniserSettings

MAX_EVENTS = 100
"""What a server may say before its transcript."""
_MAX_LINE_BYTES = 64 * 1024
_MAX_DATA_BYTES = 256 * 1024
_SENT_BYTES = 32_000
_AUDIO = {"rate": RATE_HZ, "width": SAMPLE_BYTES, "channels": 1}


class _Header(msgspec.Struct):
    type: str
    data: dict[str, Any] = {}
    data_length: int | None = None
    payload_length: int | None = None


class Wyoming:
    """The recogniser `wyoming`. Not for two threads.

    Args:
        actions: what a transcript may lead to.
        settings: with the server's socket.
        clock: monotonic seconds.
    """

    def __init__(
        self, actions: Actions, settings: RecogniserSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._actions = actions
        self._path = Path(settings.socket or "")
        self._timeout_s = settings.timeout_s
        self._clock = clock

    def recognise(self, pcm: bytes) -> Heard:
        """Have an utterance transcribed.

        Raises:
            UnavailableError: nobody answers on the socket, not in time, or not in Wyoming.
        """
        try:
            connection = wire.connect(self._path, self._timeout_s)
        except OSError as err:
            raise UnavailableError(f"there is no folder {self._path.parent}") from err
        try:
            stream = _Stream(connection.sock, self._clock() + self._timeout_s, self._clock)
            _send(stream, pcm)
            text = _transcript(stream)
        except TimeoutError as err:
            raise UnavailableError(
                f"the server on {self._path} gave no transcript within {self._timeout_s:g} s"
            ) from err
        except (OSError, WireError) as err:
            raise UnavailableError(f"the server on {self._path} gave no transcript: {err}") from err
        finally:
            connection.close()
        return Heard(self._actions.action(text) or "none", " ".join(text.split()))

    def close(self) -> None:
        """Do nothing: nothing is held between two utterances."""


class _Stream:
    """One connection, all of whose reading and writing together ends at a deadline."""

    def __init__(self, sock: socket.socket, ends_mono_s: float, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._ends_mono_s = ends_mono_s
        self._clock = clock
        self._received = bytearray()

    def send(self, data: bytes) -> None:
        self._hurry()
        self._sock.sendall(data)

    def line(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > _MAX_LINE_BYTES:
                raise WireError(f"a header is longer than {_MAX_LINE_BYTES} bytes")
            self._more()
        return self._take(end + 1)

    def exactly(self, length: int | None) -> bytes:
        if not 0 <= (length or 0) <= _MAX_DATA_BYTES:
            raise WireError(f"an event is longer than {_MAX_DATA_BYTES} bytes")
        while len(self._received) < (length or 0):
            self._more()
        return self._take(length or 0)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def _more(self) -> None:
        self._hurry()
        data = self._sock.recv(16_384)
        if not data:
            raise WireError("it closed the connection")
        self._received += data

    def _hurry(self) -> None:
        left_s = self._ends_mono_s - self._clock()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)


def _send(stream: _Stream, pcm: bytes) -> None:
    stream.send(_event("transcribe", {"language": "en"}))
    stream.send(_event("audio-start", _AUDIO))
    for at in range(0, len(pcm), _SENT_BYTES):
        stream.send(_event("audio-chunk", _AUDIO, pcm[at : at + _SENT_BYTES]))
    stream.send(_event("audio-stop", {}))


def _event(kind: str, data: dict[str, Any], payload: bytes = b"") -> bytes:
    header: dict[str, Any] = {"type": kind, "data": data}
    if payload:
        header["payload_length"] = len(payload)
    return msgspec.json.encode(header) + b"\n" + payload


def _transcript(stream: _Stream) -> str:
    """Return the text of the server's transcript, whatever it says before."""
    for _ in range(MAX_EVENTS):
        try:
            header = msgspec.json.decode(stream.line(), type=_Header)
            more = stream.exactly(header.data_length)
            data = {**header.data, **(msgspec.json.decode(more, type=dict[str, Any]) if more else {})}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Not `from err`: its text may quote the transcript.
            raise WireError("it does not speak Wyoming") from None
        stream.exactly(header.payload_length)
        if header.type == "transcript":
            text = data.get("text")
            if not isinstance(text, str) or len(text.encode()) > MAX_WORDS_BYTES:
                raise WireError(f"its transcript is no text of at most {MAX_WORDS_BYTES} bytes")
            return text
    raise WireError(f"{MAX_EVENTS} events came, and no transcript")
