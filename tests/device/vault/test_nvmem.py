"""The `nvmem` root store: pages, narrow slots, chips that are slow, and power lost in a page."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from fadeout_device.policy import ItemClass
from fadeout_device.vault.errors import RootStoreError
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.roots.nvmem import ChipFile, NvmemRootStore
from fadeout_device.vault.rootslot import NARROW_BYTES, WIDE_BYTES
from fakes import PowerCutError

if TYPE_CHECKING:
    from pathlib import Path

AUDIO = ItemClass("failed", "audio")


class SlowEeprom:
    """An EEPROM: takes a page at a time, is then busy, and loses the rest when the power goes."""

    def __init__(self, size_bytes: int = 4096, page_bytes: int = 32) -> None:
        self.cells = bytearray(b"\xff" * size_bytes)
        self.size_bytes = size_bytes
        self.page_bytes = page_bytes
        self.busy = 0
        """So many more calls fail: the chip is in its write cycle."""
        self.busy_after_write = 3
        self.stale_reads = 0
        """So many more reads give what it likes, and say nothing."""
        self.power_lost_after_bytes: int | None = None
        self.writes: list[tuple[int, int]] = []
        self.slept_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds

    def read(self, at: int, size: int) -> bytes:
        self._be_busy()
        if self.stale_reads:
            self.stale_reads -= 1
            return b"\xff" * size
        return bytes(self.cells[at : at + size][:17])  # a bus that gives little at once

    def write(self, at: int, data: memoryview) -> int:
        self._be_busy()
        taken = data[: self.page_bytes - at % self.page_bytes]
        if self.power_lost_after_bytes is not None:
            kept = min(len(taken), self.power_lost_after_bytes)
            self.cells[at : at + kept] = taken[:kept]
            self.power_lost_after_bytes -= kept
            if self.power_lost_after_bytes == 0:
                raise PowerCutError
        self.cells[at : at + len(taken)] = taken
        self.writes.append((at, len(taken)))
        self.busy = self.busy_after_write
        return len(taken)

    def _be_busy(self) -> None:
        if self.busy:
            self.busy -= 1
            raise OSError(errno.EREMOTEIO, "no answer on the bus")


def _store(chip: SlowEeprom, offset: int = 0) -> NvmemRootStore:
    return NvmemRootStore(chip, offset, chip.page_bytes, chip.sleep)


@pytest.mark.parametrize(
    ("size", "offset", "page", "slot_bytes", "second_at"),
    [
        pytest.param(56, 0, 32, NARROW_BYTES, 32, id="DS1307: 56 bytes beside a clock"),
        pytest.param(64, 0, 32, NARROW_BYTES, 32, id="MCP79410: 64 bytes beside a clock"),
        pytest.param(64, 8, 8, NARROW_BYTES, 32, id="somebody else has the first bytes"),
        pytest.param(96, 0, 16, WIDE_BYTES, 48, id="two wide slots exactly"),
        pytest.param(4096, 1024, 64, WIDE_BYTES, 1088, id="an EEPROM with pages of 64"),
    ],
)
def test_slots_lie_on_pages_and_are_narrow_where_the_chip_is_small(
    size: int, offset: int, page: int, slot_bytes: int, second_at: int
) -> None:
    chip = SlowEeprom(size, page)
    store = _store(chip, offset)
    assert store.slot_bytes == slot_bytes
    store.write(0, b"a" * slot_bytes)
    store.write(1, b"b" * slot_bytes)
    assert (store.read(0), store.read(1)) == (b"a" * slot_bytes, b"b" * slot_bytes)
    assert bytes(chip.cells[offset : offset + slot_bytes]) == b"a" * slot_bytes
    assert bytes(chip.cells[second_at : second_at + slot_bytes]) == b"b" * slot_bytes
    assert chip.cells[:offset] == b"\xff" * offset, "what lies before belongs to somebody else"
    assert offset % page == second_at % page == 0


@pytest.mark.parametrize(
    ("size", "offset", "page"),
    [(55, 0, 32), (0, 0, 32), (64, 64, 32), (4096, 4064, 32), (256, 8, 32), (64, 0, 64)],
)
def test_a_chip_without_room_for_two_slots_is_refused(size: int, offset: int, page: int) -> None:
    with pytest.raises(RootStoreError, match=r"do not fit|not on a page") as caught:
        _store(SlowEeprom(size, page), offset)
    assert caught.value.exit_code == 78
    assert "[vault.nvmem]" in str(caught.value.hint)


def test_a_slow_chip_is_waited_for_and_each_cell_is_written_once() -> None:
    chip = SlowEeprom()
    chip.busy_after_write = 9
    _store(chip).write(1, bytes(range(48)))
    assert chip.writes == [(64, 32), (96, 16)]
    assert 0.05 < chip.slept_s < 0.5


def test_what_a_busy_chip_says_is_not_believed() -> None:
    """Some give nonsense instead of no answer."""
    chip = SlowEeprom()
    chip.busy_after_write, chip.stale_reads = 0, 7
    _store(chip).write(0, bytes(48))
    assert chip.writes == [(0, 32), (32, 16)]


def test_a_chip_that_never_answers_is_given_up() -> None:
    chip = SlowEeprom()
    chip.busy = 10_000
    with pytest.raises(OSError, match="no answer"):
        _store(chip).erase(0)
    assert chip.slept_s < 0.5


def test_a_chip_that_does_not_keep_what_was_written_is_found_out() -> None:
    chip = SlowEeprom()
    chip.stale_reads = 10_000
    with pytest.raises(OSError, match="reads back different"):
        _store(chip).write(0, bytes(48))


def test_an_error_that_will_not_pass_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "nvmem"
    path.write_bytes(bytes(112))
    chip = ChipFile(path)
    chip.size_bytes = 4096  # as if the chip had shrunk
    store = NvmemRootStore(chip, 1024, 32, lambda _: None)
    with pytest.raises(OSError, match="ends inside"):
        store.read(0)


@pytest.mark.parametrize("slot_bytes", [WIDE_BYTES, NARROW_BYTES])
@pytest.mark.parametrize("is_after_commit", [False, True], ids=["in the commit", "in the deletion"])
def test_power_lost_after_any_byte_of_a_slot_loses_and_revives_no_key(
    tmp_path: Path, slot_bytes: int, *, is_after_commit: bool
) -> None:
    for lost_at in range(1, slot_bytes):
        folder = tmp_path / str(lost_at)
        folder.mkdir()
        chip = SlowEeprom(4096 if slot_bytes == WIDE_BYTES else 64)
        keyring = Keyring(folder, _store(chip))
        kept = keyring.leaf_key(AUDIO, 4)
        chip.power_lost_after_bytes = lost_at + slot_bytes * is_after_commit
        with pytest.raises(PowerCutError):
            keyring.erase([(AUDIO, 3)], {})
        chip.power_lost_after_bytes = None
        again = Keyring(folder, _store(chip))
        assert again.leaf_key(AUDIO, 4) == kept
        assert again.is_alive(AUDIO, 3) != is_after_commit


def test_on_a_file_of_the_kernel_keys_outlive_a_restart_and_erased_ones_do_not(tmp_path: Path) -> None:
    path = tmp_path / "nvmem"
    path.write_bytes(bytes(64))
    keyring = Keyring(tmp_path, NvmemRootStore(ChipFile(path), 0, 32))
    kept, chip_before = keyring.leaf_key(AUDIO, 4), path.read_bytes()
    keyring.erase([(AUDIO, 3)], {})
    again = Keyring(tmp_path, NvmemRootStore(ChipFile(path), 0, 32))
    assert (again.leaf_key(AUDIO, 4), again.is_alive(AUDIO, 3)) == (kept, False)
    assert chip_before[32:48] not in path.read_bytes()
    assert path.stat().st_size == 64
