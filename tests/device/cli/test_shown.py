"""Tables for people, and for those who read them line by line."""

from __future__ import annotations

import pytest

from fadeout_device.cli import shown

LONG = "a long name " * 20


@pytest.mark.parametrize(("columns", "lines"), [(None, 2), ("80", 5)])
def test_a_table_through_a_pipe_is_not_folded(
    columns: str | None, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    shown.print_table("", ["one", "two"], [[LONG, "x"]])
    assert len(capsys.readouterr().out.splitlines()) == lines
