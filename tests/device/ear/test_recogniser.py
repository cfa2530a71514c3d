"""The real pocketsphinx in its own process, on speech that flite makes; and a process that misbehaves."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fadeout_device.actions_file import BUILT_IN, load_actions, parse_actions
from fadeout_device.config import RecogniserSettings
from fadeout_device.ear.adapters.decoder_line import DecoderLine
from fadeout_device.ear.adapters.dictionary import refuse_unknown_words
from fadeout_device.ear.app import recogniser
from fadeout_device.ear.recognition import NOTHING, Heard, Likeness, judged
from fadeout_device.errors import ConfigError, UnavailableError
from rig_speech import PHRASE, RATE_HZ, say, silence
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

if shutil.which("flite") is None:
    pytest.skip("flite is not installed: sudo apt-get install flite", allow_module_level=True)

# Patient: other tests run on the same cores.
ON = RecogniserSettings(engine="pocketsphinx", timeout_s=60.0)
LIST = load_actions(ON)
LIGHT = "turn on the kitchen light"


@pytest.fixture(scope="module")
def line() -> Iterator[DecoderLine]:
    made = recogniser(ON)
    assert isinstance(made, DecoderLine)
    yield made
    made.close()


def spoken(text: str, voice: str = "rms") -> bytes:
    return silence(0.3) + say(text, voice) + silence(0.8)


@pytest.mark.parametrize(
    ("text", "voice", "action"),
    [
        (LIGHT, "rms", "light.on"),
        ("turn the living room lights off", "slt", "light.off"),
        ("set a timer for twenty minutes", "awb", "timer.start"),
        ("what is the weather like tomorrow", "rms", "weather.tell"),
        ("forget what i just said", "rms", "data.forget_last"),
        ("forget the last ten minutes", "slt", "data.forget_ten_minutes"),
        ("forget everything i said today", "rms", "data.forget_today"),
        ("forget everything", "slt", "data.forget_everything"),
        ("yes forget everything", "rms", "data.forget_everything_yes"),
        ("stop listening", "slt", "data.stop_listening"),
        ("what do you have on me", "rms", "data.tell_held"),
        ("that wasn't for you", "slt", "data.not_for_you"),
    ],
)
def test_a_sentence_of_the_list_is_heard(line: DecoderLine, text: str, voice: str, action: str) -> None:
    assert line.recognise(spoken(text, voice)) == (action, text)


@pytest.mark.parametrize(
    ("text", "voice"),
    [
        (PHRASE, "awb"),
        ("the train to the airport leaves at seven in the morning", "rms"),
        ("we could have dinner at the old place by the river", "slt"),
        ("the kitchen was turned into an office last summer", "awb"),
        ("that was not for sale", "rms"),
    ],
)
def test_a_sentence_outside_of_it_is_rejected_with_its_words(
    line: DecoderLine, text: str, voice: str
) -> None:
    assert line.recognise(spoken(text, voice)) == NOTHING


@pytest.mark.parametrize(
    "pcm", [b"", bytes(2), silence(0.02), silence(2.0), b"\x00\x80\xff\x7f" * RATE_HZ],
    ids=["nothing", "a sample", "less than a frame", "silence", "a square wave at full scale"],
)  # fmt: skip
def test_what_is_no_speech_is_no_action(line: DecoderLine, pcm: bytes) -> None:
    assert line.recognise(pcm) == NOTHING


def test_the_same_audio_is_heard_the_same_whatever_came_before(line: DecoderLine) -> None:
    pcm = spoken(LIGHT)
    first = line.recognise(pcm)
    line.recognise(spoken(PHRASE, "awb"))
    assert line.recognise(pcm) == first


def test_a_process_that_died_is_told_and_the_next_utterance_gets_a_new_one(line: DecoderLine) -> None:
    pcm = spoken(LIGHT)
    line.recognise(pcm)
    assert line._process is not None
    line._process.kill()
    with pytest.raises(UnavailableError, match="the recogniser gives no answer"):
        line.recognise(pcm)
    assert line.recognise(pcm).action == "light.on"


def test_a_process_that_takes_too_long_is_ended() -> None:
    slow = DecoderLine(LIST, RecogniserSettings(engine="pocketsphinx", timeout_s=0.001))
    with pytest.raises(UnavailableError, match="gives no answer"):
        slow.recognise(silence(15.0))
    assert slow._process is None


def test_it_ends_with_the_ear(line: DecoderLine) -> None:
    line.recognise(spoken(LIGHT))
    assert line._process is not None
    pid = line._process.pid
    line.close()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the process to be gone")


def test_its_process_has_no_network(line: DecoderLine) -> None:
    line.recognise(spoken(LIGHT))
    assert line._process is not None
    status = Path(f"/proc/{line._process.pid}/status").read_text()
    assert "\nSeccomp:\t2\n" in status


def test_a_grammar_that_pocketsphinx_refuses_is_told() -> None:
    broken = DecoderLine(LIST._replace(grammar="#JSGF V1.0; grammar x; public <x> = xqzzy;"), ON)
    with pytest.raises(UnavailableError, match="cannot start: pocketsphinx refuses"):
        broken.recognise(silence(1.0))


def test_a_word_that_has_no_sound_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "actions.toml"
    text = "[actions]\nhello = ['hello there']\nbye = ['goodbye xqzzy']\n"
    path.write_text(text)
    settings = RecogniserSettings("pocketsphinx", actions=str(path))
    with pytest.raises(ConfigError, match=r'actions\.toml:3: .* how "xqzzy" sounds'):
        recogniser(settings)
    actions = parse_actions(text + "[pronunciations]\nxqzzy = 'K S W IH Z IY'", "x")
    refuse_unknown_words(actions, settings)
    own = DecoderLine(actions, ON)
    assert own.recognise(spoken("hello there")).action == "hello"
    own.close()


def test_the_words_that_ship_all_have_a_sound() -> None:
    refuse_unknown_words(parse_actions(BUILT_IN.read_text(), "x"), ON)


@pytest.mark.parametrize(
    ("likeness", "heard"),
    [
        pytest.param(Likeness(LIGHT, -1.0, 0.1), Heard("light.on", LIGHT), id="like it"),
        pytest.param(Likeness(LIGHT, -2.7, 0.1), NOTHING, id="phones are likelier"),
        pytest.param(Likeness(LIGHT, -1.0, 0.3), NOTHING, id="more was said"),
        pytest.param(Likeness("forget everything", -2.1, 0.0), NOTHING, id="what erases, and not quite"),
        pytest.param(
            Likeness("forget everything", -1.9, 0.0),
            Heard("data.forget_everything", "forget everything"),
            id="what erases",
        ),
        pytest.param(Likeness("turn on the", -1.0, 0.1), NOTHING, id="a part of a sentence"),
        pytest.param(Likeness("", -1e6, 1.0), NOTHING, id="nothing"),
    ],
)
def test_only_what_is_like_a_whole_sentence_is_taken_for_it(likeness: Likeness, heard: Heard) -> None:
    assert (
        judged(likeness, LIST, RecogniserSettings(least_ratio=-2.6, least_ratio_data=-2.0, most_beside=0.2))
        == heard
    )


def test_no_words_are_in_what_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = f"{Heard('light.on', LIGHT)} {Likeness(LIGHT, -1.0, 0.0)}"
    assert "kitchen" not in shown + caplog.text
