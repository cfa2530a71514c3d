"""pyopen-wakeword as an engine that gives scores; an extra, because its models may not be sold.

Audio goes in by steps of 80 ms, whatever the blocks, so a score depends on the audio alone.
What is asked about seconds of audio hears them together: the embedding is a convolution over
the spectrum, so the windows of 0.8 s that overlap need not each be computed for themselves.
The library holds the last 10 s of what it was given, until it is reset. Knows nothing of
recordings.

Source: https://github.com/dscripka/openWakeWord; pyopen_wakeword.OpenWakeWord.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np
from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

from fadeout_device.ear.adapters.tflite import is_model
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
_MELS = 32
_MELS_PER_STEP = 8
_WINDOW_MELS = 76
_FIRST_WINDOW_STEPS = 11
"""The first step gives no spectrum yet, and a window needs nine and a half."""


class OpenWakeWords:
    """Several models on one stream.

    Args:
        models: what is listened for.
        together_steps: so many steps after a reset are heard together, when the last of them is
            complete: for what is asked about seconds that are over. 0: each for itself.

    Raises:
        PolicyError: a model that cannot be run.
    """

    def __init__(self, models: Sequence[WakeModel], together_steps: int = 0) -> None:
        self._features = OpenWakeWordFeatures.from_builtin()
        self._together = _Together(self._features, together_steps) if together_steps else None
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
            if self._together is None:
                every = self._features.process_streaming(step)
            else:
                every = self._together.process_streaming(step)
            for embeddings in every:
                yield from self._scores(embeddings)

    def _scores(self, embeddings: np.ndarray) -> list[Score]:
        """Return the scores that follow from embeddings, the last of which is of the newest step."""
        scores = []
        for word, model in self._models.items():
            values = list(model.process_streaming(embeddings))
            first = self._heard - (len(values) - 1) * STEP_SAMPLES
            scores += [
                Score(first + number * STEP_SAMPLES, word, value) for number, value in enumerate(values)
            ]
        # Of several steps, those of each step together, as they come of one at a time.
        return sorted(scores, key=lambda score: score.sample)

    def reset(self) -> None:
        """Start afresh, as if nothing had been heard yet: the next sample is number 0."""
        self._features.reset()
        # The library would run through 8 s of silence first, at the cost of as much speech.
        self._features.new_audio_samples = 0
        if self._together is not None:
            self._together.reset()
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
        if not is_model(self._features.lib, path):
            raise not_a_model(model, path)
        loaded = OpenWakeWord.from_model(path)
        dimensions = loaded.lib.TfLiteTensorNumDims(loaded.input_tensor)
        if dimensions != 3 or loaded.lib.TfLiteTensorDim(loaded.input_tensor, 2) != _EMBEDDING:  # noqa: PLR2004 - [1, windows, 96]
            raise not_a_model(model, path)
        return loaded


class _Together:
    """The library's features, of which the first steps after a reset are embedded at once.

    Gives the same numbers but for rounding: the last place of a float. The spectrum is computed step
    by step all the same, because the library's model limits it to 80 dB below the loudest of a step.
    """

    def __init__(self, features: OpenWakeWordFeatures, steps: int) -> None:
        self._features = features
        self._windows = steps - _FIRST_WINDOW_STEPS + 1
        self._mels = (steps - 1) * _MELS_PER_STEP
        self._shape = (1, _WINDOW_MELS + (self._windows - 1) * _MELS_PER_STEP, _MELS, 1)
        lib = features.lib
        self._interpreter = lib.TfLiteInterpreterCreate(features.emb_model, None)
        dimensions = (ctypes.c_int32 * len(self._shape))(*self._shape)
        lib.TfLiteInterpreterResizeInputTensor(
            self._interpreter, ctypes.c_int32(0), dimensions, ctypes.c_int32(len(self._shape))
        )
        if lib.TfLiteInterpreterAllocateTensors(self._interpreter):
            raise RuntimeError("pyopen-wakeword's embedding model takes no longer audio")
        self._input = lib.TfLiteInterpreterGetInputTensor(self._interpreter, ctypes.c_int32(0))
        self._output = lib.TfLiteInterpreterGetOutputTensor(self._interpreter, ctypes.c_int32(0))
        self._is_first = True

    def process_streaming(self, step: bytes) -> Iterator[np.ndarray]:
        """Take the next step; yield embeddings, [1, 1, windows, 96]."""
        yield from self._features.process_streaming(step)
        if self._is_first and self._features.new_mels == 0:
            self._is_first = False
            yield self._embedded()
            # What the library would have left to go on with: half a step.
            self._features.new_mels = self._mels - self._windows * _MELS_PER_STEP

    def reset(self) -> None:
        """Start afresh, after the library."""
        self._is_first = True
        # The library counts the rows of spectrum that it has not used: below nothing, it only collects.
        self._features.new_mels = -self._mels

    def _embedded(self) -> np.ndarray:
        lib = self._features.lib
        rows = self._features.mels[-self._mels :][: self._shape[1]]
        given = np.ascontiguousarray(rows, np.float32)
        found = np.empty((1, 1, self._windows, _EMBEDDING), np.float32)
        lib.TfLiteTensorCopyFromBuffer(self._input, _address(given), ctypes.c_size_t(given.nbytes))
        lib.TfLiteInterpreterInvoke(self._interpreter)
        lib.TfLiteTensorCopyToBuffer(self._output, _address(found), ctypes.c_size_t(found.nbytes))
        return found


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
