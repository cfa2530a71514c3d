"""Which file each line of an ear belongs to, through its deaths; and the order in which they are told."""

from __future__ import annotations

import io
import itertools
import json
import queue
import random
from pathlib import Path
from typing import Any

import pytest

from fadeout_device.replaying.events import Event
from fadeout_device.replaying.rounds import _in_order, _Lines

FILES = [Path("a"), Path("b"), Path("c")]


def file(name: str) -> dict[str, Any]:
    return {"type": "file", "file": name, "duration_s": 1.0}


def bad(name: str) -> dict[str, Any]:
    return {"type": "bad_file", "file": name, "error": f"{name}: no", "hint": None}


def said(number: int) -> dict[str, Any]:
    return {"type": "utterance", "number": number}


END = {"type": "end"}


def told(*lives: list[dict[str, Any]], names: list[Path] = FILES) -> tuple[list[str], _Lines]:
    """Let an ear print these lines, and die after each of its lives but the last; return what is told."""
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    lines = _Lines(list(range(len(names))), names, events)
    for number, life in enumerate(lives, start=1):
        lines.read(io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in life)))
        if number < len(lives):
            lines.died()
    events.put(None)
    return [
        f"{event.file} {event.what}{event.said.get('number', '')}" for event in iter(events.get, None)
    ], lines


@pytest.mark.parametrize(
    ("life", "came"),
    [
        pytest.param(
            [file("a"), said(1), said(2), file("b"), file("c"), END],
            ["0 file", "0 utterance1", "0 utterance2", "0 done", "1 file", "1 done", "2 file", "2 done"],
            id="all is well",
        ),
        pytest.param(
            [bad("a"), file("b"), said(1), bad("b"), bad("c"), END],
            [
                "0 bad_file",
                "0 done",
                "1 file",
                "1 utterance1",
                "1 bad_file",
                "1 done",
                "2 bad_file",
                "2 done",
            ],
            id="one cannot be opened, one breaks off, and the last cannot be opened either",
        ),
        pytest.param([file("a"), said(1)], ["0 file", "0 utterance1"], id="it is stopped"),
    ],
)
def test_which_file_a_line_belongs_to(life: list[dict[str, Any]], came: list[str]) -> None:
    assert told(life)[0] == came


def test_the_same_bad_file_twice() -> None:
    came, _ = told([bad("a"), bad("a"), END], names=[Path("a"), Path("a")])
    assert came == ["0 bad_file", "0 done", "1 bad_file", "1 done"]


def test_an_ear_that_is_started_again_tells_nothing_twice() -> None:
    came, lines = told(
        [file("a"), said(1), file("b"), said(2)],
        [file("a"), said(1), file("b"), said(2), said(3), file("c"), END],
    )
    assert [line for line in came if "utterance" in line] == ["0 utterance1", "1 utterance2", "1 utterance3"]
    assert [line for line in came if "done" in line] == ["0 done", "1 done", "2 done"]
    assert lines.left() == []


def test_a_file_of_which_the_ear_dies_twice_is_left_out() -> None:
    came, lines = told([file("a"), file("b")], [file("a"), file("b")], [])
    assert came[-2:] == ["1 bad_file", "1 done"]
    assert lines.left() == [2]


def test_what_is_told_is_in_the_order_of_the_files() -> None:
    each = [
        [Event(number, what, {}) for what in ("file", "utterance", "progress", "done")] for number in range(4)
    ]
    for seed in range(50):
        dice = random.Random(seed)  # noqa: S311 - no secret
        pending = [iter(events) for events in each]
        mixed = []
        while pending:
            chosen = dice.choice(pending)
            event = next(chosen, None)
            if event is None:
                pending.remove(chosen)
            else:
                mixed.append(event)
        came = [event for event in _in_order(iter(mixed)) if event.what != "progress"]
        assert came == [event for event in itertools.chain(*each) if event.what != "progress"]
