"""How much an utterance is like a sentence, from what two decoders made of each 10 ms."""

from __future__ import annotations

from array import array

import pytest

from fadeout_device.ear.adapters.sphinx import _beside, _levels, _ratio

FRAMES = 50


@pytest.mark.parametrize(
    ("above", "ratio"),
    [
        pytest.param([-2.0] * 100, -2.0, id="alike everywhere"),
        pytest.param([-1.0] * 90 + [-10.0] * 10, (-1.9 - 4.0) / 2, id="one word is another"),
        pytest.param([-1.0] * 45 + [-6.0] * 30 + [-1.0] * 45, (-2.25 - 6.0) / 2, id="in its middle"),
        pytest.param([-3.0] * 5, -3.0, id="shorter than a word"),
    ],
)
def test_a_sentence_is_worth_no_more_than_its_worst_part_allows(above: list[float], ratio: float) -> None:
    assert _ratio(above, 60.0) == pytest.approx(ratio)


@pytest.mark.parametrize(("over_noise_db", "less"), [(60.0, 0.0), (22.0, 0.0), (12.0, 0.4), (0.0, 0.88)])
def test_in_noise_it_must_be_surer(over_noise_db: float, less: float) -> None:
    assert _ratio([-2.0] * 100, over_noise_db) == pytest.approx(-2.0 - less)


def test_no_sentence_is_like_nothing() -> None:
    assert _ratio([], 60.0) < -1000


def heard(*parts: tuple[bool, bool, float]) -> tuple[list[bool], list[bool], list[float]]:
    """Return half a second for each part: is it of the sentence, are phones there, how loud is it."""
    frames = [part for part in parts for _ in range(FRAMES)]
    return (
        [said for said, _, _ in frames],
        [phone for _, phone, _ in frames],
        [level for _, _, level in frames],
    )


QUIET, SENTENCE = (False, False, 30.0), (True, True, 70.0)


@pytest.mark.parametrize(
    ("parts", "share"),
    [
        pytest.param([QUIET, SENTENCE, SENTENCE, QUIET], 0.0, id="the sentence alone"),
        pytest.param([QUIET, SENTENCE, SENTENCE, (False, True, 69.0)], 1 / 3, id="more was said"),
        pytest.param(
            [QUIET, SENTENCE, SENTENCE, (False, True, 40.0)], 0.0, id="phones are found in its echo"
        ),
        pytest.param(
            [(False, True, 60.0), SENTENCE, SENTENCE, (False, True, 61.0)],
            0.0,
            id="phones are found in noise",
        ),
        pytest.param([QUIET, QUIET], 1.0, id="no sentence"),
    ],
)
def test_what_is_spoken_beside_the_sentence_counts_and_noise_does_not(
    parts: list[tuple[bool, bool, float]], share: float
) -> None:
    assert _beside(*heard(*parts)) == pytest.approx(share)


def test_ten_times_the_amplitude_is_twenty_decibels() -> None:
    quiet, loud = _levels(array("h", [100] * 160 + [1000] * 160).tobytes())
    assert loud - quiet == pytest.approx(20.0, abs=0.01)
    assert _levels(bytes(322)) == [0.0, 0.0]
