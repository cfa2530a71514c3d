"""The command's side of an export, before a vault that says what it should not: no file is left."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fadeout_device import answers, wire
from fadeout_device.cli.__main__ import main
from fadeout_device.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BEGINS = answers.ExportBegins(2, 1000, "anna", "0" * 32)
PART = answers.ExportPart(1), b"x" * 400
ENDS = answers.ExportEnds(("aa", "bb"), 800), b""
Script = list[tuple[Any, bytes]]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[Script, bytes], tuple[int, Path]]]:
    """Run the command before a vault that answers by a script, and then goes away."""
    (tmp_path / "run").mkdir()
    (tmp_path / "target").mkdir()
    listener = wire.listen(tmp_path / "run" / "control.sock")
    threads: list[threading.Thread] = []

    def run(script: Script, last_bytes: bytes = b"") -> tuple[int, Path]:
        def serve() -> None:
            sock, _ = listener.accept()
            # The command may have gone away before all is said.
            with sock, contextlib.suppress(OSError, WireError):
                connection = wire.Connection(sock)
                connection.receive()
                for answer, payload in script:
                    connection.send(answer, payload)
                sock.sendall(last_bytes)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        file = tmp_path / "target" / "said.age"
        code = main(["--state", str(tmp_path), "export", "--all", "--to", "anna", "-o", str(file)])
        return code, file

    yield run
    for thread in threads:
        thread.join(60)
    listener.close()


def test_what_is_whole_gets_its_name(play: Callable[..., tuple[int, Path]]) -> None:
    code, file = play([(BEGINS, b""), PART, PART, ENDS])
    assert (code, file.read_bytes()) == (0, b"x" * 800)


@pytest.mark.parametrize(
    ("script", "last_bytes", "code"),
    [
        pytest.param([], b"", os.EX_PROTOCOL, id="nothing is said"),
        pytest.param([(BEGINS, b"")], b"", os.EX_PROTOCOL, id="it goes away at once"),
        pytest.param([(BEGINS, b""), PART], b"", os.EX_PROTOCOL, id="it goes away after a part"),
        pytest.param([(BEGINS, b""), PART, PART], b"", os.EX_PROTOCOL, id="all came, but not the end"),
        pytest.param(
            [(BEGINS, b"")], b'{"type":"export_part","opened":1,"payload_length":99}\nxxx', os.EX_PROTOCOL,
            id="it goes away in the middle of a part",
        ),
        pytest.param(
            [(BEGINS, b""), PART, (answers.Failure("broken off", "again", 66), b"")], b"", 66,
            id="it breaks the export off",
        ),
        pytest.param([(answers.Failure("no", "", 67), b"")], b"", 67, id="it says no"),
        pytest.param([(BEGINS, b""), PART, ENDS], b"", os.EX_PROTOCOL, id="a part is missing"),
        pytest.param([(BEGINS, b""), PART, PART, PART], b"", os.EX_PROTOCOL, id="it does not end"),
        pytest.param([PART, ENDS], b"", os.EX_PROTOCOL, id="it does not begin"),
        pytest.param([(BEGINS, b""), (BEGINS, b"")], b"", os.EX_PROTOCOL, id="it begins twice"),
        pytest.param([(BEGINS, b"")], b"no message\n", os.EX_PROTOCOL, id="no message"),
    ],
)  # fmt: skip
def test_what_is_not_whole_leaves_no_file(
    play: Callable[..., tuple[int, Path]], script: Script, last_bytes: bytes, code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found, file = play(script, last_bytes)
    assert found == code, capsys.readouterr().err
    assert list(file.parent.iterdir()) == []
    assert capsys.readouterr().err.startswith("error: ")
