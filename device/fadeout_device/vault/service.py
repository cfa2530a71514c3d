"""What the vault does, one call at a time: seal, sweep, erase, tell.

The arrows (`ear_arrow.py`, `reporter_arrow.py`, `control_arrow.py`) each have their
threads; all of them end here, under one lock. Every change is told to the watchers
and, by `on_change`, to the reporter. What people at the device ask for is `desk.py`'s.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from fadeout_device import __version__
from fadeout_device.answers import Happening
from fadeout_device.messages import NotSealed, Sealed, Wake
from fadeout_device.vault import envelope
from fadeout_device.vault.alarms import Alarms
from fadeout_device.vault.ear_line import EarLine
from fadeout_device.vault.errors import EraseError, SealError
from fadeout_device.vault.pace import TOGETHER_S, Pace
from fadeout_device.vault.privacy import Privacy
from fadeout_device.vault.subscribers import Subscribers
from fadeout_device.vault.sweeps import OK, Sweeps
from fadeout_device.vault.watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_broker.arrow import Incoming
    from fadeout_device.confine import Confinement
    from fadeout_device.messages import EarState, Kept, Lit, Outcome, Purpose, Utterance
    from fadeout_device.vault.clock import Clock
    from fadeout_device.vault.ear_line import TellEar
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.store import Store

log = logging.getLogger(__name__)


class Service:
    """All that happens in the vault. Thread-safe."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        confinement: Confinement,
        sweep_s: int,
        coalesce_s: float = TOGETHER_S,
    ) -> None:
        self.lock = threading.RLock()
        self._pace = Pace(self.lock, coalesce_s)
        self.store = store
        self.clock = clock
        self.privacy = Privacy(store.index, store.policy, clock)
        self._warnings: tuple[str, ...] = ()
        self._told_modes = self.privacy.modes_by_name()
        self.watchers = Watchers()
        self.alarms = Alarms(lambda line: self.tell("alarm", reason=line))
        self.canaries: int | None = None
        """How many are alive; None: nobody plants any."""
        self.sweeps = Sweeps(sweep_s)
        self.on_change: Callable[[], None] = lambda: None
        self.on_renewal: Callable[[], None] = lambda: None
        self.on_advance: Callable[[], object] = lambda: None
        """Called when a replay's time has come further."""
        self.wants_renewal = False
        """Whether erased keys may still stand in this process's memory: it must become a new one."""
        self.is_reset = False
        """Whether this is another owner's device from now on, with another name."""
        self.result_s = 0
        """So many seconds an action's audio and words wait for its result from afar; 0: not at all."""
        self.broker = "not configured"
        self.is_reporter_here = False
        self.incoming: Incoming | None = None
        """Whether commands and acknowledgements reach us; None: nobody has said."""
        self.dropped_payloads = 0
        """What the reporter would not let out: a fault, or a limit of the broker's."""
        self.has_button = False
        """Whether the ear has a button: what it mutes, only it can end."""
        self.is_ready = threading.Event()
        """Set once nothing overdue is left: before that the microphone stays closed (P11)."""
        self.confinement = confinement
        self.subscribers = Subscribers(store.index, store.outbox.notices, store.ledger)
        self.has_left = threading.Condition(self.lock)
        """Told when this device is cleared from the broker."""
        self._ear_line = EarLine(self.lock)
        store.on_opening = self._light_up

    # ---- the process after this one

    @property
    def light(self) -> Lit | None:
        """What the light shows; None: there is no ear with a light."""
        return self._ear_line.light

    def go_on_with_light(self, light: Lit | None) -> None:
        """Go on with what `light` was in the process before this one."""
        self._ear_line.light = light

    def hand_over(self) -> tuple[EarState | None, float | None, str]:
        """Return what it must know: the ear, and when and how the last sweep ended."""
        return self.ear, self.sweeps.last_s, self.sweeps.outcome

    def take_over(self, ear: EarState | None, last_sweep_s: float | None, last_sweep: str) -> None:
        """Go on with what `hand_over` has returned."""
        with self.lock:
            self._ear_line.state = ear
            self.sweeps.take_over(last_sweep_s, last_sweep)
            if last_sweep == OK:
                self.is_ready.set()

    # ---- the ear

    def ear_is_here(self, tell_ear: TellEar, *, is_new: bool) -> None:
        """Greet the ear, unless the process before this one has; raises as `EarLine.arrive`."""
        with self.lock:
            self._ear_line.arrive(tell_ear, is_new=is_new, is_muted=self.privacy.is_muted)

    def ear_is_away(self) -> None:
        """The ear's connection is gone."""
        with self.lock:
            self._ear_line.leave()
            self.tell("ear_away")
            self.on_change()

    def hear(self, message: EarState | Wake) -> None:
        """Take note of what the ear does."""
        with self.lock:
            if isinstance(message, Wake):
                self.tell("wake", wake_word=message.wake_word, score=message.score)
                return
            if self._ear_line.hear(message):
                what = "listening" if message.listening else "not_listening"
                self.tell(what, reason=message.problem or message.source)
                self.on_change()

    def light_shows(self, lit: Lit) -> None:
        """Take note of what the light shows."""
        # Before the lock: who has it may be waiting for this.
        is_other = self._ear_line.light_shows(lit)
        if is_other:
            with self.lock:
                self.tell("light", reason=f"on: {' and '.join(lit.shows)}" if lit.shows else "off")

    def _light_up(self, purpose: Purpose) -> None:
        """Have the light on before something is opened; without one, whoever watches is told (P8)."""
        is_short = purpose == "event"
        if not (self._ear_line.light_up(is_short=is_short) or is_short):
            self.tell("light", reason="missing, no ear with one is here: opening")

    def wait_until_closed(self, timeout_s: float) -> None:
        """Wait until no ear listens, but no longer than this; lets the lock go meanwhile."""
        with self.lock:
            self._ear_line.wait_until_closed(timeout_s)

    def mute_changed(self) -> None:
        """Tell everybody that it is muted now, or no more."""
        self._ear_line.tell_mute(self.privacy.state.muted_by)
        self.tell_modes()
        self.on_change()

    def seal(
        self, utterance: Utterance, audio: bytes, words: bytes = b"", *, is_action_only: bool = False
    ) -> Sealed | NotSealed:
        """Seal an utterance as the policy says, or drop it; `is_action_only`: `Store.seal` has it."""
        with self.lock:
            self.tell(
                "utterance",
                wake_word=utterance.wake_word,
                score=utterance.score,
                outcome=utterance.outcome,
                speech_s=utterance.speech_s,
            )
            private = self.privacy.private_during(utterance)
            if private:
                self.tell("private", reason=private)
                return Sealed(utterance.delivery, "", ())
            try:
                recording, kept = self.store.seal(
                    utterance, audio, words, self.privacy.debug_period_s(), is_action_only=is_action_only
                )
            except SealError as err:
                log.warning("%s", err)
                self.tell("not_sealed", reason=str(err))
                return NotSealed(utterance.delivery, str(err)[:300])
            self.has_sealed(recording, utterance.outcome, kept)
            return Sealed(utterance.delivery, recording, kept)

    def has_sealed(self, recording: str, outcome: Outcome, kept: tuple[Kept, ...]) -> None:
        """Tell what was sealed, and make room where it is too much."""
        if kept:
            self.tell("sealed", recording=recording, outcome=outcome, kept=kept)
        if self.store.index.live_size_bytes() > self.store.policy.max_size_bytes:
            # Should it fail, that is told, and the next sweep tries again.
            with contextlib.suppress(EraseError):
                self._erase(lambda: self.store.eraser.erase_beyond(self.store.policy.max_size_bytes))
        self.on_change()

    # ---- time

    def start(self) -> None:
        """Erase what must not outlive this moment, before anything is served."""
        with self.lock:
            self.sweep()
            try:
                self._tell_erased(self.store.eraser.erase_outdated(__version__))
            except EraseError as err:
                self._sweep_failed(err)

    def advance(self, time_s: float) -> None:
        """Replay: the audio has come so far."""
        with self.lock:
            self.clock.raise_floor(time_s)
            if self.seconds_to_sweep() <= 0:
                self.sweep()
            self.on_advance()

    def look_at_clock(self) -> None:
        """Look at the machine's clocks: what is confirmed, and what looks due."""
        with self.lock:
            self.store.timekeeper.look()

    def confirm_clock(self) -> None:
        """Believe the wall clock: somebody at the device says that it is right. Raises StorageError."""
        with self.lock:
            self.store.timekeeper.confirm()
            self.sweep()

    def sweep(self) -> None:
        """Erase what is due. A failure is told, and the next sweep tries again."""
        with self.lock:
            self.store.timekeeper.look()
            self.store.enforced.settle()
            self.sweeps.begin(self.clock.proven())
            try:
                if self.store.keyring.is_wiped:
                    self.store.eraser.finish_panic()
                erased = self.store.eraser.erase_due()
                erased += self.store.eraser.erase_beyond(self.store.policy.max_size_bytes)
            except EraseError as err:
                self._sweep_failed(err)
            else:
                self.sweeps.end()
                self.alarms.set("erase", "")
                self.is_ready.set()
                self._tell_erased(erased)
            self._warn()
            self.on_change()

    def seconds_to_sweep(self) -> float:
        """Return the time until the next sweep is needed; not above zero when it is now."""
        with self.lock:
            return self.sweeps.seconds_to_next(self.clock.proven(), self.store.index.next_end_s())

    @property
    def ear(self) -> EarState | None:
        """What the ear does; None: it is away."""
        return self._ear_line.state

    def _warn(self) -> None:
        """Log what passes the limits that fadeout is made for; never a failure."""
        before, self._warnings = self._warnings, envelope.warnings(self.store)
        for line in self._warnings[len(before) :]:
            log.warning("%s", line)

    def _sweep_failed(self, err: EraseError) -> None:
        log.error("%s", err)
        self.sweeps.fail(str(err))
        self.store.eraser.note_failure(err)
        self.alarms.set("erase", str(err))
        self.tell("erase_failed", reason=str(err))

    # ---- erasing on request

    def erase_items(self, items: list[Item]) -> None:
        """Erase items, in one go with those of others who ask at about the same time.

        Nothing opens them from the first moment; what is waited for is the write to the
        root store. Whoever comes first after a pause does not wait.

        Raises:
            EraseError: the keys may still exist; it will be tried again.
        """
        with self.lock:
            self.begin_erasing(items)
            self.finish_erasing(items)

    def begin_erasing(self, items: list[Item]) -> None:
        """Have nothing open these any more; their keys go with `finish_erasing`. Raises as `erase_items`."""

        def intend() -> list[Item]:
            if items:
                self.store.eraser.intend(items, "user")
            return []

        with self.lock:
            self._erase(intend)

    def finish_erasing(self, items: list[Item]) -> None:
        """Wait until the keys of these are gone; raises as `erase_items`."""
        with self.lock:
            self._erase(lambda: self._forget_together(items))

    def erase_everything(self) -> list[Item]:
        """Erase every key there is; raises as `erase_items`."""
        with self.lock:
            return self._erase(self.store.eraser.erase_everything)

    def panic(self) -> str:
        """Erase every key at once, the root store first; returns what could not be tidied yet, in words.

        Raises:
            EraseError: a root may still be there; it will be tried again.
        """
        with self.lock:
            self._tell_erased([item._replace(reason="panic") for item in self._erase_at_once()])
            try:
                self.store.eraser.finish_panic()
            except EraseError as err:
                self._sweep_failed(err)
                return str(err)
            finally:
                self.on_change()
        return ""

    def _erase_at_once(self) -> list[Item]:
        try:
            return self.store.eraser.panic()
        except EraseError as err:
            self._sweep_failed(err)
            raise

    def reset(self, before_it_forgets: Callable[[], None] = lambda: None) -> str:
        """Make it as new, for another owner: a panic, and nothing that was ever stored. As `panic`."""
        with self.lock:
            left = self.panic()
            before_it_forgets()
            self.store.forget_owner(__version__)
            self.privacy.forget()
            self.store.enforced.forget()
            self.mute_changed()
            self.is_reset = self.wants_renewal = True
            self.on_renewal()
        return left

    def _forget_together(self, items: list[Item]) -> list[Item]:
        is_turn = self._pace.is_turn(lambda: self.store.eraser.are_gone(items))
        return self.store.eraser.forget() if is_turn else []

    def _erase(self, erase: Callable[[], list[Item]]) -> list[Item]:
        try:
            erased = erase()
        except EraseError as err:
            self._sweep_failed(err)
            raise
        finally:
            self.on_change()
        self._tell_erased(erased)
        return erased

    def held(self) -> int:
        """Return the number of recordings that are held."""
        return self.store.index.count_recordings()

    # ---- modes

    def tell_modes(self) -> None:
        """Tell what has begun or ended of guest mode, mute, quiet hours and debug capture."""
        with self.lock:
            before, self._told_modes = self._told_modes, self.privacy.modes_by_name()
            for mode, is_on in self._told_modes.items():
                if is_on != before[mode]:
                    log.info("%s %s", mode, "begins" if is_on else "ends")
                    self.tell("mode", reason=f"{mode} {'begins' if is_on else 'ends'}")

    # ---- telling

    def tell(self, what: str, **fields: object) -> None:
        """Tell the watchers."""
        self.watchers.tell(msgspec.convert({"type": "happening", "what": what, "at_s": self.clock.now(),
                                            **fields}, Happening))  # fmt: skip

    def _tell_erased(self, erased: list[Item]) -> None:
        if not erased:
            return
        self._pace.note()
        # Canaries are nobody's recordings: that they die is told when they do not.
        for why, count in Counter(item.reason for item in erased if not item.is_canary).items():
            log.info("keys erased: items=%d reason=%s", count, why)
            self.tell("erased", items=count, reason=why, generation=self.store.keyring.generation)
        self.renew()

    def renew(self) -> None:
        """Have the vault become a new process soon: this one's memory holds what nobody needs any more."""
        with self.lock:
            self.wants_renewal = True
            self.on_renewal()
