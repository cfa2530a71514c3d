"""The real engine on real synthesised speech."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import pymicro_wakeword
import pytest

from fadeout_device.cli.__main__ import main
from fadeout_device.config import Config, UtteranceSettings
from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.wakeword import engine, wake_words
from fadeout_device.ear.capture import RATE_HZ, Effect, UtteranceFinished
from fadeout_device.ear.listening import Listening
from fadeout_device.ear.outcome import judge
from fadeout_device.ear.quiet import Spared
from fadeout_device.ear.waking import ASKED_STEPS, PATIENCE_STEPS, STEP_SAMPLES
from fadeout_device.policy import PolicyError
from fadeout_device.wake_words import WakeSettings, second_models

if TYPE_CHECKING:
    from device.ear.conftest import Spoken
    from fadeout_device.ear.capture import Detection
    from fadeout_device.ear.waking import WakeWords
    from fadeout_device.wake_words import EngineName

ALL = ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")


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


def test_it_is_quiet_where_nothing_is_said_and_nothing_recorded(spoken: Spoken) -> None:
    rng = np.random.default_rng(1)
    room = rng.normal(0, 60, 6 * RATE_HZ).astype("<i2").tobytes()
    said = pcm_of(spoken.folder / "wake_alone_rms.wav")
    listening = Listening(Config(utterance=UtteranceSettings(no_speech_ms=10_000)))
    assert not listening.is_quiet
    listening.hear(room)
    assert listening.is_quiet
    # The engine rests again after it, but the utterance has not ended.
    listening.hear(said)
    assert listening.is_recording
    (spared,) = listening._wake_words.engines
    assert isinstance(spared, Spared)
    assert spared.is_quiet
    assert not listening.is_quiet
    listening.begin()
    assert not listening.is_quiet
    always = Listening(Config(wake=WakeSettings(idle_gate=False)))
    always.hear(room)
    assert not always.is_quiet


def test_results_do_not_depend_on_block_size(spoken: Spoken) -> None:
    words = wake_words(WakeSettings(words=ALL))
    pcm = pcm_of(spoken.folder / "two_utterances.wav")
    whole = detections(words, pcm, len(pcm))
    assert len(whole) == 2
    for block_bytes in (2, 320, 960, 2880, 2882):
        assert detections(words, pcm, block_bytes) == whole


def test_after_a_quiet_room_the_engine_hears_what_it_would_have_heard(spoken: Spoken) -> None:
    rng = np.random.default_rng(1)
    said = np.frombuffer(pcm_of(spoken.folder / "wake_alone_rms.wav"), "<i2")
    audio = rng.normal(0, 60, 25 * RATE_HZ + len(said))
    audio[20 * RATE_HZ : 20 * RATE_HZ + len(said)] += said / 20
    pcm = audio.astype("<i2").tobytes()
    (always,) = detections(wake_words(WakeSettings(idle_gate=False)), pcm, 2880)
    words = wake_words(WakeSettings())
    assert detections(words, pcm, 2880) == [always]
    (spared,) = words.engines
    assert isinstance(spared, Spared)
    assert spared.asked_samples / spared.heard_samples < 0.6


def test_the_wake_word_stands_within_the_pre_roll(spoken: Spoken) -> None:
    (found,) = detections(wake_words(WakeSettings()), pcm_of(spoken.folder / "wake_alone_rms.wav"), 2880)
    assert found.word == "okay_nabu"
    assert 0.85 < found.score <= 1
    # It was said from 1.5 s on.
    assert 2.0 < found.sample / RATE_HZ < 1.5 + Config().utterance.pre_roll_ms / 1000


def test_a_higher_cutoff_hears_later_and_the_highest_never(spoken: Spoken) -> None:
    pcm = pcm_of(spoken.folder / "wake_alone_rms.wav")
    (own,) = detections(wake_words(WakeSettings()), pcm, 2880)
    (higher,) = detections(wake_words(WakeSettings(cutoff=0.95)), pcm, 2880)
    assert higher.sample > own.sample
    assert higher.score > 0.95
    assert detections(wake_words(WakeSettings(cutoff=0.999)), pcm, 2880) == []


def say(spoken: Spoken, voice: str, text: str) -> bytes:
    """Give a sentence by a voice of flite, with room before and after."""
    raw, path = (spoken.folder.parent / name for name in ("said-raw.wav", "said.wav"))
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", raw], check=True)
    form = ["-r", "16000", "-c", "1", "-b", "16"]
    subprocess.run(["sox", "-R", "-D", raw, *form, path, "gain", "-n", "-3", "pad", "1.5", "2"], check=True)
    return pcm_of(path)


@pytest.mark.parametrize("engine", ["microwakeword", "openwakeword"])
def test_each_engine_alone_hears_the_words(engine: EngineName, spoken: Spoken) -> None:
    if engine == "openwakeword":
        pytest.importorskip("pyopen_wakeword")
    words = wake_words(WakeSettings(words=ALL, engine=engine))
    for name, word in (("jarvis_rms.wav", "hey_jarvis"), ("alexa_slt.wav", "alexa")):
        assert [found.word for found in detections(words, pcm_of(spoken.folder / name), 2880)] == [word]
    for name in ("speech_only.wav", "noise.wav", "silence.wav"):
        assert detections(words, pcm_of(spoken.folder / name), 2880) == []


@pytest.mark.parametrize(
    "settings",
    [WakeSettings(words=ALL, engine="openwakeword"), WakeSettings(words=ALL, second_stage="openwakeword")],
    ids=["alone", "second"],
)
def test_openwakeword_does_not_depend_on_block_size(settings: WakeSettings, spoken: Spoken) -> None:
    pytest.importorskip("pyopen_wakeword")
    words = wake_words(settings)
    pcm = pcm_of(spoken.folder / "alexa_slt.wav")
    whole = detections(words, pcm, len(pcm))
    assert [found.word for found in whole] == ["alexa"]
    for block_bytes in (322, 2880):
        assert detections(words, pcm, block_bytes) == whole


def test_the_second_stage_rejects_what_the_first_heard_wrongly_and_keeps_the_rest(spoken: Spoken) -> None:
    pytest.importorskip("pyopen_wakeword")
    alone = wake_words(WakeSettings(words=ALL))
    asked = wake_words(WakeSettings(words=ALL, second_stage="openwakeword"))
    for voice, text, word in (
        ("rms", "okay nobody", "okay_nabu"),
        ("slt", "they make croft", "hey_mycroft"),
    ):
        pcm = say(spoken, voice, text)
        assert [found.word for found in detections(alone, pcm, 2880)] == [word], text
        assert detections(asked, pcm, 2880) == [], text
    for name, word in (
        ("jarvis_rms.wav", "hey_jarvis"),
        ("alexa_slt.wav", "alexa"),
        ("wake_alone_rms.wav", "okay_nabu"),
        ("wake_alone_kal16.wav", "okay_nabu"),
    ):
        pcm = pcm_of(spoken.folder / name)
        (first,), (second,) = detections(alone, pcm, 2880), detections(asked, pcm, 2880)
        assert (first.word, second.word) == (word, word)
        assert first.sample <= second.sample <= first.sample + PATIENCE_STEPS * STEP_SAMPLES


def test_an_utterance_is_the_same_when_its_word_is_confirmed_later(spoken: Spoken) -> None:
    pytest.importorskip("pyopen_wakeword")
    found = []
    for stage in (WakeSettings(), WakeSettings(second_stage="openwakeword", second_stage_cutoff=0.3)):
        listening = Listening(Config(wake=stage))
        pcm = pcm_of(spoken.folder / "two_utterances.wav")
        effects = [
            effect for at in range(0, len(pcm), 2880) for effect in listening.hear(pcm[at : at + 2880])
        ]
        effects += listening.end()
        found.append([effect for effect in effects if isinstance(effect, UtteranceFinished)])
    at_once, later = found
    assert any(utterance.detection.sample > utterance.detection.rose_sample for utterance in later)
    assert [(u.start_sample, u.pcm, u.speech_span) for u in later] == [
        (u.start_sample, u.pcm, u.speech_span) for u in at_once
    ]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Give a copy of the bundled alexa under another name."""
    models = Path(pymicro_wakeword.__file__).parent / "models"
    shutil.copy(models / "alexa.tflite", tmp_path / "computer.tflite")
    path = tmp_path / "computer.json"
    path.write_text((models / "alexa.json").read_text().replace("alexa.tflite", "computer.tflite"))
    return path


def test_an_own_model_listens_beside_a_bundled_one_and_they_wake_once(own: Path, spoken: Spoken) -> None:
    words = wake_words(WakeSettings(words=(str(own), "alexa")))
    assert words.words == ("computer", "alexa")
    assert len(detections(words, pcm_of(spoken.folder / "alexa_slt.wav"), 2880)) == 1


@pytest.mark.parametrize("stage", ["none", "openwakeword"])
def test_one_word_that_two_engines_hear_wakes_once(
    stage: Literal["none", "openwakeword"], tmp_path: Path, spoken: Spoken
) -> None:
    openwakeword = pytest.importorskip("pyopen_wakeword")
    theirs = tmp_path / "computer.tflite"
    shutil.copy(Path(openwakeword.__file__).parent / "models" / "alexa.tflite", theirs)
    settings = WakeSettings(words=("alexa", str(theirs)), second_stage=stage, refractory_ms=0)
    pcm = pcm_of(spoken.folder / "alexa_slt.wav")[: 2 * 4 * RATE_HZ]
    # Both engines hear it: this is what the refractory time is there for.
    assert {found.word for found in detections(wake_words(settings), pcm, 2880)} == {"alexa", "computer"}
    once = wake_words(msgspec.structs.replace(settings, refractory_ms=1_000))
    assert len(detections(once, pcm, 2880)) == 1


def test_seconds_heard_together_score_as_one_after_the_other(spoken: Spoken) -> None:
    pytest.importorskip("pyopen_wakeword")
    models = second_models(WakeSettings(words=("alexa", "okay_nabu"), second_stage="openwakeword"))
    pcm = pcm_of(spoken.folder / "alexa_slt.wav")[: 2 * 4 * RATE_HZ]
    apart, together = engine("openwakeword", models), engine("openwakeword", models, ASKED_STEPS)
    for _ in range(2):
        scores = list(together.scores(pcm))
        others = list(apart.scores(pcm))
        assert [(s.sample, s.word) for s in scores] == [(s.sample, s.word) for s in others]
        assert [s.value for s in scores] == pytest.approx([s.value for s in others], abs=1e-4)
        assert max(s.value for s in scores) > 0.9
        together.reset()
        apart.reset()


@pytest.mark.parametrize("damage", ["cut short", "of the other engine"])
@pytest.mark.parametrize("engine_name", ["microwakeword", "openwakeword"])
def test_a_damaged_model_is_one_error_and_no_crash(
    damage: str, engine_name: str, own: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    openwakeword = pytest.importorskip("pyopen_wakeword")
    tflite = own.with_suffix(".tflite")
    theirs = Path(openwakeword.__file__).parent / "models" / "alexa.tflite"
    if damage == "cut short":
        tflite.write_bytes(tflite.read_bytes()[:5_000])
    elif engine_name == "microwakeword":
        shutil.copy(theirs, tflite)
    given = own if engine_name == "microwakeword" else tflite
    config = tmp_path / "f.toml"
    config.write_text(f'[wake]\nwords = ["{given}"]\n')
    with pytest.raises(PolicyError, match=r"computer\.tflite: cannot be run"):
        wake_words(WakeSettings(words=(str(given),)))
    # The library says nothing over it, and so is told before anything is started.
    assert main(["check-config", str(config)]) == 78
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 2)
    assert err.startswith(
        f"error: {config}:2: wake.words.0: {tflite}: cannot be run\nhint: expected a whole model"
    )


def test_a_second_model_that_cannot_be_run_is_told_before_anything_is_started(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyopen_wakeword")
    config = tmp_path / "f.toml"
    config.write_text(
        f'[wake]\nwords = ["{own}"]\nsecond_stage = "openwakeword"\n'
        f'second_stage_models = {{ computer = "{own.with_suffix(".tflite")}" }}\n'
    )
    assert main(["check-config", str(config)]) == 78
    assert "f.toml:4: wake.second_stage_models.computer" in capsys.readouterr().err
