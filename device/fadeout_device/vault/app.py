"""The vault's process: takes the lock, opens the store, listens on three sockets, sweeps, stops.

The only place that knows everybody in the room. One thread accepts on each socket,
one serves each connection, the main thread waits for the signal to stop. A broken
invariant or a failed fsync in any of them ends the process: what is on the disk is
looked at anew by the next one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device import wire
from fadeout_device.errors import WireError
from fadeout_device.vault import control_arrow, ear_arrow
from fadeout_device.vault.clock import ReplayClock, SystemClock
from fadeout_device.vault.durable import storage_errors
from fadeout_device.vault.errors import SyncError
from fadeout_device.vault.reporter_arrow import ReporterArrow
from fadeout_device.vault.roots.file import FileRootStore
from fadeout_device.vault.service import Service
from fadeout_device.vault.store import Store, lock

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from fadeout_device.config import Config
    from fadeout_device.confine import Confinement
    from fadeout_device.vault.clock import Clock

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 60.0
"""A clock that jumps is noticed within this time."""
_SHORTEST_WAIT_S = 0.05


class Settings(NamedTuple):
    """What the process was started with."""

    state: Path
    config: Config
    replay_start_s: float | None
    """Unix seconds at which a replay's audio starts; None: live."""


def run(settings: Settings, confinement: Confinement) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        FadeoutError: the state folder cannot be used; nothing was started.
    """
    os.umask(0o077)
    lock(settings.state)
    is_replay = settings.replay_start_s is not None
    clock: Clock = SystemClock() if settings.replay_start_s is None else ReplayClock(settings.replay_start_s)
    config = settings.config
    with storage_errors(settings.state):
        roots = FileRootStore(settings.state)
    store = Store(settings.state, roots, config.policy, config.sweep_s, clock)
    service = Service(store, clock, confinement, config.sweep_s)
    reporter = ReporterArrow(service, config.mqtt)
    service.on_change = reporter.pump

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.excepthook = _end_process

    service.start()
    run_folder = settings.state / "run"
    with storage_errors(run_folder):
        run_folder.mkdir(mode=0o700, exist_ok=True)
    _listen(run_folder / "control.sock", lambda sock: _framed(sock, control_arrow.serve, service))
    _listen(run_folder / "reporter.sock", reporter.serve)
    _listen(
        run_folder / "ear.sock",
        lambda sock: _framed(sock, ear_arrow.serve, service, is_replay=is_replay),
    )
    # Whoever started this process waits for the line before it starts the others.
    print("ready", flush=True)  # noqa: T201 - for the supervisor
    if is_replay:
        stop.wait()
    else:
        _sweep_until(stop, service)
    with service.lock:
        store.close()


def _sweep_until(stop: threading.Event, service: Service) -> None:
    wait_s = 0.0
    while not stop.wait(wait_s):
        with service.lock:
            if service.seconds_to_sweep() <= 0:
                service.sweep()
            service.on_change()
            wait_s = max(_SHORTEST_WAIT_S, min(service.seconds_to_sweep(), _LONGEST_WAIT_S))


def _listen(path: Path, serve: Callable[[socket.socket], None]) -> None:
    server = wire.listen(path)

    def accept() -> None:
        while True:
            sock, _ = server.accept()
            if wire.peer_uid(sock) not in (os.getuid(), 0):
                sock.close()
                continue
            threading.Thread(target=_serve, args=(sock, serve), name=path.stem, daemon=True).start()

    threading.Thread(target=accept, name=f"{path.stem} accept", daemon=True).start()


def _serve(sock: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    with contextlib.closing(sock):
        try:
            serve(sock)
        except WireError as err:
            log.warning("%s: connection closed: %s", threading.current_thread().name, err)


def _framed(sock: socket.socket, serve: Callable[..., None], service: Service, **options: bool) -> None:
    connection = wire.Connection(sock)
    try:
        serve(connection, service, **options)
    finally:
        connection.close()


def _end_process(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    if isinstance(error, SyncError):
        log.critical("%s; the vault starts again, and looks at what the disk holds", error)
        os._exit(os.EX_IOERR)
    log.critical("the vault stops", exc_info=(args.exc_type, error, args.exc_traceback))
    os._exit(os.EX_SOFTWARE)
