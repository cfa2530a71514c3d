"""A sound card that exists only in software: what is played into it comes out of its microphones.

A private PulseAudio with two null sinks, and an ALSA configuration that names
their monitors, so that the real PortAudio opens real input devices: as root, in
CI, without a kernel module. `fakemic` is mono at 16 kHz, `fakemic6` an array of
six channels. Use it through the fixture `sound_card`; tests that do are marked
`system`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.fakemic {{ type pulse  server "{server}"  device "fakemic.monitor" }}
pcm.fakemic6 {{ type pulse  server "{server}"  device "fakemic6.monitor" }}
pcm.!default {{ type pulse  server "{server}"  device "fakemic.monitor" }}
ctl.!default {{ type pulse  server "{server}" }}
"""
_MAP_6 = "channel_map=front-left,front-right,rear-left,rear-right,front-center,lfe"
_MODULES = (
    "module-null-sink sink_name=fakemic rate=16000 channels=1 format=s16le norewinds=1",
    f"module-null-sink sink_name=fakemic6 rate=16000 channels=6 format=s16le norewinds=1 {_MAP_6}",
)
_START_S = 60


class SoundCard:
    """A running virtual sound card; `environment` makes a program see it, and no other."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            "PULSE_SERVER": f"unix:{folder}/native",
            "ALSA_CONFIG_PATH": str(folder / "asoundrc"),
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
        }
        (folder / "asoundrc").write_text(_ALSA.format(server=self.environment["PULSE_SERVER"]))
        self._server = subprocess.Popen(
            [
                "pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
                "-L", f"module-native-protocol-unix auth-anonymous=1 socket={folder}/native",
                *(argument for module in _MODULES for argument in ("-L", module)),
            ],
            env=self._program_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait_until_up(self) -> None:
        """Wait until the server answers."""
        deadline_mono_s = time.monotonic() + _START_S
        while self._pactl("info").returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline_mono_s:
                pytest.fail(f"pulseaudio did not come up within {_START_S} s")
            time.sleep(0.05)

    def play(self, path: Path, microphone: str = "fakemic") -> subprocess.Popen[bytes]:
        """Start to play a file in front of a microphone; `wait()` for its end."""
        channel_map = [f"--{_MAP_6.replace('_', '-')}"] if microphone == "fakemic6" else []
        return subprocess.Popen(
            ["paplay", f"--device={microphone}", *channel_map, str(path)], env=self._program_environment()
        )

    def unplug(self) -> None:
        """Take every microphone away."""
        self._pactl("unload-module", "module-null-sink")

    def plug_in(self) -> None:
        """Bring the microphones back."""
        for module in _MODULES:
            self._pactl("load-module", *module.split(" "))

    def hang(self) -> None:
        """Have the server answer nobody any more, as if it, or a driver, were stuck."""
        self._server.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End that."""
        self._server.send_signal(signal.SIGCONT)

    def recorders(self) -> int:
        """Return how many streams are recording from it now."""
        return len(self._pactl("list", "short", "source-outputs").stdout.splitlines())

    def players(self) -> int:
        """Return how many streams are playing into it now."""
        return len(self._pactl("list", "short", "sink-inputs").stdout.splitlines())

    def close(self) -> None:
        """Stop the server."""
        self._server.terminate()
        self.go_on()
        self._server.wait()

    def _pactl(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["pactl", *arguments], env=self._program_environment(), capture_output=True, check=False
        )

    def _program_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def missing_programs() -> str:
    """Name what this needs and the machine has not; empty when all is there."""
    return ", ".join(p for p in ("pulseaudio", "pactl", "paplay") if shutil.which(p) is None)


@pytest.fixture
def no_sound_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the children of a test a machine without a microphone."""
    if any(Path("/dev/snd").glob("pcm*c")):
        pytest.skip("this machine has a microphone, which cannot be hidden")
    (tmp_path / "asoundrc").write_text("</usr/share/alsa/alsa.conf>\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asoundrc"))
    monkeypatch.setenv("PULSE_SERVER", "unix:/nonexistent")


@contextmanager
def running_sound_card() -> Iterator[SoundCard]:
    """Run a sound card for the length of a `with` block."""
    # Not pytest's folder: the socket's path must fit into 107 bytes.
    with tempfile.TemporaryDirectory(prefix="card") as folder:
        card = SoundCard(Path(folder))
        try:
            card.wait_until_up()
            yield card
        finally:
            card.close()


@pytest.fixture
def sound_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    """Give a test a sound card, which this process and its children see."""
    if missing := missing_programs():
        pytest.skip(f"not installed: {missing} (Debian: pulseaudio pulseaudio-utils libasound2-plugins)")
    with running_sound_card() as card:
        for name, value in card.environment.items():
            monkeypatch.setenv(name, value)
        yield card
