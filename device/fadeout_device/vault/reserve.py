"""Some room on the disk that is kept back, so that what must be written can be on a disk that is full.

An erasure writes a few pages of the index and the keyring; without room for them a
full disk would keep keys alive.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from fadeout_device.vault.durable import reason

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

RESERVE_BYTES = 512 * 1024


class Reserve:
    """A file of nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self) -> None:
        """Take the room, if it was given up; where there is none, say so and go on."""
        if self._path.exists():
            return
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError as err:
            self._path.unlink(missing_ok=True)
            log.warning("no room is kept back for erasing: %s", reason(err))

    def give_up(self) -> None:
        """Give the room to whoever writes next."""
        self._path.unlink(missing_ok=True)
