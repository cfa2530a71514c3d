"""The script that makes the spoken fixtures."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from device.ear.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from device.ear.conftest import Spoken

SCRIPT = ROOT / "scripts" / "make_fixtures"


def test_a_second_run_keeps_what_is_there(spoken: Spoken) -> None:
    def written() -> dict[str, int]:
        return {name: (spoken.folder / name).stat().st_mtime_ns for name in spoken.labels}

    before = written()
    ran = subprocess.run([SCRIPT, spoken.folder], check=True, capture_output=True, text=True)
    assert written() == before
    assert ran.stdout.endswith(", 0 of them new\n")


def test_missing_voices_are_named_with_the_next_step(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], env={"PATH": ""}, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 69
    assert ran.stderr.splitlines() == [
        "error: not installed: flite, espeak-ng, sox",
        "hint: apt install flite espeak-ng sox",
    ]
    assert list(tmp_path.iterdir()) == []
