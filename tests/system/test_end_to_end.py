"""The whole path with nothing replaced: microphone, wake word engine, vault, broker, subscriber."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from broker.subscriber import Subscriber
from fadeout_broker import arrow, contract
from fadeout_broker.local import LocalBroker
from rig_fadeout import Home, Process, Run, vault_command
from rig_speech import RATE_HZ, Speech, read_wav
from rig_waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from sound_card import SoundCard

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]

NODE = "sp-endtoend"
CONFIG = f"""
[microphone]
device = "fakemic"
[mqtt]
node = "{NODE}"
subscribers = ["hass"]
"""
LEAST_MATCH_S = 3.0


def expect_event(subscriber: Subscriber) -> contract.ActionEvent:
    message = subscriber.expect(f"fadeout/{NODE}/event/action")
    event = contract.decode(message.payload)
    assert isinstance(event, contract.ActionEvent)
    assert contract.encode(event) == message.payload, "not encoded and padded as the contract says"
    assert message.expiry_s == event.ttl
    assert not message.retain
    return event


def longest_match(recorded: bytes, played: bytes) -> int:
    """Return how many samples of a recording are those that were played, at the best alignment."""
    got, sent = np.frombuffer(recorded, "<i2"), np.frombuffer(played, "<i2")
    size = 1 << (len(got) + len(sent)).bit_length()
    spectrum = np.fft.rfft(sent.astype(float), size) * np.conj(np.fft.rfft(got.astype(float), size))
    shift = int(np.argmax(np.fft.irfft(spectrum, size)))
    shift = shift - size if shift > size // 2 else shift
    start, end = max(0, -shift), min(len(got), len(sent) - shift)
    assert end > start, "nothing of what was played was recorded"
    return int(np.count_nonzero(got[start:end] == sent[start + shift : end + shift]))


def speak_and_report(
    home: Home, speech: Speech, sound_card: SoundCard, subscriber: Subscriber
) -> contract.ActionEvent:
    """Play the phrase in front of the microphone, and wait for what a subscriber is told."""
    wait_for(lambda: (status := home.status()) and status.listening and status.broker == "connected", "up")
    assert sound_card.play(speech.path).wait() == 0
    return expect_event(subscriber)


def check_recording(home: Home, speech: Speech) -> str:
    """Check what the command says of the one recording that is held, and its audio; return its id."""
    (row,) = home.ask("list")
    assert row["outcome"] == "failed"
    assert [item["kind"] for item in row["items"]] == ["audio", "action"]
    shown = home.ask("show", row["recording"])
    assert shown["wake_word"] == "okay_nabu"
    assert shown["score"] > 0.5
    assert 1.0 < shown["speech_s"] < shown["duration_s"]
    out = home.folder / "played.wav"
    assert home.verb("play", row["recording"], "-o", out).returncode == 0
    pcm = read_wav(out)
    assert len(pcm) / 2 / RATE_HZ == pytest.approx(shown["duration_s"], abs=0.01)
    same = longest_match(pcm, speech.pcm)
    assert same > LEAST_MATCH_S * RATE_HZ, f"only {same} samples are those that were played"
    return str(row["recording"])


def check_erasure(home: Home, recording: str, event: contract.ActionEvent, subscriber: Subscriber) -> None:
    """Erase the newest recording; subscribers are told the same id, and nobody can play it."""
    erased = home.ask("erase", "--last", "1")
    assert (erased["recordings"], erased["items"]) == ([recording], 2)
    notice = contract.decode(subscriber.expect(f"fadeout/{NODE}/erase/notice").payload)
    assert isinstance(notice, contract.EraseNotice)
    assert notice.ids == (event.id,)
    refused = home.verb("play", recording, "-o", home.folder / "again.wav")
    assert refused.returncode == os.EX_NOINPUT
    assert refused.stderr.startswith(f"error: no recording {recording} is held")
    assert not (home.folder / "again.wav").exists()
    assert home.held() == []


def check_acknowledgement(home: Home, subscriber: Subscriber) -> None:
    """Whoever was away learns of the erasure; who says that he has forgotten is believed that far."""
    mark = None
    while mark is None or mark.n == 0:
        told = contract.decode(subscriber.expect(f"fadeout/{NODE}/erase/before").payload)
        assert isinstance(told, contract.EraseBefore)
        mark = told
    before = home.ask("subscribers")["subscribers"]
    assert [(row["consumer"], row["acknowledged"], row["behind"]) for row in before] == [("hass", None, 1)]
    ack = msgspec.json.encode(contract.Ack(v=1, era=mark.era, n=mark.n))
    subscriber.publish(f"fadeout/{NODE}/erase/ack/hass", ack)
    wait_for(lambda: home.ask("subscribers")["subscribers"][0]["behind"] == 0, "it is acknowledged")
    assert "forgotten up to erasure 1" in home.verb("ledger").stdout


def retained(broker: arrow.BrokerSettings) -> set[str]:
    """Return the topics of what the broker retains of this device."""
    with Subscriber(broker) as late:
        late.publish("marker", b"now")
        found = set()
        while (message := late.heard.get(timeout=60)).topic != "marker":
            if message.retain:
                found.add(message.topic)
    return {topic for topic in found if NODE in topic}


def check_leaving(home: Home, broker: arrow.BrokerSettings) -> None:
    """Leave the broker, and come back."""
    there = retained(broker)
    assert {f"fadeout/{NODE}/{end}" for end in ("availability", "state", "policy", "info")} <= there
    assert home.ask("forget")["departure"] == "done"
    assert retained(broker) == set()
    assert home.ask("status")["departure"] == "done"
    assert home.ask("forget", "--undo")["departure"] == ""
    wait_for(lambda: retained(broker) == there, "everything stands there again")


def test_from_the_microphone_to_a_subscriber_and_into_oblivion(
    home: Home, speech: Speech, sound_card: SoundCard
) -> None:
    home.config.write_text(CONFIG)
    with Run(home, "--local-broker") as run:
        host, port = run.broker()
        with Subscriber(arrow.BrokerSettings(host=host, port=port)) as subscriber:
            event = speak_and_report(home, speech, sound_card, subscriber)
            assert (event.action, event.outcome) == ("none", "failed")
            for part in ("wake word okay_nabu", "failed: ", '"sealed ', "the broker has the event"):
                run.wait_for_line(part)
            # The view shows the event as the subscriber got it.
            run.wait_for_line(event.id)
            recording = check_recording(home, speech)
            check_erasure(home, recording, event, subscriber)
            check_acknowledgement(home, subscriber)
        check_leaving(home, arrow.BrokerSettings(host=host, port=port))


def test_the_three_rooms_need_no_supervisor(
    home: Home, speech: Speech, sound_card: SoundCard, tmp_path: Path
) -> None:
    (tmp_path / "broker").mkdir()
    module = (sys.executable, "-m")
    where = ("--state", home.state, "--config", home.config)
    with LocalBroker(tmp_path / "broker") as broker, Subscriber(broker) as subscriber:
        home.config.write_text(f'{CONFIG}host = "{broker.host}"\nport = {broker.port}\n')
        # In the wrong order: each waits for the others.
        with (
            Process(home, [*module, "fadeout_broker.reporter", "--socket", home.state / "run/reporter.sock"]),
            Process(home, [*module, "fadeout_device.ear", *where]),
            Process(home, vault_command(home)),
        ):
            event = speak_and_report(home, speech, sound_card, subscriber)
            recording = check_recording(home, speech)
            check_erasure(home, recording, event, subscriber)


def test_once_ends_by_itself_after_one_utterance(home: Home, speech: Speech, sound_card: SoundCard) -> None:
    home.config.write_text(CONFIG)
    with Run(home, "--local-broker", "--once") as run:
        run.wait_until_up()
        assert sound_card.play(speech.path).wait() == 0
        assert run.finish() == 0
    for part in ('"sealed ', "the broker has the event", "availability stopped"):
        run.wait_for_line(part)
