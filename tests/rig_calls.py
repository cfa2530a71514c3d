"""What a story does to its folder, call by call, as strace sees it.

Whatever cannot be followed (another thread, a write through a mapping, a copy inside
the kernel) is an error: a model that misses a change proves nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import rig_workload

if TYPE_CHECKING:
    from pathlib import Path

_CALLS = (
    "open", "openat", "creat", "close", "lseek", "write", "pwrite64", "writev", "fsync", "fdatasync",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "ftruncate", "truncate", "fallocate", "mkdir",
    "mkdirat", "mmap", "pwritev", "pwritev2", "copy_file_range", "sendfile", "splice", "io_uring_setup",
    "link", "symlink", "dup", "dup2", "dup3", "sync_file_range", "syncfs", "sync",
)  # fmt: skip
_IGNORED = {"dup", "dup2", "dup3", "mmap"}
_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
FOLDER = -1
"""Stands for an inode where a folder is meant."""


class Call(NamedTuple):
    """One call that changes a file, a name, or what is durable."""

    what: str
    path: str
    inode: int = 0
    """Which file; they are numbered as they are opened or made."""
    at: int = 0
    """An offset, or a size."""
    data: bytes = b""
    to: str = ""

    def __repr__(self) -> str:
        """Say nothing of the data."""
        return f"Call({self.what} {self.path})"


def record(folder: Path, story: str, plant: str = "") -> list[Call]:
    """Tell a story under strace; return what it did to its folder."""
    rig_workload.prepare(folder)
    log = folder / "trace"
    strace = [
        *("strace", "-f", "-xx", "--quiet=all", "--signal=none", "-s", "100000000", "-o", str(log)),
        *("-e", "trace=" + ",".join(f"?{call}" for call in _CALLS)),
    ]
    teller = [sys.executable, rig_workload.__file__, str(folder), story, plant]
    subprocess.run([*strace, *teller], check=True, stdin=subprocess.DEVNULL)
    reader = _Reader(str(folder) + "/")
    with log.open() as lines:
        for line in lines:
            reader.take(line)
    return reader.calls


class _Reader:
    """Reads strace's lines of one process with one thread."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.calls: list[Call] = []
        self._open: dict[int, tuple[str, int, list[int]]] = {}
        """By descriptor: the path, the inode, and where writes go (-1: to the end)."""
        self._inodes: dict[str, int] = {}
        self._folders = {folder.rstrip("/")}
        self._sizes: dict[int, int] = {}

    def take(self, line: str) -> None:
        if "resumed>" in line or "unfinished" in line:
            raise RuntimeError("the story has more than one thread")
        found = _LINE.match(line)
        if found is None or found[3].startswith("-"):
            return
        call, rest, result = found[1], found[2], int(found[3], 0)
        strings = [bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(rest)]
        if call in ("open", "openat", "creat"):
            self._opened(os.fsdecode(strings[0]), rest, result)
        elif call == "close":
            self._open.pop(_number(rest), None)
        elif call in ("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"):
            self._named(call, [os.fsdecode(each) for each in strings])
        elif call == "mmap":
            if "MAP_SHARED" in rest and "PROT_WRITE" in rest and "MAP_ANONYMOUS" not in rest:
                raise RuntimeError("the story writes through a mapping, which no strace shows")
        elif call not in _IGNORED and _number(rest) in self._open:
            self._changed(call, _number(rest), rest, strings, result)

    def _opened(self, path: str, rest: str, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        if not f"{path}/".startswith(self._folder):
            return
        if path.rstrip("/") in self._folders:
            self._open[descriptor] = (path, FOLDER, [0])
            return
        if path not in self._inodes:
            if "O_CREAT" not in rest:
                # It was there before the story began: the chip.
                self._inodes[path] = self._new()
            else:
                self._inodes[path] = self._new()
                self.calls.append(Call("make", path, self._inodes[path]))
        inode = self._inodes[path]
        if "O_TRUNC" in rest:
            self._resize(path, inode, 0)
        self._open[descriptor] = (path, inode, [-1 if "O_APPEND" in rest else 0])

    def _new(self) -> int:
        self._sizes[len(self._sizes)] = 0
        return len(self._sizes) - 1

    def _resize(self, path: str, inode: int, size: int) -> None:
        self._sizes[inode] = size
        self.calls.append(Call("resize", path, inode, size))

    def _named(self, call: str, paths: list[str]) -> None:
        if not paths[0].startswith(self._folder):
            return
        if call.startswith("rename"):
            self.calls.append(Call("rename", paths[0], to=paths[1]))
            self._inodes[paths[1]] = self._inodes.pop(paths[0])
        elif call.startswith("unlink"):
            self.calls.append(Call("unlink", paths[0]))
            self._inodes.pop(paths[0], None)
        else:
            self._folders.add(paths[0])
            self.calls.append(Call("mkdir", paths[0]))

    def _changed(self, call: str, descriptor: int, rest: str, strings: list[bytes], result: int) -> None:
        path, inode, position = self._open[descriptor]
        if call == "lseek":
            position[0] = result
        elif call in ("fsync", "fdatasync"):
            self.calls.append(Call("sync", path, inode))
        elif call in ("write", "writev", "pwrite64"):
            data = b"".join(strings)[:result]
            at = position[0] if call != "pwrite64" else int(rest.rpartition(",")[2])
            at = self._sizes[inode] if at < 0 else at
            if call != "pwrite64" and position[0] >= 0:
                position[0] += len(data)
            self._sizes[inode] = max(self._sizes[inode], at + len(data))
            self.calls.append(Call("write", path, inode, at, data))
        elif call == "ftruncate":
            self._resize(path, inode, int(rest.rpartition(",")[2]))
        elif call == "fallocate":
            start, length = (int(each) for each in rest.split(",")[-2:])
            self._resize(path, inode, max(self._sizes[inode], start + length))
        else:
            raise RuntimeError(f"the model has no {call}")


def _number(rest: str) -> int:
    found = re.match(r"(-?\d+)", rest)
    return int(found[1]) if found else -1
