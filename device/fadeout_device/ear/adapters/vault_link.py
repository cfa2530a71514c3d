"""The ear's end of its socket to the vault: reconnects, and sends each utterance until it is answered.

The vault says `Ready` first on every connection. Utterances wait in RAM while
it is away, few and not for long; an utterance keeps its delivery token, so that
one that was sealed just before the vault died is not sealed twice. Waits for
nothing but the answer to an utterance it has just sent. Knows nothing of audio
but its bytes.

Source: messages.py, "ear -> vault"; wire.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import select
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from fadeout_device import wire
from fadeout_device.errors import UnavailableError, WireError
from fadeout_device.messages import (
    EarState,
    Lit,
    Mute,
    NotSealed,
    Opening,
    Pressed,
    Ready,
    Sealed,
    Tick,
    ToEar,
    Told,
    Unmute,
    Utterance,
    Wake,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

MAX_WAITING = 4
"""Finished utterances held in RAM while the vault is away; one more, and the oldest is given up."""
GIVE_UP_S = 600.0
"""An utterance that the vault did not take within so long is given up."""
RETRY_S = 0.5
ANSWER_S = 5.0
"""How long the answer to an utterance may take; the microphone's queue holds more than twice as much."""


@dataclass(eq=False)
class Delivery:
    """One utterance on its way to the vault."""

    utterance: Utterance
    """`age_s` is the age at `finished_mono_s`."""
    pcm: bytes = field(repr=False)
    finished_mono_s: float
    answer: Sealed | NotSealed | None = None


class VaultLink:
    """The connection to the vault, whether it is up or not.

    Args:
        path: the vault's socket for the ear.
        ages: whether an utterance grows older while it waits. In replay time is the audio's, so it does not.
        clock: monotonic seconds.
    """

    def __init__(self, path: Path, *, ages: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._ages = ages
        self._clock = clock
        self._connection: wire.Connection | None = None
        self._is_ready = False
        self._retry_mono_s = 0.0
        self._state: EarState | None = None
        self._light: Lit | None = None
        self._tick: Tick | None = None
        self._waiting: deque[Delivery] = deque()
        self.told: deque[Told] = deque()
        """Answers to voice commands, which whoever holds this takes out to speak them."""
        self._is_told_muted = False
        self._is_pressed = False
        self.take_press: Callable[[], bool] = lambda: False
        """Says whether the button was pressed, once for each time."""
        self.on_opening: Callable[[Opening], None] = lambda _: None
        """Called when the vault is about to open something; it waits for `set_light`, but not for long."""
        self.dropped = 0
        """Utterances given up since the start."""

    @property
    def is_ready(self) -> bool:
        """The vault is there, and has erased what was overdue."""
        return self._is_ready

    @property
    def is_muted(self) -> bool:
        """By what the vault said last, which stays while it is away; or by a press it does not know of."""
        return self._is_pressed or self._is_told_muted

    @property
    def waiting(self) -> int:
        """Utterances that the vault has not answered yet."""
        return len(self._waiting)

    def poll(self) -> None:
        """Do what can be done now: obey the button, connect, take `Ready`, send what waits. Call often."""
        while self.take_press():
            self._press()
        self._give_up_old()
        with self._or_away():
            self._connect_or_notice()
            while self._is_ready and self._waiting:
                self._exchange(self._waiting[0])
                self._waiting.popleft()

    def wait(self, timeout_s: float) -> None:
        """Wait until the vault says something, but not longer; then `poll`."""
        if self._connection is None:
            time.sleep(timeout_s)
        else:
            select.select([self._connection.sock], [], [], timeout_s)

    def set_state(self, state: EarState) -> None:
        """Tell the vault what the ear is doing; a vault that comes back is told again."""
        self._state = state
        self._tell(state)

    def set_light(self, lit: Lit) -> None:
        """Tell the vault what the light shows; a vault that comes back is told again."""
        self._light = lit
        self._tell(lit)

    def tell_time(self, tick: Tick) -> None:
        """Replay: tell the vault the audio's time; a vault that comes back is told again."""
        self._tick = tick
        self._tell(tick)

    def tell_wake(self, wake: Wake) -> None:
        """Tell the vault of a wake word, if it is there."""
        self._tell(wake)

    def deliver(self, utterance: Utterance, pcm: bytes) -> Delivery:
        """Hand over an utterance; its answer appears in what is returned, with this or a later `poll`.

        Args:
            utterance: `age_s` is its age now; `delivery` is a new `token()`.
            pcm: its audio.
        """
        if len(self._waiting) == MAX_WAITING:
            self._drop_oldest("no room")
        delivery = Delivery(utterance, pcm, self._clock())
        self._waiting.append(delivery)
        self.poll()
        return delivery

    def close(self) -> None:
        """Close the connection; what still waits is given up."""
        while self._waiting:
            self._drop_oldest("stopping")
        self._disconnect()

    @contextlib.contextmanager
    def _or_away(self) -> Iterator[None]:
        """Do what needs the vault; where it fails, the vault is away."""
        try:
            yield
        except (UnavailableError, WireError) as err:
            if self._connection is not None:
                log.info("vault away: %s", err)
            self._disconnect()

    def _connect_or_notice(self) -> None:
        """Connect when it is time to; or notice that the other side went, or said that it is muted."""
        if self._connection is None:
            now_mono_s = self._clock()
            if now_mono_s < self._retry_mono_s:
                return
            self._retry_mono_s = now_mono_s + RETRY_S
            self._connection = wire.connect(self._path, ANSWER_S)
            if wire.peer_uid(self._connection.sock) != os.geteuid():
                raise WireError("another user listens on the vault's socket")
        if not select.select([self._connection.sock], [], [], 0)[0]:
            return
        message = self._receive(self._connection)
        if isinstance(message, Mute | Unmute | Opening) and self._is_ready:
            self._obey(message)
            return
        if not isinstance(message, Ready) or self._is_ready:
            raise WireError("the vault spoke out of turn")
        self._is_ready, self._is_told_muted = True, message.is_muted
        # A mute by the button first: nothing that is sent after it is stored.
        pressed = Pressed(mute=True) if self._is_pressed else None
        for known in (pressed, self._tick, self._state, self._light):
            if known is not None:
                self._connection.send(known)

    def _exchange(self, delivery: Delivery) -> None:
        """Send an utterance and wait for its answer."""
        assert self._connection is not None  # noqa: S101 - ready means connected
        utterance = delivery.utterance
        if self._ages:
            waited_s = self._clock() - delivery.finished_mono_s
            utterance = msgspec.structs.replace(utterance, age_s=utterance.age_s + waited_s)
        self._connection.send(utterance, delivery.pcm)
        while isinstance(answer := self._receive(self._connection), Mute | Unmute | Opening):
            self._obey(answer)
        if isinstance(answer, Ready) or answer.delivery != utterance.delivery:
            raise WireError("the vault answered something else")
        delivery.answer = answer
        if answer.told is not None:
            self.told.append(answer.told)
        delivery.pcm = b""

    def _obey(self, message: Mute | Unmute | Opening) -> None:
        if isinstance(message, Opening):
            self.on_opening(message)
        else:
            self._is_told_muted = isinstance(message, Mute)
            if isinstance(message, Mute) and message.by == "button":
                self._is_pressed = False

    def _press(self) -> None:
        """Mute, before the vault is asked; or ask it to end a mute.

        That the microphone may open again only the vault can say, unless it was never told that it may not.
        """
        mutes = not self.is_muted
        self._is_pressed = mutes
        if not mutes and not self._is_ready:
            # It may be back, and what it said not be read yet.
            with self._or_away():
                self._connect_or_notice()
            if not self._is_ready and self._is_told_muted:
                log.warning("the vault is away: what muted the microphone cannot be ended")
        self._tell(Pressed(mute=mutes))

    def _receive(self, connection: wire.Connection) -> ToEar:
        frame = connection.receive()
        if frame is None:
            raise WireError("the vault closed the connection")
        message: ToEar = frame.message(ToEar)
        return message

    def _tell(self, message: EarState | Lit | Pressed | Tick | Wake) -> None:
        if self._connection is None or not self._is_ready:
            return
        try:
            self._connection.send(message)
        except WireError as err:
            log.info("vault away: %s", err)
            self._disconnect()

    def _disconnect(self) -> None:
        self._is_ready = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up_old(self) -> None:
        if not self._ages:
            return
        while self._waiting and self._clock() - self._waiting[0].finished_mono_s > GIVE_UP_S:
            self._drop_oldest("too old")

    def _drop_oldest(self, reason: str) -> None:
        self._waiting.popleft()
        self.dropped += 1
        log.warning(
            "utterance given up, the vault did not take it: reason=%s dropped=%d", reason, self.dropped
        )


def token() -> str:
    """Return a new delivery token."""
    return secrets.token_hex(8)
