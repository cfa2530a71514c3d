"""What tests of replays share: a configuration of their own, and the command on files."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from fadeout_device.config import Config

if TYPE_CHECKING:
    from pathlib import Path

# Without a recogniser all speech is `failed`: what is tested here is not how well one hears.
PLAIN = '[recogniser]\nengine = "none"\n' if hasattr(Config(), "recogniser") else ""
LONG_S = 120.0


def run_replay(
    folder: Path, *arguments: str | Path, config: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `fadeout replay` in a folder, on a configuration of its own if none is given."""
    if config is None:
        config = folder / "plain-fadeout.conf"
        config.write_text(PLAIN)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FADEOUT_")}
    return subprocess.run(
        [sys.executable, "-m", "fadeout_device.cli", "replay", "--config", config, *arguments],
        cwd=folder, env={**kept, "COLUMNS": "140"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
