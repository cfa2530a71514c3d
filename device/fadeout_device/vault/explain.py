"""Why a recording is still here, and when it goes; said without opening anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fadeout_device.answers import Explanation, ItemReason, Receipt
from fadeout_device.policy import KINDS
from fadeout_device.vault.errors import NoSuchRecordingError
from fadeout_device.vault.recovery import allowed_now_s

if TYPE_CHECKING:
    from fadeout_device.policy import Policy
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.ledger import ErasedEntry
    from fadeout_device.vault.service import Service
    from fadeout_device.vault.timekeeper import Timekeeper


def explain(service: Service, name: str) -> Explanation:
    """Explain the recording whose id starts with `name`.

    Raises:
        NoSuchRecordingError: more than one does.
    """
    with service.lock:
        index, policy, keeper = service.store.index, service.store.policy, service.store.timekeeper
        items = index.of(name) if name else []
        recordings = {item.recording for item in items}
        if len(recordings) > 1:
            raise NoSuchRecordingError(
                f"{len(recordings)} recordings start with {name}", "write more of the id: see fadeout list"
            )
        items.sort(key=lambda item: KINDS.index(item.item_class.kind))
        oldest_first = {item.id: rank for rank, item in enumerate(index.live(), start=1)} if items else {}
        return Explanation(
            recording=items[0].recording if items else name,
            outcome=items[0].item_class.outcome if items else "",
            items=tuple(_reason(item, policy, keeper, oldest_first.get(item.id, 0)) for item in items),
            held_items=len(oldest_first),
            held_bytes=index.live_size_bytes(),
            max_size_bytes=policy.max_size_bytes,
            last_sweep=service.sweeps.outcome,
            erased=None if items or not name else _receipt(service.store.ledger.erasure_of(name)),
        )


def _receipt(entry: ErasedEntry | None) -> Receipt | None:
    return None if entry is None else Receipt(entry.seq, entry.reason, entry.hour)


def _reason(item: Item, policy: Policy, keeper: Timekeeper, age_rank: int) -> ItemReason:
    state: Literal["kept", "erasing", "overdue", "locked"] = "kept"
    if item.state != "live":
        state = "erasing"
    elif item.ends_at_s <= keeper.proven():
        state = "overdue"
    elif keeper.is_locked(item):
        state = "locked"
    ruled_by: Literal["promise", "shorter policy", "debug capture"] = "promise"
    if item.period_s < item.promised_s:
        ruled_by = "shorter policy"
    elif item.mark == "debug":
        ruled_by = "debug capture"
    return ItemReason(
        kind=item.item_class.kind,
        state=state,
        expires_at_s=item.ends_at_s,
        promised_s=item.promised_s,
        allowed_s=allowed_now_s(item, policy),
        period_s=item.period_s,
        ruled_by=ruled_by,
        ends_on_update=item.ends_on_update,
        size_bytes=item.size_bytes,
        age_rank=age_rank,
        because=item.reason if state == "erasing" else "",
    )
