"""Voice commands about what is held: a closed table of actions, held against the ratchet, obeyed, answered.

The ear says that an utterance led to an action; it is believed about nothing but that
this was asked, and a voice may ask only what `channels.py` lets it: to mute, to erase, and
how much there is. The utterance is sealed first, as any other. What a sentence leaves
open erases more, not less: a command to erase erases its own recording, too, and times
are those of the index, which knows them only to a sweep.

An utterance that the ear sends twice, as the answer did not come in time, is obeyed once:
the process after the erasure knows the last answer.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from fadeout_device import channels
from fadeout_device.errors import StorageError
from fadeout_device.messages import Sealed, Told
from fadeout_device.spoken import sentence
from fadeout_device.vault import picking, ratchet
from fadeout_device.vault.errors import EraseError, SealError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fadeout_device.channels import Deed
    from fadeout_device.messages import Kept, Kind, NotSealed, Utterance
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.service import Service

log = logging.getLogger(__name__)

COMMANDS: Final[dict[str, Deed]] = {
    "data.forget_last": "erase the newest",
    "data.not_for_you": "erase the newest",
    "data.forget_ten_minutes": "erase",
    "data.forget_today": "erase",
    "data.forget_everything": "erase",
    "data.forget_everything_yes": "erase",
    "data.stop_listening": "mute",
    "data.tell_held": "count",
}
"""All there are; any other action is the integrators' affair."""
CONFIRM_S = 60.0
"""So long after "forget everything" a yes to it is heeded."""
JUST_S = 60.0
"""What may have been captured in so many seconds before the command was "just" said."""
_TEN_MINUTES_S = 600.0


class VoiceState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the next process must know."""

    asked_s: float | None = None
    """When "forget everything" was asked back, as `running_s`; None: it was not, or is settled."""
    delivery: str = ""
    """Of the last utterance that commanded something."""
    told: Told | None = None
    """The answer to it."""


class Voice:
    """Obeys the commands of a voice. One thread at a time: the ear's.

    Args:
        service: of this vault.
        running_s: seconds that never go back; a replay's are the audio's.
        hear: what becomes of an utterance that commands nothing.
    """

    def __init__(
        self,
        service: Service,
        running_s: Callable[[], float],
        hear: Callable[[Utterance, bytes, bytes], Sealed | NotSealed],
    ) -> None:
        self._service = service
        self._running_s = running_s
        self._hear = hear
        self.state = VoiceState()

    def hear(self, utterance: Utterance, audio: bytes, words: bytes = b"") -> Sealed | NotSealed:
        """Seal an utterance as `Service.seal`, then do what it commands, if it does."""
        with self._service.lock:
            deed = COMMANDS.get(utterance.action) if utterance.outcome == "served" else None
            if not channels.is_allowed(deed, "voice"):
                return self._hear(utterance, audio, words)
            answer = self._service.seal(utterance, audio, words)
            if self.state.delivery != utterance.delivery:
                # No line of it in the log: in guest mode there is none that somebody spoke.
                own = answer.recording if isinstance(answer, Sealed) else ""
                told = self._obey(utterance.action, own)
                self.state = VoiceState(self.state.asked_s, utterance.delivery, told)
                if isinstance(answer, Sealed):
                    response = self._keep_response(utterance, own, told)
                    answer = msgspec.structs.replace(answer, kept=(*answer.kept, *response))
            return msgspec.structs.replace(answer, told=self.state.told)

    def _obey(self, action: str, own: str) -> Told:
        """Do it. Under the service's lock."""
        live = self._service.store.index.live
        match action:
            case "data.tell_held":
                return self._told(Told("held"))
            case "data.stop_listening":
                return self._mute()
            case "data.forget_everything_yes" if self._is_confirmed():
                return self._erase_everything()
            case "data.forget_everything" | "data.forget_everything_yes":
                self.state = VoiceState(self._running_s())
                return self._told(Told("asked"))
            case "data.forget_ten_minutes":
                chosen = self._since(_TEN_MINUTES_S)
            case "data.forget_today":
                chosen = self._since(self._day_s())
            case _:
                others = [item for item in live() if item.recording != own]
                chosen = picking.newest(others, 1) | self._since(JUST_S)
        return self._erase([item for item in live() if item.recording in chosen | {own}])

    def _keep_response(self, utterance: Utterance, own: str, told: Told) -> tuple[Kept, ...]:
        """Seal what is said in answer as words of their own, where the policy keeps such words.

        Not after an erasure, which leaves nothing of its command; nor once nothing may be stored.
        """
        service = self._service
        if not service.store.index.live_of(own) or service.privacy.private():
            return ()
        contents: dict[Kind, bytes] = {"words": f"{sentence(told)}\n".encode()}
        try:
            kept = service.store.add(
                own, utterance, contents, debug_s=service.privacy.debug_period_s(), words_of="response"
            )
        except SealError as err:
            log.warning("%s", err)
            service.tell("not_sealed", reason=str(err))
            return ()
        service.has_sealed(own, utterance.outcome, kept)
        return kept

    def _is_confirmed(self) -> bool:
        asked_s, self.state = self.state.asked_s, VoiceState()
        return asked_s is not None and self._running_s() - asked_s <= CONFIRM_S

    def _since(self, seconds: float) -> set[str]:
        """Return whatever may have been captured in so many seconds before now."""
        service = self._service
        view = service.store.timekeeper.view()
        return picking.of_the_last(service.store.index.live(), seconds, view, service.sweeps.longest_s)

    def _day_s(self) -> float:
        """Return how long ago today began, for all that is known; never less than it was.

        The proven time may be behind the one on the wall: what is today by either is today.
        """
        clock = self._service.clock
        if not clock.is_known():
            return float("inf")
        now_s, proven_s = clock.now(), clock.proven()
        return proven_s - min(_midnight(now_s), _midnight(proven_s))

    def _mute(self) -> Told:
        try:
            ratchet.mute(self._service, "voice")
        except StorageError as err:
            log.warning("%s", err)
            return Told("muted_until_restart")
        return Told("muted")

    def _erase(self, items: list[Item]) -> Told:
        try:
            self._service.erase_items(items)
        except (EraseError, StorageError):
            # The service tells of it, and tries again.
            return self._told(Told("not_erased"))
        return self._told(_erased(items), items)

    def _erase_everything(self) -> Told:
        try:
            items = self._service.erase_everything()
        except (EraseError, StorageError):
            return self._told(Told("not_erased"))
        items = [item for item in items if not item.is_canary]
        return self._told(_erased(items), items)

    def _told(self, told: Told, erased: Sequence[Item] = ()) -> Told:
        """Add what is held now, and which receipt names what was erased."""
        store, view = self._service.store, self._service.store.timekeeper.view()
        left = [item.ends_at_s for item in store.index.live() if view.remaining_s(item) > 0]
        entry = store.ledger.erasure_of(erased[-1].recording) if erased else None
        return msgspec.structs.replace(
            told,
            held=self._service.held(),
            next_end_s=min(left, default=None),
            receipt=None if entry is None else entry.seq,
        )


def _erased(items: Iterable[Item]) -> Told:
    return Told("erased", erased=len({item.recording for item in items}))


def _midnight(at_s: float) -> float:
    """Return when the local day began; Unix seconds. Also on a day of 25 hours."""
    day = time.localtime(at_s)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
