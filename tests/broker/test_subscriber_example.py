"""The example in the README, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from broker.subscriber import Subscriber as Listener
from broker.test_subscriber import Played, acks

if TYPE_CHECKING:
    from fadeout_broker.local import LocalBroker

README = Path(__file__).parents[2] / "README.md"


def example() -> str:
    section = README.read_text(encoding="utf-8").partition("## First five minutes: integrating")[2]
    return section.partition("```python\n")[2].partition("```")[0]


def test_it_is_short() -> None:
    assert 0 < len([line for line in example().splitlines() if line]) <= 20


def test_it_prints_an_event_and_forgets_it(broker: LocalBroker, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(example(), encoding="utf-8")
    command = [sys.executable, "example.py", broker.host, str(broker.port)]
    with Listener(broker) as listener, Played(broker) as played:
        played.watermark()
        running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        try:
            acks(listener, 0)  # it has subscribed
            name = played.event()
            assert running.stdout is not None
            assert re.fullmatch(r"sp-model: light\.on\n", running.stdout.readline())
            assert name.encode() in (tmp_path / "lights.db").read_bytes()
            played.erase(name)
            acks(listener, 1)
            assert name.encode() not in (tmp_path / "lights.db").read_bytes()
        finally:
            running.kill()
            running.wait()
            if running.stdout is not None:
                running.stdout.close()
