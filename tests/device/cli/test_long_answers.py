"""Answers that are long because much is held: the command takes them (the rooms do not: test_wire.py)."""

from __future__ import annotations

import json
import secrets
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fadeout_device import answers, wire
from fadeout_device.cli.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 6_000
"""What a device holds that hears 200 requests a day and keeps them for a month."""
ITEMS = tuple(answers.ItemRow(kind, 1_700_000_000, 65_648, True) for kind in ("audio", "words", "action"))
NAMES = tuple(secrets.token_hex(8) for _ in range(COUNT))
ANSWERS = [
    pytest.param(
        ["list"], answers.Recordings(tuple(answers.RecordingRow(name, "failed", ITEMS) for name in NAMES)),
        lambda said: [row["recording"] for row in said], id="a long list",
    ),
    pytest.param(
        ["erase", "--all"], answers.Erased(NAMES, 3 * COUNT), lambda said: said["recordings"],
        id="much that was erased",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "answer", "names"), ANSWERS)
def test_all_of_it_is_shown(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], verb: list[str], answer: Any, names: Any  # noqa: ANN401
) -> None:  # fmt: skip
    (tmp_path / "run").mkdir()
    with wire.listen(tmp_path / "run" / "control.sock") as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                connection = wire.Connection(sock)
                connection.receive()
                connection.send(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert main(["--state", str(tmp_path), "--json", *verb]) == 0
        thread.join(60)
    assert names(json.loads(capfdbinary.readouterr().out)) == list(NAMES)
