"""A device and a broker in a few lines, for tests of subscribers: real payloads, imagined time.

Written from docs/adr/0008 and docs/contract.md, not from the subscriber: it knows what is
erased, and what of it anybody could have learnt.
"""

from __future__ import annotations

from typing import NamedTuple

from fadeout_broker import contract

NODE = "sp-model"


class Message(NamedTuple):
    topic: str
    data: bytes


def message(payload: contract.Outgoing, node: str = NODE) -> Message:
    return Message(contract.topic_of(node, payload), contract.encode(payload))


class Device:
    """One device: what lives, and what was erased under which number."""

    def __init__(self) -> None:
        self.era_index = 0
        self.n = 0
        self.live: dict[str, float] = {}
        self.erased: list[tuple[int, int, tuple[str, ...]]] = []
        self._made = 0

    @property
    def era(self) -> str:
        return f"{self.era_index:08d}"

    def event(self, end_s: float, now_s: float) -> tuple[str, Message]:
        """Something happens whose item ends then."""
        self._made += 1
        name = f"{self._made:016d}"
        self.live[name] = end_s
        return name, self.again(name, now_s)

    def again(self, name: str, now_s: float) -> Message:
        """The event as it is sent now: with the ttl that it has left."""
        ttl = max(1, int(self.live[name] - now_s))
        return message(contract.ActionEvent(1, name, "light.on", "served", ttl))

    def erase(self, names: tuple[str, ...]) -> Message:
        """Erase items; the notice."""
        for name in names:
            del self.live[name]
        self.n += 1
        self.erased.append((self.era_index, self.n, names))
        return message(contract.EraseNotice(1, self.era, self.n, names))

    def begin_era(self) -> None:
        """Another owner: everything is gone, and the numbers begin anew."""
        self.erased.append((self.era_index, self.n + 1, tuple(self.live)))
        self.live.clear()
        self.era_index += 1
        self.n = 0

    def watermark(self) -> Message:
        """What is retained: as many of the newest notices as fit."""
        since = self.n + 1
        ids: tuple[str, ...] = ()
        for era_index, n, names in reversed(self.erased):
            if era_index != self.era_index or len(ids) + len(names) > contract.MAX_IDS:
                break
            since, ids = n, names + ids
        return message(contract.EraseBefore(1, self.era, self.n, max(since, 1), ids))

    def reach(self) -> range:
        """Return the numbers whose ids the watermark has."""
        said = contract.decode(self.watermark().data)
        assert isinstance(said, contract.EraseBefore)
        return range(said.since, said.n + 1)

    def gone_by(self, era: str, n: int) -> set[str]:
        """Return all ids that somebody who acknowledges this number must have forgotten."""
        return {name for at, number, names in self.erased if (at, number) <= (int(era), n) for name in names}
