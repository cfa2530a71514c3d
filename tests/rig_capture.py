"""Every byte that processes hand to the kernel, by strace: what reached a file, a pipe or a wire.

A capture that may have missed something says so: `blind` lists every call through
which bytes can leave a process unseen (shared writable mappings of files, copies
inside the kernel, io_uring), and every write whose data strace did not show. A
test that searches a capture must also require that `blind` is empty.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg")
_NAMES = (
    "execve", "mkdir", "mkdirat", "mknod", "mknodat", "open", "openat", "openat2", "creat", "rename",
    "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "setxattr", "fsetxattr", "lsetxattr",
    "bind", "connect", "memfd_create", "prctl", "sethostname",
)  # fmt: skip
_BLIND = (
    "copy_file_range", "sendfile", "splice", "tee", "vmsplice", "io_uring_setup", "io_submit",
    "process_vm_writev", "remap_file_pages",
)  # fmt: skip
# Not on every machine: strace ignores with `?` what it does not know.
_TRACED = ",".join(f"?{call}" for call in (*_WRITES, *_NAMES, *_BLIND, "mmap", "msync"))

_CALL = re.compile(r"(\w+)\((.*)")
_TARGET = re.compile(r"(-?\d+)<(.*?)>(?:\(deleted\))?, ")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_RESULT = re.compile(r" = (-?\d+|\?|0x[0-9a-f]+)(?: .*)?$")
_SOCKET = re.compile(r'[A-Za-z0-9-]+:\[(\d+)(?:->(\d+))?(?:,"((?:\\x[0-9a-f]{2})*)")?\]')
_OPENED = re.compile(r" = (\d+)<([^>]*)>$")
_BY_DESCRIPTOR = re.compile(r"/proc/self/fd/(\d+)/(.+)", re.DOTALL)
_MAPPING = re.compile(r"[^,]+, \d+, (\w[\w|]*), (\w[\w|]*)[^,]*, -?\d+(?:<(.*?)>)?(?:\(deleted\))?, ")


class Write(NamedTuple):
    """One write: who, by which call, to what, and the bytes."""

    thread: int
    call: str
    target: str
    """A path; or `socket` and its path, for a Unix socket whose other end is known; or strace's words."""
    data: bytes

    def __repr__(self) -> str:
        """Say only the size: what was written may be what was not to be."""
        return f"Write({self.call} to {self.target}, {len(self.data)} B)"


class Capture(NamedTuple):
    """What was seen of some processes, in order per thread."""

    writes: list[Write]
    blind: list[str]

    def sizes(self) -> Counter[str]:
        """Return how many bytes went to each target."""
        sizes: Counter[str] = Counter()
        for write in self.writes:
            sizes[write.target] += len(write.data)
        return sizes


def command(folder: Path) -> list[str]:
    """Return the start of a command line whose processes are captured into a folder."""
    folder.mkdir(exist_ok=True)
    return [
        *("strace", "-f", "-ff", "-yy", "-xx", "--seccomp-bpf", "--quiet=all", "--signal=none"),
        *("-s", "100000000", "-e", f"trace={_TRACED}", "-o", str(folder / "trace")),
    ]


def read(folder: Path) -> Capture:
    """Read what strace has written into a folder."""
    reader = _Reader()
    for log in sorted(folder.glob("trace.*")):
        with log.open() as lines:
            for line in lines:
                called = _CALL.match(line)
                if called is not None:
                    reader.take(int(log.suffix[1:]), called[1], called[2])
    paths = reader.socket_paths()
    known = [write._replace(target=_socket_path(write.target, paths)) for write in reader.writes]
    return Capture(known, reader.blind)


class _Reader:
    """Takes the calls of all threads, one by one."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.blind: list[str] = []
        self._addresses: dict[str, str] = {}
        """Of the sockets that a server has written to, by inode."""
        self._opened: dict[tuple[int, str], str] = {}
        """Paths by thread and descriptor."""
        self._bound: dict[str, set[str]] = {}
        """What an address that goes by way of a descriptor stands for."""

    def socket_paths(self) -> dict[str, str]:
        """Return the paths of servers' sockets by inode."""
        paths = {}
        for inode, address in self._addresses.items():
            meant = self._bound.get(address, {address})
            if len(meant) > 1:
                self.blind.append("bind: one address stands for two sockets")
            (paths[inode], *_) = meant
        return paths

    def take(self, thread: int, call: str, rest: str) -> None:
        """Take one call; `rest` is what stands after its opening bracket."""
        if call in _NAMES:
            strings = [_bytes(text) for text, _ in _STRING.findall(rest)]
            self.writes.append(Write(thread, call, f"names given to {call}", b"\n".join(strings)))
            if opened := _OPENED.search(rest):
                self._opened[thread, opened[1]] = _path(opened[2])
            if call == "bind" and strings and (found := _BY_DESCRIPTOR.fullmatch(strings[-1].decode())):
                path = f"{self._opened.get((thread, found[1]), '?')}/{found[2]}"
                self._bound.setdefault(found[0], set()).add(path)
        elif call == "mmap":
            self.blind.extend(_blind_mapping(rest))
        elif _failed(rest):
            return
        elif call in _BLIND:
            self.blind.append(f"{call}: bytes move inside the kernel")
        elif call in _WRITES:
            self._take_write(thread, call, rest)

    def _take_write(self, thread: int, call: str, rest: str) -> None:
        target = _TARGET.match(rest)
        if target is None:
            self.blind.append(f"{call}: strace does not say where to")
            return
        strings = _STRING.findall(rest[target.end() :])
        data = b"".join(_bytes(text) for text, _ in strings)
        if any(cut for _, cut in strings) or len(data) < _count(rest):
            self.blind.append(f"{call}: strace does not show all data")
        socket = _SOCKET.fullmatch(target[2])
        if socket and socket[3]:
            self._addresses[socket[1]] = _bytes(socket[3]).decode()
        self.writes.append(Write(thread, call, _path(target[2]), data))


def _socket_path(target: str, paths: dict[str, str]) -> str:
    """Name a Unix socket by its path and side: a client writes `to PATH`, the server `from PATH`."""
    socket = _SOCKET.fullmatch(target)
    if socket is None:
        return target
    if socket[1] in paths:
        return f"from {paths[socket[1]]}"
    if socket[2] in paths:
        return f"to {paths[socket[2]]}"
    return target


def _blind_mapping(rest: str) -> Iterator[str]:
    """Say whether a mapping lets bytes reach a file unseen."""
    found = _MAPPING.match(rest)
    if found is None:
        yield "mmap: a mapping that is not understood"
        return
    access, flags, target = found[1], found[2].split("|"), found[3]
    if "MAP_ANONYMOUS" in flags or not {"MAP_SHARED", "MAP_SHARED_VALIDATE"} & set(flags):
        return
    path = _path(target or "?")
    # What belongs to the system or to the interpreter is only read, and must be mapped so.
    is_program = path.startswith(("/usr/", "/lib", sys.prefix, sys.base_prefix))
    if "PROT_WRITE" in access or not is_program:
        yield f"mmap: {access} shared mapping of {path}"


def _path(target: str) -> str:
    """Return a file's path, or strace's words for what is no file."""
    return _bytes(target).decode(errors="replace") if target.startswith("\\x") else target


def _failed(rest: str) -> bool:
    result = _RESULT.search(rest)
    return result is not None and result[1].startswith("-")


def _count(rest: str) -> int:
    result = _RESULT.search(rest)
    return int(result[1]) if result is not None and result[1].isdecimal() else 0


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


@pytest.fixture(scope="session")
def strace() -> None:
    """Skip where strace is missing, or would not see what processes write that refuse debuggers."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: sudo apt-get install strace")
    if os.geteuid() != 0:
        pytest.skip("the rooms refuse debuggers: only root's strace can see what they write")
