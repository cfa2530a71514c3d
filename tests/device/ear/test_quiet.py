"""When a wake-word engine is spared, and that it hears what it would have heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadeout_device.ear.capture import BLOCK_BYTES, BLOCK_SAMPLES, RATE_HZ
from fadeout_device.ear.quiet import (
    ALIGNED_SAMPLES,
    CATCH_UP_SAMPLES,
    FLOOR_FRAMES,
    HOLD_SAMPLES,
    Room,
    Spared,
)
from fadeout_device.ear.waking import Score

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 160
QUIET_S = 20


class Recorder:
    """An engine that keeps what it was given since it was reset, and scores every step by its position."""

    def __init__(self) -> None:
        self.given = [bytearray()]

    def scores(self, pcm: bytes) -> Iterator[Score]:
        before = len(self.given[-1]) // 2
        self.given[-1] += pcm
        for sample in range(before // STEP + 1, len(self.given[-1]) // 2 // STEP + 1):
            yield Score(sample * STEP, "a", 0.5)

    def reset(self) -> None:
        self.given.append(bytearray())


def room(seconds: float, amplitude: float = 60, seed: int = 1) -> bytes:
    """Return the noise of a room."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, amplitude, int(seconds * RATE_HZ)).astype("<i2").tobytes()


def blocks(pcm: bytes, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    for at in range(0, len(pcm), size):
        yield pcm[at : at + size]


def heard(spared: Spared, pcm: bytes, size: int = BLOCK_BYTES) -> list[Score]:
    return [score for block in blocks(pcm, size) for score in spared.scores(block)]


def whole(frames: int) -> float:
    return frames * BLOCK_SAMPLES / RATE_HZ


@pytest.mark.parametrize("amplitude", [0, 5, 60, 8_000])
def test_a_steady_room_is_quiet_however_loud(amplitude: int) -> None:
    spared = Spared(Recorder())
    heard(spared, room(5, amplitude))
    assert spared.is_quiet
    asked = spared.asked_samples
    heard(spared, room(60, amplitude, seed=2))
    assert spared.is_quiet
    assert spared.asked_samples == asked < 5 * RATE_HZ
    assert spared.heard_samples == 65 * RATE_HZ


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(lambda t: 200 * np.sin(2 * np.pi * 300 * t), id="a low voice"),
        pytest.param(lambda t: 150 * np.sin(2 * np.pi * 5_000 * t), id="a hiss"),
    ],
)
def test_what_rises_is_heard_at_once_with_all_that_was_missed(sound: object) -> None:
    engine = Recorder()
    spared = Spared(engine)
    pcm = room(whole(223))
    heard(spared, pcm)
    assert spared.is_quiet
    frame = np.frombuffer(room(whole(1), seed=3), "<i2")
    risen = (frame + sound(np.arange(len(frame)) / RATE_HZ)).astype("<i2").tobytes()  # type: ignore[operator]  # a function
    scores = list(spared.scores(risen))
    assert not spared.is_quiet
    caught_up = bytes(engine.given[-1])
    assert (pcm + risen).endswith(caught_up)
    assert CATCH_UP_SAMPLES <= (len(caught_up) - len(risen)) // 2 < CATCH_UP_SAMPLES + ALIGNED_SAMPLES
    # It steps as it would have done from the first sample, and what it says has that stream's positions.
    assert (len(pcm + risen) - len(caught_up)) // 2 % ALIGNED_SAMPLES == 0
    start = len(pcm) // 2
    assert [score.sample for score in scores] == list(range(start + STEP, start + BLOCK_SAMPLES + STEP, STEP))


def test_it_is_heard_on_until_nothing_has_risen_for_two_seconds() -> None:
    engine = Recorder()
    spared = Spared(engine)
    heard(spared, room(whole(223)) + room(whole(1), 1_000))
    after = room(10, seed=4)
    at = spared.heard_samples
    scores = heard(spared, after)
    assert {score.sample for score in scores} == set(range(at + STEP, at + HOLD_SAMPLES + STEP, STEP))
    assert spared.is_quiet


def test_a_short_silence_is_given_whole_and_forgets_nothing() -> None:
    engine = Recorder()
    spared = Spared(engine)
    pcm = room(whole(223)) + room(whole(1), 1_000)
    heard(spared, pcm)
    asked = spared.asked_samples
    resets = len(engine.given)
    gap = room(HOLD_SAMPLES / RATE_HZ + 5.0, seed=5)
    heard(spared, gap + room(whole(1), 1_000))
    assert len(engine.given) == resets
    assert spared.asked_samples - asked == (spared.heard_samples * 2 - len(pcm)) // 2


def test_a_noise_that_begins_is_the_room_after_ten_seconds() -> None:
    spared = Spared(Recorder())
    heard(spared, room(whole(223)))
    louder = list(blocks(room(20, 600, seed=6)))
    quiet_from = next(n for n, block in enumerate(louder) if (list(spared.scores(block)), spared.is_quiet)[1])
    assert quiet_from == pytest.approx(FLOOR_FRAMES + HOLD_SAMPLES // BLOCK_SAMPLES, abs=2)


def test_it_holds_no_more_than_it_may_need() -> None:
    spared = Spared(Recorder())
    heard(spared, room(60))
    limit = (CATCH_UP_SAMPLES + ALIGNED_SAMPLES) * 2
    assert limit <= len(spared._recent) < limit + BLOCK_BYTES
    heard(spared, room(whole(1), 1_000))
    assert len(spared._recent) <= BLOCK_BYTES


def test_every_stream_has_its_own_room() -> None:
    spared = Spared(Recorder())
    heard(spared, room(10, 8_000))
    assert spared.is_quiet
    spared.reset()
    scores = heard(spared, room(1, 60))
    assert [score.sample for score in scores] == list(range(STEP, RATE_HZ + STEP, STEP))


@settings(max_examples=15)
@given(st.lists(st.integers(50, 4_000), min_size=1, max_size=40), st.integers(0, 5))
def test_what_the_engine_is_given_does_not_depend_on_the_cut(sizes: list[int], seed: int) -> None:
    # A room of frames, quiet and not, decided by a fake one: the real one has its own tests.
    rng = np.random.default_rng(seed)
    pattern = rng.random(300) < 0.02

    class Decided(Room):
        def __init__(self) -> None:
            self.judged = iter(pattern)

        def rises(self, frames: bytes) -> list[bool]:
            assert len(frames) % BLOCK_BYTES == 0
            return [bool(next(self.judged)) for _ in range(len(frames) // BLOCK_BYTES)]

    pcm = rng.integers(-100, 100, 300 * BLOCK_SAMPLES).astype("<i2").tobytes()
    whole_engine, cut_engine = Recorder(), Recorder()
    wholly = heard(Spared(whole_engine, Decided), pcm)
    cut = Spared(cut_engine, Decided)
    at = 0
    scores: list[Score] = []
    while at < len(pcm):
        size = sizes[len(scores) % len(sizes)] * 2
        start = cut.heard_samples
        found = cut.scores(pcm[at : at + size])
        assert all(start < score.sample <= cut.heard_samples for score in found)
        scores += found
        at += size
    assert cut_engine.given == whole_engine.given
    # Of the frame that opened the gate, what came in earlier pieces is over.
    assert set(scores) <= set(wholly)
