"""A loop of sound: what is played into it comes out of a microphone that PortAudio opens.

One of our own is a PulseAudio that nobody else sees, with a null sink, and an ALSA
configuration that names the sink's monitor as a microphone: no kernel module, no
hardware. It ends with the replay; should that be killed, PulseAudio ends itself soon
after. Or two devices that are connected already: ALSA's loopback card, or a cable.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from fadeout_device.confine import PARENT_PID_VARIABLE
from fadeout_device.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fadeout_device.config import MicrophoneSettings
    from fadeout_device.replaying.events import Stream

OWN = "fadeout_loop"
"""The name of our own sink, and of its microphone."""
_BEST_HZ = 16_000
_CHANNEL_MAP = "front-left,front-right,rear-left,rear-right,front-center,lfe,side-left,side-right"
"""ALSA's order for eight, which is how the ear opens a sound server for the sake of one channel."""
_WIDEST = 8
_PLUG_INS = ("lib*/alsa-lib/*_pcm_pulse.so", "lib*/*/alsa-lib/*_pcm_pulse.so")
_BESIDE_PIPEWIRE = (
    "; it pushes PipeWire out: where that plays, name a loop with --play-device and --microphone"
)
_START_S = 60.0
_IDLE_S = 60
_MOST_PLACE_BYTES = 75
"""Of the folder for temporary files: a socket's path has 107 at most."""
_STOP_S = 5.0

_ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.{name} {{ type pulse  server "{server}"  device "{name}.monitor" }}
"""


class Devices(NamedTuple):
    """Two devices that are connected."""

    play: str
    """An ALSA device that plays: `hw:Loopback,0`."""
    microphone: str
    """As `[microphone] device` has it."""


class Loop(NamedTuple):
    """An open loop."""

    microphone: str
    """As `[microphone] device` has it."""
    program: tuple[str, ...]
    """Plays s16le from its standard input; `{rate}`, `{channels}` and `{map}` are put in."""
    environment: Mapping[str, str] = {}
    """Of the ear and of that program."""

    def player(self, rate_hz: int, channels: int) -> list[str]:
        """Return the program and its arguments."""
        channel_map = _CHANNEL_MAP if channels == _WIDEST else "mono"
        return [one.format(rate=rate_hz, channels=channels, map=channel_map) for one in self.program]

    @contextlib.contextmanager
    def play(self, file: Path, stream: Stream, read: Callable[[IO[bytes]], None]) -> Iterator[None]:
        """Play a file to who listens to a stream; what is left at the end of the `with` block is not heard.

        Args:
            file: the file.
            stream: its rate and channels are what is played.
            read: reads what the mouth prints, in a thread of its own.
        """
        shape = ("--rate", str(stream.rate_hz), "--channels", str(stream.channels))
        player = self.player(stream.rate_hz, stream.channels)
        mouth = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "fadeout_device.replaying.mouth", *shape, "--", str(file), *player],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env={**os.environ, **self.environment, PARENT_PID_VARIABLE: str(os.getpid())},
            # Of its own, with the program that it starts: both end at once.
            start_new_session=True,
        )  # fmt: skip
        assert mouth.stdout is not None  # noqa: S101 - a pipe
        reader = threading.Thread(target=read, args=(mouth.stdout,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(mouth.pid, signal.SIGKILL)
            mouth.wait()
            reader.join(_STOP_S)
            mouth.stdout.close()


@contextlib.contextmanager
def opened(devices: Devices | None, microphone: MicrophoneSettings) -> Iterator[Loop]:
    """Open a loop for the length of a `with` block.

    Args:
        devices: None: one of our own.
        microphone: the rate and the channel that the ear will ask for.

    Raises:
        UnavailableError: a program that it needs is missing, or does not start.
    """
    if devices is not None:
        _require("aplay", "alsa-utils")
        play = ("aplay", "-q", f"--device={devices.play}", "--file-type=raw", "--format=S16_LE")
        yield Loop(devices.microphone, (*play, "--rate={rate}", "--channels={channels}"))
        return
    _require("pulseaudio", "pulseaudio")
    _require("pacat", "pulseaudio-utils")
    place = tempfile.gettempdir()
    if len(os.fsencode(place)) > _MOST_PLACE_BYTES:
        place = "/tmp"  # noqa: S108 - a folder is made in it for us alone
    with (
        tempfile.TemporaryDirectory(prefix="fadeout-loop-", dir=place) as folder,
        _pulseaudio(Path(folder), microphone) as environment,
    ):
        play = ("pacat", "--raw", "--format=s16le", f"--device={OWN}", "--client-name=fadeout")
        shape = ("--rate={rate}", "--channels={channels}", "--channel-map={map}")
        yield Loop(OWN, (*play, *shape), environment)


def missing_plug_in() -> str | None:
    """Return the hint for an ear that sees no microphone in a loop of our own; None: it has what it needs."""
    if any(path for place in _PLUG_INS for path in Path("/usr").glob(place)):
        return None
    return "ALSA's plug-in for PulseAudio is missing: sudo apt-get install libasound2-plugins"


def _require(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise UnavailableError(
            f"{program} is not installed: --through-microphone needs it",
            f"sudo apt-get install {package}{_BESIDE_PIPEWIRE if package == 'pulseaudio' else ''}",
        )


@contextlib.contextmanager
def _pulseaudio(folder: Path, microphone: MicrophoneSettings) -> Iterator[dict[str, str]]:
    """Run a PulseAudio that ends with the `with` block; yield what makes a program see it alone."""
    server = folder / "native"
    (folder / "asoundrc").write_text(_ALSA.format(name=OWN, server=f"unix:{server}"))
    environment = {
        "PULSE_SERVER": f"unix:{server}",
        "ALSA_CONFIG_PATH": str(folder / "asoundrc"),
        # libpulse writes its cookie there.
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - what was found in PATH
            [  # noqa: S607 - the same
                "pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", f"--exit-idle-time={_IDLE_S}",
                # The sink first: once the socket is there, everything is.
                "-L", f"module-null-sink sink_name={OWN} format=s16le norewinds=1 {_shape(microphone)}",
                "-L", f"module-native-protocol-unix auth-anonymous=1 socket={server}",
            ],
            env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            # Ctrl-C is for us, who end it last.
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_up(process, server, folder / "log")
        yield environment
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _shape(microphone: MicrophoneSettings) -> str:
    rate_hz = _BEST_HZ if microphone.rate_hz == "auto" else microphone.rate_hz
    if microphone.channel == "mix":
        return f"rate={rate_hz} channels=1"
    if microphone.channel >= _WIDEST:
        raise UsageError(
            f"[microphone] channel = {microphone.channel}: a loop of our own has {_WIDEST} channels",
            "name a loop that has more with --play-device and --microphone",
        )
    return f"rate={rate_hz} channels={_WIDEST} channel_map={_CHANNEL_MAP}"


def _wait_until_up(process: subprocess.Popen[bytes], server: Path, log: Path) -> None:
    deadline_mono_s = time.monotonic() + _START_S
    while True:
        with socket.socket(socket.AF_UNIX) as attempt, contextlib.suppress(OSError):
            attempt.connect(str(server))
            return
        if process.poll() is not None or time.monotonic() > deadline_mono_s:
            lines = log.read_text(errors="replace").splitlines()
            raise UnavailableError(
                f"pulseaudio did not start: {lines[-1] if lines else 'it says nothing'}",
                "does it start by itself? pulseaudio -n --daemonize=no --use-pid-file=no -v",
            )
        time.sleep(0.02)
