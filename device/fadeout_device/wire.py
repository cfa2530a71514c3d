"""Frames between the rooms: one JSON header line, then an optional binary payload.

The framing is Wyoming's, with every length bounded: a header longer than
`MAX_HEADER_BYTES` or a payload longer than `MAX_PAYLOAD_BYTES` ends the
connection before it is read. Only the command, which believes the vault, takes longer
headers: `MAX_ANSWER_BYTES`. Knows nothing of what the frames mean
(`messages.py`, `questions.py`, `answers.py`) and nothing of who may send them, but for the
peer's user id.

Source: https://github.com/OHF-Voice/wyoming, "Format"; unix(7), SO_PEERCRED.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fadeout_device.errors import UnavailableError, WireError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_HEADER_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""The longest header of an answer from the vault to the `fadeout` command: 100,000 recordings are 32 MB."""
_PEEK_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024  # the longest utterance (60 s of 16 kHz s16le) is 1.9 MB


_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, or nested too deeply."""


class Frame(NamedTuple):
    """One message as it stands on the wire: its JSON header, still encoded, and its payload."""

    header: bytes
    payload: bytes

    def message(self, kind: Any) -> Any:  # noqa: ANN401 - a struct type or a union of them
        """Return the header as one of the structs of `kind`.

        Raises:
            WireError: it is none of them.
        """
        try:
            fields = msgspec.json.decode(self.header)
            fields.pop("payload_length", None)
            return msgspec.convert(fields, kind)
        except (*_UNDECODABLE, AttributeError) as err:
            raise WireError("the other side sent a message of no known kind") from err

    def __repr__(self) -> str:
        """Say only the sizes: a payload is speech."""
        return f"Frame({len(self.header)} B header, {len(self.payload)} B payload)"


class _PayloadLength(msgspec.Struct):
    """The one header field that framing itself reads."""

    payload_length: int = 0


class Connection:
    """One end of a Unix stream socket that carries frames. Not for two threads at once in one direction.

    Between two frames it holds nothing: what the other side has sent lies in the
    kernel, so the socket can be handed to another process there. `busy` is held from a
    frame's first byte until the next `receive`, that is, until the frame is answered;
    who takes it knows that the connection rests between two frames.
    """

    def __init__(self, sock: socket.socket, max_header_bytes: int = MAX_HEADER_BYTES) -> None:
        self.sock = sock
        self._max_header_bytes = max_header_bytes
        self.busy = threading.Lock()
        self._is_busy = False
        self.stage = ""
        """What both sides have agreed on so far, for a process that takes the connection over."""

    def send(self, header: Any, payload: bytes = b"") -> None:  # noqa: ANN401 - any msgspec struct
        """Send one frame.

        Raises:
            WireError: the other side is gone, or does not take the frame within the socket's timeout.
        """
        fields = msgspec.to_builtins(header)
        if payload:
            fields["payload_length"] = len(payload)
        try:
            self.sock.sendall(msgspec.json.encode(fields) + b"\n")
            if payload:
                self.sock.sendall(payload)
        except OSError as err:
            raise WireError(f"the other side is gone: {err.strerror or err}") from err

    def receive(self) -> Frame | None:
        """Wait for the next frame; None when the other side closed the connection between two frames.

        Raises:
            WireError: a bound was passed, the header is no JSON object, or the stream ended inside a frame.
        """
        line = self.receive_line(self._max_header_bytes)
        if line is None:
            return None
        return Frame(line, self._receive_exactly(_payload_length(line)))

    def receive_line(self, limit_bytes: int) -> bytes | None:
        """Wait for the next line, its end included; None as for `receive`.

        Raises:
            WireError: it is longer than the limit, or was cut short.
        """
        self.rest()
        line = bytearray()
        try:
            while not line.endswith(b"\n"):
                waiting = self.sock.recv(min(limit_bytes + 1 - len(line), _PEEK_BYTES), socket.MSG_PEEK)
                if not waiting and not line:
                    return None
                if not waiting or len(line) + (waiting.find(b"\n") + 1 or len(waiting)) > limit_bytes:
                    raise WireError(f"a line was cut short or is longer than {limit_bytes} bytes")
                if not self._is_busy:
                    self.busy.acquire()
                    self._is_busy = True
                line += self._receive_exactly(waiting.find(b"\n") + 1 or len(waiting))
        except OSError as err:
            raise WireError(f"the other side is gone: {err.strerror or err}") from err
        return bytes(line)

    def rest(self) -> None:
        """Say that whatever was received is answered."""
        if self._is_busy:
            self._is_busy = False
            self.busy.release()

    def _receive_exactly(self, length: int) -> bytes:
        data = bytearray(length)
        view = memoryview(data)
        try:
            while view:
                received = self.sock.recv_into(view)
                if not received:
                    raise WireError(f"a payload of {length} bytes ended after {length - len(view)}")
                view = view[received:]
        except OSError as err:
            raise WireError(f"the other side is gone: {err.strerror or err}") from err
        return bytes(data)

    def is_closed(self) -> bool:
        """Say whether the other side, which has nothing to say now, has closed its end."""
        readable, _, _ = select.select([self.sock], [], [], 0)
        return bool(readable) and not self.sock.recv(1, socket.MSG_PEEK)

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self.sock.close()


def _payload_length(header: bytes) -> int:
    try:
        length = msgspec.json.decode(header, type=_PayloadLength).payload_length
    except _UNDECODABLE as err:
        raise WireError("a header is no JSON object") from err
    if not 0 <= length <= MAX_PAYLOAD_BYTES:
        raise WireError(f"a payload of {length} bytes; at most {MAX_PAYLOAD_BYTES} are taken")
    return length


def listen(path: Path) -> socket.socket:
    """Listen on a Unix socket that only this user can reach, replacing a dead one.

    The caller holds the state folder's lock: nobody else can be listening there.

    Raises:
        UnavailableError: the socket cannot be made.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with _address(path) as address:
            server.bind(address)
        path.chmod(0o600)
        server.listen(16)
    except OSError as err:
        server.close()
        raise UnavailableError(f"cannot listen on {path}: {err.strerror or err}") from err
    return server


def connect(
    path: Path, timeout_s: float | None = None, max_header_bytes: int = MAX_HEADER_BYTES
) -> Connection:
    """Connect to a Unix socket; take headers from the other end up to so many bytes.

    Raises:
        UnavailableError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        with _address(path) as address:
            sock.connect(address)
    except OSError as err:
        sock.close()
        raise UnavailableError(f"nobody answers on {path}: {err.strerror or err}") from err
    return Connection(sock, max_header_bytes)


def peer_uid(sock: socket.socket) -> int:
    """Return the user id of the process at the other end, as the kernel saw it connect."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return int(uid)


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give an address for a socket's path, by way of its folder.

    unix(7) has room for 108 bytes only, and a state folder may lie deeper than that.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
