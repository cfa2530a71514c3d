"""The real engine on real synthesised speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fadeout_device.config import Config, WakeSettings, WakeWord
from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.wakeword import WakeWords
from fadeout_device.ear.capture import RATE_HZ, Effect, UtteranceFinished
from fadeout_device.ear.listening import Listening
from fadeout_device.ear.outcome import judge
from fadeout_device.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from device.ear.conftest import Spoken
    from fadeout_device.ear.capture import Detection

ALL: tuple[WakeWord, ...] = ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")


def pcm_of(path: Path) -> bytes:
    file = AudioFile(path)
    pcm = b"".join(file.blocks())
    file.close()
    return pcm


def detections(words: WakeWords, pcm: bytes, block_bytes: int) -> list[Detection]:
    words.reset()
    return [d for at in range(0, len(pcm), block_bytes) for d in words.process(pcm[at : at + block_bytes])]


def test_every_fixture_comes_out_as_its_label_says(spoken: Spoken) -> None:
    listening = Listening(Config(wake=WakeSettings(words=ALL)))
    for name, label in spoken.labels.items():
        listening.begin()
        file = AudioFile(spoken.folder / name)
        effects: list[Effect] = [effect for block in file.blocks() for effect in listening.hear(block)]
        effects += listening.end()
        file.close()
        came = [
            {"wake_word": effect.detection.word, "outcome": judge(effect.speech_s, "none")}
            for effect in effects
            if isinstance(effect, UtteranceFinished)
        ]
        assert came == label["expected"], name


def test_results_do_not_depend_on_block_size(spoken: Spoken) -> None:
    words = WakeWords(ALL, None)
    pcm = pcm_of(spoken.folder / "two_utterances.wav")
    whole = detections(words, pcm, len(pcm))
    assert len(whole) == 2
    for block_bytes in (2, 320, 960, 2880, 2882):
        assert detections(words, pcm, block_bytes) == whole


def test_the_wake_word_stands_within_the_pre_roll(spoken: Spoken) -> None:
    (found,) = detections(WakeWords(("okay_nabu",), None), pcm_of(spoken.folder / "wake_alone_rms.wav"), 2880)
    assert found.word == "okay_nabu"
    assert 0.85 < found.score <= 1
    # It was said from 1.5 s on.
    assert 2.0 < found.sample / RATE_HZ < 1.5 + Config().utterance.pre_roll_ms / 1000


def test_a_higher_cutoff_hears_later_and_the_highest_never(spoken: Spoken) -> None:
    pcm = pcm_of(spoken.folder / "wake_alone_rms.wav")
    (own,) = detections(WakeWords(("okay_nabu",), None), pcm, 2880)
    (higher,) = detections(WakeWords(("okay_nabu",), 0.95), pcm, 2880)
    assert higher.sample > own.sample
    assert higher.score > 0.95
    assert detections(WakeWords(("okay_nabu",), 0.999), pcm, 2880) == []


def test_a_word_without_a_model_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match='there is no wake word "open_sesame"') as refused:
        WakeWords(("okay_nabu", "open_sesame"), None)
    assert refused.value.hint == "allowed: okay_nabu, hey_jarvis, hey_mycroft, alexa"
