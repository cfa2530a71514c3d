"""The lock of the state folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fadeout_device.errors import StorageError, UnavailableError
from fadeout_device.vault.state_folder import lock

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_fadeout_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    descriptor = lock(tmp_path)
    with pytest.raises(UnavailableError, match="another fadeout"):
        lock(tmp_path)
    os.close(descriptor)
    os.close(lock(tmp_path))


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StorageError, match="state: file exists") as caught:
        lock(tmp_path / "state")
    assert "--state" in (caught.value.hint or "")
