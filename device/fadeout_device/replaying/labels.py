"""Audio files of which somebody has said what is in them: `expect.toml`, `labels.json`, or the folders.

The nearest manifest that names a file speaks first: each utterance that it expects is a
wake word that was said. What is in no manifest is asked of `ear/adapters/labelled.py`.
Reads no audio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fadeout_device.audio_paths import find_files
from fadeout_device.ear.adapters.labelled import LABELS, Labelled, Labels
from fadeout_device.errors import AudioDataError, UsageError
from fadeout_device.replaying.expectations import MANIFEST, Manifest, load

if TYPE_CHECKING:
    from pathlib import Path


def find_labelled(path: Path, words: tuple[str, ...]) -> list[Labelled]:
    """Return the labelled files that a path means.

    Args:
        path: a file, a folder of them, or a manifest: the files that it names.
        words: what is listened for.

    Raises:
        AudioDataError: no audio there, or nobody said what is in it.
        ManifestError: a manifest that cannot be.
        UsageError: several words are listened for, and nobody said which one is in a file.
    """
    return _Finding(words).below(path)


class _Finding:
    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words
        self._labels = Labels(words)
        self._read: dict[Path, Manifest | None] = {}

    def below(self, path: Path) -> list[Labelled]:
        if not path.exists():
            raise AudioDataError(f"{path}: no such file or directory", "name audio files, or folders of them")
        if path.suffix == ".toml":
            manifest = load(path)
            files = [path.parent / name for name in sorted(manifest.files)]
            found = [self._expected(file, manifest) for file in files]
        else:
            top = path if path.is_dir() else path.parent
            found = [self._of(file, top) for file in find_files(path)]
        labelled = [each for each in found if each is not None]
        if not labelled:
            raise AudioDataError(
                f"{path}: nobody said what is in any file", f"name them in {MANIFEST} or {LABELS}"
            )
        return labelled

    def _of(self, file: Path, top: Path) -> Labelled | None:
        for folder in file.parents:
            manifest = self._manifest(folder)
            if manifest is not None and file.relative_to(folder).as_posix() in manifest.files:
                return self._expected(file, manifest)
            if folder == top:
                break
        return self._labels.of(file)

    def _manifest(self, folder: Path) -> Manifest | None:
        if folder not in self._read:
            path = folder / MANIFEST
            self._read[folder] = load(path) if path.is_file() else None
        return self._read[folder]

    def _expected(self, file: Path, manifest: Manifest) -> Labelled | None:
        """Return what a manifest says of a file that it names; None: it is not to be read."""
        expected = manifest.files[file.relative_to(manifest.path.parent).as_posix()].utterances
        if expected is None:
            return None
        return Labelled(file, tuple(self._word(one.wake_word, file, manifest.path) for one in expected))

    def _word(self, given: str | msgspec.UnsetType, file: Path, manifest: Path) -> str:
        if given is not msgspec.UNSET:
            return given
        if len(self._words) == 1:
            return self._words[0]
        raise UsageError(
            f"{file}: which of {', '.join(self._words)} is in it?",
            f"write wake_word into {manifest}, or say --word WORD",
        )
