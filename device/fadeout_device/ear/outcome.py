"""What an utterance came to. The one place to change when a recogniser arrives.

Without a recogniser nothing that is said can lead to an action: speech is a
failed request, and a wake word without speech a false wake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fadeout_device.messages import ActionId, Outcome


def judge(speech_s: float) -> tuple[Outcome, ActionId]:
    """Return the outcome of an utterance and its action, which is `none` unless it was served."""
    return ("failed" if speech_s > 0 else "false_wake"), "none"
