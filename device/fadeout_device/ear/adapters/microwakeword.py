"""pymicro-wakeword as an engine that gives scores.

The front end computes the features once, and every model reads them. Nothing
is reset while audio flows, so a score depends on the audio alone, not on how it
was cut or on what came of earlier ones. Knows nothing of recordings.

Source: https://github.com/kahrendt/microWakeWord; pymicro_wakeword.MicroWakeWord.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model
from pymicro_wakeword.wakeword import TfLiteWakeWord

from fadeout_device.ear.adapters.tflite import is_model
from fadeout_device.ear.waking import Score
from fadeout_device.wake_words import not_a_model, tflite_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from fadeout_device.wake_words import WakeModel

# A feature covers 30 ms of audio and there is one every 10 ms, so the first comes with the
# third 10 ms step: pymicro_features, FRONTEND_WINDOW_SIZE and WINDOW_STEP.
_STEP_SAMPLES = 160
_STEPS_BEFORE_FIRST = 2


class MicroWakeWords:
    """Several models on one stream.

    Raises:
        PolicyError: a model that cannot be run.
    """

    def __init__(self, models: Sequence[WakeModel]) -> None:
        self._words = [_Word(model) for model in models]
        self.cutoffs = {word.name: word.cutoff for word in self._words}
        """Mean probability above which each word counts as heard."""
        self._features = MicroWakeWordFeatures()
        self._steps = _STEPS_BEFORE_FIRST

    def scores(self, pcm: bytes) -> Iterator[Score]:
        """Take the next audio; yield the mean probability of each word, whenever its model has run."""
        for feature in self._features.process_streaming(pcm):
            self._steps += 1
            for word in self._words:
                value = word.score(feature)
                if value is not None:
                    yield Score(self._steps * _STEP_SAMPLES, word.name, value)

    def reset(self) -> None:
        """Start afresh, as if nothing had been heard yet: the next sample is number 0."""
        self._features.reset()
        self._steps = _STEPS_BEFORE_FIRST
        for word in self._words:
            word.reset()


class _Word:
    """One model."""

    def __init__(self, model: WakeModel) -> None:
        if model.path is None:
            self._model = MicroWakeWord.from_builtin(Model(model.word))
        else:
            self._model = _own(model, model.path)
        self.name = model.word
        self.cutoff = self._model.probability_cutoff if model.cutoff is None else model.cutoff
        self._until_inference = self._model.stride

    def score(self, feature: np.ndarray) -> float | None:
        """Return the mean over the model's window, if the model runs with this feature.

        It runs once per stride; in between the library answers 0.0, which is no score. The
        mean stays high for some 0.6 s after the word.
        """
        score = self._model.process_streaming_prob(feature)
        self._until_inference -= 1
        if self._until_inference:
            return None
        self._until_inference = self._model.stride
        return score

    def reset(self) -> None:
        self._model.reset()
        self._until_inference = self._model.stride


def _own(model: WakeModel, path: Path) -> MicroWakeWord:
    """Load a model that somebody brought; `wake_words.check_files` has looked at the file's form."""
    known = MicroWakeWord.from_builtin(Model.OKAY_NABU)
    tflite = tflite_of(path)
    # The library would go on with a null pointer.
    runtime = TfLiteWakeWord(known.libtensorflowlite_c_path)
    if not is_model(runtime.lib, tflite):
        raise not_a_model(model, tflite)
    try:
        return MicroWakeWord.from_config(path)
    except (ValueError, RuntimeError) as err:
        raise not_a_model(model, tflite) from err
