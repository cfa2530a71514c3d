"""Mistakes in vault and reporter that the rigs of outages must find: what shows that they can fail."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import rig_outages
import rig_reporter_outages

if TYPE_CHECKING:
    from pathlib import Path

    from fadeout_device.vault.index import Item
    from fadeout_device.vault.notices import Notices


class Plant(NamedTuple):
    """A mistake in the vault."""

    changed: dict[str, Any]
    """What stands where instead."""
    told: str
    """What must come of it: a regular expression."""


def _whole_life(_timekeeper: object, item: Item) -> float:
    return item.period_s


def _in_the_same_era(notices: Notices) -> None:
    notices._index.db.execute("DELETE FROM notice")
    notices._set("0" * 8, 0, 1)


def _nothing(*_: object, **_more: object) -> None:
    pass


_OUTBOX = "fadeout_device.vault.outbox.Outbox"
_KEPT = "a subscriber that obeys has what was erased"

VAULT = {
    "the life of an event begins when it is sent": Plant(
        {"fadeout_device.vault.timekeeper.Timekeeper.remaining_s": _whole_life}, "an event outlives its item"
    ),
    "an event is made without its item": Plant(
        {
            f"{_OUTBOX}.remove_actions": _nothing,
            "fadeout_device.vault.telling.Teller._open": lambda *_: ("0" * 16, "none"),
            f"{_OUTBOX}.may_be_told": lambda *_: True,
        },
        "an event of something that never was|the event of an erased item",
    ),
    "what is under way counts as not told": Plant({f"{_OUTBOX}.hand_over": _nothing}, _KEPT),
    "numbers begin anew in the same era": Plant(
        {"fadeout_device.vault.notices.Notices.begin_anew": _in_the_same_era}, _KEPT
    ),
    "what was shortened ends in silence": Plant(
        {"fadeout_device.vault.erasure.Eraser._ends_early": lambda _, _item, why: why != "expired"}, _KEPT
    ),
}


def search_vault(plant: str) -> None:
    """Search for a mistake in the vault; raises what a broken promise raises."""
    # Hypothesis takes its seed from the name. With this one each is found within seconds today; the rarest
    # shows in one history of some hundred.
    mutant = type("Mutant3", (rig_outages.Outages,), {"changed": VAULT[plant].changed})
    rig_outages.search(mutant, 3000, is_always_the_same=True)


REPORTER = "what was sent counts as told"
_SENT_IS_TOLD = """\
import sys

if "fadeout_broker.reporter" in sys.orig_argv:
    from fadeout_broker import arrow
    from fadeout_broker.outgoing import Outgoing

    whole = Outgoing.publish

    def publish(self, line, now_s):
        whole(self, line, now_s)
        self._tell_vault(arrow.Published(line.seq))

    Outgoing.publish = publish
"""
_CUTS = ["the line is cut in the middle of a message", "what was sent is not acknowledged"] * 3
_PATIENCE_S = 20.0


def search_reporter(folder: Path) -> list[str]:
    """Live through cut lines with a reporter that waits for no acknowledgement; return what that broke."""
    with pytest.MonkeyPatch.context() as patch:
        (folder / "sitecustomize.py").write_text(_SENT_IS_TOLD)
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.setattr(rig_reporter_outages, "_LONG_S", _PATIENCE_S)
        try:
            return rig_reporter_outages.live(folder, 0, _CUTS).problems
        except pytest.fail.Exception as err:
            return [str(err)] if "everything is heard" in str(err) else []
