"""What `fadeout run` shows while it runs: one line for each thing that happens, as it happens.

Lines come from the vault's watch, from the supervisor, from an ear that replays
files, and from a subscriber that listens on the local broker, so that one sees an
event as an integrator does. With `--json` the same as JSON lines.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from fadeout_device.answers import Happening
from fadeout_device.cli.happenings import describe
from fadeout_device.cli.vault_client import watch
from fadeout_device.errors import UnavailableError, WireError

if TYPE_CHECKING:
    from pathlib import Path

_STYLES = {"ear": "cyan", "vault": "magenta", "reporter": "yellow", "mqtt": "green", "fadeout": "bold"}
_EARS = frozenset({"wake", "utterance", "listening", "not_listening", "ear_away", "light"})
_REPORTERS = frozenset({"reported", "withdrawn", "broker"})
_LOUD = frozenset({"erased", "erase_failed", "not_sealed", "private", "mode", "alarm"})
_RETRY_S = 0.2


class LiveView:
    """Prints what happens. Thread-safe."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        self._lock = threading.Lock()
        self.has_heard = threading.Event()
        """Set once an utterance has ended."""

    def say(self, room: str, text: str, *, loud: bool = False) -> None:
        """Print one line."""
        if self._as_json:
            self._print_json({"room": room, "text": text})
            return
        style = _STYLES[room]
        words = f"[bold]{escape(text)}[/bold]" if loud else escape(text)
        with self._lock:
            self._console.print(
                f"[dim]{time.strftime('%H:%M:%S')}[/dim] [{style}]{room:<8}[/{style}] {words}"
            )

    def follow_vault(self, state: Path) -> None:
        """Follow the vault for good, through its restarts; in a thread of its own."""
        while True:
            try:
                for message in watch(state):
                    if isinstance(message, Happening):
                        self._happened(message)
            except (UnavailableError, WireError):
                pass  # it is starting, or was killed and comes back
            time.sleep(_RETRY_S)

    def read_ear(self, lines: IO[bytes]) -> None:
        """Read what an ear prints that replays files."""
        for line in lines:
            said = json.loads(line)
            if said["type"] == "bad_file":
                hint = f" ({said['hint']})" if said.get("hint") else ""
                self.say("ear", f"error: {said['error']}{hint}", loud=True)

    def read_listener(self, lines: IO[bytes]) -> None:
        """Read what a subscriber prints."""
        for line in lines:
            said = json.loads(line)
            payload = said["payload"]
            shown = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
            self.say("mqtt", f"{said['topic']} {shown}{' (retained)' if said.get('retain') else ''}")

    def _happened(self, happening: Happening) -> None:
        if happening.what == "utterance":
            self.has_heard.set()
        what = happening.what
        room = "ear" if what in _EARS else "reporter" if what in _REPORTERS else "vault"
        self.say(room, describe(happening), loud=what in _LOUD)

    def _print_json(self, fields: dict[str, str]) -> None:
        with self._lock:
            sys.stdout.write(json.dumps(fields) + "\n")
            sys.stdout.flush()
