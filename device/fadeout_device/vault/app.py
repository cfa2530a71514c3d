"""The vault's process: takes the lock, opens the store, listens on three sockets, sweeps, stops.

The only place that knows everybody in the room. The main thread sweeps, and after
an erasure becomes a new process (`handover.py`); `doors.py` has the others. A broken
invariant or a failed fsync in any of them ends the process: what is on the disk is
looked at anew by the next one.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.bell import Bell
from fadeout_device.vault import afar, control_arrow, ear_arrow, handover
from fadeout_device.vault.clock import ReplayClock, SystemClock
from fadeout_device.vault.doors import Doors
from fadeout_device.vault.durable import reason, storage_errors
from fadeout_device.vault.errors import EraseError, SyncError
from fadeout_device.vault.outcomes import Outcomes
from fadeout_device.vault.privacy import Around, Privacy, local_minute
from fadeout_device.vault.reporter_arrow import ReporterArrow
from fadeout_device.vault.root_home import Move, erase_another, migrate, settle
from fadeout_device.vault.service import Service
from fadeout_device.vault.state_folder import lock
from fadeout_device.vault.store import Store
from fadeout_device.vault.time_sources import boot_id, boottime_s
from fadeout_device.vault.voice import Voice
from fadeout_device.vault.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fadeout_device.config import Config
    from fadeout_device.confine import Confinement
    from fadeout_device.vault.clock import Clock

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 60.0
"""A clock that jumps is noticed within this time."""
_SHORTEST_WAIT_S = 0.05
_LAST_ERASURES_S = 5.0
"""So long the end waits for what somebody has asked for from afar."""
_PATIENCE_S = 60.0
"""So long a visitor may be busy before it is sent away for the renewal's sake."""


class Settings(NamedTuple):
    """What the process was started with."""

    state: Path
    config: Config
    replay_start_s: float | None
    """Unix seconds at which a replay's audio starts; None: live."""
    handover: int | None = None
    """The descriptor of what the process before this one has left; None: a first start."""


def run(settings: Settings, confinement: Confinement) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        FadeoutError: the state folder cannot be used; nothing was started.
    """
    os.umask(0o077)
    threading.excepthook = _end_process
    before = None if settings.handover is None else handover.receive(settings.handover)
    lock_descriptor = lock(settings.state) if before is None else before.lock
    vault = _Vault(settings, confinement, before)
    signals = Signals()
    vault.is_ending = lambda: signals.is_ending
    # All other threads are started with the signals held back: those are for this one.
    handover.hold_signals()
    vault.service.on_renewal = vault.outcomes.on_waiting = signals.wake.ring
    if before is None:
        vault.service.start()
        vault.watch()
        run_folder = settings.state / "run"
        with storage_errors(run_folder):
            run_folder.mkdir(mode=0o700, exist_ok=True)
        vault.doors.open(run_folder)
        # Whoever started this process waits for the line before it starts the others.
        print("ready", flush=True)  # noqa: T201 - for the supervisor
    else:
        vault.go_on(before)
        vault.watch()
    handover.let_signals_in()
    while not signals.is_ending:
        wait_s = vault.tend(lock_descriptor)
        signals.wake.wait(wait_s)
    vault.close()


def move_root(settings: Settings) -> Move:
    """Move the root to the store that the configuration names, and stop.

    Raises:
        FadeoutError: it is where it was, or on its way; the next start or another attempt goes on.
    """
    os.umask(0o077)
    lock(settings.state)
    try:
        return migrate(settings.state, settings.config.vault)
    except (OSError, SyncError) as err:
        raise EraseError(
            f"the root of all keys is not moved yet: {reason(err)}",
            "run it again: it goes on by itself",
        ) from err


def erase_root(settings: Settings) -> str:
    """Erase another state folder's root from the configured store, and stop; returns the store's name.

    Raises:
        FadeoutError: it may still be there.
    """
    os.umask(0o077)
    lock(settings.state)
    try:
        return erase_another(settings.state, settings.config.vault)
    except (OSError, SyncError) as err:
        raise EraseError(f"the root is not erased yet: {reason(err)}", "run it again") from err


class Signals:
    """SIGTERM and SIGINT ask for the end; whatever wakes the main thread wakes it here."""

    def __init__(self) -> None:
        self.is_ending = False
        self.wake = Bell()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, *_: object) -> None:
        self.is_ending = True
        self.wake.ring()


class _Vault:
    """The room: what there is in it, and what the main thread does there."""

    def __init__(
        self, settings: Settings, confinement: Confinement, before: handover.Handover | None
    ) -> None:
        config = settings.config
        self._is_replay = settings.replay_start_s is not None
        self.clock: Clock = SystemClock()
        if settings.replay_start_s is not None:
            self.clock = ReplayClock(settings.replay_start_s if before is None else before.now_s)
        roots = settle(settings.state, config.vault, is_replay=self._is_replay)
        is_settled = before is not None and before.is_settled
        self.store = Store(
            settings.state, roots, config.policy, config.sweep_s, self.clock, is_settled=is_settled
        )
        self.service = Service(self.store, self.clock, confinement, config.sweep_s)
        if self._is_replay:
            around = Around(self.clock.now, boot_id(), local_minute)
            self.service.privacy = Privacy(
                self.store.index, self.store.policy, self.clock, around, has_microphone=False
            )
        running_s = self.clock.now if self._is_replay else boottime_s
        is_told = config.mqtt.enabled and config.mqtt.commands
        self.outcomes = Outcomes(self.service, config.outcome.wait_s if is_told else 0, running_s)
        self._reporter = ReporterArrow(self.service, config.mqtt)
        self.service.has_button = config.button.pin is not None
        self.service.on_change = self._reporter.pump
        asked = afar.Settings(self._reporter.node, config.mqtt.commands)
        self._afar = afar.Afar(self.service, asked, self._reporter.answer, self.outcomes)
        self._reporter.on_asked = self._afar.hear
        self._voice = Voice(self.service, running_s, self.outcomes.hear)
        hear = self._voice.hear if config.voice.commands else self.outcomes.hear
        self.doors = Doors(
            {
                "control": lambda connection: control_arrow.serve(connection, self.service),
                "reporter": self._reporter.serve,
                "ear": lambda connection: ear_arrow.serve(
                    connection, self.service, hear, is_replay=self._is_replay
                ),
            }
        )
        self.is_ending: Callable[[], bool] = lambda: False
        self._patience_ends_mono_s = 0.0
        self._watchdog = Watchdog(self.service, config.sweep_s)
        self._watchdog.on_alarm = self._reporter.hand_over_alarm

    def watch(self) -> None:
        """Have the sweep and the canaries watched; a replay's time is not the world's, and has none."""
        if not self._is_replay:
            self._watchdog.look()
            self._watchdog.start()

    def close(self) -> None:
        """Close what is open."""
        self._watchdog.stop()
        self._afar.settle(_LAST_ERASURES_S)
        with self.service.lock:
            self.outcomes.settle_all()
            self.store.close()

    def tend(self, lock_descriptor: int) -> float:
        """Do what is due; returns for how many seconds nothing will be."""
        wait_s = _LONGEST_WAIT_S
        with self.service.lock:
            if not self._is_replay:
                self.service.look_at_clock()
                if self.service.seconds_to_sweep() <= 0:
                    self.service.sweep()
                self.service.tell_modes()
                self.service.on_change()
                left_s = self.outcomes.settle()
                wait_s = min(self.service.seconds_to_sweep(), _LONGEST_WAIT_S, left_s or _LONGEST_WAIT_S)
                wait_s = max(_SHORTEST_WAIT_S, wait_s)
            wants_renewal = self.service.wants_renewal
        if wants_renewal:
            self._renew(lock_descriptor)
            return _SHORTEST_WAIT_S
        self._patience_ends_mono_s = 0.0
        return wait_s

    def _renew(self, lock_descriptor: int) -> None:
        """Become a new process, unless somebody is in the middle of a message."""
        now = time.monotonic()
        self._patience_ends_mono_s = self._patience_ends_mono_s or now + _PATIENCE_S
        if not self._afar.is_idle:
            return
        paused = self.doors.pause(self._patience_ends_mono_s - now)
        if paused is None:
            return
        # From here on nobody asks for anything; somebody may have just before.
        self._afar.settle()
        handover.hold_signals()
        if self.is_ending():
            # Asked for since the main thread last looked: the next process would not know of it.
            handover.let_signals_in()
            return
        listeners, visitors = paused
        with self.service.lock:
            self.outcomes.settle_all()
            listening = [handover.Listening(arrow, sock.fileno()) for arrow, sock in listeners.items()]
            visiting = [
                # Another owner's device has another name, which the reporter must be told.
                handover.Visiting(
                    arrow,
                    connection.sock.fileno(),
                    "" if self.service.is_reset and arrow == "reporter" else connection.stage,
                )
                for arrow, connection in visitors
            ]
            self.service.watchers.finish()
            ear, last_sweep_s, last_sweep = self.service.hand_over()
            told = handover.Handover(
                lock_descriptor, tuple(listening), tuple(visiting), ear, self._reporter.hand_over(),
                self._afar.hand_over(), self.service.broker, last_sweep_s, last_sweep,
                self.service.privacy.state, self.store.enforced.caps, self.clock.now(),
                self.store.keyring.is_settled, self._voice.state, self.service.light,
            )  # fmt: skip
            self._watchdog.stop()
            self.store.close()
            handover.become(told, [*listeners.values(), *(connection.sock for _, connection in visitors)])

    def go_on(self, before: handover.Handover) -> None:
        """Take over from the process that became this one."""
        self.service.take_over(before.ear, before.last_sweep_s, before.last_sweep)
        self.service.go_on_with_light(before.light)
        self._reporter.take_over(before.reporter)
        self._afar.take_over(before.afar)
        self._voice.state = before.voice
        self.service.broker = before.broker
        self.service.privacy.take_over(before.modes)
        self.store.enforced.take_over(before.caps)
        self.service.privacy.obey(self.store.policy)
        for visiting in before.visiting:
            sock = socket.socket(fileno=visiting.descriptor)
            self.doors.take_visitor(visiting.arrow, sock, visiting.stage)
        for listening in before.listening:
            self.doors.take_listener(listening.arrow, socket.socket(fileno=listening.descriptor))


def _end_process(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    if isinstance(error, SyncError):
        log.critical("%s; the vault starts again, and looks at what the disk holds", error)
        os._exit(os.EX_IOERR)
    log.critical("the vault stops", exc_info=(args.exc_type, error, args.exc_traceback))
    os._exit(os.EX_SOFTWARE)
