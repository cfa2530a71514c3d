"""`fadeout devices`, `doctor audio`: which microphones there are, how loud they are, and what is wrong.

What is recorded for that stays in memory, in a process that has no network, no swap and no
core dump, and is overwritten at once. A mute holds here, too.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from fadeout_device import answers, config, questions
from fadeout_device.cli import shown
from fadeout_device.cli.places import config_file, state_folder
from fadeout_device.cli.vault_client import RefusedError, ask
from fadeout_device.confine import confine
from fadeout_device.ear.adapters.remembered import remembered
from fadeout_device.errors import FadeoutError, UnavailableError, WireError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.table import Table

    from fadeout_device.ear.diagnosis import Diagnosis
    from fadeout_device.ear.inputs import HeldInput, InputDevice

T = TypeVar("T")

_DOCTOR_S = 2.0
_GLANCE_S = 0.3
# A sound system that does not answer within so long is stuck; nothing waits for it.
_PATIENCE_S = 30.0
_BAR_CELLS, _BAR_FROM_DBFS = 24, -72


class _Level(NamedTuple):
    """How loud one microphone is now, or why that cannot be told."""

    channels_dbfs: tuple[float, ...] = ()
    problem: str = ""


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser(
        "devices",
        help="list the microphones that PortAudio sees",
        description="With --levels: how loud each is, on a terminal again and again until Ctrl-C.",
    )
    verb.add_argument("--levels", action="store_true", help="listen to each for a moment: how loud is it?")
    verb.set_defaults(run=devices)

    verb = verbs.add_parser(
        "doctor",
        help="say what is wrong with the microphone; exit code 65 if something is",
        description="doctor audio: speak while it records two seconds, in memory only. It says in words"
        " whether the microphone is silent, cut off, off zero, too quiet or too loud, whether another channel"
        " or rate is the right one, and which setting mends it.",
    )
    verb.add_argument("what", choices=["audio"])
    verb.set_defaults(run=doctor)


# ---- fadeout devices


class _Seen(NamedTuple):
    """What was found."""

    inputs: tuple[InputDevice, ...]
    held: list[HeldInput]
    rates: dict[int, tuple[int, ...]]
    used: InputDevice | None
    """The one that `[microphone] device` means."""
    words: str
    """Which one is used, or why none is."""
    wanted: str | int
    """`[microphone] device`; empty: the configuration cannot be read."""


def devices(arguments: argparse.Namespace) -> int:
    """List microphones."""
    if arguments.levels:
        _refuse_if_muted(arguments)
        confine()
    seen = _look(arguments)
    if arguments.json:
        held = [{"index": None, "name": one.name, "in_use": one.words, "is_used": False} for one in seen.held]
        shown.print_json([*(_fields(one, seen, levels=arguments.levels) for one in seen.inputs), *held])
    elif not seen.inputs and not seen.held:
        shown.print_lines(
            "no microphone found",
            "connect one and look at `arecord -l`; or replay a file: fadeout replay FILE",
            *([seen.words] if seen.wanted == "" else []),
        )
    else:
        _show(seen, levels=arguments.levels)
        shown.print_lines(seen.words, f'to choose one: [microphone] device = "{_example(seen.inputs)}"')
    return 0


def _look(arguments: argparse.Namespace) -> _Seen:
    from fadeout_device.ear.adapters import alsa, portaudio  # noqa: PLC0415 - loads PortAudio
    from fadeout_device.ear.inputs import MicrophoneError, choose  # noqa: PLC0415 - with it

    try:
        wanted = config.load(config_file(arguments)).microphone.device
    except FadeoutError:
        # Somebody who writes a configuration looks here what to write into it.
        wanted = ""
    with portaudio.quiet_portaudio() as audio:
        inputs = portaudio.inputs_of(audio)
        held = alsa.held_inputs(inputs, wanted)
        rates = {device.index: portaudio.rates_of(audio, device) for device in inputs}
    if wanted == "":
        words = "the configuration cannot be used: fadeout check-config says why"
        return _Seen(inputs, held, rates, None, words, wanted)
    setting = f"[microphone] device = {msgspec.json.encode(wanted).decode()}"
    try:
        used = choose(inputs, wanted, held, remembered(state_folder(arguments), wanted))
    except MicrophoneError as err:
        return _Seen(inputs, held, rates, None, f"{setting}: {err}", wanted)
    return _Seen(inputs, held, rates, used, f'{setting}: "{used.name}" is used', wanted)


def _example(found: tuple[InputDevice, ...]) -> str:
    return next((device.lasting_name for device in found if "hw:" in device.name), "part of its name")


def _fields(device: InputDevice, seen: _Seen, *, levels: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "index": device.index,
        "name": device.name,
        "channels": device.channels,
        "rate_hz": device.rate_hz,
        "rates_hz": seen.rates[device.index],
        "is_default": device.is_default,
        "is_used": device == seen.used,
        "in_use": "",
    }
    if levels:
        level = _listen(device)
        fields["levels_dbfs"] = [round(one, 1) for one in level.channels_dbfs]
        fields["problem"] = level.problem
    return fields


def _show(seen: _Seen, *, levels: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - late: most commands never need it

    console = Console(highlight=False)
    if not levels:
        console.print(_table(seen, {}))
        return
    if not console.is_terminal:
        console.print(_table(seen, {device.index: _listen(device) for device in seen.inputs}))
        return
    from rich.live import Live  # noqa: PLC0415 - the same

    heard: dict[int, _Level] = {}
    with Live(console=console, auto_refresh=False) as live:
        while True:
            for device in seen.inputs:
                heard[device.index] = _listen(device)
                live.update(_table(seen, heard), refresh=True)


def _table(seen: _Seen, heard: dict[int, _Level]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - late: most commands never need it

    title = shown.count(len(seen.inputs) + len(seen.held), "microphone")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("index", "name", "channels", "rates (kHz)", *(["level (dBFS)"] if heard else []), ""):
        table.add_column(column, overflow="fold")
    for device in seen.inputs:
        kilohertz = " ".join(f"{rate_hz / 1000:g}" for rate_hz in seen.rates[device.index]) or "in use?"
        row = [str(device.index), device.name, str(device.channels), kilohertz]
        if heard:
            row.append(_meter(heard.get(device.index, _Level())))
        notes = ["default"] * device.is_default + ["used"] * (device == seen.used)
        table.add_row(*row, ", ".join(notes))
    for one in seen.held:
        table.add_row("", one.name, "", "", *([""] if heard else []), one.words)
    return table


def _meter(level: _Level) -> str:
    if not level.channels_dbfs:
        return level.problem or "…"
    return "\n".join(
        f"{'█' * round(_BAR_CELLS * max(0.0, 1 - one / _BAR_FROM_DBFS)):<{_BAR_CELLS}} {one:5.0f}"
        for one in level.channels_dbfs
    )


def _listen(device: InputDevice) -> _Level:
    """Return how loud a microphone is; what was recorded is overwritten before this returns."""
    import numpy as np  # noqa: PLC0415 - late: no other command needs it

    from fadeout_device.ear.adapters.sample import sampled  # noqa: PLC0415 - loads PortAudio
    from fadeout_device.ear.inputs import MicrophoneError  # noqa: PLC0415 - with it
    from fadeout_device.ear.loudness import dbfs, rms  # noqa: PLC0415 - loads NumPy

    def listen() -> _Level:
        with sampled(config.MicrophoneSettings(device=device.index), _GLANCE_S) as sample:
            frames = sample.recorded().frames.astype(np.float32)
            return _Level(tuple(dbfs(rms(frames[:, index])) for index in range(frames.shape[1])))

    try:
        return _patiently(listen)
    except MicrophoneError as err:
        return _Level(problem=str(err.why))


# ---- fadeout doctor


class _Report(msgspec.Struct):
    """What `doctor audio --json` prints."""

    ok: bool
    device: str = ""
    rate_hz: int = 0
    channels: int = 0
    level_dbfs: float | None = None
    """The loudest moments, in the band of speech, with the gain that is set."""
    channels_dbfs: tuple[float, ...] = ()
    """The same of each channel, without gain."""
    findings: tuple[dict[str, Any], ...] = ()
    """`kind`, `words`, `setting` (a line for `[microphone]`, or empty), `is_fault`."""


def doctor(arguments: argparse.Namespace) -> int:
    """Record two seconds and say what is wrong."""
    settings = config.load(config_file(arguments)).microphone
    known_as = remembered(state_folder(arguments), settings.device)
    status = _refuse_if_muted(arguments)
    confine()
    from fadeout_device.ear.adapters.sample import sampled  # noqa: PLC0415 - loads PortAudio; after confine
    from fadeout_device.ear.diagnosis import diagnose  # noqa: PLC0415 - loads NumPy
    from fadeout_device.ear.inputs import MicrophoneError  # noqa: PLC0415 - with it

    def record() -> tuple[_Report, Diagnosis]:
        with sampled(settings, _DOCTOR_S, known_as, on_start) as sample:
            recorded = sample.recorded()
            found = diagnose(recorded, settings.channel, settings.gain_db)
            report = _Report(
                found.is_good, sample.device.name, recorded.rate_hz, recorded.frames.shape[1],
                round(found.level_dbfs, 1), tuple(round(one, 1) for one in found.channels_dbfs),
                tuple(finding._asdict() for finding in found.findings),
            )  # fmt: skip
            return report, found

    def on_start() -> None:
        if not arguments.json:
            words = "speak now: recording two seconds, in memory only"
            print(words, file=sys.stderr, flush=True)  # noqa: T201 - this is a command

    try:
        report, found = _patiently(record)
    except MicrophoneError as err:
        if arguments.json:
            finding = {"kind": err.why, "words": str(err), "setting": "", "is_fault": True}
            shown.print_json(_Report(ok=False, findings=(finding,)))
        if err.why == "busy" and status is not None and status.listening:
            err.hint = (
                "fadeout itself listens to it: fadeout status says how loud it is; to look closer, stop"
                " fadeout, ask again, and start it"
            )
        raise
    if arguments.json:
        shown.print_json(report)
    else:
        shown.print_lines(*_words(report, found, settings))
    return os.EX_OK if found.is_good else os.EX_DATAERR


def _words(report: _Report, found: Diagnosis, settings: config.MicrophoneSettings) -> list[str]:
    gain = f", gain {settings.gain_db:g} dB" if settings.gain_db else ""
    channels = shown.count(report.channels, "channel")
    lines = [
        f"{report.device}: {report.rate_hz} Hz, {channels}, channel = {settings.channel}{gain}",
        f"speech at {found.level_dbfs:.0f} dBFS",
    ]
    if report.channels > 1:
        each = ", ".join(f"{index}: {one:.0f}" for index, one in enumerate(found.channels_dbfs))
        lines.append(f"channels (dBFS): {each}")
    for finding in found.findings:
        lines.append(finding.words)
        if finding.setting:
            lines.append(f"  set in [microphone]: {finding.setting}")
    if not found.findings:
        lines.append("all is well")
    return lines


# ---- what both need


def _refuse_if_muted(arguments: argparse.Namespace) -> answers.StatusReport | None:
    """Return how the running fadeout is; None: none runs.

    Raises:
        UnavailableError: it is muted.
    """
    try:
        status, _ = ask(arguments, questions.Status(), answers.StatusReport)
    except (UnavailableError, WireError, RefusedError):
        return None
    if status.modes.muted_by:
        raise UnavailableError("it is muted, and stays so for this, too", "fadeout unmute ends that")
    return status


def _patiently(call: Callable[[], T]) -> T:
    """Do what may be stuck in the sound system; then the process ends at once, and with it the recording."""
    from fadeout_device.ear.adapters.portaudio import StuckError, patiently  # noqa: PLC0415 - loads PortAudio

    try:
        return patiently(call, _PATIENCE_S, lambda: True)
    except StuckError as err:
        print(*err.lines(), sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - this is a command
        os._exit(err.exit_code)
