"""The benchmarks run, and what they count (not what they time) keeps to its aims on any machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"


def test_erasing_writes_no_more_than_it_may() -> None:
    ran = subprocess.run(
        [sys.executable, BENCHMARKS, "vault", "--quick", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    # 1: an aim in time was missed; this machine may be busy.
    assert ran.returncode in (0, 1), ran.stderr
    rows = json.loads(ran.stdout)["measurements"]
    counted = {row["what"]: row for row in rows if row["aim"] and row["unit"].startswith("KiB")}
    assert len(counted) == 2
    assert all(row["is_met"] for row in counted.values()), counted
    erased = {row["what"]: row["value"] for row in rows if row["unit"] == "KiB written"}
    assert erased["one of 10,000, 1% holes"] < erased["one of 10,000: a table of keys, rewritten"] / 4
