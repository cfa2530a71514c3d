"""What the proofs share: strace, and a folder that is fast."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def tracer() -> None:
    """Skip where strace is missing. It follows our own children: no right is needed for that."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: sudo apt-get install strace")


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """Give a folder in memory, where there is one: thousands of files are made and synced."""
    memory = Path("/dev/shm")  # noqa: S108 - what is in it is noise
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name).resolve()
