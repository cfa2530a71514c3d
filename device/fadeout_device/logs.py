"""Logging of the daemons: constant text and fields, to standard error, no content ever.

`FADEOUT_LOG` chooses the level (debug, info, warning, error); warnings by default.
"""

from __future__ import annotations

import logging
import os
import sys

LEVEL_VARIABLE = "FADEOUT_LOG"


def start_logging(room: str) -> None:
    """Send this process's logs to standard error, each line with the room's name."""
    level = os.environ.get(LEVEL_VARIABLE, "warning").upper()
    if level not in logging.getLevelNamesMapping():
        level = "WARNING"
    logging.basicConfig(stream=sys.stderr, level=level, format=f"{room}: %(levelname)s %(message)s")
