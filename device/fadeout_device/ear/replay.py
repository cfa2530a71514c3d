"""Replaying audio files: the same ear, with the audio's time for a clock, and a report of JSON lines.

Every utterance is reported once it is sealed or dropped, and what is reported
depends on the audio alone: neither on the speed nor on what the vault goes
through meanwhile; a vault that is away is waited for.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from fadeout_device.audio_paths import find_files
from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.capture import RATE_HZ, SAMPLE_BYTES, UtteranceFinished, WakeHeard
from fadeout_device.ear.listening import payload_of, utterance_message
from fadeout_device.ear.recognising import Recognising
from fadeout_device.ear.reported import say, utterance_fields
from fadeout_device.errors import AudioDataError
from fadeout_device.messages import EarState, Tick, Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fadeout_device.ear.adapters.vault_link import VaultLink
    from fadeout_device.ear.capture import Effect
    from fadeout_device.ear.listening import Listening
    from fadeout_device.ear.stopping import Stop

log = logging.getLogger(__name__)

Speed = Literal["max", "real"]

_TICK_S = 60.0
_WAIT_S = 0.05
_MAX_NAME = 300
_PROGRESS_PARTS = 100
_PROGRESS_S = 1.0
_PROGRESS_LEAST_S = 0.1


class Replay:
    """The ear at a pile of files.

    Args:
        listening: what hears.
        link: made with `ages=False`.
        stop: looked at between blocks.
        report: where the JSON lines go.
        recognising: what recognises; None: nothing is recognised.
        speed: `real` takes as long as the audio.
        start_at_s: the time at which the first file begins; Unix seconds.
        clock: monotonic seconds; paces `real`, and the progress lines.
        sleep: waits so many seconds.
    """

    def __init__(  # noqa: PLR0913 - all are named
        self,
        listening: Listening,
        link: VaultLink,
        stop: Stop,
        report: BinaryIO,
        recognising: Recognising | None = None,
        *,
        speed: Speed,
        start_at_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._listening = listening
        self._link = link
        self._stop = stop
        self._report = report
        self._recognising = recognising or Recognising(None)
        self._is_real = speed == "real"
        self._clock = clock
        self._sleep = sleep
        self._file = ""
        # The time at which the current file begins.
        self._file_at_s = start_at_s
        self._start_at_s = start_at_s
        self._ticked_at_s = start_at_s
        self._counts = {"files": 0, "bad_files": 0, "utterances": 0}

    def run(self, paths: Iterable[Path]) -> int:
        """Replay files and folders, one after the other; return the exit code."""
        self._wait_for_vault()
        for path in paths:
            try:
                files = find_files(path)
            except AudioDataError as err:
                self._bad_file(path, err)
                continue
            for file in files:
                self._replay(file)
                if self._stop.is_set:
                    # No `end`: what is missing was not replayed.
                    return 0
        audio_s = round(self._file_at_s - self._start_at_s, 3)
        self._say("end", **self._counts, audio_s=audio_s)
        return AudioDataError.exit_code if self._counts["bad_files"] else 0

    def _replay(self, path: Path) -> None:
        try:
            file = AudioFile(path)
        except AudioDataError as err:
            self._bad_file(path, err)
            return
        self._file = _shown(path)
        self._counts["files"] += 1
        self._say("file", file=self._file, duration_s=round(file.duration_s, 3))
        self._link.set_state(
            EarState(listening=True, source=self._file[-_MAX_NAME:], wake_words=self._listening.words)
        )
        self._listening.begin()
        try:
            self._hear(file)
        except AudioDataError as err:
            self._counts["files"] -= 1
            self._bad_file(path, err)
        finally:
            file.close()
        if not self._stop.is_set:
            self._act(self._listening.end())
        self._file_at_s += self._listening.position / RATE_HZ
        self._tick(self._file_at_s)

    def _hear(self, file: AudioFile) -> None:
        began_mono_s = shown_mono_s = self._clock()
        shown_s = 0.0
        for pcm in file.blocks():
            if self._stop.is_set:
                return
            if self._is_real:
                self._pace(began_mono_s, len(pcm) // SAMPLE_BYTES)
            self._act(self._listening.hear(pcm))
            position_s = self._listening.position / RATE_HZ
            if self._file_at_s + position_s >= self._ticked_at_s + _TICK_S:
                self._tick(self._file_at_s + position_s)
            since_s = self._clock() - shown_mono_s
            is_next_part = position_s - shown_s >= file.duration_s / _PROGRESS_PARTS
            if since_s >= (_PROGRESS_LEAST_S if is_next_part else _PROGRESS_S):
                self._say("progress", file=self._file, position_s=round(position_s, 3))
                shown_s, shown_mono_s = position_s, shown_mono_s + since_s

    def _pace(self, began_mono_s: float, samples: int) -> None:
        """Wait until so many more samples would have been spoken."""
        self._link.poll()
        early_s = began_mono_s + (self._listening.position + samples) / RATE_HZ - self._clock()
        if early_s > 0:
            self._sleep(early_s)

    def _act(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case WakeHeard(detection):
                    self._link.tell_wake(Wake(detection.word, detection.score))
                case UtteranceFinished():
                    self._deliver(effect)

    def _deliver(self, finished: UtteranceFinished) -> None:
        """Have an utterance sealed, however long that takes, and report it."""
        self._tick(self._file_at_s + finished.end_sample / RATE_HZ)
        heard = self._recognising.now(finished)
        utterance = utterance_message(finished, finished.duration_s, heard)
        delivery = self._link.deliver(utterance, payload_of(finished, utterance, heard))
        while delivery.answer is None:
            if self._stop.is_set:
                return
            self._sleep(_WAIT_S)
            self._link.poll()
        self._counts["utterances"] += 1
        said = utterance_fields(finished, utterance, delivery.answer)
        self._say("utterance", file=self._file, **said)

    def _tick(self, time_s: float) -> None:
        self._wait_for_vault()
        self._ticked_at_s = time_s
        self._link.tell_time(Tick(time_s))

    def _wait_for_vault(self) -> None:
        self._link.poll()
        while not (self._link.is_ready or self._stop.is_set):
            self._sleep(_WAIT_S)
            self._link.poll()

    def _bad_file(self, path: Path, err: AudioDataError) -> None:
        self._counts["files"] += 1
        self._counts["bad_files"] += 1
        self._say("bad_file", file=_shown(path), error=_printable(str(err)), hint=err.hint)

    def _say(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON values
        say(self._report, kind, **fields)


def _shown(path: Path) -> str:
    return _printable(str(path))


def _printable(text: str) -> str:
    """Replace bytes of a file's name that are not UTF-8, which JSON cannot hold."""
    return os.fsencode(text).decode("utf-8", "replace")
