"""A file that is there whole, or not at all; also where the file system can do less."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fadeout_device.cli.new_file import NewFile
from fadeout_device.errors import FadeoutError, StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = b"old", b"new" * 1000


@pytest.fixture(
    params=[
        pytest.param((), id="a file system that can do everything"),
        pytest.param(("O_TMPFILE",), id="one without unnamed files, as NFS"),
        pytest.param(("O_TMPFILE", "link"), id="one without links either, as FAT"),
    ]
)
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder on which some calls fail as they do on other file systems."""
    real_open = os.open

    def refuse_unnamed(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real_open(path, flags, mode)

    def refuse_link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if "O_TMPFILE" in request.param:
        monkeypatch.setattr(os, "open", refuse_unnamed)
    if "link" in request.param:
        monkeypatch.setattr(os, "link", refuse_link)
    return tmp_path


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_whole(disk: Path) -> None:
    with NewFile(disk / "f", may_replace=False) as file:
        file.write(NEW)
        assert "f" not in names(disk)
        file.commit()
    assert (disk / "f").read_bytes() == NEW
    assert names(disk) == ["f"]
    assert (disk / "f").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("is_there", [False, True])
def test_a_file_that_is_given_up_leaves_all_as_it_was(disk: Path, *, is_there: bool) -> None:
    if is_there:
        (disk / "f").write_bytes(OLD)
    with NewFile(disk / "f", may_replace=True) as file:
        file.write(NEW)
    assert names(disk) == ["f"] * is_there
    assert not is_there or (disk / "f").read_bytes() == OLD


def test_a_file_is_replaced_at_once_where_that_is_asked_for(disk: Path) -> None:
    (disk / "f").write_bytes(OLD)
    with NewFile(disk / "f", may_replace=True) as file:
        file.write(NEW)
        assert (disk / "f").read_bytes() == OLD
        file.commit()
    assert (disk / "f").read_bytes() == NEW
    assert names(disk) == ["f"]


@pytest.mark.parametrize(
    "when", [pytest.param("before", id="there before"), pytest.param("meanwhile", id="made meanwhile")]
)
def test_a_file_of_somebody_else_is_not_replaced(disk: Path, when: str) -> None:
    if when == "before":
        (disk / "f").write_bytes(OLD)

    def make() -> None:
        with NewFile(disk / "f", may_replace=False) as file:
            (disk / "f").write_bytes(OLD)
            file.commit()

    with pytest.raises(UsageError, match="is there already"):
        make()
    assert (disk / "f").read_bytes() == OLD
    assert names(disk) == ["f"]


def test_a_dangling_link_is_somebody_elses_too(tmp_path: Path) -> None:
    (tmp_path / "f").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is there already"):
        NewFile(tmp_path / "f", may_replace=False)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("missing/f", id="in a folder that is not there"),
        pytest.param("n" * 256, id="a name that is too long"),
        pytest.param("", id="the folder itself"),
    ],
)
def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    def make() -> None:
        with NewFile(tmp_path / name, may_replace=True) as file:
            file.commit()

    with pytest.raises(StorageError) as refused:
        make()
    assert refused.value.hint
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_fails_leaves_nothing(disk: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def make() -> None:
        with NewFile(disk / "f", may_replace=False) as file:
            monkeypatch.setattr(os, call, fail)
            file.write(NEW)
            file.commit()

    with pytest.raises(FadeoutError, match="no space left on device"):
        make()
    assert names(disk) == []


def test_one_who_is_killed_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys; from fadeout_device.cli.new_file import NewFile;"
        "NewFile(pathlib.Path(sys.argv[1]), may_replace=False).write(b'new');"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path / "f"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) == []
