"""What an ear says of itself to who plays files into its microphone."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from fadeout_device.ear.adapters.vault_link import Delivery
from fadeout_device.ear.capture import Detection, UtteranceFinished
from fadeout_device.ear.listening import utterance_message
from fadeout_device.ear.reported import LOUD, QUIET_SAMPLES, LiveReport, Onsets
from fadeout_device.messages import EarState, Kept, Sealed, Told
from fadeout_device.replaying.mouth import LEAD_S, RATE_HZ, Shaped, mark

STATE = EarState(listening=True, source="loop", overflows=2)


def stream(*parts: tuple[int, int]) -> bytes:
    """Return samples: pairs of a level, and how many."""
    return b"".join(np.full(count, level, "<i2").tobytes() for level, count in parts)


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        pytest.param([(0, 9_000)], [], id="silence"),
        pytest.param([(9_000, 9_000)], [], id="loud from the first sample on"),
        pytest.param([(LOUD - 1, 5_000), (LOUD, 10)], [5_000], id="as loud as it must be"),
        pytest.param([(0, 5_000), (-32_768, 10)], [5_000], id="the lowest sample there is"),
        pytest.param([(0, QUIET_SAMPLES - 1), (500, 10)], [], id="too little quiet before"),
        pytest.param([(0, QUIET_SAMPLES), (500, 10)], [QUIET_SAMPLES], id="enough quiet before"),
        pytest.param(
            [(0, 5_000), (500, 10), (0, 100), (500, 10), (0, 5_000), (500, 1)], [5_000, 10_120],
            id="a pause in it is not enough",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [7, 1_440, 100_000])
def test_where_sound_begins(parts: list[tuple[int, int]], found: list[int], block: int) -> None:
    onsets, pcm = Onsets(), stream(*parts)
    came = [
        at for start in range(0, len(pcm), 2 * block) for at in onsets.hear(pcm[start : start + 2 * block])
    ]
    assert came == found


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (48_000, 2), (44_100, 1)])
def test_the_mark_is_found_where_it_was_put(rate_hz: int, channels: int) -> None:
    shaped = Shaped(rate_hz, channels)
    played = shaped.shape(bytes(RATE_HZ)) + shaped.shape(mark()) + shaped.shape(bytes(RATE_HZ), is_last=True)
    frames = np.frombuffer(played, "<i2").reshape(-1, channels)
    assert (frames == frames[:, :1]).all()
    (at,) = Onsets().hear(frames[:, 0].tobytes())
    # The filter of a conversion sounds a little before.
    assert at / rate_hz == pytest.approx(0.5, abs=0.002)
    assert len(frames) / rate_hz == pytest.approx(0.5 + LEAD_S + 0.5, abs=0.001)


def test_it_says_how_far_it_has_listened() -> None:
    out = io.BytesIO()
    report = LiveReport(out)
    for _ in range(10):
        report.heard(bytes(2_880), STATE, is_idle=True)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["sample"] for line in lines] == [4_320, 8_640, 12_960]
    assert lines[0] == {
        "type": "heard", "sample": 4_320, "idle": True,
        "overflows": 2, "behind": 0, "reopened": 0, "clipped": 0,
    }  # fmt: skip


def test_an_utterance_is_in_hand_until_the_vault_has_answered() -> None:
    out = io.BytesIO()
    report = LiveReport(out)
    finished = UtteranceFinished(
        Detection(32_000, "okay_nabu", 0.9), 8_000, 0.5, bytes(64_000), (40_000, 48_000)
    )
    utterance = utterance_message(finished, 1.0)
    delivery = Delivery(utterance, b"", 0.0)
    report.handed_over(finished, utterance, delivery)
    report.heard(bytes(8_000), STATE, is_idle=True)
    delivery.answer = Sealed(utterance.delivery, "", (Kept("audio", 1_000),), Told("held", held=2))
    report.heard(bytes(8_000), STATE, is_idle=True)
    before, said, after = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (before["idle"], after["idle"]) == (False, True)
    assert said == {
        "type": "utterance", "start_s": 0.5, "wake_s": 2.0, "wake_word": "okay_nabu", "score": 0.9,
        "duration_s": 2.0, "speech_s": 0.5, "speech_start_s": 2.5, "speech_end_s": 3.0,
        "outcome": "failed", "action": "none", "kept": [{"kind": "audio", "expires_at_s": 1_000}],
        "told": {"what": "held", "erased": 0, "held": 2, "next_end_s": None, "receipt": None},
    }  # fmt: skip


def test_an_ear_that_nobody_plays_to_says_nothing() -> None:
    report = LiveReport()
    report.heard(stream((0, 9_000), (500, 9_000)), STATE, is_idle=True)
    report.tell()
