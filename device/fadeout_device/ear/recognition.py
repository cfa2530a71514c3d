"""What a recogniser heard, and when that is taken for a sentence of the list. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from fadeout_device.actions import ABOUT_DATA

if TYPE_CHECKING:
    from fadeout_device.actions import Actions
    from fadeout_device.config import RecogniserSettings
    from fadeout_device.messages import ActionId


class Heard(NamedTuple):
    """What a recogniser made of an utterance."""

    action: ActionId = "none"
    """An action of the list, or `none`."""
    words: str = ""
    """What was said, as far as it is known; empty when it is not."""

    def __repr__(self) -> str:
        """Say only the action: words are speech."""
        return f"Heard({self.action})"


NOTHING = Heard()


class Recogniser(Protocol):
    """Makes words of speech. Called from one thread at a time."""

    def recognise(self, pcm: bytes) -> Heard:
        """Listen to an utterance after its wake word: 16 kHz mono s16le.

        Raises:
            UnavailableError: it cannot, now; in words that an operator can act on.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Likeness(NamedTuple):
    """How much an utterance is like a sentence of the grammar."""

    words: str
    """The likeliest sentence, or the beginning of one; empty: none."""
    ratio: float
    """How much likelier the sentence is than any phones, as a natural logarithm per 10 ms: half of it the
    mean of the whole sentence, half that of the 0.3 s which fit worst; less in noise."""
    beside: float
    """The share of what was spoken as loud as the sentence that is not part of it, 0 to 1."""

    def __repr__(self) -> str:
        """Say only the numbers: words are speech."""
        return f"Likeness({self.ratio:.2f}, {self.beside:.2f})"


def judged(likeness: Likeness, actions: Actions, settings: RecogniserSettings) -> Heard:
    """Take an utterance for a sentence of the list, or reject it.

    Of a rejected one no words are kept: what the grammar came up with was not said.
    """
    action = actions.action(likeness.words)
    if action is None or likeness.beside > settings.most_beside:
        return NOTHING
    # What was erased by mistake cannot be had back; what was not heard can be said again.
    least = settings.least_ratio_data if action.startswith(ABOUT_DATA) else settings.least_ratio
    return Heard(action, likeness.words) if likeness.ratio >= least else NOTHING
