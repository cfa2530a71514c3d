"""`fadeout run --once` ends when nothing is left to wait for."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import pytest

from fadeout_device.cli import run


@pytest.mark.parametrize(("has_reporter", "looks"), [(True, 3), (False, 1)])
def test_the_end_waits_for_a_broker_only_where_somebody_reports_to_one(
    monkeypatch: pytest.MonkeyPatch, *, has_reporter: bool, looks: int
) -> None:
    unsent = iter([1, 1, 0])
    asked: list[SimpleNamespace] = []

    def status(_: argparse.Namespace) -> SimpleNamespace:
        asked.append(SimpleNamespace(unsent_events=next(unsent), next_end_s=None, overdue=0))
        return asked[-1]

    monkeypatch.setattr(run, "_status", status)
    monkeypatch.setattr(run, "_LOOK_EVERY_S", 0.0)
    run._settle(argparse.Namespace(), has_reporter=has_reporter)
    assert len(asked) == looks
