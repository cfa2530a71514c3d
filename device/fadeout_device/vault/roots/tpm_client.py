"""A client of TPM 2.0 for non-volatile indices: define, read, write, look at one.

Talks to `/dev/tpmrm0`, the kernel's resource manager, or to the Unix socket of an
emulator (swtpm), one command at a time. Authorises with empty passwords only:
no sessions with encryption, no policies. Knows nothing of what the bytes mean.

Source: TPM 2.0 Library, part 1 "Architecture" (18, command and response structure;
19, password authorisations), part 2 "Structures" (6.6, TPM_RC; 13, NV storage),
part 3 "Commands" (31, non-volatile storage).
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Part 2: 6.9 TPM_ST, 6.5.2 TPM_CC, 7.4 TPM_RH, 6.3 TPM_ALG_ID.
_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_NV_DEFINE_SPACE, _NV_WRITE, _NV_READ, _NV_READ_PUBLIC = 0x12A, 0x137, 0x14E, 0x169
_OWNER, _PASSWORD = 0x40000001, 0x40000009
_SHA256 = 0x000B

_HEADER = struct.Struct(">HII")
_RESPONSE_MAX_BYTES = 4096
_TIMEOUT_S = 30.0

# Part 2, 6.6.3: warnings. "Try again" in four forms.
_YIELDED, _TESTING, _NV_RATE, _RETRY = 0x908, 0x90A, 0x920, 0x922
_PASSING = frozenset({_YIELDED, _TESTING, _NV_RATE, _RETRY})
_PAUSES_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0, 1.0, 1.0)
"""Waits between tries; NV_RATE protects the chip's cells and may last some seconds."""

# Part 2, 6.6.2 and 6.6.3, and in words what they mean here. Format-one codes carry
# the number of the handle, session or parameter in other bits: see `_base`.
NOT_WRITTEN, NO_SUCH_HANDLE = 0x14A, 0x08B
_WORDS = {
    0x100: "the TPM was not started up",
    0x120: "the TPM needs a restart",
    0x146: "outside the index",
    0x148: "the index is locked",
    0x149: "the index may not be used like this",
    NOT_WRITTEN: "the index was never written",
    0x14B: "no room for another index",
    0x14C: "the index is defined already",
    NO_SUCH_HANDLE: "no such index",
    0x08E: "the owner of the TPM has a password",
    0x0A2: "the owner of the TPM has a password",
    _NV_RATE: "the TPM limits how often it is written",
    0x921: "the TPM is locked out after wrong passwords",
    0x923: "the TPM's memory cannot be written now",
}
_FORMAT_ONE = 0x080


class TpmError(OSError):
    """The TPM refused a command, or answered nonsense."""

    def __init__(self, words: str, code: int = 0) -> None:
        super().__init__(errno.EIO, f"{words} (TPM_RC 0x{code:03x})" if code else words)
        self.code = code
        """The response code without handle, session and parameter numbers; 0: there was none."""


class IndexInfo(NamedTuple):
    """What a TPM says of an index: TPMS_NV_PUBLIC, part 2, 13.5."""

    attributes: int
    size_bytes: int


class TpmClient:
    """A connection, made when it is first needed and again when it broke."""

    def __init__(self, device: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self._device = device
        self._sleep = sleep
        self._descriptor: int | None = None
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Close the connection; the next command makes another."""
        if self._socket is not None:
            self._socket.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._socket = self._descriptor = None

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()

    def define(self, index: int, attributes: int, size_bytes: int) -> None:
        """Make an index, with an empty password, by the owner with an empty password.

        Raises:
            TpmError: it exists, there is no room, or the owner has a password.
        """
        public = struct.pack(">IHIHH", index, _SHA256, attributes, 0, size_bytes)
        parameters = struct.pack(">HH", 0, len(public)) + public
        self._command(_NV_DEFINE_SPACE, [_OWNER], parameters, is_authorised=True)

    def look_at(self, index: int) -> IndexInfo | None:
        """Return what is said of an index; None: there is none."""
        try:
            answer = self._command(_NV_READ_PUBLIC, [index], b"", is_authorised=False)
        except TpmError as err:
            if err.code == NO_SUCH_HANDLE:
                return None
            raise
        try:
            _size, named, _algorithm, attributes, policy_bytes = struct.unpack_from(">HIHIH", answer)
            (size_bytes,) = struct.unpack_from(">H", answer, 14 + policy_bytes)
        except struct.error as err:
            raise TpmError("the TPM's answer is cut short") from err
        if named != index:
            raise TpmError("the TPM answered about another index")
        return IndexInfo(attributes, size_bytes)

    def write(self, index: int, data: bytes) -> None:
        """Write an index from its start, with its own empty password."""
        parameters = struct.pack(">H", len(data)) + data + struct.pack(">H", 0)
        self._command(_NV_WRITE, [index, index], parameters, is_authorised=True)

    def read(self, index: int, size_bytes: int) -> bytes:
        """Return the bytes of an index.

        Raises:
            TpmError: with code NOT_WRITTEN, if it never was.
        """
        parameters = struct.pack(">HH", size_bytes, 0)
        answer = self._command(_NV_READ, [index, index], parameters, is_authorised=True)
        # With sessions, parameters are preceded by their size: part 1, 18.
        try:
            _parameters_bytes, told, data = struct.unpack_from(f">IH{size_bytes}s", answer)
        except struct.error as err:
            raise TpmError("the TPM's answer is cut short") from err
        if told != size_bytes:
            raise TpmError(f"the TPM gave {told} bytes, not {size_bytes}")
        return bytes(data)

    def _command(self, code: int, handles: list[int], parameters: bytes, *, is_authorised: bool) -> bytes:
        """Run a command and return what follows the response's header; tries again what passes."""
        body = b"".join(struct.pack(">I", handle) for handle in handles)
        if is_authorised:
            # One password authorisation, empty nonce and password, no attributes: part 1, 19.4.
            body += struct.pack(">IIHBH", 9, _PASSWORD, 0, 0, 0)
        body += parameters
        tag = _SESSIONS if is_authorised else _NO_SESSIONS
        command = _HEADER.pack(tag, _HEADER.size + len(body), code) + body
        for pause_s in (*_PAUSES_S, None):
            answer = self._exchange(command)
            _tag, size, response_code = _HEADER.unpack_from(answer)
            if size != len(answer):
                raise TpmError("the TPM's answer is cut short")
            if response_code == 0:
                return answer[_HEADER.size :]
            if response_code not in _PASSING or pause_s is None:
                break
            self._sleep(pause_s)
        base = _base(response_code)
        raise TpmError(_WORDS.get(base, "the TPM refused a command"), base)

    def _exchange(self, command: bytes) -> bytes:
        """Send a command and return the whole response. A connection that failed is not used again."""
        try:
            self._connect()
            answer = self._exchange_by_socket(command) if self._socket else self._exchange_by_device(command)
        except OSError:
            self.close()
            raise
        if len(answer) < _HEADER.size:
            self.close()
            raise TpmError("the TPM's answer is cut short")
        return answer

    def _connect(self) -> None:
        if self._socket is not None or self._descriptor is not None:
            return
        mode = self._device.stat().st_mode
        if not (stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
            # A command written to somebody's file would destroy it.
            raise TpmError("it is neither a device nor a socket")
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(_TIMEOUT_S)
            self._socket.connect(str(self._device))
        else:
            self._descriptor = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)

    def _exchange_by_device(self, command: bytes) -> bytes:
        # One write is one command, one read one whole response: Linux, drivers/char/tpm/tpm-dev-common.c.
        assert self._descriptor is not None  # noqa: S101 - `_connect` has made it
        os.write(self._descriptor, command)
        return os.read(self._descriptor, _RESPONSE_MAX_BYTES)

    def _exchange_by_socket(self, command: bytes) -> bytes:
        assert self._socket is not None  # noqa: S101 - `_connect` has made it
        self._socket.sendall(command)
        answer = self._receive(_HEADER.size)
        _tag, size, _code = _HEADER.unpack(answer)
        if not _HEADER.size <= size <= _RESPONSE_MAX_BYTES:
            raise TpmError("the TPM's answer has an impossible size")
        return answer + self._receive(size - _HEADER.size)

    def _receive(self, size: int) -> bytes:
        assert self._socket is not None  # noqa: S101 - `_connect` has made it
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise TpmError("the TPM hung up in the middle of an answer")
            data += part
        return data


def _base(code: int) -> int:
    """Return a response code without its numbers of handle, session or parameter: part 2, 6.6.2."""
    return code & 0x0BF if code & _FORMAT_ONE else code & 0xFFF
