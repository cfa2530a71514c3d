"""A microphone that one program at a time can have, as a sound card without a sound server is.

ALSA's plug-in `file` on the virtual sound card: what the microphone hears is read from a terminal, and
the kernel lets nobody open a terminal that somebody has taken for themselves (TIOCEXCL): EBUSY, as from
a card. Programs that may do everything may open it, too; `WRAPPER` takes that from them.

Source: ioctl_tty(2), "Exclusive mode"; alsa-lib, pcm_file.c.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import termios
import threading
import tty
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sound_card import SoundCard

NAME = "heldmic"
WRAPPER = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin") if os.geteuid() == 0 else ()

_PCM = 'pcm.{name} {{ type file format raw file "/dev/null" infile "{terminal}" slave.pcm "fakemic" }}\n'


class HeldMicrophone:
    """A microphone that `NAME` names; free at first."""

    def __init__(self, card: SoundCard) -> None:
        self._ours, self._terminal = os.openpty()
        tty.setraw(self._terminal)
        os.set_blocking(self._ours, False)
        self._said = bytearray()
        self._is_closing = threading.Event()
        with Path(card.environment["ALSA_CONFIG_PATH"]).open("a") as file:
            file.write(_PCM.format(name=NAME, terminal=os.ttyname(self._terminal)))
        self._feeder = threading.Thread(target=self._feed)
        self._feeder.start()

    def take(self) -> None:
        """Be the program that has it."""
        fcntl.ioctl(self._terminal, termios.TIOCEXCL)

    def let_go(self) -> None:
        """Let others have it."""
        fcntl.ioctl(self._terminal, termios.TIOCNXCL)

    def say(self, pcm: bytes) -> None:
        """Have it hear this; silence before and after."""
        self._said += pcm

    def close(self) -> None:
        """Take it away."""
        self._is_closing.set()
        self._feeder.join()
        os.close(self._ours)
        os.close(self._terminal)

    def _feed(self) -> None:
        while not self._is_closing.is_set():
            if select.select([], [self._ours], [], 0.05)[1]:
                with contextlib.suppress(BlockingIOError):
                    sent = os.write(self._ours, bytes(self._said[:1024]) or bytes(1024))
                    del self._said[:sent]


@contextmanager
def held_microphone(card: SoundCard) -> Iterator[HeldMicrophone]:
    """Give one for the length of a `with` block."""
    if WRAPPER and shutil.which(WRAPPER[0]) is None:
        pytest.skip("setpriv is not installed (Debian: util-linux)")
    microphone = HeldMicrophone(card)
    try:
        yield microphone
    finally:
        microphone.close()
