"""Listening to a microphone: block by block, in one thread, until told to stop.

A microphone that goes away is opened again, and the vault is told that nobody
listens meanwhile, and why. The first one must be there: a person who starts fadeout
wants to know; not so an ear that is started again. While the vault says that it is
muted no stream is open, and what was being recorded when it said so is dropped.

A sound system that does not return from a call ends the ear, after a while or soon
after a mute or a stop: nothing else would close the microphone for certain.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

import msgspec

from fadeout_device.ear.adapters.microphone import Microphone
from fadeout_device.ear.adapters.portaudio import StuckError, patiently
from fadeout_device.ear.adapters.remembered import remember, remembered
from fadeout_device.ear.adapters.speaking import Speaking
from fadeout_device.ear.capture import RATE_HZ, UtteranceFinished, WakeHeard
from fadeout_device.ear.inputs import MicrophoneError
from fadeout_device.ear.light import Indicator, Light, Terminal
from fadeout_device.ear.listening import payload_of, utterance_message
from fadeout_device.ear.loudness import Loudness
from fadeout_device.ear.recognising import Recognising
from fadeout_device.ear.reported import LiveReport
from fadeout_device.messages import LEVEL_EVERY_S, EarState, Wake
from fadeout_device.spoken import sentence

if TYPE_CHECKING:
    from pathlib import Path

    from fadeout_device.config import Config
    from fadeout_device.ear.adapters.microphone import Block
    from fadeout_device.ear.adapters.vault_link import VaultLink
    from fadeout_device.ear.capture import Effect
    from fadeout_device.ear.listening import Listening
    from fadeout_device.ear.stopping import Stop

log = logging.getLogger(__name__)

_POLL_S = 0.25
_REST_S = 0.4
"""In a quiet room audio is heard five blocks at a time: waking for each costs more than hearing it. What the
engine recognises rose half a second before, so that nothing is told later by that."""
_REST_BLOCKS = 5
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 3.0
"""The longest pause: who plugs a microphone in wants to be heard within five seconds."""
_OPEN_S = 30.0
_CLOSE_S = 10.0
# How long a shutdown waits for a vault that is away, with utterances at hand.
_LAST_WORDS_S = 5.0
_MAX_NAME = 300


class Live:
    """The ear at a microphone.

    Args:
        config: the configuration.
        listening: what hears it.
        link: to the vault.
        stop: what ends it.
        recognising: what recognises utterances.
        speaking: what says the answers to commands.
        light: what shows that something is recorded, or opened.
        report: what says how far it has listened.
        state_folder: where the name of a microphone is kept that is configured by its number; None: nowhere.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each is a part of the ear
        self,
        config: Config,
        listening: Listening,
        link: VaultLink,
        stop: Stop,
        recognising: Recognising | None = None,
        speaking: Speaking | None = None,
        *,
        light: Light | None = None,
        report: LiveReport | None = None,
        state_folder: Path | None = None,
    ) -> None:
        self._settings = config.microphone
        self._state_folder = state_folder
        self._known_as = remembered(state_folder, self._settings.device)
        """What the microphone was called, if the configuration has its number."""
        self._listening = listening
        self._link = link
        self._stop = stop
        self._recognising = recognising or Recognising(None)
        self._speaking = speaking or Speaking(())
        self._is_deaf = False
        """Whether what the microphone hears is fadeout itself."""
        self._indicator = Indicator(light or Terminal(), link.set_light, time.monotonic)
        link.on_opening = self._indicator.opening
        self._report = report or LiveReport()
        self._loudness = Loudness()
        self._earlier = EarState(listening=False, source="", wake_words=listening.words)
        """What was counted before the microphone that is open now."""
        self._state: EarState | None = None

    def run(self, *, waits: bool = False) -> None:
        """Listen until told to stop; an utterance that is being recorded then is finished and sealed.

        Args:
            waits: wait for a microphone that is not there at the start.

        Raises:
            MicrophoneError: there is no microphone at the start.
            StuckError: the sound system does not answer.
        """
        # Overdue items die before the microphone opens.
        while not (self._link.is_ready or self._stop.is_set):
            self._link.poll()
            if not self._link.is_ready:
                time.sleep(_POLL_S)
        try:
            self._listen(may_refuse=not waits)
        finally:
            end_mono_s = time.monotonic() + _LAST_WORDS_S
            while self._recognising.waiting and time.monotonic() < end_mono_s:
                self._deliver(_POLL_S)
            while self._link.waiting and time.monotonic() < end_mono_s:
                self._link.poll()
                time.sleep(_POLL_S if self._link.waiting else 0)
            self._look_at_light()
            self._indicator.close()

    def _listen(self, *, may_refuse: bool) -> None:
        retry_s = 0.0
        while not self._stop.is_set:
            if self._link.is_muted:
                self._stay_closed()
                retry_s, may_refuse = 0.0, False
                continue
            problem = ""
            try:
                microphone = patiently(self._open, _OPEN_S, self._is_wanted)
                may_refuse, retry_s = False, 0.0
                self._remember(microphone)
                problem = self._hear_out(microphone)
            except MicrophoneError as err:
                if may_refuse:
                    raise
                problem = str(err)
                # Not at every try: another program may have it all day.
                if problem != self._problem:
                    log.warning("no microphone: %s", err)
            if self._stop.is_set or self._link.is_muted:
                self._say(is_listening=False)
                continue
            self._say(is_listening=False, problem=problem)
            retry_s = min(max(retry_s * 2, _FIRST_RETRY_S), _LAST_RETRY_S)
            self._pause(retry_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret

    def _open(self) -> Microphone:
        return Microphone(self._settings, self._known_as)

    def _remember(self, microphone: Microphone) -> None:
        """Note the name of what a number means: it may mean another one when something is plugged in."""
        device = self._settings.device
        if not isinstance(device, int):
            return
        if microphone.device.index != device:
            log.warning('number %d is another microphone now: "%s" is used', device, microphone.name)
        self._known_as = microphone.name
        remember(self._state_folder, device, microphone.name)

    def _hear_out(self, microphone: Microphone) -> str:
        """Listen to one microphone until it dies, a mute or a stop; return why it died."""
        again = self._earlier.reopened + (self._earlier.source != "" and self._problem != "")
        self._earlier = msgspec.structs.replace(
            self._earlier, source=microphone.name[:_MAX_NAME], reopened=again
        )
        log.info("microphone open: rate_hz=%d channels=%d", microphone.rate_hz, microphone.channels)
        self._listening.begin()
        self._report.opened(microphone)
        self._loudness = Loudness()
        problem, heard_mono_s = "", 0.0
        try:
            while self._is_wanted():
                self._say(microphone, is_listening=True)
                # While something is in hand, what comes of it is looked for with each block.
                if is_quiet := self._is_idle and self._listening.is_quiet:
                    self._link.wait(max(0.0, heard_mono_s + _REST_S - time.monotonic()))
                block = microphone.read(_POLL_S, most=_REST_BLOCKS if is_quiet else 1)
                if block is not None:
                    heard_mono_s = block.arrived_mono_s
                    self._hear(block)
                self._deliver()
                if block is not None and self._report.is_wanted:
                    self._report.heard(block.pcm, self._counted(microphone), is_idle=self._is_idle)
        except MicrophoneError as err:
            log.warning("microphone lost: %s", err)
            problem = str(err)
        finally:
            try:
                self._close(microphone)
            finally:
                self._act(self._listening.end(), time.monotonic())
        return problem

    def _hear(self, block: Block) -> None:
        """Hear a block, unless fadeout itself speaks in it; what came before that is finished."""
        was_deaf, self._is_deaf = self._is_deaf, self._speaking.is_heard_at(block.arrived_mono_s)
        if self._is_deaf:
            if not was_deaf:
                self._act(self._listening.end(), block.arrived_mono_s)
                self._listening.begin()
            return
        self._loudness.hear(block.pcm)
        self._act(self._listening.hear(block.pcm), block.arrived_mono_s)

    def _close(self, microphone: Microphone) -> None:
        try:
            patiently(microphone.close, _CLOSE_S, self._is_wanted)
        except StuckError:
            log.error("the microphone does not close: ending the process, which closes it")  # noqa: TRY400 - no traceback
            raise
        finally:
            self._earlier = self._counted(microphone)
            if self._link.is_muted:
                log.info("muted: microphone closed")
                self._listening.begin()

    def _is_wanted(self) -> bool:
        """Look after the vault; return whether anybody wants to hear the microphone."""
        self._link.poll()
        return not (self._stop.is_set or self._link.is_muted)

    def _stay_closed(self) -> None:
        """Say that nobody listens, until that may change."""
        self._say(is_listening=False)
        while self._link.is_muted and not self._stop.is_set:
            self._deliver()
            self._link.poll()
            time.sleep(_POLL_S)

    def _act(self, effects: list[Effect], arrived_mono_s: float) -> None:
        """Tell the vault; `arrived_mono_s` is when the last sample heard so far had arrived."""
        for effect in effects:
            match effect:
                case WakeHeard(detection):
                    self._look_at_light()
                    self._link.tell_wake(Wake(detection.word, detection.score))
                case UtteranceFinished():
                    since_start_s = (self._listening.position - effect.start_sample) / RATE_HZ
                    self._recognising.begin(effect, arrived_mono_s - since_start_s)
        self._deliver()

    def _deliver(self, timeout_s: float = 0.0) -> None:
        """Hand over what has been recognised; wait so long for the first."""
        for finished, began_mono_s, heard in self._recognising.done(timeout_s):
            utterance = utterance_message(finished, time.monotonic() - began_mono_s, heard)
            delivery = self._link.deliver(utterance, payload_of(finished, utterance, heard))
            self._report.handed_over(finished, utterance, delivery)
        self._report.tell()
        while self._link.told:
            self._speaking.say(sentence(self._link.told.popleft()))
        self._speaking.tend()
        self._look_at_light()

    def _look_at_light(self) -> None:
        """On from the wake word until what was said is sealed or dropped."""
        self._indicator.look(is_recording=not self._is_idle)

    @property
    def _is_idle(self) -> bool:
        """Nothing is recorded, and nothing waits to be recognised or sealed."""
        return not (self._listening.is_recording or self._recognising.waiting or self._link.waiting)

    @property
    def _problem(self) -> str:
        """Why it did not listen, as it was last told."""
        return "" if self._state is None else self._state.problem

    def _counted(self, microphone: Microphone) -> EarState:
        """Return what was counted so far."""
        earlier = self._earlier
        return msgspec.structs.replace(
            earlier,
            overflows=earlier.overflows + microphone.overflows,
            behind=earlier.behind + microphone.behind,
            clipped=earlier.clipped + microphone.clipped,
        )

    def _say(self, microphone: Microphone | None = None, *, is_listening: bool, problem: str = "") -> None:
        """Tell the vault how the ear is, if that has changed; how loud it is only now and then."""
        state = self._earlier if microphone is None else self._counted(microphone)
        state = msgspec.structs.replace(
            state,
            listening=is_listening,
            problem=problem[:_MAX_NAME],
            dropped=self._link.dropped,
            recogniser=self._recognising.error,
            voice=self._speaking.problem[:_MAX_NAME],
        )
        if microphone is not None and self._state is not None and self._state.listening:
            before = self._state
            if self._loudness.heard_s >= LEVEL_EVERY_S:
                level, self._loudness = self._loudness.peak_dbfs, Loudness()
                state = msgspec.structs.replace(
                    state, level_dbfs=level, spared_percent=self._listening.spared_percent
                )
            else:
                state = msgspec.structs.replace(
                    state,
                    clipped=before.clipped,
                    level_dbfs=before.level_dbfs,
                    spared_percent=before.spared_percent,
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
