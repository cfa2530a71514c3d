"""pymicro-wakeword as a stream of detections.

The front end computes the features once, and every model reads them. Nothing
is reset while audio flows, so a detection depends on the audio alone, not on
how it was cut or on what came of earlier ones. Knows nothing of recordings.

Source: https://github.com/kahrendt/microWakeWord; pymicro_wakeword.MicroWakeWord.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

from fadeout_device.ear.capture import Detection
from fadeout_device.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

# A feature covers 30 ms of audio and there is one every 10 ms, so the first comes with the
# third 10 ms step: pymicro_features, FRONTEND_WINDOW_SIZE and WINDOW_STEP.
_STEP_SAMPLES = 160
_STEPS_BEFORE_FIRST = 2


class WakeWords:
    """Several wake words on one stream of 16 kHz mono s16le.

    Args:
        words: names of models bundled with pymicro-wakeword.
        cutoff: mean probability above which a word counts as heard; None: each model's own.

    Raises:
        ConfigError: there is no such model.
    """

    def __init__(self, words: Sequence[str], cutoff: float | None) -> None:
        self.words = tuple(words)
        self._words = [_Word(word, cutoff) for word in words]
        self._features = MicroWakeWordFeatures()
        self._steps = _STEPS_BEFORE_FIRST

    def process(self, pcm: bytes) -> list[Detection]:
        """Take the next audio and return what was recognised in it, in order of position."""
        detections = []
        steps = self._steps
        for feature in self._features.process_streaming(pcm):
            steps += 1
            for word in self._words:
                score = word.rises(feature)
                if score is not None:
                    detections.append(Detection(steps * _STEP_SAMPLES, word.name, score))
        self._steps = steps
        return detections

    def reset(self) -> None:
        """Start afresh, as if nothing had been heard yet: the next sample is number 0."""
        self._features.reset()
        self._steps = _STEPS_BEFORE_FIRST
        for word in self._words:
            word.reset()


class _Word:
    """One model, and whether its score is above the cutoff just now."""

    def __init__(self, name: str, cutoff: float | None) -> None:
        try:
            self._model = MicroWakeWord.from_builtin(Model(name))
        except ValueError as err:
            known = ", ".join(model.value for model in Model)
            raise ConfigError(f'wake.words: there is no wake word "{name}"', f"allowed: {known}") from err
        self.name = name
        self._cutoff = self._model.probability_cutoff if cutoff is None else cutoff
        self._is_above = False
        self._until_inference = self._model.stride

    def rises(self, feature: np.ndarray) -> float | None:
        """Return the score when it passes the cutoff with this feature.

        The mean over the model's window stays high for some 0.6 s after the word, which is
        the same wake word still; only the rising edge counts.
        """
        score = self._model.process_streaming_prob(feature)
        self._until_inference -= 1
        if self._until_inference:
            # The model runs once per stride; in between the library answers 0.0, which is no score.
            return None
        self._until_inference = self._model.stride
        was_above = self._is_above
        self._is_above = score is not None and score > self._cutoff
        return min(score, 1.0) if score is not None and self._is_above and not was_above else None

    def reset(self) -> None:
        self._model.reset()
        self._is_above = False
        self._until_inference = self._model.stride
