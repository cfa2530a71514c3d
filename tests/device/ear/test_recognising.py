"""Recognition beside the listening: its order, its bounds, its faults; and replay with a recogniser."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from fadeout_device.config import Config
from fadeout_device.ear.adapters.vault_link import VaultLink
from fadeout_device.ear.capture import Detection, UtteranceFinished
from fadeout_device.ear.listening import Listening, payload_of, utterance_message
from fadeout_device.ear.recognising import MAX_WAITING, Recognised, Recognising
from fadeout_device.ear.recognition import NOTHING, Heard
from fadeout_device.ear.replay import Replay
from fadeout_device.ear.stopping import Stop
from fadeout_device.errors import UnavailableError
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from device.ear.conftest import Spoken
    from device.ear.fake_vault import FakeVault

ON = Heard("light.on", "turn on the walrus")
WAIT_S = 30.0


class Fake:
    """A recogniser that does as it is told."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.may_go = threading.Event()
        self.may_go.set()
        self.asked: list[bytes] = []
        self.closed = 0

    def recognise(self, pcm: bytes) -> Heard:
        self.asked.append(pcm)
        assert self.may_go.wait(WAIT_S)
        if self.fault is not None:
            raise self.fault
        return ON

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def recognising(fake: Fake) -> Iterator[Recognising]:
    made = Recognising(fake)
    yield made
    fake.may_go.set()
    made.close()


def finished(speech_s: float = 1.0, mark: int = 1) -> UtteranceFinished:
    """Return an utterance whose wake word ended after two of its four samples."""
    pcm = bytes([0, 0, 0, 0, mark, 0, mark, 0])
    return UtteranceFinished(Detection(102, "okay_nabu", 0.9), 100, speech_s, pcm)


def outcomes(recognising: Recognising, number: int) -> list[Recognised]:
    found: list[Recognised] = []
    while len(found) < number:
        found += recognising.done(WAIT_S)
    return found


def test_only_what_follows_the_wake_word_is_heard(recognising: Recognising, fake: Fake) -> None:
    assert recognising.now(finished(mark=7)) == ON
    assert fake.asked == [bytes([7, 0, 7, 0])]


def test_what_was_said_before_the_wake_word_was_confirmed_is_heard(
    recognising: Recognising, fake: Fake
) -> None:
    confirmed_later = Detection(104, "okay_nabu", 0.9, 102)
    recognising.now(dataclasses.replace(finished(mark=7), detection=confirmed_later))
    assert fake.asked == [bytes([7, 0, 7, 0])]


def test_where_nobody_spoke_nobody_listens(recognising: Recognising, fake: Fake) -> None:
    recognising.begin(finished(speech_s=0.0), 1.0)
    assert [each.heard for each in outcomes(recognising, 1)] == [NOTHING]
    assert fake.asked == []


def test_without_a_recogniser_nothing_is_heard() -> None:
    recognising = Recognising(None)
    recognising.begin(finished(), 1.0)
    assert [each.heard for each in recognising.done()] == [NOTHING]


def test_the_caller_does_not_wait(recognising: Recognising, fake: Fake) -> None:
    fake.may_go.clear()
    recognising.begin(finished(), 3.0)
    assert list(recognising.done()) == []
    assert recognising.waiting == 1
    fake.may_go.set()
    assert outcomes(recognising, 1) == [Recognised(finished(), 3.0, ON)]
    assert recognising.waiting == 0


def test_few_wait_and_one_more_fails(recognising: Recognising, fake: Fake) -> None:
    fake.may_go.clear()
    recognising.begin(finished(), 0.0)
    wait_for(lambda: fake.asked, "the first to be asked about")
    for number in range(MAX_WAITING + 1):
        recognising.begin(finished(), float(number + 1))
    fake.may_go.set()
    found = outcomes(recognising, MAX_WAITING + 2)
    assert sorted(each.began_mono_s for each in found if each.heard == NOTHING) == [MAX_WAITING + 1.0]


def test_a_fault_is_told_once_and_its_end_too(
    recognising: Recognising, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.fault = UnavailableError("the process ended")
    assert [recognising.now(finished()), recognising.now(finished())] == [NOTHING, NOTHING]
    assert recognising.error == "the process ended"
    fake.fault = None
    assert recognising.now(finished()) == ON
    assert recognising.error == ""
    assert [record.message for record in caplog.records] == [
        "utterances are not recognised: the process ended",
        "utterances are recognised again",
    ]


def test_a_bug_stops_the_ear(recognising: Recognising, fake: Fake) -> None:
    fake.fault = ZeroDivisionError()
    recognising.begin(finished(), 0.0)
    with pytest.raises(ZeroDivisionError):
        outcomes(recognising, 1)


def test_after_a_while_the_recogniser_lets_go_of_its_memory(fake: Fake) -> None:
    recognising = Recognising(fake, idle_s=0.01)
    recognising.begin(finished(), 0.0)
    assert len(outcomes(recognising, 1)) == 1
    wait_for(lambda: fake.closed > 0, "it to be closed")
    recognising.begin(finished(), 0.0)
    assert [each.heard for each in outcomes(recognising, 1)] == [ON]
    recognising.close()


def test_words_travel_after_the_audio_and_not_in_the_message() -> None:
    message = utterance_message(finished(), 1.0, ON)
    assert (message.outcome, message.action, message.request_bytes) == ("served", "light.on", 18)
    assert payload_of(finished(), message, ON) == finished().pcm + b"turn on the walrus"
    assert "walrus" not in repr(message)
    nobody = utterance_message(finished(speech_s=0.0), 1.0)
    assert payload_of(finished(speech_s=0.0), nobody) == b""


def test_a_replayed_utterance_is_served(
    recognising: Recognising, state: Path, spoken: Spoken, vault: FakeVault
) -> None:
    report = io.BytesIO()
    link = VaultLink(state / "run" / "ear.sock", ages=False)
    player = Replay(
        Listening(Config()), link, Stop(), report, recognising, speed="max", start_at_s=1_700_000_000.0
    )
    assert player.run([spoken.folder / "command_rms.wav"]) == 0
    link.close()
    lines = [json.loads(line) for line in report.getvalue().splitlines()]
    (line,) = [line for line in lines if line["type"] == "utterance"]
    assert (line["outcome"], line["action"]) == ("served", "light.on")
    assert b"walrus" not in report.getvalue()
    ((_, payload),) = vault.sealed.values()
    assert payload.endswith(b"turn on the walrus")
