"""Where a subscriber may keep events: files, databases, and whatever a command can ask.

Looks for ids as they were sent, in capitals, in UTF-16 and in hexadecimal. Compressed or
encrypted they are not found; then they are not found before the erasure either, and the
kit says that it cannot tell.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BLOCK_BYTES = 1 << 20
_LONGEST_BYTES = 64
_SIDE_FILES = ("-wal", "-journal", "-shm")


class PlaceError(Exception):
    """It could not be looked at."""


class Place(Protocol):
    """Something to look at."""

    name: str

    def find(self, ids: Iterable[str]) -> dict[str, str]:
        """Return which of these ids are there, and where.

        Raises:
            PlaceError: it could not be looked at.
        """


def _pattern(ids: Iterable[str]) -> tuple[re.Pattern[bytes], dict[bytes, str]]:
    shapes = {
        shape: name
        for name in ids
        for shape in (name.encode(), name.encode("utf-16-le"), name.encode().hex().encode())
    }
    # Longest first: no id is the beginning of another, but their shapes share bytes.
    wanted = b"|".join(map(re.escape, sorted(shapes, key=len, reverse=True)))
    return re.compile(wanted, re.IGNORECASE), shapes


def _find(ids: Iterable[str], blocks: Iterable[bytes]) -> set[str]:
    pattern, shapes = _pattern(ids)
    return {shapes[match.lower()] for block in blocks for match in pattern.findall(block)}


class Files:
    """The raw bytes of a file, or of every file in a folder."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def find(self, ids: Iterable[str]) -> dict[str, str]:
        """Look; see `Place`. What is missing holds nothing."""
        wanted = list(ids)
        found: dict[str, str] = {}
        for file in self._files():
            try:
                found |= dict.fromkeys(_find(wanted, _blocks(file)), str(file))
            except FileNotFoundError:
                continue  # deleted since we listed it
            except OSError as err:
                raise PlaceError(f"{file}: {str(err.strerror).lower()}") from err
        return found

    def _files(self) -> list[Path]:
        if self._path.is_dir():
            return sorted(file for file in self._path.rglob("*") if file.is_file() and not file.is_symlink())
        return [self._path] if self._path.is_file() else []


def _blocks(file: Path) -> Iterator[bytes]:
    """Read a file in blocks that overlap by more than the longest shape of an id."""
    with file.open("rb") as opened:
        end = b""
        while block := opened.read(_BLOCK_BYTES):
            yield end + block
            end = block[-_LONGEST_BYTES:]


class Database:
    """A SQLite database: its rows, and the raw bytes of its files, which hold what was only deleted."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._raw = [Files(path), *(Files(Path(f"{path}{end}")) for end in _SIDE_FILES)]

    def find(self, ids: Iterable[str]) -> dict[str, str]:
        """Look; see `Place`."""
        wanted = list(ids)
        found = {name: where for raw in self._raw for name, where in raw.find(wanted).items()}
        found = {name: f"{where}, in the bytes of the file" for name, where in found.items()}
        return found | dict.fromkeys(self._rows(wanted), f"{self.name}, in a row")

    def _rows(self, ids: list[str]) -> set[str]:
        if not self._path.is_file() or not self._path.stat().st_size:
            return set()
        try:
            # As a URI, so that looking makes no file where there is none.
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as database:
                return _find(ids, (line.encode() for line in database.iterdump()))
        except sqlite3.Error as err:
            raise PlaceError(f"{self.name}: {str(err).lower()}") from err


class Query:
    """What a command prints."""

    def __init__(self, command: str, environment: dict[str, str], timeout_s: float) -> None:
        self.name = command
        self._environment = environment
        self._timeout_s = timeout_s

    def find(self, ids: Iterable[str]) -> dict[str, str]:
        """Look; see `Place`. A command that fails proves nothing."""
        try:
            done = subprocess.run(  # noqa: S603 - the command of whoever started us
                ["/bin/sh", "-c", self.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env={**os.environ, **self._environment},
                timeout=self._timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as err:
            raise PlaceError(f"{self.name}: no end after {self._timeout_s:g} s") from err
        if done.returncode:
            raise PlaceError(f"{self.name}: exit code {done.returncode}")
        return dict.fromkeys(_find(ids, [done.stdout]), f"what `{self.name}` prints")
