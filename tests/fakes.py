"""Fakes that stand behind the same Protocols as the real things, and can misbehave."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.rootslot import WIDE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeClock:
    """A clock that a test moves."""

    def __init__(self, now_s: float = 1_600_000_000.0) -> None:
        self.now_s = now_s

    def now(self) -> float:
        return self.now_s

    def raise_floor(self, at_s: float) -> None:
        self.now_s = max(self.now_s, at_s)


class PowerCutError(Exception):
    """The power went away: no handler of the code under test catches this."""


class FakeRoots:
    """A root store in memory that outlives the process under test; keeps every root it ever held.

    `before` is called before each change with its name (`write`, `erase`) and slot, and may raise.
    A power cut in the middle of a change leaves the slot torn: new first half, old second half.
    """

    name = "fake"
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
