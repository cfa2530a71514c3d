"""What must be forgotten, and up to where a subscriber may say that it has forgotten.

Erasures are numbered without gaps within an era (docs/adr/0008). A subscriber keeps one
mark for each device: the era, and the number up to which it has obeyed. Whatever does not
join on to that mark means that notices were missed, and then every event of the device
goes: erasing more, not less, is the side on which to err. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from fadeout_broker import contract


class Mark(NamedTuple):
    """Every notice of this era up to this number is obeyed."""

    era: str
    n: int


class Obey(NamedTuple):
    """What one message about erasures asks for."""

    ids: tuple[str, ...] | None
    """Forget these; None: forget every event of this device that is held now."""
    mark: Mark
    """What may be acknowledged once that is done."""


def obey(mark: Mark | None, said: contract.EraseNotice | contract.EraseBefore) -> Obey:
    """Say what to forget.

    Args:
        mark: what was obeyed so far; None: nothing is known of this device yet.
        said: a notice, or the watermark.
    """
    # A notice names the ids of one number, a watermark those of the numbers from `since` on.
    first = said.n if isinstance(said, contract.EraseNotice) else said.since
    if mark is None or mark.era != said.era:
        # What is held may be of an era in which it was erased, and we cannot know.
        return Obey(None, Mark(said.era, said.n))
    if first > mark.n + 1:
        return Obey(None, Mark(said.era, said.n))
    # One that was obeyed before is obeyed again: the broker may have sent its events again, too.
    return Obey(said.ids, Mark(said.era, max(mark.n, said.n)))
