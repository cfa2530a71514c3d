"""Which manifest speaks of a file, and whether the file keeps to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NamedTuple

from fadeout_device.audio_paths import expand, find_files
from fadeout_device.errors import AudioDataError
from fadeout_device.replaying.differences import Difference, differences
from fadeout_device.replaying.expectations import MANIFEST, Manifest, load

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fadeout_device.replaying.heard import HeardFile


MICROPHONE_TOLERANCE_S = 0.3
"""How far off a position may be through a microphone, where less is allowed: its blocks lie otherwise."""


class Asked(NamedTuple):
    """One file that was asked for."""

    path: Path
    folder: Path
    """Where its manifest stands, or would."""
    manifest: Manifest | None = None

    @property
    def name(self) -> str:
        """Its path from that folder, as manifests have it."""
        # By the words, not by where links lead: the same wherever the folder is mounted.
        return os.path.relpath(self.path, self.folder).replace(os.sep, "/")

    @property
    def is_expected(self) -> bool:
        """A manifest speaks of it."""
        return self.manifest is not None and self.name in self.manifest.files


class Verdict(NamedTuple):
    """What is said of one file."""

    name: str
    """As it was asked for."""
    result: Literal["passed", "failed", "bad", "unchecked"]
    manifest: str | None = None
    differences: tuple[Difference, ...] = ()
    error: str | None = None


def look_up(given: Iterable[str], *, is_checked: bool = True) -> list[Asked]:
    """Return the files that arguments mean, in order.

    A file's manifest is the nearest `expect.toml`, from its own folder up to the folder that
    was named. A manifest that is named stands for the files in it; and so does one in a
    folder that is named: a file in it that is missing is asked for, too.

    Raises:
        ManifestError: a manifest cannot be used.
    """
    read: dict[Path, Manifest] = {}
    paths = [path for argument in given for path in expand(argument)]
    found = [
        _listed(path, read, is_checked=is_checked)
        if path.suffix == ".toml"
        else _below(path, read, is_checked=is_checked)
        for path in paths
    ]
    # `corpus/*` means the manifest there, too: its files are replayed once.
    others = {
        one.path for path, asked in zip(paths, found, strict=True) if path.suffix != ".toml" for one in asked
    }
    return [
        one
        for path, asked in zip(paths, found, strict=True)
        for one in asked
        if path.suffix != ".toml" or one.path not in others
    ]


def _listed(path: Path, read: dict[Path, Manifest], *, is_checked: bool) -> list[Asked]:
    manifest = _load(path, read)
    shown = manifest if is_checked else None
    return [Asked(path.parent / name, path.parent, shown) for name in manifest.files]


def _load(path: Path, read: dict[Path, Manifest]) -> Manifest:
    if path not in read:
        read[path] = load(path)
    return read[path]


def _below(path: Path, read: dict[Path, Manifest], *, is_checked: bool) -> list[Asked]:
    try:
        files = find_files(path)
    except AudioDataError:
        # The ear says so, in its place among the others.
        files = [path]
    if not path.is_dir():
        manifest = _nearest(path, path.parent, read) if is_checked else None
        return [Asked(path, path.parent, manifest)]
    asked = []
    for file in files:
        found = _nearest(file, path, read) if is_checked and file != path else None
        asked.append(Asked(file, path if found is None else found.path.parent, found))
    whole = {manifest.path: manifest for one in asked if (manifest := one.manifest)}
    if is_checked and (path / MANIFEST).is_file():
        whole[path / MANIFEST] = _load(path / MANIFEST, read)
    there = {(one.folder, one.name) for one in asked}
    asked += [
        Asked(manifest.path.parent / name, manifest.path.parent, manifest)
        for manifest in whole.values()
        for name in manifest.files
        if (manifest.path.parent, name) not in there
    ]
    return sorted(asked, key=lambda one: one.path)


def _nearest(file: Path, top: Path, read: dict[Path, Manifest]) -> Manifest | None:
    for folder in file.parents:
        if (folder / MANIFEST).is_file():
            return _load(folder / MANIFEST, read)
        if folder == top:
            return None
    return None


def judge(asked: Asked, heard: HeardFile, least_tolerance_s: float = 0.0) -> Verdict:
    """Return what is to be said of a file.

    Args:
        asked: the file, and its manifest.
        heard: what came.
        least_tolerance_s: positions may be off so far, even if the manifest says less.
    """
    name = heard.name
    manifest = asked.manifest
    if manifest is None or asked.name not in manifest.files:
        shown = None if manifest is None else str(manifest.path)
        result: Literal["bad", "unchecked"] = "bad" if heard.error else "unchecked"
        return Verdict(name, result, shown, error=heard.error)
    if asked.path.exists():
        tolerance = manifest.tolerance_of(asked.name).at_least(least_tolerance_s)
        found = differences(manifest.files[asked.name], heard, tolerance)
    else:
        # Whatever was expected of it, that it is refused because it is not there included.
        found = [Difference(None, "file", "there", "missing")]
    return Verdict(name, "failed" if found else "passed", str(manifest.path), tuple(found), heard.error)
