"""Which scores wake, with engines that say what a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.ear.capture import RATE_HZ
from fadeout_device.ear.waking import (
    ASKED_STEPS,
    PATIENCE_STEPS,
    STEP_SAMPLES,
    Score,
    SecondStage,
    WakeWords,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fadeout_device.ear.capture import Detection

HOP = 160


class Played:
    """An engine that gives each word the scores of a list, one per hop of audio."""

    def __init__(self, hop: int = HOP, **scores: dict[int, float]) -> None:
        self.hop = hop
        self.scores_of = scores
        self.heard = 0
        self.rest = 0
        self.total = 0

    def scores(self, pcm: bytes) -> Iterator[Score]:
        self.total += len(pcm) // 2
        self.rest += len(pcm) // 2
        while self.rest >= self.hop:
            self.rest -= self.hop
            self.heard += self.hop
            for word, scores in self.scores_of.items():
                yield Score(self.heard, word, scores.get(self.heard // self.hop, 0.0))

    def reset(self) -> None:
        self.heard = self.rest = 0


class Loudness:
    """An engine that scores two words by the loudest sample of each step: it depends on the audio alone."""

    def __init__(self) -> None:
        self.rest = b""
        self.heard = 0
        self.total = 0

    def scores(self, pcm: bytes) -> Iterator[Score]:
        self.total += len(pcm) // 2
        self.rest += pcm
        while len(self.rest) >= 2 * STEP_SAMPLES:
            step, self.rest = self.rest[: 2 * STEP_SAMPLES], self.rest[2 * STEP_SAMPLES :]
            self.heard += STEP_SAMPLES
            yield Score(self.heard, "a", max(step) / 255)
            yield Score(self.heard, "b", max(step[STEP_SAMPLES:]) / 255)

    def reset(self) -> None:
        self.rest, self.heard = b"", 0


def woken(words: WakeWords, samples: int, block: int = HOP) -> list[Detection]:
    return [d for at in range(0, samples, block) for d in words.process(bytes(2 * min(block, samples - at)))]


def test_a_word_wakes_when_it_rises_and_not_while_it_stays() -> None:
    engine = Played(a={3: 0.6, 4: 0.9, 5: 0.7, 8: 0.8})
    found = woken(WakeWords([engine], {"a": 0.5}, 0), 10 * HOP)
    assert [(d.sample, d.word, d.score) for d in found] == [(3 * HOP, "a", 0.6), (8 * HOP, "a", 0.8)]


def test_each_word_has_its_own_cutoff() -> None:
    engine = Played(a={3: 0.6}, b={5: 0.6})
    assert [d.word for d in woken(WakeWords([engine], {"a": 0.7, "b": 0.5}, 0), 10 * HOP)] == ["b"]


def test_one_word_heard_by_two_engines_wakes_once() -> None:
    engines = [Played(a={3: 0.9}), Played(hop=480, b={2: 0.9})]
    words = WakeWords(engines, {"a": 0.5, "b": 0.5}, 1_000)
    assert [d.word for d in woken(words, RATE_HZ)] == ["a"]
    words.reset()
    assert [d.word for d in woken(words, RATE_HZ, block=RATE_HZ)] == ["a"]


@pytest.mark.parametrize(("later_ms", "wakes"), [(990, 1), (1_000, 2)])
def test_the_refractory_time_ends(later_ms: int, wakes: int) -> None:
    engine = Played(a={1: 0.9, 1 + later_ms // 10: 0.9})
    assert len(woken(WakeWords([engine], {"a": 0.5}, 1_000), 2 * RATE_HZ)) == wakes


def test_a_wake_in_the_refractory_time_does_not_prolong_it() -> None:
    engine = Played(a={1: 0.9, 61: 0.9, 121: 0.9})
    found = woken(WakeWords([engine], {"a": 0.5}, 1_000), 2 * RATE_HZ)
    assert [d.sample for d in found] == [HOP, 121 * HOP]


def test_after_a_reset_everything_is_forgotten() -> None:
    engine = Played(a={2: 0.9})
    words = WakeWords([engine], {"a": 0.5}, 10_000)
    assert len(woken(words, 4 * HOP)) == 1
    words.reset()
    assert [d.sample for d in woken(words, 4 * HOP)] == [2 * HOP]


def staged(second: Played | Loudness, refractory_ms: int = 0, **first: dict[int, float]) -> WakeWords:
    stage = SecondStage(second, dict.fromkeys(first, 0.3))
    return WakeWords([Played(HOP, **first)], dict.fromkeys(first, 0.5), refractory_ms, stage)


def test_the_second_stage_hears_nothing_until_it_is_asked() -> None:
    second = Played(STEP_SAMPLES, a={})
    assert woken(staged(second, a={}), 3 * RATE_HZ) == []
    assert second.total == 0


def test_what_the_second_stage_rejects_does_not_wake_and_costs_a_bounded_time() -> None:
    second = Played(STEP_SAMPLES, a={})
    assert woken(staged(second, a={100: 0.9}), 10 * RATE_HZ) == []
    assert second.total == (ASKED_STEPS + PATIENCE_STEPS) * STEP_SAMPLES
    # It holds none of it any more.
    assert (second.heard, second.rest) == (0, 0)


def test_what_the_second_stage_has_heard_already_wakes_at_once() -> None:
    second = Played(STEP_SAMPLES, a={ASKED_STEPS - 2: 0.4})
    (found,) = woken(staged(second, a={500: 0.9}), 10 * RATE_HZ)
    assert (found.sample, found.score, found.rose_sample) == (500 * HOP, 0.9, 500 * HOP)
    assert second.total == ASKED_STEPS * STEP_SAMPLES


def test_the_second_stage_may_be_behind_the_first() -> None:
    second = Played(STEP_SAMPLES, a={ASKED_STEPS + PATIENCE_STEPS: 0.4})
    (found,) = woken(staged(second, a={500: 0.9}), 10 * RATE_HZ)
    assert found.sample == 500 * HOP + PATIENCE_STEPS * STEP_SAMPLES
    assert found.rose_sample == 500 * HOP
    too_late = Played(STEP_SAMPLES, a={ASKED_STEPS + PATIENCE_STEPS + 1: 0.4})
    assert woken(staged(too_late, a={500: 0.9}), 10 * RATE_HZ) == []


def test_two_words_are_asked_about_in_one_go() -> None:
    second = Played(STEP_SAMPLES, a={}, b={ASKED_STEPS + 2: 0.4})
    (found,) = woken(staged(second, a={500: 0.9}, b={510: 0.9}), 10 * RATE_HZ)
    assert found.word == "b"


def test_of_two_words_that_the_second_stage_confirms_one_wakes_and_the_other_is_let_go() -> None:
    second = Played(STEP_SAMPLES, a={ASKED_STEPS + 1: 0.4}, b={ASKED_STEPS + 2: 0.4})
    words = staged(second, 1_000, a={500: 0.9}, b={501: 0.9})
    assert [d.word for d in woken(words, 10 * RATE_HZ)] == ["a"]
    assert second.total == (ASKED_STEPS + 1) * STEP_SAMPLES


def test_what_could_not_wake_is_not_asked_about() -> None:
    second = Played(STEP_SAMPLES, a={ASKED_STEPS: 0.4})
    words = staged(second, 1_000, a={500: 0.9, 520: 0.9, 599: 0.9})
    assert [d.sample for d in woken(words, 10 * RATE_HZ)] == [500 * HOP]
    assert second.total == ASKED_STEPS * STEP_SAMPLES


def test_the_refractory_time_counts_from_where_the_word_rose() -> None:
    second = Played(STEP_SAMPLES, a={ASKED_STEPS + PATIENCE_STEPS: 0.4})
    words = staged(second, 1_000, a={500: 0.9, 600: 0.9})
    assert [d.rose_sample for d in woken(words, 10 * RATE_HZ)] == [500 * HOP, 600 * HOP]


def test_a_word_that_it_is_not_asked_about_wakes_without_it() -> None:
    second = Played(STEP_SAMPLES, a={})
    words = WakeWords([Played(b={3: 0.9})], {"b": 0.5}, 0, SecondStage(second, {"a": 0.3}))
    assert [d.word for d in woken(words, 10 * HOP)] == ["b"]
    assert second.total == 0


@given(
    rises=st.sets(st.integers(1, 600), max_size=4),
    others=st.sets(st.integers(1, 600), max_size=3),
    loud=st.sets(st.integers(0, 599), max_size=3),
    cuts=st.lists(st.integers(1, 30_000), max_size=12),
    refractory_ms=st.sampled_from((0, 300, 1_000)),
)
def test_what_wakes_does_not_depend_on_blocks(
    rises: set[int], others: set[int], loud: set[int], cuts: list[int], refractory_ms: int
) -> None:
    audio = bytearray(600 * HOP * 2)
    for at in loud:
        audio[at * HOP * 2] = 200
    heard = []
    for blocks in ([len(audio) // 2], cuts):
        words = staged(Loudness(), refractory_ms, a=dict.fromkeys(rises, 0.9), b=dict.fromkeys(others, 0.9))
        at, found = 0, []
        for samples in (*blocks, len(audio) // 2):
            before = at // 2
            block = bytes(audio[at : at + 2 * samples])
            at += len(block)
            new = words.process(block)
            # As the capture asks: in order, and within the block.
            assert all(before <= d.sample <= at // 2 for d in new)
            assert new == sorted(new, key=lambda d: d.sample)
            assert all(0 <= d.sample - d.rose_sample <= words.patience_samples for d in new)
            found += new
        heard.append(found)
    assert heard[0] == heard[1]
