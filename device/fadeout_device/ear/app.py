"""The ear as a whole: builds its parts, listens to a microphone or to files, and stops."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.ear.adapters.vault_link import VaultLink
from fadeout_device.ear.listening import Listening
from fadeout_device.ear.recognising import Recognising
from fadeout_device.ear.stopping import Stop

if TYPE_CHECKING:
    from pathlib import Path

    from fadeout_device.config import Config, RecogniserSettings
    from fadeout_device.ear.recognition import Recogniser
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
    waits: bool = False
    """Wait for a microphone that is not there, instead of refusing."""
    reports: bool = False
    """At the microphone: print what is heard, for who plays files into it; no lamp, no button, no voice."""


def run(settings: Settings) -> int:
    """Run the ear until it is told to stop, or all files are replayed; return the exit code.

    Raises:
        FadeoutError: it cannot go on.
    """
    stop = Stop()
    stop.on_signals()
    listening = Listening(settings.config)
    recognising = Recognising(recogniser(settings.config.recogniser))
    link = VaultLink(settings.state / "run" / "ear.sock", ages=not settings.replay)
    try:
        return (
            _replay(settings, listening, link, stop, recognising)
            if settings.replay
            else _live(settings, listening, link, stop, recognising)
        )
    finally:
        recognising.close()
        link.close()


def recogniser(settings: RecogniserSettings) -> Recogniser | None:
    """Return the recogniser that the configuration names; it loads nothing before the first utterance.

    Raises:
        ConfigError: its actions cannot be used.
        UnavailableError: it is not installed.
    """
    if settings.engine == "none":
        return None
    from fadeout_device.actions_file import load_actions  # noqa: PLC0415 - where it is used

    actions = load_actions(settings)
    if settings.engine == "wyoming":
        from fadeout_device.ear.adapters.wyoming import Wyoming  # noqa: PLC0415

        return Wyoming(actions, settings)
    from fadeout_device.ear.adapters.decoder_line import DecoderLine  # noqa: PLC0415
    from fadeout_device.ear.adapters.dictionary import refuse_unknown_words  # noqa: PLC0415

    refuse_unknown_words(actions, settings)
    return DecoderLine(actions, settings)


# Each mode loads its own libraries only: PortAudio is no use to files, nor libsndfile to a microphone.


def _live(
    settings: Settings, listening: Listening, link: VaultLink, stop: Stop, recognising: Recognising
) -> int:
    from fadeout_device.ear.adapters.speaking import Speaking, argv_of  # noqa: PLC0415
    from fadeout_device.ear.live import Live  # noqa: PLC0415
    from fadeout_device.ear.reported import LiveReport  # noqa: PLC0415

    if settings.reports:
        report = LiveReport(sys.stdout.buffer)
        # A fadeout that listens for somebody may run here, too: the pins and the loudspeaker are its own.
        Live(settings.config, listening, link, stop, recognising, report=report).run(waits=settings.waits)
        return 0
    lamp = None
    if settings.config.light.pins:
        from fadeout_device.ear.adapters.gpio import light_on_pins  # noqa: PLC0415

        lamp = light_on_pins(settings.config.light, settings.state / "run")
    if settings.config.button.pin is not None:
        from fadeout_device.ear.adapters.gpio import PushButton  # noqa: PLC0415

        link.take_press = PushButton(settings.config.button, settings.state / "run").take
    voice = settings.config.voice
    speaking = Speaking(argv_of(voice.speak) if voice.commands else ())
    try:
        live = Live(
            settings.config, listening, link, stop, recognising, speaking,
            light=lamp, state_folder=settings.state,
        )  # fmt: skip
        live.run(waits=settings.waits)
    finally:
        speaking.close()
    return 0


def _replay(
    settings: Settings, listening: Listening, link: VaultLink, stop: Stop, recognising: Recognising
) -> int:
    from fadeout_device.ear.replay import Replay  # noqa: PLC0415

    replay = Replay(
        listening, link, stop, sys.stdout.buffer, recognising,
        speed=settings.speed, start_at_s=settings.start_at_s,
    )  # fmt: skip
    return replay.run(settings.replay)
