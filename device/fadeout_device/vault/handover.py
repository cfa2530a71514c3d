"""The vault becomes a new process, with nothing of the old one's memory but its sockets.

CPython frees key bytes without wiping them, and neither a garbage collection nor an
allocator's setting gets the last copies out of the heap. A process that executes
itself anew has no heap: the kernel gives its pages back, zeroed. So after an erasure
the vault does that (`os.execv`), and hands over what is no secret: the lock, the
sockets, who is connected and at which stage, in a file in memory.

What cannot be handed over is somebody in the middle of a message: `doors.py` waits.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import msgspec

from fadeout_device.messages import EarState, Lit
from fadeout_device.vault.afar import AfarState
from fadeout_device.vault.caps import Caps
from fadeout_device.vault.modes import State
from fadeout_device.vault.reporter_arrow import ReporterState
from fadeout_device.vault.voice import VoiceState

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

OPTION = "--handover"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Listening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A socket that listens."""

    arrow: str
    descriptor: int


class Visiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A connection, and how far its talk has come."""

    arrow: str
    descriptor: int
    stage: str


class Handover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the next process is told. Nothing in it is a secret."""

    lock: int
    """The descriptor on which the state folder's lock is held: it is never let go."""
    listening: tuple[Listening, ...]
    visiting: tuple[Visiting, ...]
    ear: EarState | None
    reporter: ReporterState
    afar: AfarState
    broker: str
    last_sweep_s: float | None
    last_sweep: str
    modes: State
    """What is switched on, also where it could not be stored."""
    caps: Caps
    """What was shortened by command, also where it could not be stored."""
    now_s: float
    """A replay's time: the audio's."""
    is_settled: bool
    """Whether every slot that was to be erased is."""
    voice: VoiceState
    light: Lit | None = None
    """What the ear's light shows."""


def become(handover: Handover, kept: Iterable[socket.socket]) -> None:
    """Execute this program anew, with the signals held back. Does not return.

    Raises:
        OSError: it cannot be executed; the process must end.
    """
    descriptor = os.memfd_create("fadeout-handover", 0)
    os.write(descriptor, msgspec.json.encode(handover))
    for each in (descriptor, handover.lock, *(sock.fileno() for sock in kept)):
        os.set_inheritable(each, True)
    words = sys.orig_argv[1:]
    if OPTION in words:
        at = words.index(OPTION)
        del words[at : at + 2]
    os.execv(sys.executable, [sys.executable, *words, OPTION, str(descriptor)])  # noqa: S606 - ourselves


def receive(descriptor: int) -> Handover:
    """Read what the process before this one has left."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        handover = msgspec.json.decode(file.read(), type=Handover)
    sockets = [
        *(one.descriptor for one in handover.listening),
        *(one.descriptor for one in handover.visiting),
    ]
    for each in (handover.lock, *sockets):
        os.set_inheritable(each, False)
    return handover


def hold_signals() -> None:
    """Hold back the signals that come from now on, until this or the next process lets them in.

    What came before has been handled when this returns.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def let_signals_in() -> None:
    """Have the signals delivered that came during the change of processes."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
