"""Fakes that stand behind the same Protocols as the real things, and can misbehave."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fadeout_device.vault.belief import Reading
from fadeout_device.vault.clock import ReplayClock
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.rootslot import WIDE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeClock(ReplayClock):
    """A clock that a test moves, by `now_s`. Nothing contradicts it."""

    def __init__(self, now_s: float = 1_600_000_000.0) -> None:
        super().__init__(now_s)


class FakeMachine:
    """The clocks of a machine, which need not agree."""

    def __init__(self, wall_s: float = 1_600_000_000.0) -> None:
        self.wall_s = wall_s
        self.running_s = 100.0
        self.boots = 1
        self.is_synchronised = True
        self.rtc_s: float | None = None

    def read(self) -> Reading:
        return Reading(self.wall_s, self.running_s, f"boot {self.boots}", self.is_synchronised, self.rtc_s)

    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.running_s += seconds

    def boot(self, off_s: float, *, is_synchronised: bool = False) -> None:
        """Start again, after that time; the wall clock went on."""
        self.wall_s += off_s
        self.running_s = 20.0
        self.boots += 1
        self.is_synchronised = is_synchronised


class PowerCutError(Exception):
    """The power went away: no handler of the code under test catches this."""


class FakeRoots:
    """A root store in memory that outlives the process under test; keeps every root it ever held.

    `before` is called before each change with its name (`write`, `erase`) and slot, and may raise.
    A power cut in the middle of a change leaves the slot torn: new first half, old second half.
    """

    name = "file"  # one of the closed list of which receipts tell
    protects = "nothing"
    does_not = "anything"

    def __init__(self, slot_bytes: int = WIDE_BYTES) -> None:
        self.slot_bytes = slot_bytes
        self.slots = [bytes(slot_bytes) for _ in range(SLOTS)]
        self.before: Callable[[str, int], None] = lambda _what, _slot: None
        self.is_torn_by_failure = False

    def read(self, slot: int) -> bytes:
        return self.slots[slot]

    def write(self, slot: int, data: bytes) -> None:
        self._change("write", slot, data)

    def erase(self, slot: int) -> None:
        self._change("erase", slot, os.urandom(self.slot_bytes))

    def _change(self, what: str, slot: int, data: bytes) -> None:
        try:
            self.before(what, slot)
        except BaseException:
            if self.is_torn_by_failure:
                half = self.slot_bytes // 2
                self.slots[slot] = data[:half] + self.slots[slot][half:]
            raise
        self.slots[slot] = data
