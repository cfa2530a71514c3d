"""How an action ended, where others say so: what waits for that, and what becomes of it.

The ear's outcome of a request that led to an action is `served`: it was understood, and
told. Whether a lamp went on, only the integrator knows. Where somebody at the device has
switched this on, the action is sealed and told at once, and its audio and words wait in
memory. "failed" from afar has them kept as the policy keeps a failed request; "done",
silence, and the end of this process, as a served one. Each is decided once, for good.

What erases the action's item, or begins a private time, takes what waits with it.
The service's lock is taken by whoever calls here, or here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import msgspec

from fadeout_device.errors import FadeoutError
from fadeout_device.messages import Sealed
from fadeout_device.policy import ItemClass
from fadeout_device.vault.errors import SealError
from fadeout_device.vault.time_sources import boottime_s
from fadeout_device.vault.waiting import Pending, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fadeout_device.messages import Kind, NotSealed, Outcome, Reported, Utterance
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.service import Service

log = logging.getLogger(__name__)

Heed = Literal["heeded", "not waiting", "not stored"]
"""What a report has come to."""
_SERVED = ItemClass("served", "action")


class Outcomes:
    """Has utterances wait, and decides.

    Args:
        service: of this vault.
        wait_s: so long each waits; 0: none does.
        running_s: seconds that never go back; a replay's are the audio's.
    """

    def __init__(
        self, service: Service, wait_s: int = 0, running_s: Callable[[], float] = boottime_s
    ) -> None:
        self._service = service
        self._running_s = running_s
        self._waiting = Waiting(wait_s)
        self.on_waiting: Callable[[], None] = lambda: None
        """Called when something waits that did not before: somebody must call `settle` in time."""
        service.result_s = wait_s
        service.store.eraser.on_erasing = self._drop
        service.on_advance = self.settle

    def hear(self, utterance: Utterance, audio: bytes, words: bytes = b"") -> Sealed | NotSealed:
        """Seal an utterance as `Service.seal`; where its outcome is not known yet, its action."""
        service = self._service
        with service.lock:
            if not self._waits_for(utterance):
                return service.seal(utterance, audio, words)
            debug_s = service.privacy.debug_period_s()
            answer = service.seal(utterance, audio, words, is_action_only=True)
            recording = answer.recording if isinstance(answer, Sealed) else ""
            if recording:
                pending = Pending(recording, "", utterance, audio, words, debug_s, self._running_s())
                self._wait(pending)
            return answer

    def _waits_for(self, utterance: Utterance) -> bool:
        service = self._service
        return (
            service.result_s > 0
            and utterance.outcome == "served"
            # Else nobody is told in time, who could report.
            and service.broker == "connected"
            and service.store.policy.period(_SERVED) is not None
            and service.store.index.delivered(utterance.delivery) is None
        )

    def _wait(self, pending: Pending) -> None:
        try:
            (action,) = self._service.store.index.live_of(pending.recording)
            pending = pending._replace(event_id=self._service.store.event_id(action))
        except (FadeoutError, ValueError) as err:
            # Erased already, as there was too much; or broken: then nobody can name it.
            log.warning("an action's result cannot be waited for: %s", type(err).__name__)
            return
        for each in self._waiting.add(pending):
            self._decide(each, "served")
        self.on_waiting()

    # ---- what is decided

    def report(self, event_id: str, reported: Literal["done", "failed"]) -> Heed:
        """Decide what waits under the id of an event, as somebody far away says. Under the lock."""
        pending = self._waiting.take(event_id, self._running_s())
        if pending is None:
            return "not waiting"
        self._service.tell("result", recording=pending.recording, outcome=reported)
        outcome: Outcome = "failed" if reported == "failed" else "served"
        return "heeded" if self._decide(pending, outcome, reported) else "not stored"

    def settle(self) -> float | None:
        """Decide what has waited long enough; returns in how many seconds more will have. None: nothing."""
        with self._service.lock:
            for pending in self._waiting.take_due(self._running_s()):
                self._decide(pending, "served")
            return self._waiting.next_s(self._running_s())

    def settle_all(self) -> None:
        """Decide all that waits: nobody can report to this process any more."""
        with self._service.lock:
            for pending in self._waiting.take_all():
                self._decide(pending, "served")

    def _decide(self, pending: Pending, outcome: Outcome, reported: Reported = "") -> bool:
        service = self._service
        waited_s = max(0.0, self._running_s() - pending.began_s)
        said = msgspec.structs.replace(
            pending.utterance, outcome=outcome, age_s=pending.utterance.age_s + waited_s
        )
        private = service.privacy.private_during(said)
        if private:
            service.tell("private", reason=private)
            return True
        contents: dict[Kind, bytes] = {"audio": pending.audio}
        if pending.words:
            contents["words"] = pending.words
        debug_s = service.privacy.debug_period_s() and pending.debug_s
        try:
            kept = service.store.add(pending.recording, said, contents, debug_s=debug_s, reported=reported)
        except SealError as err:
            log.warning("%s", err)
            service.tell("not_sealed", reason=str(err))
            return False
        service.has_sealed(pending.recording, outcome, kept)
        return True

    def _drop(self, items: Collection[Item]) -> None:
        """Forget what waits of recordings of which anything is erased."""
        self._waiting.drop({item.recording for item in items})
