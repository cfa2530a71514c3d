"""In which store a folder's root lives, and moving it with the power going away at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fadeout_device.config import parse
from fadeout_device.errors import StorageError
from fadeout_device.policy import ItemClass
from fadeout_device.vault import durable, keyring, root_home, rootslot
from fadeout_device.vault.errors import FormatError, KeysLostError, RootStoreError
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.root_home import erase_another, home_of, migrate, settle
from fadeout_device.vault.roots import SLOTS, RootStore, open_store
from fadeout_device.vault.rootslot import Root
from fakes import PowerCutError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fadeout_device.config import VaultSettings

AUDIO = ItemClass("failed", "audio")


def _settings(folder: Path, store: str) -> VaultSettings:
    chip = folder.parent / "chip"
    if not chip.exists():
        chip.write_bytes(bytes(4096))
    return parse(f'[vault]\nroot_store = "{store}"\n[vault.nvmem]\nfile = "{chip}"', "x").vault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


def _roots_in(store: RootStore) -> int:
    return sum(isinstance(rootslot.parse(store.read(slot)), Root) for slot in range(SLOTS))


def test_a_first_start_uses_the_store_that_is_configured(folder: Path) -> None:
    settings = _settings(folder, "nvmem")
    Keyring(folder, settle(folder, settings))
    assert home_of(folder) == "nvmem"
    assert _roots_in(open_store(settings, folder, "nvmem")) == 1
    assert not list(folder.glob("root-?")), "no root was ever on the disk"
    assert settle(folder, settings).name == "nvmem"


def test_another_store_in_the_configuration_stops_the_start_and_names_the_way(folder: Path) -> None:
    Keyring(folder, settle(folder, _settings(folder, "file")))
    with pytest.raises(RootStoreError, match=r"lives in the root store file.* names nvmem") as caught:
        settle(folder, _settings(folder, "nvmem"))
    assert caught.value.exit_code == 78
    assert "fadeout root migrate" in str(caught.value.hint)


def test_a_new_folder_does_not_destroy_the_root_of_another_one(folder: Path) -> None:
    settings = _settings(folder, "nvmem")
    ring = Keyring(folder, settle(folder, settings))
    other = folder.with_name("other")
    other.mkdir()
    with pytest.raises(KeysLostError, match="holds a root that opens nothing"):
        Keyring(other, settle(other, settings))
    assert Keyring(folder, settle(folder, settings)).leaf_key(AUDIO, 0) == ring.leaf_key(AUDIO, 0)


def test_the_root_of_a_folder_that_is_gone_can_be_erased_to_begin_with_a_new_one(folder: Path) -> None:
    settings = _settings(folder, "nvmem")
    ring = Keyring(folder, settle(folder, settings))
    with pytest.raises(StorageError, match="keys of its own"):
        erase_another(folder, settings)
    assert Keyring(folder, settle(folder, settings)).leaf_key(AUDIO, 0) == ring.leaf_key(AUDIO, 0)
    other = folder.with_name("other")
    other.mkdir()
    with pytest.raises(KeysLostError) as caught:
        Keyring(other, settle(other, settings))
    assert "fadeout root erase" in str(caught.value.hint)
    assert erase_another(other, settings) == "nvmem"
    assert Keyring(other, settle(other, settings)).leaf_key(AUDIO, 0) != ring.leaf_key(AUDIO, 0)
    with pytest.raises(KeysLostError, match="are lost"):
        Keyring(folder, settle(folder, settings))


def test_a_replay_into_a_new_folder_leaves_the_chip_alone(folder: Path) -> None:
    settings = _settings(folder, "nvmem")
    for _ in range(2):
        Keyring(folder, settle(folder, settings, is_replay=True))
    assert home_of(folder) == "file"
    assert _roots_in(open_store(settings, folder, "nvmem")) == 0


def test_moving_there_and_back_keeps_the_keys_and_leaves_no_root_behind(folder: Path) -> None:
    ring = Keyring(folder, settle(folder, _settings(folder, "file")))
    ring.erase([(AUDIO, 3)], {})
    kept, seed = ring.leaf_key(AUDIO, 4), ring.signing_seed
    for source, target in (("file", "nvmem"), ("nvmem", "file")):
        settings = _settings(folder, target)
        assert migrate(folder, settings) == (source, target)
        again = Keyring(folder, settle(folder, settings))
        assert (again.leaf_key(AUDIO, 4), again.signing_seed, again.is_alive(AUDIO, 3)) == (kept, seed, False)
        assert home_of(folder) == target
        assert _roots_in(open_store(settings, folder, "nvmem")) == (target == "nvmem")
        assert _roots_in(open_store(settings, folder, "file")) == (target == "file")
        assert migrate(folder, settings) == (target, target), "again does nothing"


def test_without_keys_there_is_nothing_to_move(folder: Path) -> None:
    with pytest.raises(StorageError, match="nothing to move"):
        migrate(folder, _settings(folder, "nvmem"))
    assert home_of(folder) is None


def test_a_target_that_is_not_there_changes_nothing(folder: Path) -> None:
    kept = Keyring(folder, settle(folder, _settings(folder, "file"))).leaf_key(AUDIO, 4)
    (folder.parent / "chip").unlink()
    settings = parse('[vault]\nroot_store = "nvmem"\n[vault.nvmem]\nfile = "/nowhere/nvmem"', "x").vault
    with pytest.raises(RootStoreError):
        migrate(folder, settings)
    assert not root_home.is_moving(folder)
    assert Keyring(folder, settle(folder, _settings(folder, "file"))).leaf_key(AUDIO, 4) == kept


@pytest.mark.parametrize("words", ["", "floppy", "file tpm", "\xff"])
def test_a_pointer_to_no_store_is_refused(folder: Path, words: str) -> None:
    Keyring(folder, settle(folder, _settings(folder, "file")))
    (folder / "root-store").write_text(words or "file nvmem file", encoding="latin-1")
    with pytest.raises(FormatError, match="does not know"):
        settle(folder, _settings(folder, "file"))


class _Power:
    """Counts every durable step of a migration, and goes away at one of them."""

    def __init__(self, patch: pytest.MonkeyPatch, lost_at: int) -> None:
        self.steps = 0
        self._lost_at = lost_at
        for module, name in (
            (durable, "write_new"), (durable, "sync_folder"), (root_home, "replace"),
            (root_home, "sync_folder"), (keyring, "write_new"), (keyring, "sync_folder"),
        ):  # fmt: skip
            patch.setattr(module, name, self.cut_before(getattr(module, name)))

    def cut_before(self, step: Callable[..., None]) -> Callable[..., None]:
        def counted(*args: object) -> None:
            self.steps += 1
            if self.steps == self._lost_at:
                raise PowerCutError
            step(*args)

        return counted


class _CutStore:
    """A root store behind which the power goes away, before a change or with half of it made."""

    def __init__(self, store: RootStore, power: _Power, *, is_torn: bool) -> None:
        self._store = store
        self._power = power
        self._is_torn = is_torn
        self.name, self.slot_bytes = store.name, store.slot_bytes
        self.protects, self.does_not = store.protects, store.does_not

    def read(self, slot: int) -> bytes:
        return self._store.read(slot)

    def write(self, slot: int, data: bytes) -> None:
        self._change(slot, data)

    def erase(self, slot: int) -> None:
        self._change(slot, bytes(range(self.slot_bytes)))

    def _change(self, slot: int, data: bytes) -> None:
        try:
            self._power.cut_before(self._store.write)(slot, data)
        except PowerCutError:
            if self._is_torn:
                half = self.slot_bytes // 2
                self._store.write(slot, data[:half] + self._store.read(slot)[half:])
            raise


@pytest.mark.parametrize("is_torn", [False, True], ids=["slots untouched", "slots torn"])
def test_power_lost_at_any_step_of_a_move_loses_no_key_and_leaves_one_root(
    tmp_path: Path, *, is_torn: bool
) -> None:
    landed = []
    for lost_at in range(1, 100):
        folder = tmp_path / str(lost_at) / "state"
        folder.mkdir(parents=True)
        old, new = _settings(folder, "file"), _settings(folder, "nvmem")
        ring = Keyring(folder, settle(folder, old))
        ring.erase([(AUDIO, 3)], {})
        kept = ring.leaf_key(AUDIO, 4)
        with pytest.MonkeyPatch.context() as patch:
            power = _Power(patch, lost_at)
            patch.setattr(
                root_home, "open_store",
                lambda *args, power=power: _CutStore(open_store(*args), power, is_torn=is_torn),
            )  # fmt: skip
            try:
                migrate(folder, new)
            except PowerCutError:
                pass
            else:
                break
        try:
            settle(folder, new)
        except RootStoreError:
            settle(folder, old)  # it went back: the old configuration still holds
        home = home_of(folder)
        landed.append(home)
        assert not root_home.is_moving(folder)
        again = Keyring(folder, open_store(new, folder, home))
        assert (again.leaf_key(AUDIO, 4), again.is_alive(AUDIO, 3)) == (kept, False)
        for name in ("file", "nvmem"):
            assert _roots_in(open_store(new, folder, name)) == (home == name)
        assert migrate(folder, new).target == "nvmem"
        assert Keyring(folder, settle(folder, new)).leaf_key(AUDIO, 4) == kept
    assert landed.count("file") >= 6
    assert landed.count("nvmem") >= 4
