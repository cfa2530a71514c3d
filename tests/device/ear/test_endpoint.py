"""Where utterances end, as a table of frames and what comes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.config import UtteranceSettings
from fadeout_device.ear.endpoint import FRAME_MS, Endpoint

# In frames of 30 ms: tail 2, patience 20, shortest speech 4, hang-over 6, longest 60.
SETTINGS = UtteranceSettings(
    wake_tail_ms=60, no_speech_ms=600, min_speech_ms=120, hang_over_ms=180, max_ms=1800, pre_roll_ms=0
)
TAIL = 2


def run(frames: str) -> tuple[int | None, int]:
    """Feed `#` for speech and `.` for none; return the frame it ended with, from 1, and the speech."""
    endpoint = Endpoint(SETTINGS)
    for number, frame in enumerate(frames, start=1):
        if endpoint.add(is_speech=frame == "#"):
            return number, endpoint.speech_ms // FRAME_MS
    return None, endpoint.speech_ms // FRAME_MS


@pytest.mark.parametrize(
    ("frames", "ends_with", "speech"),
    [
        pytest.param("." * 30, 20, 0, id="nobody speaks: it ends when patience does"),
        pytest.param("##" + "." * 30, 20, 0, id="the end of the wake word is no speech"),
        pytest.param("..####......", 12, 4, id="just enough speech, then the hang-over"),
        pytest.param("..###......" + "." * 20, 20, 0, id="too short a burst is forgotten"),
        pytest.param(
            "..###......###......" + "." * 9, 20, 0, id="two short bursts do not add up over a hang-over"
        ),
        pytest.param("..###.....###......", 19, 6, id="two short bursts within a hang-over add up"),
        pytest.param("..####.....####......", 21, 8, id="a pause shorter than the hang-over is bridged"),
        pytest.param("." * 19 + "####......", 29, 4, id="speech that begins in the last moment is heard out"),
        pytest.param(
            "." * 18 + "###......" + "." * 9, 27, 0, id="a burst over the limit is waited for, then dropped"
        ),
        pytest.param("#" * 100, 60, 58, id="it never gets longer than the maximum"),
        pytest.param("..####...", None, 4, id="it goes on during the hang-over"),
    ],
)
def test_utterance_ends(frames: str, ends_with: int | None, speech: int) -> None:
    assert run(frames) == (ends_with, speech)


@pytest.mark.parametrize(
    ("frames", "span"),
    [
        pytest.param("." * 30, None, id="nobody speaks"),
        pytest.param("....####......", (4, 8), id="one burst"),
        pytest.param("...####..##......", (3, 11), id="with a pause in it"),
        pytest.param("..#......" + ".####......", (10, 14), id="not from what was forgotten"),
        pytest.param("..####", (2, 6), id="it goes on"),
    ],
)
def test_where_speech_is(frames: str, span: tuple[int, int] | None) -> None:
    endpoint = Endpoint(SETTINGS)
    for frame in frames:
        endpoint.add(is_speech=frame == "#")
    assert endpoint.speech_span_ms == (span and (span[0] * FRAME_MS, span[1] * FRAME_MS))


@given(st.text("#.", min_size=100, max_size=120))
def test_every_utterance_ends_in_time(frames: str) -> None:
    ends_with, speech = run(frames)
    assert ends_with is not None
    assert ends_with * FRAME_MS <= SETTINGS.max_ms
    assert speech == 0 or speech * FRAME_MS >= SETTINGS.min_speech_ms
    assert speech <= frames[TAIL:ends_with].count("#")
