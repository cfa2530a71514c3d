"""Audio files of which somebody has said what is in them: by their folders, or in a `labels.json`.

    wake/…              the wake word, once in each file
    wake/<word>/…       the same, where several words are listened for
    other/…             no wake word
    labels.json         beside the files: {"name.wav": {"expected": [{"wake_word": "alexa"}, …]}, …},
                        as scripts/make_fixtures writes it

Reads no audio. Knows nothing of engines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_device.audio_paths import find_files
from fadeout_device.errors import AudioDataError, UsageError
from fadeout_device.wake_words import BUNDLED

if TYPE_CHECKING:
    from pathlib import Path

LABELS = "labels.json"
_BUNDLED = frozenset(word for names in BUNDLED.values() for word in names)


class _Expected(msgspec.Struct):
    wake_word: str


class _Label(msgspec.Struct):
    expected: tuple[_Expected, ...] = ()


class Labelled(NamedTuple):
    """One file, and the wake words in it."""

    path: Path
    words: tuple[str, ...]


class Labels:
    """What is said of files, folder by folder.

    Args:
        words: what is listened for.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words
        self._known: dict[Path, dict[str, _Label]] = {}

    def of(self, file: Path) -> Labelled | None:
        """Return a file with what is in it; None: a `labels.json` beside it leaves it out.

        Raises:
            AudioDataError: nobody said what is in it.
            UsageError: several words are listened for, and nobody said which one is in it.
        """
        folder = file.parent
        if folder not in self._known:
            self._known[folder] = _labels(folder)
        label = self._known[folder].get(file.name)
        if label is not None:
            return Labelled(file, tuple(each.wake_word for each in label.expected))
        return None if self._known[folder] else Labelled(file, _by_folder(file, self._words))


def find_labelled(path: Path, words: tuple[str, ...]) -> list[Labelled]:
    """Return the labelled files that a path means.

    Args:
        path: a file, or a folder of them.
        words: what is listened for.

    Raises:
        AudioDataError: no audio there, or nobody said what is in it.
        UsageError: several words are listened for, and nobody said which one is in a file.
    """
    labels = Labels(words)
    found = [label for file in find_files(path) if (label := labels.of(file)) is not None]
    if not found:
        raise AudioDataError(f"{path}: {LABELS} names none of the files beside it")
    return found


def _labels(folder: Path) -> dict[str, _Label]:
    path = folder / LABELS
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, _Label])
    except (OSError, msgspec.MsgspecError) as err:
        raise AudioDataError(
            f"{path}: cannot be read: {err}", "scripts/make_fixtures writes such a file"
        ) from err


def _by_folder(file: Path, words: tuple[str, ...]) -> tuple[str, ...]:
    # The innermost folder that says something.
    parts = file.absolute().parent.parts
    for at in range(len(parts) - 1, -1, -1):
        if parts[at] == "other":
            return ()
        if parts[at] == "wake":
            below = parts[at + 1] if at + 1 < len(parts) else ""
            if below in words or below in _BUNDLED:
                return (below,)
            if len(words) == 1:
                return words
            raise UsageError(
                f"{file}: which of {', '.join(words)} is in it?",
                "put it into wake/<word>/, or say --word WORD",
            )
    raise AudioDataError(
        f"{file}: nobody said what is in it",
        f"put it below a folder wake or other, or name it in {LABELS} or expect.toml",
    )
