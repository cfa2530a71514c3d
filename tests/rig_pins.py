"""Pins of a board that is not there, in another process: a test presses the button, and sees the lamp.

`PinsOnFiles` is loaded by gpiozero in the ear under test, as its own pin libraries are: by an entry
point, which `Pins` puts into a folder on that process's PYTHONPATH. The simulated pins are gpiozero's
own; what drives an input comes through a FIFO, and every change of an output is a line in a file.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPin

_FOLDER_VARIABLE = "RIG_PINS"
_NAME = "rigpins"


class _LoggedPin(MockPin):  # type: ignore[misc]  # gpiozero has no types
    def _change_state(self, value: Any) -> bool:  # noqa: ANN401 - gpiozero has no types
        is_changed: bool = super()._change_state(value)
        if is_changed and self.function == "output":
            with Path(os.environ[_FOLDER_VARIABLE], "outputs").open("a") as file:
                file.write(f"{self.info.name} {int(value)}\n")
        return is_changed


class PinsOnFiles(MockFactory):  # type: ignore[misc]  # gpiozero has no types
    """Simulated pins, in the process under test."""

    def __init__(self) -> None:
        super().__init__(pin_class=_LoggedPin)
        threading.Thread(target=self._drive, daemon=True).start()

    def _drive(self) -> None:
        while True:
            for line in Path(os.environ[_FOLDER_VARIABLE], "inputs").read_text().splitlines():
                name, state = line.split()
                pin = self.pin(name)
                pin.drive_high() if state == "1" else pin.drive_low()


class Pins:
    """The same, seen from the test; `environment` is what the process under test needs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        os.mkfifo(folder / "inputs")
        (folder / "outputs").touch()
        metadata = folder / f"{_NAME}-0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: 0\n")
        (metadata / "entry_points.txt").write_text(
            f"[gpiozero_pin_factories]\n{_NAME} = {__name__}:{PinsOnFiles.__name__}\n"
        )
        self.environment = {
            "GPIOZERO_PIN_FACTORY": _NAME,
            "PYTHONPATH": f"{folder}:{Path(__file__).parent}",
            _FOLDER_VARIABLE: str(folder),
        }

    def press(self, number: int) -> None:
        """Press a button that connects its pin to ground, and let it go; waits until a process takes it."""
        (self._folder / "inputs").write_text(f"GPIO{number} 0\nGPIO{number} 1\n")

    def changes(self, number: int) -> list[int]:
        """Return all that became of an output, in turn."""
        lines = (self._folder / "outputs").read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.split()[0] == f"GPIO{number}"]
