"""Listening to a microphone: block by block, in one thread, until told to stop.

A microphone that goes away is opened again, and the vault is told that nobody
listens meanwhile. The first one must be there: a person who starts fadeout
wants to know. While the vault says that it is muted no stream is open, and what was
being recorded when it said so is dropped.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

from fadeout_device.ear.adapters.microphone import Microphone
from fadeout_device.ear.capture import RATE_HZ, UtteranceFinished, WakeHeard
from fadeout_device.ear.listening import payload_of, utterance_message
from fadeout_device.ear.recognising import Recognising
from fadeout_device.errors import UnavailableError
from fadeout_device.messages import EarState, Wake

if TYPE_CHECKING:
    from fadeout_device.config import Config
    from fadeout_device.ear.adapters.vault_link import VaultLink
    from fadeout_device.ear.capture import Effect
    from fadeout_device.ear.listening import Listening
    from fadeout_device.ear.stopping import Stop

log = logging.getLogger(__name__)

_POLL_S = 0.25
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 30.0
# How long a shutdown waits for a vault that is away, with utterances at hand.
_LAST_WORDS_S = 5.0
_MAX_NAME = 300


class Live:
    """The ear at a microphone."""

    def __init__(
        self,
        config: Config,
        listening: Listening,
        link: VaultLink,
        stop: Stop,
        recognising: Recognising | None = None,
    ) -> None:
        self._settings = config.microphone
        self._listening = listening
        self._link = link
        self._stop = stop
        self._recognising = recognising or Recognising(None)
        self._source = ""
        self._earlier_overflows = 0
        self._state: EarState | None = None

    def run(self) -> None:
        """Listen until told to stop; an utterance that is being recorded then is finished and sealed.

        Raises:
            UnavailableError: there is no microphone at the start.
        """
        # Overdue items die before the microphone opens.
        while not (self._link.is_ready or self._stop.is_set):
            self._link.poll()
            if not self._link.is_ready:
                time.sleep(_POLL_S)
        retry_s, is_first = 0.0, True
        while not self._stop.is_set:
            if self._link.is_muted:
                self._stay_closed()
                retry_s, is_first = 0.0, False
                continue
            try:
                self._hear_out(Microphone(self._settings))
                retry_s = 0.0
            except UnavailableError as err:
                if is_first:
                    raise
                log.warning("no microphone: %s", err)
            is_first = False
            self._say(is_listening=False, overflows=0)
            if self._stop.is_set or self._link.is_muted:
                continue
            retry_s = min(max(retry_s * 2, _FIRST_RETRY_S), _LAST_RETRY_S)
            self._pause(retry_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        end_mono_s = time.monotonic() + _LAST_WORDS_S
        while self._recognising.waiting and time.monotonic() < end_mono_s:
            self._deliver(_POLL_S)
        while self._link.waiting and time.monotonic() < end_mono_s:
            self._link.poll()
            time.sleep(_POLL_S if self._link.waiting else 0)

    def _hear_out(self, microphone: Microphone) -> None:
        """Listen to one microphone until it dies, it is muted, or the ear is told to stop."""
        self._source = microphone.name[:_MAX_NAME]
        log.info("microphone open")
        self._listening.begin()
        try:
            while not (self._stop.is_set or self._link.is_muted):
                self._say(is_listening=True, overflows=microphone.overflows)
                block = microphone.read(_POLL_S)
                if block is not None:
                    self._act(self._listening.hear(block.pcm), block.arrived_mono_s)
                self._deliver()
                self._link.poll()
        except UnavailableError as err:
            log.warning("microphone lost: %s", err)
        finally:
            microphone.close()
            self._earlier_overflows += microphone.overflows
            if self._link.is_muted:
                log.info("muted: microphone closed")
                self._listening.begin()
            self._act(self._listening.end(), time.monotonic())

    def _stay_closed(self) -> None:
        """Say that nobody listens, until that may change."""
        self._say(is_listening=False, overflows=0)
        while self._link.is_muted and not self._stop.is_set:
            self._deliver()
            self._link.poll()
            time.sleep(_POLL_S)

    def _act(self, effects: list[Effect], arrived_mono_s: float) -> None:
        """Tell the vault; `arrived_mono_s` is when the last sample heard so far had arrived."""
        for effect in effects:
            match effect:
                case WakeHeard(detection):
                    self._link.tell_wake(Wake(detection.word, detection.score))
                case UtteranceFinished():
                    since_start_s = (self._listening.position - effect.start_sample) / RATE_HZ
                    self._recognising.begin(effect, arrived_mono_s - since_start_s)
        self._deliver()

    def _deliver(self, timeout_s: float = 0.0) -> None:
        """Hand over what has been recognised; wait so long for the first."""
        for finished, began_mono_s, heard in self._recognising.done(timeout_s):
            utterance = utterance_message(finished, time.monotonic() - began_mono_s, heard)
            self._link.deliver(utterance, payload_of(finished, utterance, heard))

    def _say(self, *, is_listening: bool, overflows: int) -> None:
        """Tell the vault how the ear is, if that has changed."""
        state = EarState(
            listening=is_listening,
            source=self._source,
            wake_words=self._listening.words,
            overflows=self._earlier_overflows + overflows,
            dropped=self._link.dropped,
            recogniser=self._recognising.error,
        )
        if state != self._state:
            self._state = state
            self._link.set_state(state)

    def _pause(self, duration_s: float) -> None:
        end_mono_s = time.monotonic() + duration_s
        while time.monotonic() < end_mono_s and not self._stop.is_set:
            self._deliver()
            self._link.poll()
            time.sleep(_POLL_S)
