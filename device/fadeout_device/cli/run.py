"""`fadeout run`: the three rooms in the foreground, and a live view of what happens."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_device import answers, config, questions
from fadeout_device.cli.live import LiveView
from fadeout_device.cli.places import config_file, run_folder, state_folder
from fadeout_device.cli.vault_client import ask
from fadeout_device.errors import FadeoutError, UnavailableError
from fadeout_device.supervisor import Refused, Room, Supervisor

if TYPE_CHECKING:
    import argparse

    from fadeout_device.supervisor import What

_DRAIN_S = 3.0
"""How long stopping waits for the broker to take what happened last."""
_SOON_S = 60.0
"""`--once` waits to see keys destroyed that end so soon."""
_ONCE_BROKER_S = 10.0
_LOOK_EVERY_S = 0.2


class _LocalBroker(msgspec.Struct):
    """The line that `fadeout-broker local` prints once it listens."""

    host: str
    port: int


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verb to the command line."""
    verb = verbs.add_parser(
        "run",
        help="listen, seal, report and forget, in the foreground",
        description="Starts the ear, the vault and the reporter, and shows what happens. Ctrl-C stops them.",
    )
    verb.add_argument("--mqtt", metavar="HOST:PORT", help="report to this broker, not the configuration's")
    verb.add_argument(
        "--local-broker", action="store_true", help="start a Mosquitto, and show what a subscriber gets"
    )
    verb.add_argument("--replay", nargs="+", metavar="PATH", help="listen to these audio files, in real time")
    verb.add_argument("--once", action="store_true", help="stop when the audio (or one utterance) is through")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until stopped."""
    loaded = config.load(config_file(arguments))
    view = LiveView(as_json=arguments.json)
    broker = _start_local_broker(view) if arguments.local_broker else None
    if broker is not None:
        arguments.mqtt = f"{broker[1].host}:{broker[1].port}"
    try:
        return _supervise(arguments, loaded, view)
    finally:
        if broker is not None:
            broker[0].terminate()
            broker[0].wait()


def _supervise(arguments: argparse.Namespace, loaded: config.Config, view: LiveView) -> int:
    state = state_folder(arguments)
    arguments.state = str(state)

    def tell(what: What, room: str, how: str) -> None:
        if what == "died":
            view.say("fadeout", f"the {room} died ({how}); it is started again", loud=True)
        elif what == "ended" and not arguments.once:
            view.say("fadeout", "the audio is through; what is held is still forgotten on time (Ctrl-C ends)")
        elif what == "ended":
            threading.Thread(target=settle_and_stop, daemon=True).start()

    supervisor = Supervisor(_rooms(arguments, loaded, view), tell)

    def settle_and_stop() -> None:
        _settle(arguments, has_reporter=_has_reporter(arguments, loaded))
        supervisor.stop()

    def settle_after_utterance() -> None:
        view.has_heard.wait()
        settle_and_stop()

    supervisor.stop_on_signals()
    threading.Thread(target=view.follow_vault, args=(state,), daemon=True).start()
    if arguments.once and not arguments.replay:
        threading.Thread(target=settle_after_utterance, daemon=True).start()
    outcome = supervisor.run(on_stopping=lambda: _drain(arguments))
    if isinstance(outcome, Refused):
        # The room has said why, on standard error.
        return outcome.exit_code
    view.say("fadeout", "stopped")
    return outcome


def _has_reporter(arguments: argparse.Namespace, loaded: config.Config) -> bool:
    return loaded.mqtt.enabled or bool(arguments.mqtt)


def _rooms(arguments: argparse.Namespace, loaded: config.Config, view: LiveView) -> list[Room]:
    state = state_folder(arguments)
    path = config_file(arguments)
    common = ["--state", str(state)]
    if path is not None:
        common += ["--config", str(path.absolute())]
    mqtt = ["--mqtt", arguments.mqtt] if arguments.mqtt else []
    rooms = [Room("vault", ("fadeout_device.vault", *common, *mqtt), opens=True)]
    if arguments.local_broker:
        # Before the reporter, which it outlives: so that one sees it say goodbye.
        host, _, port = arguments.mqtt.rpartition(":")
        listen = ("fadeout_broker", "listen", "--json", "--quiet", "--host", host, "--port", port)
        rooms.append(Room("listener", listen, reads=view.read_listener))
    if _has_reporter(arguments, loaded):
        socket = run_folder(state) / "reporter.sock"
        rooms.append(Room("reporter", ("fadeout_broker.reporter", "--socket", str(socket))))
    if arguments.replay:
        paths = arguments.replay
        replay = ("--replay", *paths, "--speed", "real")
        rooms.append(Room("ear", ("fadeout_device.ear", *common, *replay), reads=view.read_ear, may_end=True))
    else:
        rooms.append(Room("ear", ("fadeout_device.ear", *common)))
    return rooms


def _start_local_broker(view: LiveView) -> tuple[subprocess.Popen[bytes], _LocalBroker]:
    """Start a Mosquitto of our own; it ends when its standard input closes, at the latest with us."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fadeout_broker", "local", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    line = process.stdout.readline()
    if not line:
        raise UnavailableError(
            "the local broker did not start", f"it ended with exit code {process.wait()}, having said why"
        )
    broker = msgspec.json.decode(line, type=_LocalBroker)
    view.say("fadeout", f"Mosquitto listens on {broker.host}:{broker.port}")
    return process, broker


def _status(arguments: argparse.Namespace) -> answers.StatusReport | None:
    try:
        return ask(arguments, questions.Status(), answers.StatusReport)[0]
    except FadeoutError:
        return None


def _drain(arguments: argparse.Namespace) -> None:
    """Give the reporter a moment for what happened last, if it has a broker at all."""
    deadline_mono_s = time.monotonic() + _DRAIN_S
    while time.monotonic() < deadline_mono_s:
        status = _status(arguments)
        if status is None or status.unsent_events == 0 or status.broker != "connected":
            return
        time.sleep(_LOOK_EVERY_S)


def _settle(arguments: argparse.Namespace, *, has_reporter: bool) -> None:
    """Wait until the broker, if any, has everything, and no key is left that ends within a minute."""
    broker_deadline_mono_s = time.monotonic() + _ONCE_BROKER_S
    while True:
        status = _status(arguments)
        if status is not None:
            is_told = (
                not has_reporter or status.unsent_events == 0 or time.monotonic() > broker_deadline_mono_s
            )
            ends_soon = status.next_end_s is not None and status.next_end_s - status.clock.proven_s < _SOON_S
            if is_told and not ends_soon and not status.overdue:
                return
        time.sleep(_LOOK_EVERY_S)
