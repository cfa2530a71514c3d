"""Which files a path means: folders, patterns, links that lead in circles, and what cannot be read."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fadeout_device.audio_paths import expand, find_files
from fadeout_device.errors import AudioDataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOBODY = 65_534


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder that everybody may enter, with the tests standing in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for file in ("a/2.FLAC", "a/1.wav", "a/b/3.ogg", "a/notes.txt", "a/.hidden/4.wav", "c/5.wav"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()
        monkeypatch.chdir(folder)
        yield folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder one that we may not read, root or not."""
    folder.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


def files(path: str) -> list[str]:
    return [str(file) for file in find_files(Path(path))]


def meant(pattern: str) -> list[str]:
    return [str(path) for path in expand(pattern)]


@pytest.mark.usefixtures("corpus")
def test_a_folder_stands_for_the_audio_below_it() -> None:
    assert files("a") == ["a/.hidden/4.wav", "a/1.wav", "a/2.FLAC", "a/b/3.ogg"]
    assert files("a/notes.txt") == ["a/notes.txt"]
    assert files("gone") == ["gone"]


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioDataError, match="no audio file in this folder"):
        find_files(tmp_path)


def test_links(corpus: Path) -> None:
    (corpus / "a" / "b" / "up").symlink_to("..")
    (corpus / "a" / "gone.wav").symlink_to("nowhere.wav")
    (corpus / "a" / "circle.wav").symlink_to("circle.wav")
    (corpus / "linked").symlink_to("c")
    lost = ["a/circle.wav", "a/gone.wav"]
    assert files("a") == ["a/.hidden/4.wav", "a/1.wav", "a/2.FLAC", "a/b/3.ogg", *lost]
    assert meant("a/**/*.wav") == ["a/1.wav", *lost]
    assert meant("**/*.ogg") == ["a/b/3.ogg"]
    assert meant("*/5.wav") == ["c/5.wav", "linked/5.wav"]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        pytest.param("a/*.wav", ["a/1.wav"], id="a name"),
        pytest.param("?/[15].wav", ["a/1.wav", "c/5.wav"], id="folders too"),
        pytest.param("**/*.wav", ["a/1.wav", "c/5.wav"], id="any depth, none included"),
        pytest.param("**/b/*", ["a/b/3.ogg"], id="a name after any depth"),
        pytest.param("a/**", ["a"], id="all below a folder is the folder"),
        pytest.param("a/.h*/*", ["a/.hidden/4.wav"], id="what is hidden, by name"),
        pytest.param("x*/1.wav", ["x*/1.wav"], id="nothing"),
        pytest.param("x/*.wav", ["x/*.wav"], id="a folder that is not there"),
        pytest.param("a/1.wav/*", ["a/1.wav/*"], id="a file as a folder"),
    ],
)
@pytest.mark.usefixtures("corpus")
def test_patterns(pattern: str, paths: list[str]) -> None:
    assert meant(pattern) == paths


def test_absolute_patterns(corpus: Path) -> None:
    assert meant(f"{corpus}/**/1.*") == [f"{corpus}/a/1.wav"]


def test_a_folder_that_cannot_be_read_is_not_passed_over(corpus: Path) -> None:
    with locked(corpus / "a" / "b"):
        assert files("a") == ["a/.hidden/4.wav", "a/1.wav", "a/2.FLAC", "a/b"]
        assert meant("a/**/*.ogg") == ["a/b"]
        assert meant("a/*/*.ogg") == ["a/b"]
        assert files("a/b") == ["a/b"]
