"""The memory of a subscriber: takes in what devices say, forgets in time, and owns up to it.

The order that must hold for each erasure: the contents go and the mark moves on
(committed); whoever derived something forgets that; the ids go (committed); only then it
is acknowledged. If the process dies in between, `settle` goes on where it stopped, and the
retained watermark, which comes with every connection, has the acknowledgement sent.

Opens no connection, reads no clock, starts no thread: readings are handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from fadeout_broker import contract
from fadeout_broker.subscriber import rules
from fadeout_broker.subscriber.held import Counts, Device, Event, Gone
from fadeout_broker.subscriber.passing import Believed, Reading, believe
from fadeout_broker.subscriber.reading import Available, Ignored, Malformed, Withdrawn, node_of, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BELIEVED_EVERY_S = 60.0
"""How often the time is written down while nothing else is: what a clock that is set back can gain."""


class Store(Protocol):
    """Where events and marks are; `store.Store` is one."""

    def keep(self, event: Event, believed: Believed) -> bool: ...  # noqa: D102 - see store.py, here and below
    def begin_erased(  # noqa: D102
        self, node: str, ids: tuple[str, ...] | None, mark: rules.Mark, believed: Believed
    ) -> int: ...
    def begin_expired(self, believed: Believed) -> int: ...  # noqa: D102
    def going(self) -> list[Gone]: ...  # noqa: D102
    def end(self, gone: Sequence[Gone]) -> None: ...  # noqa: D102
    def mark(self, node: str) -> rules.Mark | None: ...  # noqa: D102
    def next_end_s(self) -> float | None: ...  # noqa: D102
    def believed(self) -> Believed | None: ...  # noqa: D102


class Memory:
    """One subscriber's memory; one thread at a time.

    Args:
        store: what is held.
        forget_derived: called before ids go, with events whose contents are gone; what it raises comes out
            of `take`, `tick` and `settle`, nothing is acknowledged, and the next of these calls tries again.
        acknowledge: hands one acknowledgement to the broker.
    """

    def __init__(
        self,
        store: Store,
        forget_derived: Callable[[Sequence[Gone]], None],
        acknowledge: Callable[[str, contract.Ack], None],
    ) -> None:
        self._store = store
        self._forget_derived = forget_derived
        self._acknowledge = acknowledge
        self._believed = store.believed()
        self._written_s: float | None = None
        self._owed: set[str] = set()
        self.counts = Counts()
        self.devices: dict[str, Device] = {}

    def now_s(self, reading: Reading) -> float:
        """Return what time it is believed to be."""
        self._believed = believe(reading, self._believed)
        return self._believed.time_s

    def take(self, topic: str, data: bytes, expiry_s: int | None, reading: Reading) -> Device | None:
        """Take in one message; return how its device is, if that has changed.

        Args:
            topic: its topic name.
            data: its payload.
            expiry_s: the MQTT property: how much of the ttl the broker's queue has left; None: not said.
            reading: the clocks' readings at its arrival.
        """
        self.now_s(reading)
        node = node_of(topic)
        said = Ignored() if node is None else read(topic, data)
        match said:
            case _ if node is None or isinstance(said, Ignored):
                self.counts.ignored += 1
            case Malformed():
                self.counts.malformed += 1
            case contract.ActionEvent():
                self._keep(node, said, expiry_s)
            case contract.EraseNotice() | contract.EraseBefore():
                self._obey(node, said)
            case _:
                before = self.devices.get(node, Device())
                after = self.devices[node] = _changed(before, said)
                return after if after != before else None
        return None

    def tick(self, reading: Reading) -> None:
        """Forget what has ended, and what is left over from before."""
        now_s = self.now_s(reading)
        end_s = self._store.next_end_s()
        # At the start, too: only within one start of the machine is a clock that is set back found out.
        is_unwritten = self._written_s is None or now_s - self._written_s >= BELIEVED_EVERY_S
        if is_unwritten or (end_s is not None and end_s <= now_s):
            self.counts.expired += self._store.begin_expired(self._now)
            self._written_s = now_s
        self.settle()

    def next_s(self) -> float | None:
        """Return when `tick` will have something to forget; None: nothing is held."""
        return self._store.next_end_s()

    def disconnected(self) -> None:
        """Take in that nothing is heard any more: what is known of devices' availability is old."""
        self._owed.clear()  # the watermark will ask for it again
        self.devices = {node: replace(device, availability=None) for node, device in self.devices.items()}

    def settle(self) -> None:
        """Finish what was begun: have derived things forgotten, then the ids; then acknowledge."""
        gone = self._store.going()
        if gone:
            self._forget_derived(gone)
            self._store.end(gone)
        for node in sorted(self._owed):
            mark = self._store.mark(node)
            self._owed.discard(node)
            if mark is not None:
                self._acknowledge(node, contract.Ack(v=contract.VERSION, era=mark.era, n=mark.n))
                self.counts.acknowledged += 1

    @property
    def _now(self) -> Believed:
        assert self._believed is not None  # noqa: S101 - every way here reads the clock first
        return self._believed

    def _keep(self, node: str, said: contract.ActionEvent, expiry_s: int | None) -> None:
        # The ttl counts from the sending; what the message then waited in a queue, the property knows.
        ttl_s = said.ttl if expiry_s is None else min(said.ttl, expiry_s)
        event = Event(node, said.id, said.action, said.outcome, self._now.time_s + ttl_s)
        if self._store.keep(event, self._now):
            self.counts.kept += 1
        else:
            self.counts.duplicates += 1

    def _obey(self, node: str, said: contract.EraseNotice | contract.EraseBefore) -> None:
        ids, mark = rules.obey(self._store.mark(node), said)
        self.counts.forgotten += self._store.begin_erased(node, ids, mark, self._now)
        self._owed.add(node)
        self.settle()


def _changed(
    device: Device, said: contract.AlarmEvent | contract.DeviceState | Available | Withdrawn
) -> Device:
    match said:
        case contract.AlarmEvent(alarm=alarm, on=True):
            return replace(device, alarms=device.alarms | {alarm})
        case contract.AlarmEvent(alarm=alarm):
            return replace(device, alarms=device.alarms - {alarm})
        case contract.DeviceState():
            # Who was away when an alarm ended is told by the state.
            return replace(device, state=said, alarms=frozenset() if said.forgetting else device.alarms)
        case Available(word):
            return replace(device, availability=word)
        case Withdrawn(contract.DeviceState.topic):
            return replace(device, state=None)
        case _:
            return device
