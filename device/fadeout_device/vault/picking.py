"""What an erasure that is asked for from afar means: from words of the contract to items.

Nothing is opened for it: whoever is not at the device must not be able to have anything
decrypted, nor to fill the ledger with openings. So minutes are counted by what stands in
the index, which knows the time of a capture only to a sweep; where it is not certain,
more is erased, not less. An event's id is derived from each item's own key, as it was
when the event was made, and compared; it is stored nowhere.

Event ids are derived in slices, and the service's lock is let go between two of them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fadeout_device.errors import FadeoutError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fadeout_broker import contract
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.service import Service
    from fadeout_device.vault.timekeeper import View

LONGEST_UTTERANCE_S = 60
_SLICE = 50
"""Deriving an id takes some 0.1 ms, and a file's read."""


def recordings_of_events(service: Service, ids: Iterable[str]) -> set[str]:
    """Return the recordings whose events have these ids; newest first, until all are found."""
    wanted = set(ids)
    found: set[str] = set()
    with service.lock:
        actions = [item for item in service.store.index.live() if item.item_class.kind == "action"]
    actions.reverse()
    for begin in range(0, len(actions), _SLICE):
        if not wanted:
            break
        with service.lock:
            for item in actions[begin : begin + _SLICE]:
                # Gone meanwhile, or its file is broken: then nobody knows its id any more.
                with contextlib.suppress(FadeoutError):
                    event_id = service.store.files.event_id(item)
                    if event_id in wanted:
                        wanted.remove(event_id)
                        found.add(item.recording)
    return found


def newest(items: Iterable[Item], count: int) -> set[str]:
    """Return the newest recordings. The first items of each are in the order of capture."""
    order = list(dict.fromkeys(item.recording for item in items))
    return set(order[-count:])


def of_the_last(items: Iterable[Item], seconds: float, view: View, sweep_s: int) -> set[str]:
    """Return whatever may have been captured, in part or whole, in so many seconds before now."""
    since_s = view.proven_s - seconds

    def may_be(item: Item) -> bool:
        # The end date lies at most a sweep below capture plus period: see due.py.
        latest_end_s = item.ends_at_s - item.period_s + sweep_s + LONGEST_UTTERANCE_S
        return view.is_closed(item) or latest_end_s >= since_s

    return {item.recording for item in items if may_be(item)}


def pick(service: Service, request: contract.EraseRequest, found: set[str]) -> list[Item]:
    """Return the live items of what is to be erased. Under the service's lock.

    Args:
        service: of this vault.
        request: names it.
        found: what `recordings_of_events` has returned, if it names events.
    """
    live = service.store.index.live()
    if request.all:
        return live
    recordings = found
    if request.last is not None:
        recordings = newest(live, request.last)
    elif request.last_minutes is not None:
        view = service.store.timekeeper.view()
        recordings = of_the_last(live, request.last_minutes * 60.0, view, service.sweeps.longest_s)
    return [item for item in live if item.recording in recordings]
