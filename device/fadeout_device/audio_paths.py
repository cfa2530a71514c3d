"""Which audio files a path means: a file, a folder of them, or a pattern. Opens none of them."""

from __future__ import annotations

import glob
from pathlib import Path

from fadeout_device.errors import AudioDataError

SUFFIXES = (".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
"""What is taken from a folder; a file that is named itself may be called anything."""


def find_files(path: Path) -> list[Path]:
    """Return the files that a path means: all audio files below a folder, in order of name; or itself.

    Raises:
        AudioDataError: a folder without any audio file. A missing path fails when it is opened.
    """
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise AudioDataError(f"{path}: no audio file in this folder", f"looked for {', '.join(SUFFIXES)}")
    return found


def expand(given: str) -> list[Path]:
    """Return the paths that a pattern stands for, in order of name: `*`, `?`, `[…]`, and `**` for any depth.

    What is there under exactly that name is itself, whatever is in the name; and what
    stands for nothing is returned as it is, so that whoever opens it can say so.
    """
    path = Path(given)
    if path.exists() or not glob.has_magic(given):
        return [path]
    return [Path(found) for found in sorted(glob.glob(given, recursive=True))] or [path]  # noqa: PTH207 - takes absolute patterns too
