"""pyopen-wakeword as an engine that gives scores; an extra, because its models may not be sold.

Audio goes in by steps of 80 ms, whatever the blocks, so a score depends on the audio alone.
The library holds the last 10 s of what it was given, until it is reset. Knows nothing of
recordings.

Source: https://github.com/dscripka/openWakeWord; pyopen_wakeword.OpenWakeWord.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

from fadeout_device.ear.capture import SAMPLE_BYTES
from fadeout_device.ear.waking import STEP_SAMPLES, Score
from fadeout_device.wake_words import not_a_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fadeout_device.wake_words import WakeModel

_STEP_BYTES = STEP_SAMPLES * SAMPLE_BYTES
_OWN_CUTOFF = 0.5
"""What openWakeWord's documentation and its models go by."""
_EMBEDDING = 96
"""Values per window: the last dimension of what every model of it takes."""


class OpenWakeWords:
    """Several models on one stream.

    Raises:
        PolicyError: a model that cannot be run.
    """

    def __init__(self, models: Sequence[WakeModel]) -> None:
        self._features = OpenWakeWordFeatures.from_builtin()
        self._models = {model.word: self._load(model) for model in models}
        self.cutoffs = {m.word: _OWN_CUTOFF if m.cutoff is None else m.cutoff for m in models}
        """Probability above which each word counts as heard."""
        self._rest = bytearray()
        self._heard = 0
        self.reset()

    def scores(self, pcm: bytes) -> Iterator[Score]:
        """Take the next audio; yield the probability of each word, every 80 ms from two seconds on."""
        self._rest += pcm
        while len(self._rest) >= _STEP_BYTES:
            step = bytes(self._rest[:_STEP_BYTES])
            del self._rest[:_STEP_BYTES]
            self._heard += STEP_SAMPLES
            for embeddings in self._features.process_streaming(step):
                for word, model in self._models.items():
                    for value in model.process_streaming(embeddings):
                        yield Score(self._heard, word, value)

    def reset(self) -> None:
        """Start afresh, as if nothing had been heard yet: the next sample is number 0."""
        self._features.reset()
        # The library would run through 8 s of silence first, at the cost of as much speech.
        self._features.new_audio_samples = 0
        for model in self._models.values():
            model.reset()
        self._rest.clear()
        self._heard = 0

    def _load(self, model: WakeModel) -> OpenWakeWord:
        if model.path is None:
            return OpenWakeWord.from_builtin(Model(model.word))
        return self._own(model, model.path)

    def _own(self, model: WakeModel, path: Path) -> OpenWakeWord:
        # The library would go on with a null pointer, or with a tensor of another size.
        if not self._features.lib.TfLiteModelCreateFromFile(str(path).encode()):
            raise not_a_model(model, path)
        loaded = OpenWakeWord.from_model(path)
        dimensions = loaded.lib.TfLiteTensorNumDims(loaded.input_tensor)
        if dimensions != 3 or loaded.lib.TfLiteTensorDim(loaded.input_tensor, 2) != _EMBEDDING:  # noqa: PLR2004 - [1, windows, 96]
            raise not_a_model(model, path)
        return loaded
