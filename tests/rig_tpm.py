"""A real TPM 2.0, in software: Debian's swtpm, with its state in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Self

import pytest

from rig_waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

_STOP_S = 10.0


class Swtpm:
    """One chip: what it holds outlives its processes."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("swtpm") is None:
            pytest.skip("swtpm is not installed")
        self._folder = folder
        self.socket = folder / "tpm.sock"
        (folder / "chip").mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Power on."""
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [
                "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder}/chip", "--flags",
                "not-need-init,startup-clear", "--server", f"type=unixio,path={self.socket}",
                "--ctrl", f"type=unixio,path={self.socket}.ctrl", "--log", f"file={self._folder}/swtpm.log",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self.socket.exists, "swtpm listens")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Power off, in order or not."""
        if self._process is not None:
            os.kill(self._process.pid, number)
            self._process.wait(_STOP_S)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
