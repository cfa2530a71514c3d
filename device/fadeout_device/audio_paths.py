"""Which audio files a path means: a file, a folder of them, or a pattern. Opens none of them.

What is there and cannot be looked at is meant, too: whoever opens it says why. Folders that
are links are entered where they are named, and not where any depth is meant: so no circle
of links is walked twice.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fadeout_device.errors import AudioDataError

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
"""What is taken from a folder; a file that is named itself may be called anything."""

_ANY_DEPTH = "**"


def find_files(path: Path) -> list[Path]:
    """Return the files that a path means: all audio files below a folder, in order of name; or itself.

    Folders that cannot be read, and links that lead nowhere, are among them.

    Raises:
        AudioDataError: a folder without any audio file. A missing path fails when it is opened.
    """
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    unreadable: list[Path] = []
    for folder, _, names in os.walk(path, onerror=lambda err: unreadable.append(Path(err.filename))):
        audio = (Path(folder, name) for name in names if name.lower().endswith(SUFFIXES))
        found += [file for file in audio if file.is_file() or file.is_symlink()]
    if not found and not unreadable:
        raise AudioDataError(f"{path}: no audio file in this folder", f"looked for {', '.join(SUFFIXES)}")
    return sorted(found + unreadable)


def expand(given: str) -> list[Path]:
    """Return the paths that a pattern stands for, in order of name: `*`, `?`, `[…]`, and `**` for any depth.

    What is there under exactly that name is itself, whatever is in the name; and what
    stands for nothing is returned as it is, so that whoever opens it can say so.
    """
    path = Path(given)
    if path.exists() or not glob.has_magic(given):
        return [path]
    parts = list(path.parts)
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    # A folder stands for all below it anyway.
    while parts[-1] == _ANY_DEPTH:
        parts.pop()
    found = dict.fromkeys(_matching(Path(*parts[:first]), parts[first:]))
    return sorted(found, key=str) or [path]


def _matching(folder: Path, parts: list[str]) -> Iterator[Path]:
    """Yield what lies below a folder under names that fit, one after the other; and what cannot be read."""
    if not parts:
        yield folder
        return
    wanted, rest = parts[0], parts[1:]
    if not glob.has_magic(wanted):
        if os.path.lexists(folder / wanted):
            yield from _matching(folder / wanted, rest)
        return
    if wanted == _ANY_DEPTH:
        yield from _matching(folder, rest)
    entries = _entries(folder, wanted)
    if entries is None:
        yield folder
        return
    for entry in entries:
        if wanted == _ANY_DEPTH:
            if entry.is_dir(follow_symlinks=False):
                yield from _matching(folder / entry.name, parts)
        elif fnmatch.fnmatchcase(entry.name, wanted) and (not rest or entry.is_dir()):
            yield from _matching(folder / entry.name, rest)


def _entries(folder: Path, wanted: str) -> list[os.DirEntry[str]] | None:
    """Return what is in a folder, in order of name; None when that cannot be read."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return None
    # As in a shell: what is hidden must be named so.
    return [entry for entry in entries if wanted.startswith(".") or not entry.name.startswith(".")]
