"""The ear as a whole: builds its parts, listens to a microphone or to files, and stops."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.ear.adapters.vault_link import VaultLink
from fadeout_device.ear.listening import Listening
from fadeout_device.ear.stopping import Stop

if TYPE_CHECKING:
    from pathlib import Path

    from fadeout_device.config import Config
    from fadeout_device.ear.replay import Speed


class Settings(NamedTuple):
    """What one run of the ear was asked for."""

    state: Path
    config: Config
    replay: tuple[Path, ...] = ()
    """Files and folders; none: the microphone."""
    speed: Speed = "max"
    start_at_s: float = 0.0
    """Replay: the time at which the first file begins; Unix seconds."""


def run(settings: Settings) -> int:
    """Run the ear until it is told to stop, or all files are replayed; return the exit code.

    Raises:
        FadeoutError: it cannot go on.
    """
    stop = Stop()
    stop.on_signals()
    listening = Listening(settings.config)
    link = VaultLink(settings.state / "run" / "ear.sock", ages=not settings.replay)
    try:
        return (
            _replay(settings, listening, link, stop)
            if settings.replay
            else _live(settings, listening, link, stop)
        )
    finally:
        link.close()


# Each mode loads its own libraries only: PortAudio is no use to files, nor libsndfile to a microphone.


def _live(settings: Settings, listening: Listening, link: VaultLink, stop: Stop) -> int:
    from fadeout_device.ear.live import Live  # noqa: PLC0415

    Live(settings.config, listening, link, stop).run()
    return 0


def _replay(settings: Settings, listening: Listening, link: VaultLink, stop: Stop) -> int:
    from fadeout_device.ear.replay import Replay  # noqa: PLC0415

    replay = Replay(
        listening, link, stop, sys.stdout.buffer, speed=settings.speed, start_at_s=settings.start_at_s
    )
    return replay.run(settings.replay)
