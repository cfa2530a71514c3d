"""Which root store is opened, and what is said when it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fadeout_device.config import parse
from fadeout_device.vault.errors import RootStoreError
from fadeout_device.vault.roots import open_store

if TYPE_CHECKING:
    from pathlib import Path


def test_each_store_is_opened_by_its_name_and_says_honestly_what_it_is_worth(tmp_path: Path) -> None:
    (tmp_path / "chip").write_bytes(bytes(4096))
    vault = parse(f'[vault.nvmem]\nfile = "{tmp_path}/chip"\noffset = 64', "x").vault
    for name, words in (("file", "laboratory"), ("nvmem", "before the erasure")):
        store = open_store(vault, tmp_path, name)  # type: ignore[arg-type]  # names of a table
        assert store.name == name
        assert words in store.does_not
        assert "after the erasure" in store.protects
    assert open_store(vault, tmp_path).name == "file"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('root_store = "nvmem"\nnvmem.file = "/nowhere/nvmem"', "root store nvmem: /nowhere/nvmem: no such"),
        ('root_store = "nvmem"\nnvmem.file = "{}/small"', "has 16 bytes"),
        ('root_store = "tpm"\ntpm.device = "/nowhere/tpmrm0"', "root store tpm: /nowhere/tpmrm0: no such"),
        (
            'root_store = "tpm"\ntpm.device = "{}/small"',
            "/small: it is neither a device nor",
        ),
    ],
)
def test_a_store_that_is_not_there_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "small").write_bytes(bytes(16))
    vault = parse("[vault]\n" + text.format(tmp_path), "x").vault
    with pytest.raises(RootStoreError, match=told) as caught:
        open_store(vault, tmp_path)
    assert "[vault." in str(caught.value.hint)
