"""What came against what was expected, as a table of both and what is said."""

from __future__ import annotations

import msgspec
import pytest

from fadeout_device.messages import Told
from fadeout_device.replaying.differences import differences
from fadeout_device.replaying.expectations import Expected, ExpectedFile, Tolerance
from fadeout_device.replaying.heard import HeardFile, Utterance

CAME = Utterance(
    "okay_nabu", 2.6, 0.9, 1.1, 4.0, 1.2, "failed", "none", 3.1, 4.3, ("audio", "action")
)  # fmt: skip
ALONE = Utterance("okay_nabu", 2.6, 0.9, 1.1, 4.0, 0.0, "false_wake", "none", None, None, ())
ASKED = msgspec.structs.replace(CAME, told=Told("held", held=2))
UNSEALED = Utterance(
    "okay_nabu", 2.6, 0.9, 1.1, 4.0, 1.2, "failed", "none", 3.1, 4.3, (), error="the disk is full"
)  # fmt: skip


def lines(expected: ExpectedFile, *came: Utterance, error: str | None = None) -> list[str]:
    heard = HeardFile("a.wav", 5.0, list(came), error)
    return [one.line() for one in differences(expected, heard, Tolerance(0.15, 0.15))]


@pytest.mark.parametrize(
    ("expected", "came", "said"),
    [
        pytest.param(Expected(), CAME, [], id="nothing is compared"),
        pytest.param(
            Expected("okay_nabu", "failed", "none", 3.1, 4.3, ("action", "audio")), CAME, [],
            id="as expected",
        ),
        pytest.param(Expected(speech_start_s=2.95), CAME, [], id="just within the tolerance"),
        pytest.param(
            Expected(speech_start_s=2.94), CAME,
            ["utterance 1: speech start: expected 2.940 s ± 0.15 s, came 3.100 s"], id="just outside of it",
        ),
        pytest.param(
            Expected(speech_end_s=3.0), ALONE,
            ["utterance 1: speech end: expected 3.000 s ± 0.15 s, came none"], id="nobody spoke",
        ),
        pytest.param(
            Expected("alexa", "served", "light.on"), CAME,
            [
                "utterance 1: wake_word: expected alexa, came okay_nabu",
                "utterance 1: outcome: expected served, came failed",
                "utterance 1: action: expected light.on, came none",
            ], id="everything else",
        ),
        pytest.param(Expected(told="held"), ASKED, [], id="it is answered as it should be"),
        pytest.param(
            Expected(told="muted"), ASKED, ["utterance 1: told: expected muted, came held"],
            id="it is answered otherwise",
        ),
        pytest.param(
            Expected(told="none"), ASKED, ["utterance 1: told: expected none, came held"],
            id="what should be no command is one",
        ),
        pytest.param(
            Expected(kept=("audio",)), CAME, ["utterance 1: kept: expected audio, came audio, action"],
            id="more is kept than should be",
        ),
        pytest.param(
            Expected(kept=("audio",)), UNSEALED,
            ["utterance 1: kept: expected audio, came nothing: the disk is full"],
            id="it could not be sealed",
        ),
    ],
)  # fmt: skip
def test_an_utterance(expected: Expected, came: Utterance, said: list[str]) -> None:
    assert lines(ExpectedFile((expected,)), came) == said


def test_too_few_and_too_many_utterances() -> None:
    assert lines(ExpectedFile((Expected("okay_nabu", "failed"), Expected()))) == [
        "the file: utterances: expected 2, came 0",
        "utterance 1: utterance: expected okay_nabu, failed, came none",
        "utterance 2: utterance: expected any, came none",
    ]
    assert lines(ExpectedFile(()), ALONE) == [
        "the file: utterances: expected 0, came 1",
        "utterance 1: utterance: expected none, came okay_nabu at 2.60 s, false_wake",
    ]


def test_a_file_that_is_refused() -> None:
    assert lines(ExpectedFile(readable=False), error="no audio") == []
    assert lines(ExpectedFile(readable=False)) == ["the file: readable: expected no, came yes"]
    assert lines(ExpectedFile(()), error="no audio") == ["the file: readable: expected yes, came no audio"]
