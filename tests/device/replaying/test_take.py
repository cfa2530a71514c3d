"""Which of an ear's lines are of the file that is played, where in it they lie, and when it is through."""

from __future__ import annotations

from typing import Any

import pytest

from fadeout_device.replaying.take import Step, Take

LEAD_S = 1.0
OPENED = {"type": "opened", "duration_s": 3.0}
MARK = {"type": "sound", "sample": 32_000}
PLAYED = {"type": "played", "samples": 48_000}
# The mark at 2 s, the file from 3 s to 6 s; half a second more is heard.
END = 104_000


def heard(sample: int, *, idle: bool = True) -> dict[str, Any]:
    return {"type": "heard", "sample": sample, "idle": idle}


def utterance(wake_s: float = 4.5, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    return {
        "type": "utterance", "start_s": wake_s - 1.5, "wake_s": wake_s,
        "speech_start_s": wake_s + 0.5, "speech_end_s": None, **more,
    }  # fmt: skip


def take(*lines: dict[str, Any], told: int = 0) -> tuple[list[str], Step, list[dict[str, Any]]]:
    """Let a take hear lines; return what it told, its last step, and all that it said of utterances."""
    came: list[str] = []
    utterances: list[dict[str, Any]] = []

    def put(what: str, said: dict[str, Any]) -> None:
        if what != "progress":
            came.append(what)
        if what == "utterance":
            utterances.append(said)

    one = Take("a.wav", put, told)
    step: Step = "more"
    for number, line in enumerate(lines):
        assert step == "more", f"line {number} came after the end"
        step = one.hear(line, LEAD_S)
    return came, step, utterances


def test_positions_are_those_in_the_file() -> None:
    came, step, utterances = take(OPENED, MARK, heard(80_000, idle=False), PLAYED, utterance(), heard(END))
    assert (came, step) == (["file", "utterance"], "over")
    assert utterances == [
        {"file": "a.wav", "start_s": 0.0, "wake_s": 1.5, "speech_start_s": 2.0, "speech_end_s": None}
    ]


@pytest.mark.parametrize(
    ("lines", "step"),
    [
        pytest.param([OPENED, MARK, PLAYED, heard(END - 1)], "more", id="not heard to its end"),
        pytest.param([OPENED, MARK, PLAYED, heard(END, idle=False)], "more", id="something is in hand"),
        pytest.param([OPENED, MARK, heard(END)], "more", id="not played to its end"),
        pytest.param([OPENED, PLAYED, heard(END)], "more", id="played, and the mark was not heard"),
        pytest.param([OPENED, PLAYED, MARK, heard(END)], "over", id="played long before it is heard"),
        pytest.param([MARK, OPENED, PLAYED, heard(END)], "more", id="a sound before it is played"),
        pytest.param(
            [OPENED, MARK, {"type": "sound", "sample": 60_000}, PLAYED, heard(END)], "over",
            id="the sounds of the file itself",
        ),
        pytest.param([OPENED, MARK, {"type": "died"}], "again", id="the ear dies"),
        pytest.param([OPENED, MARK, {"type": "listening"}], "again", id="the microphone was lost"),
        pytest.param([OPENED, MARK, utterance(told={"what": "muted"})], "muted", id="it is muted by voice"),
        pytest.param([OPENED, MARK, utterance(told={"what": "held"})], "more", id="it is asked by voice"),
    ],
)  # fmt: skip
def test_when_it_is_through(lines: list[dict[str, Any]], step: Step) -> None:
    assert take(*lines)[1] == step


def test_what_is_no_audio_is_not_played() -> None:
    assert take({"type": "bad", "error": "no", "hint": None})[:2] == (["bad_file"], "over")


def test_a_file_that_breaks_off_is_bad_once_all_of_it_is_heard() -> None:
    cut = {**PLAYED, "error": "cut short", "hint": None}
    came, step, _ = take(OPENED, MARK, cut, utterance(), heard(END))
    assert (came, step) == (["file", "utterance", "bad_file"], "over")


def test_what_was_told_before_the_ear_lost_it_is_not_told_again() -> None:
    came, _, utterances = take(OPENED, MARK, utterance(4.5), utterance(5.5), told=1)
    assert came == ["file", "utterance"]
    assert [one["wake_s"] for one in utterances] == [2.5]
