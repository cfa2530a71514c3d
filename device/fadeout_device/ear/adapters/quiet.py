"""Standard error without the noise of C libraries."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_stderr: list[int] = []
"""Where standard error led to before it was discarded; empty while it is not."""


@contextlib.contextmanager
def stderr_discarded() -> Iterator[None]:
    """Discard what C libraries, and other threads, write to standard error. One at a time.

    ALSA and JACK print some fifty lines about devices that do not exist whenever PortAudio
    looks for those that do; libmpg123, in libsndfile, a line for each small thing that it
    puts right in an MP3 file.
    """
    _stderr.append(os.dup(2))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.close(nowhere)
        give_back_stderr()


def give_back_stderr() -> None:
    """Lead standard error to where it led before, from another thread, if it is discarded."""
    if _stderr:
        kept = _stderr.pop()
        os.dup2(kept, 2)
        os.close(kept)
