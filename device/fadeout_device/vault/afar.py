"""Commands from afar: decoded, held against the ratchet, limited, done, answered.

The reporter hands over what somebody has published, unread; it and whoever published
are believed about nothing. A payload that is no request of the contract has no effect
and gets one word for an answer; nothing of it is logged.

How an action ended is heeded where the vault waits for it (`outcomes.py`), and only then.

A mute is obeyed at once and always. An erasure or a shortening is obeyed by a thread
of its own, which lives as long as there is something to do: it waits for the root
store, and the reporter's thread must not. Requests that come together are done
together, and cost the root store one write. Nothing is written where nothing is held;
so an attacker can wear it no faster than recordings are made, and a bucket limits that, too.

A message that the broker delivers twice does no more than once: where it has a
transaction, by memory; else because there is nothing left to erase, but for `last`,
which then takes the next one. Erring on that side is allowed (P7).
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from fadeout_broker import contract
from fadeout_device import channels
from fadeout_device.errors import StorageError
from fadeout_device.vault import bucket, ratchet
from fadeout_device.vault.bucket import Level, Limit
from fadeout_device.vault.errors import EraseError
from fadeout_device.vault.picking import pick, recordings_of_events
from fadeout_device.vault.time_sources import boottime_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_broker import arrow
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.outcomes import Outcomes
    from fadeout_device.vault.service import Service

    Answer = Callable[[contract.Reply, str | None, bytes | None], None]

log = logging.getLogger(__name__)

LIMITS = {
    "erase": Limit(burst=10, every_s=10.0),
    "shorten": Limit(burst=10, every_s=60.0),
    "chatter": Limit(burst=20, every_s=1.0),
}
"""`chatter`: pings, and answers that say what is wrong; beyond it there is silence."""
MAX_WAITING = 16
"""Erasures and shortenings that wait to be done."""
_REMEMBERED = 32
"""Erasures with a transaction whose repetition is recognised."""
REPEATED_S = 600.0
"""A broker delivers twice after a lost connection. What is the same later is meant to be done again."""
PATIENCE_S = 30.0
"""So long a process that is to end waits for those who have asked for something."""
_DIGEST_BYTES = 16


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An erasure that was done, and the answer to it."""

    digest: bytes
    """Of the request, its transaction included; not the request."""
    at_s: float
    """When; in seconds that the machine has been running."""
    reply: contract.Reply


class AfarState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the next process must know."""

    levels: dict[str, Level]
    done: tuple[Done, ...]


class _Job(NamedTuple):
    asked: arrow.Asked
    request: contract.EraseRequest | contract.ShortenRequest


class Settings(NamedTuple):
    """What is known of this device's commands."""

    node: Callable[[], str]
    """This device's name in topics."""
    is_enabled: bool
    """Whether the configuration wants commands at all."""
    running_s: Callable[[], float] = boottime_s


class Afar:
    """Obeys what comes over MQTT, as far as the ratchet lets it."""

    def __init__(self, service: Service, settings: Settings, answer: Answer, outcomes: Outcomes) -> None:
        self._service = service
        self._outcomes = outcomes
        self._node, self._is_enabled, self._running_s = settings
        self._answer = answer
        self._levels: dict[str, Level] = {}
        self._done: deque[Done] = deque(maxlen=_REMEMBERED)
        self._waiting: deque[_Job] = deque()
        """In it until it is answered."""
        self._is_quiet = threading.Condition(service.lock)

    # ---- the process after this one

    @property
    def is_idle(self) -> bool:
        """Whether every request is answered."""
        return not self._waiting

    def settle(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until every request is answered; but not for ever."""
        with self._service.lock:
            self._is_quiet.wait_for(lambda: self.is_idle, patience_s)

    def hand_over(self) -> AfarState:
        """Return what the next process must know; of another owner's requests, nothing."""
        return AfarState(self._levels, () if self._service.is_reset else tuple(self._done))

    def take_over(self, state: AfarState) -> None:
        """Go on where the process before this one has stopped."""
        self._levels = dict(state.levels)
        self._done = deque(state.done, _REMEMBERED)

    # ---- what is asked

    def hear(self, asked: arrow.Asked) -> None:
        """Obey a command, or say in one word why not. Under the service's lock."""
        try:
            request = contract.decode_request(asked.name, asked.payload)
        except contract.ContractError:
            is_known = asked.name in contract.COMMANDS
            self._refuse(asked, None, "malformed" if is_known else "unknown_command")
            return
        if not (self._is_enabled and channels.is_allowed(channels.deed_of(request), "mqtt")):
            self._refuse(asked, request, "refused")
            return
        match request:
            case contract.MuteRequest():
                self._mute(asked, request)
            case contract.ResultRequest():
                self._heed(asked, request)
            case contract.PingRequest():
                if self._may("chatter"):
                    self._reply(asked, request)
            case contract.EraseRequest() | contract.ShortenRequest():
                self._take_on(asked, request)

    def _mute(self, asked: arrow.Asked, request: contract.MuteRequest) -> None:
        try:
            ratchet.mute(self._service, "mqtt")
        except StorageError as err:
            log.warning("%s", err)
            self._reply(asked, request, "not_stored")
        else:
            self._reply(asked, request)

    def _heed(self, asked: arrow.Asked, request: contract.ResultRequest) -> None:
        """Have an action's outcome be what somebody says, where somebody at the device wants that."""
        if not self._service.result_s:
            self._refuse(asked, request, "refused")
            return
        match self._outcomes.report(request.id, request.result):
            case "heeded":
                self._reply(asked, request)
            case "not stored":
                self._reply(asked, request, "not_stored")
            case _:
                self._refuse(asked, request, "not_waiting")

    def _take_on(self, asked: arrow.Asked, request: contract.EraseRequest | contract.ShortenRequest) -> None:
        digest = _digest(asked) if request.transaction is not None else None
        if digest is not None and any(digest == _digest(job.asked) for job in self._waiting):
            return  # it is answered when it is done
        since_s = self._running_s() - REPEATED_S
        known = next(
            (done.reply for done in self._done if done.digest == digest and done.at_s > since_s), None
        )
        if known is not None:
            self._send(asked, known)
        elif len(self._waiting) >= MAX_WAITING:
            self._refuse(asked, request, "busy")
        elif not self._may(request.name):
            self._refuse(asked, request, "rate_limited")
        else:
            log.info("a command from afar: command=%s", request.name)
            self._waiting.append(_Job(asked, request))
            if len(self._waiting) == 1:
                threading.Thread(target=self._work, name="afar", daemon=True).start()

    # ---- what is done by the thread

    def _work(self) -> None:
        while True:
            with self._service.lock:
                jobs = list(self._waiting)
            self._erase([job for job in jobs if isinstance(job.request, contract.EraseRequest)])
            for job in jobs:
                if isinstance(job.request, contract.ShortenRequest):
                    self._shorten(job.asked, job.request)
            with self._service.lock:
                for _ in jobs:
                    self._waiting.popleft()
                if not self._waiting:
                    self._is_quiet.notify_all()
                    return

    def _erase(self, jobs: list[_Job]) -> None:
        """Erase what these name, each after the one before it, with one write to the root store."""
        counts: list[int | None] = []
        items: list[Item] = []
        for _, request in jobs:
            assert isinstance(request, contract.EraseRequest)  # noqa: S101 - chosen by the caller
            found = recordings_of_events(self._service, request.ids) if request.ids else set()
            with self._service.lock:
                try:
                    picked = pick(self._service, request, found)
                    self._service.begin_erasing(picked)
                except (EraseError, StorageError):
                    counts.append(None)
                else:
                    counts.append(len({item.recording for item in picked}))
                    items += picked
        try:
            self._service.finish_erasing(items)
        except EraseError:
            # The service tells of it, and tries again; whoever asked for something is told here.
            counts = [None if count else count for count in counts]
        for (asked, request), count in zip(jobs, counts, strict=True):
            error: Literal["not_erased"] | None = "not_erased" if count is None else None
            with self._service.lock:
                reply = self._reply(asked, request, error, contract.ReplyData(erased=count))
                if error is None and request.transaction is not None:
                    self._done.append(Done(_digest(asked), self._running_s(), reply))

    def _shorten(self, asked: arrow.Asked, request: contract.ShortenRequest) -> None:
        error: contract.ReplyError | None = None
        with self._service.lock:
            try:
                ratchet.shorten(self._service, request.keep_s, request.outcome, request.kind)
            except EraseError:
                error = "not_erased"
            except StorageError as err:
                log.warning("what was shortened by command is not stored yet: %s", err)
                error = "not_stored"
            self._service.on_change()
            self._reply(asked, request, error, contract.ReplyData(hash=self._service.store.policy.hash))

    # ---- limits and repetitions

    def _may(self, what: str) -> bool:
        level = bucket.take(self._levels.get(what, Level()), LIMITS[what], self._running_s())
        if level is not None:
            self._levels[what] = level
        return level is not None

    # ---- answers

    def _refuse(
        self, asked: arrow.Asked, request: contract.Request | None, error: contract.ReplyError
    ) -> None:
        if self._may("chatter"):
            log.info("a command from afar is not obeyed: why=%s", error)
            self._reply(asked, request, error)

    def _reply(
        self,
        asked: arrow.Asked,
        request: contract.Request | None,
        error: contract.ReplyError | None = None,
        data: contract.ReplyData | None = None,
    ) -> contract.Reply:
        name = asked.name if asked.name in contract.COMMANDS else "unknown"
        reply = contract.Reply(
            v=contract.VERSION,
            command=name,
            status="ok" if error is None else "error",
            error=error,
            transaction=None if request is None else request.transaction,
            data=data or contract.ReplyData(),
        )
        self._send(asked, reply)
        return reply

    def _send(self, asked: arrow.Asked, reply: contract.Reply) -> None:
        reply_to = asked.reply_to
        if reply_to is not None and not contract.is_reply_topic(self._node(), reply_to):
            reply_to = None
        self._answer(reply, reply_to, asked.correlation)


def _digest(asked: arrow.Asked) -> bytes:
    """Return what tells one request from another: its payload has the transaction."""
    whole = hashlib.blake2b(asked.payload, digest_size=_DIGEST_BYTES, person=asked.name.encode()[:16])
    whole.update(asked.correlation or b"")
    return whole.digest()
