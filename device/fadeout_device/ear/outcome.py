"""What an utterance came to: who spoke to the device, and did anything follow.

Served: an action of the closed list. Failed: somebody spoke, and none followed, which
is what becomes of all speech without a recogniser. False wake: nobody spoke.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fadeout_device.messages import ActionId, Outcome


def judge(speech_s: float, action: ActionId) -> Outcome:
    """Return the outcome of an utterance; `action` is `none` unless one of the list was recognised."""
    if not speech_s:
        return "false_wake"
    return "failed" if action == "none" else "served"
