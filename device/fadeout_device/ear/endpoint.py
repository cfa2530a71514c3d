"""Where an utterance ends, judged from one yes or no per 30 ms of audio.

Pure arithmetic on counts of frames: knows neither the audio nor who said that
a frame holds speech. How long is how long stands in `[utterance]`.

    wake word | tail, not judged | waiting for speech ... speech ... hang-over | end

A burst of sound shorter than `min_speech_ms` is forgotten once `hang_over_ms`
of silence follow it, so that a door or a cough neither ends the waiting nor
makes it longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fadeout_device.config import UtteranceSettings

FRAME_MS = 30
"""The longest frame that webrtcvad takes: the fewest calls."""


class Endpoint:
    """Follows one utterance, from the frame after the wake word was recognised."""

    def __init__(self, settings: UtteranceSettings) -> None:
        self._settings = settings
        self._elapsed_ms = 0
        self._silence_ms = 0
        self._speech_ms = 0
        self._first_ms = 0

    @property
    def speech_ms(self) -> int:
        """Milliseconds of speech; 0 as long as there was less than `min_speech_ms` in one burst."""
        return self._speech_ms if self._speech_ms >= self._settings.min_speech_ms else 0

    @property
    def speech_span_ms(self) -> tuple[int, int] | None:
        """Where that speech starts and ends, in milliseconds after the wake word; None: there is none."""
        return (self._first_ms, self._elapsed_ms - self._silence_ms) if self.speech_ms else None

    def add(self, *, is_speech: bool) -> bool:
        """Take the next frame; True when the utterance ends with it."""
        self._elapsed_ms += FRAME_MS
        if self._elapsed_ms > self._settings.wake_tail_ms:
            self._count(is_speech=is_speech)
        return self._is_over()

    def _count(self, *, is_speech: bool) -> None:
        if is_speech:
            if not self._speech_ms:
                self._first_ms = self._elapsed_ms - FRAME_MS
            self._speech_ms += FRAME_MS
            self._silence_ms = 0
            return
        self._silence_ms += FRAME_MS
        if not self.speech_ms and self._silence_ms >= self._settings.hang_over_ms:
            self._speech_ms = 0

    def _is_over(self) -> bool:
        if self._elapsed_ms >= self._settings.max_ms:
            return True
        if self.speech_ms:
            return self._silence_ms >= self._settings.hang_over_ms
        # While a burst lasts it may yet become speech: wait for its end.
        return self._speech_ms == 0 and self._elapsed_ms >= self._settings.no_speech_ms
