"""Where the state folder and the configuration are: options, environment, or the user's folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from fadeout_device import config

if TYPE_CHECKING:
    import argparse


def state_folder(arguments: argparse.Namespace) -> Path:
    """Return the state folder: `--state`, `FADEOUT_STATE`, or the user's own."""
    given = getattr(arguments, "state", None) or os.environ.get("FADEOUT_STATE")
    return Path(given).absolute() if given else platformdirs.user_state_path("fadeout")


def config_file(arguments: argparse.Namespace) -> Path | None:
    """Return the configuration file: `--config`, `FADEOUT_CONFIG`, the user's, the system's, or None."""
    return config.find_config(arguments.config, dict(os.environ), platformdirs.user_config_path("fadeout"))


def run_folder(state: Path) -> Path:
    """Return the folder with the vault's sockets."""
    return state / "run"
