"""Nothing lost, nothing stale, nothing erased that anybody still has: through any outage (rig_outages.py).

The mutants at the end are what shows that the machine can fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rig_outages import Outages, search

if TYPE_CHECKING:
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.notices import Notices


def test_nothing_is_lost_and_nothing_that_is_erased_is_kept() -> None:
    search(Outages, 40, is_always_the_same=True)


def _whole_life(_timekeeper: object, item: Item) -> float:
    return item.period_s


def _in_the_same_era(notices: Notices) -> None:
    notices._index.db.execute("DELETE FROM notice")
    notices._set("0" * 8, 0, 1)


def _nothing(*_: object, **_more: object) -> None:
    pass


OUTBOX = "fadeout_device.vault.outbox.Outbox"
NOTICES = "fadeout_device.vault.notices.Notices"
KEPT = "a subscriber that obeys has what was erased"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param(
            {"fadeout_device.vault.timekeeper.Timekeeper.remaining_s": _whole_life},
            "an event outlives its item",
            id="the life of an event begins when it is sent",
        ),
        pytest.param(
            {
                f"{OUTBOX}.remove_actions": _nothing,
                "fadeout_device.vault.telling.Teller._open": lambda *_: ("0" * 16, "none"),
                f"{OUTBOX}.may_be_told": lambda *_: True,
            },
            "an event of something that never was|the event of an erased item",
            id="an event is made without its item",
        ),
        pytest.param({f"{OUTBOX}.hand_over": _nothing}, KEPT, id="what is under way counts as not told"),
        pytest.param(
            {f"{NOTICES}.begin_anew": _in_the_same_era}, KEPT, id="numbers begin anew in the same era"
        ),
        pytest.param(
            {"fadeout_device.vault.erasure.Eraser._ends_early": lambda _, _item, why: why != "expired"},
            KEPT,
            id="what was shortened ends in silence",
        ),
    ],
)
def test_the_machine_finds_what_is_broken(changed: dict[str, Any], told: str) -> None:
    mutant = type("Mutant", (Outages,), {"changed": changed})
    with pytest.raises(AssertionError, match=told):
        search(mutant, 400, is_always_the_same=True)
