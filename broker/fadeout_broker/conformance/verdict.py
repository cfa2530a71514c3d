"""What a subscriber did with what it was told to forget, judged from what was seen. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["forgot", "still there", "lied", "cannot tell", "not tried"]
"""`lied`: acknowledged, and still there. `cannot tell`: what was looked at proves nothing."""


class Seen(msgspec.Struct, frozen=True):
    """What was seen of one check."""

    before: bool
    """Some place showed the events before they had to go: without that, their absence is no proof."""
    after: bool
    """A new event was seen there afterwards: both the subscriber and the looking still work."""
    there_at_ack: bool | None
    """Whether they were there when the acknowledgement came; None: none came."""
    there_at_end: bool
    """Whether they were there when patience ended."""
    trouble: str = ""
    """Why the last look failed, if it did."""


def judge(seen: Seen) -> Verdict:
    """Say what was proven."""
    if not seen.before:
        return "cannot tell"
    if seen.there_at_ack or (seen.there_at_end and seen.there_at_ack is not None):
        return "lied"
    if seen.there_at_end:
        return "still there"
    if seen.trouble or not seen.after:
        return "cannot tell"
    return "forgot"


class Result(msgspec.Struct, frozen=True):
    """What one check showed."""

    check: str
    verdict: Verdict
    acknowledged: bool | None
    """None: there was nothing to acknowledge."""
    detail: str


def conforms(results: list[Result], *, must_acknowledge: bool) -> bool:
    """Say whether everything that was tried was forgotten, and, where that is asked, acknowledged."""
    return all(
        result.verdict in ("forgot", "not tried") and not (must_acknowledge and result.acknowledged is False)
        for result in results
    )
