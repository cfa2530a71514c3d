"""The state table: every sample goes into at most one utterance, wherever blocks are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.config import UtteranceSettings
from fadeout_device.ear.capture import (
    TABLE,
    Capture,
    Detection,
    Effect,
    Input,
    State,
    UtteranceFinished,
    WakeHeard,
)

SETTINGS = UtteranceSettings(
    pre_roll_ms=100, wake_tail_ms=60, no_speech_ms=500, min_speech_ms=60, hang_over_ms=120, max_ms=1000
)
PRE_ROLL = 1_600
FRAME = 480


class LoudIsSpeech:
    """Takes a frame for speech when its first sample's high byte is odd."""

    def is_speech(self, frame: bytes) -> bool:
        assert len(frame) == FRAME * 2
        return frame[1] % 2 == 1


def audio(pattern: str) -> bytes:
    """Return 30 ms per letter, `#` loud and `.` quiet; every sample is different from its neighbours."""
    pcm = bytearray()
    for number, letter in enumerate(pattern):
        for sample in range(FRAME):
            high = ((number * 2) % 250) | (letter == "#")
            pcm += bytes((sample % 256, high))
    return bytes(pcm)


def run(pcm: bytes, detections: list[Detection], cuts: list[int], patience: int = 0) -> list[Effect]:
    """Feed the audio, cut at these samples."""
    capture = Capture(SETTINGS, LoudIsSpeech, patience)
    effects: list[Effect] = []
    for start, end in itertools.pairwise([0, *sorted(cuts), len(pcm) // 2]):
        inside = [d for d in detections if start < d.sample <= end]
        effects += capture.feed(pcm[2 * start : 2 * end], inside)
    return effects + capture.cut()


def finished(effects: list[Effect]) -> list[UtteranceFinished]:
    return [effect for effect in effects if isinstance(effect, UtteranceFinished)]


def test_utterance_holds_pre_roll_speech_and_hang_over() -> None:
    pcm = audio("." * 20 + "####" + "." * 20)
    wake = Detection(18 * FRAME, "okay_nabu", 0.9)
    heard, utterance = run(pcm, [wake], [])
    assert heard == WakeHeard(wake)
    assert isinstance(utterance, UtteranceFinished)
    assert utterance.start_sample == wake.sample - PRE_ROLL
    assert utterance.end_sample == 28 * FRAME
    assert utterance.speech_s == 0.12
    assert utterance.speech_span == (20 * FRAME, 24 * FRAME)
    assert utterance.pcm == pcm[2 * utterance.start_sample : 2 * utterance.end_sample]


def test_second_utterance_takes_nothing_of_the_first() -> None:
    pcm = audio("." * 10 + "####" + "." * 30)
    first, second = finished(run(pcm, [Detection(8 * FRAME, "a", 0.9), Detection(19 * FRAME, "b", 0.9)], []))
    assert first.end_sample == 18 * FRAME
    assert second.start_sample == first.end_sample


def test_wake_word_while_recording_starts_nothing() -> None:
    effects = run(
        audio("." * 10 + "####" + "." * 30),
        [Detection(8 * FRAME, "a", 0.9), Detection(12 * FRAME, "b", 0.9)],
        [],
    )
    assert [type(effect) for effect in effects] == [WakeHeard, UtteranceFinished]


def test_cut_finishes_with_all_there_is() -> None:
    pcm = audio("." * 10 + "##") + b"\x01\x01" * 7
    (utterance,) = finished(run(pcm, [Detection(9 * FRAME, "a", 0.9)], []))
    assert utterance.end_sample == len(pcm) // 2


def test_cut_while_idle_does_nothing() -> None:
    assert run(audio("." * 10), [], []) == []


def test_audio_before_the_pre_roll_is_forgotten() -> None:
    capture = Capture(SETTINGS, LoudIsSpeech)
    for _ in range(50):
        capture.feed(audio("..."))
    assert (len(capture._before), len(capture._audio)) == (PRE_ROLL * 2, 0)


def test_a_detection_outside_the_block_is_refused() -> None:
    with pytest.raises(ValueError, match="sample 481"):
        Capture(SETTINGS, LoudIsSpeech).feed(audio("."), [Detection(481, "a", 0.9)])


PATIENCE = 40 * FRAME


def test_what_is_said_before_the_word_is_confirmed_is_speech_of_the_utterance() -> None:
    pcm = audio("." * 20 + "####" + "." * 30)
    effects = run(pcm, [Detection(26 * FRAME, "a", 0.9, 17 * FRAME)], [], PATIENCE)
    (utterance,) = finished(effects)
    assert effects[0] == WakeHeard(utterance.detection)
    assert (utterance.speech_s, utterance.speech_span) == (0.12, (20 * FRAME, 24 * FRAME))
    assert (utterance.start_sample, utterance.end_sample) == (17 * FRAME - PRE_ROLL, 28 * FRAME)


def test_an_utterance_may_be_over_when_its_word_is_confirmed() -> None:
    pcm = audio("." * 20 + "####" + "." * 40)
    wake = Detection(40 * FRAME, "a", 0.9, 17 * FRAME)
    first, second = finished(run(pcm, [wake, Detection(41 * FRAME, "b", 0.9)], [], PATIENCE))
    assert (first.start_sample, first.end_sample) == (17 * FRAME - PRE_ROLL, 28 * FRAME)
    assert second.start_sample == 41 * FRAME - PRE_ROLL


def test_what_rose_within_an_utterance_belongs_to_it_also_when_it_is_confirmed_after_its_end() -> None:
    pcm = audio("." * 20 + "####" + "." * 40)
    within = Detection(40 * FRAME, "b", 0.9, 27 * FRAME)
    assert len(finished(run(pcm, [Detection(17 * FRAME, "a", 0.9), within], [], PATIENCE))) == 1


@pytest.mark.parametrize("rose_at", [18 * FRAME + 1, 17 * FRAME - 1])
def test_a_word_that_rose_later_or_too_long_ago_is_refused(rose_at: int) -> None:
    with pytest.raises(ValueError, match=f"of {rose_at}"):
        run(audio("." * 30), [Detection(18 * FRAME, "a", 0.9, rose_at)], [], FRAME)


def test_an_utterance_shows_no_audio() -> None:
    (utterance,) = finished(run(audio("." * 30), [Detection(480, "a", 0.9)], []))
    assert "pcm" not in repr(utterance)


@pytest.mark.parametrize("given_input", Input)
@pytest.mark.parametrize("state", State)
def test_the_table_lists_what_can_happen(state: State, given_input: Input) -> None:
    capture = Capture(SETTINGS, LoudIsSpeech)
    capture._state = state
    if (state, given_input) in TABLE:
        capture._input(given_input, Detection(0, "a", 0.9))
        assert capture.state is TABLE[state, given_input][0]
    else:
        assert (state, given_input) == (State.IDLE, Input.END)
        with pytest.raises(RuntimeError, match="END cannot happen while IDLE"):
            capture._input(given_input)


LONGEST = PRE_ROLL + (SETTINGS.max_ms // 30 + 1) * FRAME


@given(st.data())
def test_wherever_blocks_are_cut(data: st.DataObject) -> None:
    pcm = audio(data.draw(st.text("#.", max_size=120)))
    length = len(pcm) // 2
    positions = st.integers(1, max(length, 1)) if length else st.nothing()
    samples = data.draw(st.lists(positions, unique=True, max_size=6).map(sorted)) if length else []
    wakes = [Detection(sample, "a", 0.9) for sample in samples]
    cuts = data.draw(st.lists(st.integers(0, length), max_size=20))
    effects = run(pcm, wakes, cuts)
    assert effects == run(pcm, wakes, [])
    utterances = finished(effects)
    assert len(utterances) == len(effects) - len(utterances)
    before = 0
    for utterance in utterances:
        start, end, wake = utterance.start_sample, utterance.end_sample, utterance.detection.sample
        assert before <= start, "a sample is in two utterances"
        assert utterance.pcm == pcm[2 * start : 2 * end], "audio was lost or doubled"
        assert start == max(wake - PRE_ROLL, before), "the pre-roll is not whole"
        assert end - start <= LONGEST
        before = end


@given(st.data())
def test_waiting_for_a_confirmation_changes_nothing_but_when_it_is_told(data: st.DataObject) -> None:
    pcm = audio(data.draw(st.text("#.", min_size=1, max_size=120)))
    length = len(pcm) // 2
    rises = data.draw(st.lists(st.integers(1, length), unique=True, max_size=5).map(sorted))
    confirmed = [min(length, rose + data.draw(st.integers(0, PATIENCE))) for rose in rises]
    # Each after the one before, as `waking.py` says them.
    confirmed = list(itertools.accumulate(confirmed, max))
    late = [Detection(s, "a", 0.9, rose) for rose, s in zip(rises, confirmed, strict=True)]
    late = [d for d in late if d.sample - d.rose_sample <= PATIENCE]
    at_once = [Detection(d.rose_sample, "a", 0.9) for d in late]
    cuts = data.draw(st.lists(st.integers(0, length), max_size=8))

    def content(detections: list[Detection], patience: int) -> list[tuple[object, ...]]:
        every = finished(run(pcm, detections, cuts, patience))
        return [(u.detection.rose_sample, u.start_sample, u.pcm, u.speech_s, u.speech_span) for u in every]

    assert content(late, PATIENCE) == content(at_once, 0)
