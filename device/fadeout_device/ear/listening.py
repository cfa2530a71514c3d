"""One stream of audio through the wake words, the capture and the VAD; the same live and in replay.

Holds what a stream needs and starts afresh with the next one. Knows neither
where the audio comes from nor where utterances go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fadeout_device.ear.adapters.vad import WebRtcVad
from fadeout_device.ear.adapters.vault_link import token
from fadeout_device.ear.adapters.wakeword import wake_words
from fadeout_device.ear.capture import SAMPLE_BYTES, Capture, State
from fadeout_device.ear.outcome import judge
from fadeout_device.ear.quiet import Spared
from fadeout_device.ear.recognition import NOTHING
from fadeout_device.messages import MAX_WORDS_BYTES, Utterance

if TYPE_CHECKING:
    from fadeout_device.config import Config
    from fadeout_device.ear.capture import Effect, UtteranceFinished
    from fadeout_device.ear.recognition import Heard


class Listening:
    """Hears one stream after another.

    Raises:
        PolicyError: a wake word has no model that can be run.
    """

    def __init__(self, config: Config) -> None:
        self._settings = config.utterance
        self._wake_words = wake_words(config.wake)
        self._capture = self._new_capture()
        self.position = 0
        """Samples heard since the stream began."""

    @property
    def words(self) -> tuple[str, ...]:
        """What is listened for."""
        return self._wake_words.words

    @property
    def is_quiet(self) -> bool:
        """Nothing is recorded, and nothing rises above the noise of the room."""
        return not self.is_recording and all(
            isinstance(engine, Spared) and engine.is_quiet for engine in self._wake_words.engines
        )

    @property
    def spared_percent(self) -> int | None:
        """Share of all audio in which it was too quiet for the engines to be asked; None: they are always."""
        spared = [engine for engine in self._wake_words.engines if isinstance(engine, Spared)]
        heard = sum(engine.heard_samples for engine in spared)
        asked = sum(engine.asked_samples for engine in spared)
        return 100 - round(100 * asked / heard) if heard else None

    @property
    def is_recording(self) -> bool:
        """An utterance is being recorded."""
        return self._capture.state is State.RECORDING

    def begin(self) -> None:
        """Forget the stream before this one; the next block is the start of another."""
        self._wake_words.reset()
        self._capture = self._new_capture()
        self.position = 0

    def hear(self, pcm: bytes) -> list[Effect]:
        """Take the next block of 16 kHz mono s16le."""
        self.position += len(pcm) // SAMPLE_BYTES
        return self._capture.feed(pcm, self._wake_words.process(pcm))

    def end(self) -> list[Effect]:
        """Finish the utterance that is being recorded, if there is one: the stream is over."""
        return self._capture.cut()

    def _new_capture(self) -> Capture:
        patience_samples = self._wake_words.patience_samples
        return Capture(self._settings, lambda: WebRtcVad(self._settings.vad_mode), patience_samples)


def utterance_message(finished: UtteranceFinished, age_s: float, heard: Heard = NOTHING) -> Utterance:
    """Return what the vault is told of an utterance.

    Args:
        finished: the utterance; its audio and its words travel beside the message.
        age_s: seconds since its first sample.
        heard: what was recognised in it.
    """
    return Utterance(
        delivery=token(),
        wake_word=finished.detection.word,
        score=finished.detection.score,
        age_s=age_s,
        duration_s=finished.duration_s,
        speech_s=finished.speech_s,
        outcome=judge(finished.speech_s, heard.action),
        action=heard.action,
        request_bytes=len(_request(heard)),
    )


def payload_of(finished: UtteranceFinished, utterance: Utterance, heard: Heard = NOTHING) -> bytes:
    """Return the audio and the words that go with the message: of a false wake, none leave the ear."""
    return b"" if utterance.outcome == "false_wake" else finished.pcm + _request(heard)


def _request(heard: Heard) -> bytes:
    return heard.words.encode()[:MAX_WORDS_BYTES]
