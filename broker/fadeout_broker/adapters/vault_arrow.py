"""The reporter's end of the arrow between vault and reporter: JSON lines on a Unix socket.

Turns lines into what the contract knows and nothing else. An event that does not
fit the contract is a bug of the vault and harms nobody: it becomes an
`UnfitEvent`, so that the vault can be told to drop it. Any other line that does
not fit ends the connection. Errors say where a line is wrong, never what it holds.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_broker import arrow
from fadeout_broker.errors import ArrowError

if TYPE_CHECKING:
    from pathlib import Path

# The vault is on this machine: it takes a line at once, or it hangs.
_SEND_TIMEOUT_S = 5.0


class UnfitEvent(NamedTuple):
    """An event that must not leave the device."""

    seq: int
    where: str
    """The field that is wrong, as a path such as `$.payload.ttl`."""


class _AnyPublish(msgspec.Struct, forbid_unknown_fields=True, tag_field="do", tag="publish"):
    """A `arrow.Publish` whose payload is not looked into."""

    seq: int
    payload: msgspec.Raw
    expiry_s: int | None = None


class VaultArrow:
    """One connection to the vault.

    Raises:
        ArrowError: nobody listens there.
    """

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(_SEND_TIMEOUT_S)
        self._unread = bytearray()
        try:
            _connect(self._sock, path)
        except OSError as err:
            self._sock.close()
            raise ArrowError(f"the vault does not answer on {path}: {err.strerror or err}") from err

    def fileno(self) -> int:
        """Return what to select for reading."""
        return self._sock.fileno()

    def read(self) -> list[arrow.ToReporter | UnfitEvent]:
        """Read what has arrived; call it when the socket is readable.

        Raises:
            ArrowError: the vault closed the connection, or sent what is no line of the contract.
        """
        try:
            arrived = self._sock.recv(arrow.MAX_LINE_BYTES)
        except OSError as err:
            raise ArrowError(f"the vault is gone: {err.strerror or err}") from err
        if not arrived:
            raise ArrowError("the vault closed the connection")
        self._unread += arrived
        *lines, rest = self._unread.split(b"\n")
        self._unread = rest
        if any(len(line) > arrow.MAX_LINE_BYTES for line in (*lines, rest)):
            raise ArrowError(f"the vault sent a line of more than {arrow.MAX_LINE_BYTES} bytes")
        return [parse(bytes(line)) for line in lines]

    def send(self, say: arrow.FromReporter) -> None:
        """Send one line to the vault.

        Raises:
            ArrowError: the vault is gone, or does not read.
        """
        try:
            self._sock.sendall(msgspec.json.encode(say) + b"\n")
        except OSError as err:
            raise ArrowError(f"the vault is gone: {err.strerror or err}") from err

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self._sock.close()


def parse(line: bytes) -> arrow.ToReporter | UnfitEvent:
    """Read one line from the vault.

    Raises:
        ArrowError: it is no line of the contract.
    """
    try:
        known: arrow.ToReporter = msgspec.json.decode(line, type=arrow.ToReporter)
    except msgspec.ValidationError as err:
        where = _where(err)
        if where.startswith("$.payload"):
            return UnfitEvent(_seq(line), where)
        raise ArrowError(f"the vault sent a line that does not fit the contract at {where}") from err
    except (msgspec.DecodeError, RecursionError) as err:
        raise ArrowError("the vault sent a line that is no JSON") from err
    return known


def _seq(line: bytes) -> int:
    try:
        return msgspec.json.decode(line, type=_AnyPublish).seq
    except msgspec.DecodeError as err:
        raise ArrowError("the vault sent an event without its sequence number") from err


def _where(err: msgspec.ValidationError) -> str:
    """Keep only the path: the rest of msgspec's sentence can quote the line."""
    return str(err).rpartition(" - at `")[2].rstrip("`") if " - at `" in str(err) else "$"


def _connect(sock: socket.socket, path: Path) -> None:
    """Connect by way of the folder: unix(7) has room for 108 bytes only, and paths can be longer."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
