"""What stands at the broker: the last of each retained payload, and when to say it again.

Home Assistant forgets what it was told when it starts, and says so: its birth message. The
answer waits up to 5 seconds, or a whole house would answer at once. Keeps only payloads
that hold no personal data and that the broker keeps, too. Pure: times and random numbers
are arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fadeout_broker import contract

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_WAIT_S = 5.0


class Standing:
    """Keeps what was retained in this process.

    Args:
        random: gives numbers in [0, 1).
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._last: dict[type[contract.Outgoing], contract.Outgoing] = {}
        self.next_at_s: float | None = None
        """When `tick` has something to say again; None: not before something happens."""

    @property
    def info(self) -> contract.Info | None:
        """Return the last info, of which the discovery is made."""
        info = self._last.get(contract.Info)
        return info if isinstance(info, contract.Info) else None

    def keep(self, payload: contract.Outgoing) -> None:
        """Remember a payload, if it is one that is retained."""
        if payload.is_retained:
            self._last[type(payload)] = payload

    def somebody_was_born(self, now_s: float) -> None:
        """Say everything again soon."""
        if self.next_at_s is None:
            self.next_at_s = now_s + LONGEST_WAIT_S * self._random()

    def went_down(self) -> None:
        """Say nothing again: the vault says it all to the next connection."""
        self.next_at_s = None

    def tick(self, now_s: float) -> list[contract.Outgoing]:
        """Return what is to be said again now, in the contract's order."""
        if self.next_at_s is None or now_s < self.next_at_s:
            return []
        self.next_at_s = None
        return self.all()

    def all(self) -> list[contract.Outgoing]:
        """Return what was kept, what explains the others first."""
        order = (contract.Info, contract.PolicyNow, contract.DeviceState, contract.EraseBefore)
        return [self._last[kind] for kind in order if kind in self._last]
