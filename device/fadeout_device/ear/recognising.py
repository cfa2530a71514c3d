"""Recognises finished utterances beside the listening, one after the other, in a thread of its own.

The thread mostly waits for another process, so that samples are taken meanwhile.
Few utterances wait; one more than `MAX_WAITING` is not recognised, and fails. A
recogniser that cannot is told once, and again when it is another fault: its
utterances are failed ones. Knows no recogniser, and never says what was heard.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.ear.capture import SAMPLE_BYTES, UtteranceFinished
from fadeout_device.ear.recognition import NOTHING, Heard, Recogniser
from fadeout_device.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

MAX_WAITING = 4
IDLE_S = 600.0
"""After so long without an utterance the recogniser lets go of its memory."""
_MAX_REASON = 300


class Recognised(NamedTuple):
    """A finished utterance and what was heard in it."""

    finished: UtteranceFinished
    began_mono_s: float
    """When its first sample was heard."""
    heard: Heard


class Recognising:
    """Recognises; without a recogniser, nothing is heard in any utterance.

    Args:
        recogniser: None: there is none.
        idle_s: see `IDLE_S`.
    """

    def __init__(self, recogniser: Recogniser | None, idle_s: float = IDLE_S) -> None:
        self._recogniser = recogniser
        self._idle_s = idle_s
        self._asked: queue.Queue[tuple[UtteranceFinished, float] | None] = queue.Queue()
        self._done: queue.Queue[Recognised | Exception] = queue.Queue()
        self._thread: threading.Thread | None = None
        self.waiting = 0
        """Utterances given to `begin` that have not come out of `done`."""
        self.error = ""
        """Why the last utterance could not be recognised; empty: it could."""

    def now(self, finished: UtteranceFinished) -> Heard:
        """Recognise an utterance, however long that takes."""
        if self._recogniser is None or not finished.speech_s:
            return NOTHING
        at = max(0, finished.detection.rose_sample - finished.start_sample) * SAMPLE_BYTES
        try:
            heard = self._recogniser.recognise(finished.pcm[at:])
        except UnavailableError as err:
            reason = str(err)[:_MAX_REASON]
            if reason != self.error:
                log.error("utterances are not recognised: %s", reason)  # noqa: TRY400 - expected, and said
            self.error = reason
            return NOTHING
        if self.error:
            log.info("utterances are recognised again")
        self.error = ""
        return heard

    def begin(self, finished: UtteranceFinished, began_mono_s: float) -> None:
        """Recognise an utterance meanwhile; it comes out of `done`."""
        self.waiting += 1
        if self._recogniser is None or not finished.speech_s:
            self._done.put(Recognised(finished, began_mono_s, NOTHING))
            return
        if self._asked.qsize() >= MAX_WAITING:
            log.warning("an utterance was not recognised: %d wait", MAX_WAITING)
            self._done.put(Recognised(finished, began_mono_s, NOTHING))
            return
        if self._thread is None:
            # A daemon: one that hangs in a library must not hold up a shutdown.
            self._thread = threading.Thread(target=self._work, name="recogniser", daemon=True)
            self._thread.start()
        self._asked.put((finished, began_mono_s))

    def done(self, timeout_s: float = 0.0) -> Iterator[Recognised]:
        """Yield what has been recognised; wait so long for the first."""
        try:
            while self.waiting:
                recognised = self._done.get(block=timeout_s > 0, timeout=timeout_s or None)
                timeout_s = 0.0
                if isinstance(recognised, Exception):
                    raise recognised
                self.waiting -= 1
                yield recognised
        except queue.Empty:
            return

    def close(self) -> None:
        """Stop; what was not recognised is dropped."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(1.0)
        if self._recogniser is not None and (self._thread is None or not self._thread.is_alive()):
            self._recogniser.close()

    def _work(self) -> None:
        while True:
            try:
                asked = self._asked.get(timeout=self._idle_s)
            except queue.Empty:
                if self._recogniser is not None:
                    self._recogniser.close()
                continue
            if asked is None:
                return
            try:
                self._done.put(Recognised(*asked, self.now(asked[0])))
            except Exception as err:  # noqa: BLE001 - raised again where it stops the ear
                self._done.put(err)
            # Held no longer than the next one needs to come.
            del asked
