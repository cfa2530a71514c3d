"""Answers to voice commands: their sentences, the program that says them, and the ear that is deaf then."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from fadeout_device.config import Config
from fadeout_device.ear.adapters.microphone import Block
from fadeout_device.ear.adapters.speaking import ECHO_S, LONGEST_S, Speaking, argv_of, why_missing
from fadeout_device.ear.adapters.vault_link import VaultLink
from fadeout_device.ear.live import Live
from fadeout_device.ear.stopping import Stop
from fadeout_device.messages import Told
from fadeout_device.spoken import sentence
from rig_processes import is_running
from rig_waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from fadeout_device.ear.capture import Effect
    from fadeout_device.ear.listening import Listening

ANSWER = "3 recordings"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (Told("held"), "I have nothing on you."),
        (Told("held", held=1, next_end_s=1_600_000_000),
         "I have 1 recording. It ends on Sunday, September 13, at 12:26."),
        (Told("held", held=12, next_end_s=1_600_000_000),
         "I have 12 recordings. The first ends on Sunday, September 13, at 12:26."),
        (Told("erased", erased=2, receipt=17),
         "I have forgotten 2 recordings. I have nothing on you. The receipt is number 17."),
        (Told("erased"), "There was nothing to forget. I have nothing on you."),
        (Told("asked", held=3),
         ("That erases everything: 3 recordings."
          " If you mean it, call me again and say: yes, forget everything.")),
    ],
)  # fmt: skip
def test_an_answer_has_the_numbers_and_the_date(
    told: Told, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert sentence(told) == said


@pytest.mark.parametrize("what", msgspec.inspect.type_info(Told).fields[0].type.values)  # type: ignore[attr-defined]
def test_there_is_a_sentence_for_everything(what: str) -> None:
    assert sentence(msgspec.convert({"what": what}, Told)).endswith(".")


@pytest.mark.parametrize(
    ("speak", "argv"),
    [
        ("espeak-ng", ("espeak-ng",)),
        (("espeak-ng", "-v", "en-gb"), ("espeak-ng", "-v", "en-gb")),
        ("none", ()),
        ((), ()),
        ("", ()),
    ],
)
def test_the_setting_is_a_program_its_arguments_or_none(
    speak: str | tuple[str, ...], argv: tuple[str, ...]
) -> None:
    assert argv_of(speak) == argv


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def program(path: Path, body: str) -> tuple[str, ...]:
    """Return a program that runs a body of Python; `path` is its argument."""
    return sys.executable, "-c", f"import sys, time\n{body}", str(path)


def is_silent(speaking: Speaking, clock: Clock) -> bool:
    return not speaking.is_heard_at(clock.now_s + ECHO_S + 1)


def test_sentences_are_said_in_turn_and_go_by_standard_input_alone(tmp_path: Path) -> None:
    path, clock = tmp_path / "said", Clock()
    argv = program(path, "with open(sys.argv[1], 'a') as f: f.write(sys.stdin.read())")
    speaking = Speaking(argv, clock)
    speaking.say("one; $(two) `three`")
    speaking.say("four")
    wait_for(lambda: is_silent(speaking, clock), "silence")
    assert path.read_text() == "one; $(two) `three`\nfour\n"


def test_while_it_speaks_and_a_little_after_the_ear_is_deaf(tmp_path: Path) -> None:
    clock = Clock()
    speaking = Speaking(program(tmp_path / "go", """
while not __import__('os').path.exists(sys.argv[1]): time.sleep(0.01)"""), clock)  # fmt: skip
    assert not speaking.is_heard_at(clock.now_s)
    speaking.say("hello")
    assert speaking.is_heard_at(clock.now_s)
    (tmp_path / "go").touch()
    wait_for(lambda: is_silent(speaking, clock), "silence")
    assert speaking.is_heard_at(clock.now_s + ECHO_S)


def test_a_program_that_does_not_end_is_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    speaking = Speaking(program(tmp_path, "time.sleep(600)"), clock)
    speaking.say(ANSWER)
    clock.now_s += LONGEST_S + 1
    speaking.tend()
    assert is_silent(speaking, clock)
    assert f"took more than {LONGEST_S:g} s" in speaking.problem
    assert speaking.problem in caplog.text
    assert ANSWER not in caplog.text


def test_what_a_shell_has_started_is_ended_with_it(tmp_path: Path) -> None:
    """Else it would speak on, and the ear would hear it."""
    clock, path = Clock(), tmp_path / "pid"
    speaking = Speaking(("sh", "-c", f"sleep 600 & echo $! >{path}; wait"), clock)
    speaking.say(ANSWER)
    started = int(wait_for(lambda: path.exists() and path.read_text(), "it has started something"))
    assert is_running(started)
    clock.now_s += LONGEST_S + 1
    speaking.tend()
    wait_for(lambda: not is_running(started), "that is ended")


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        pytest.param(("/nonexistent/speak",), "there is no program /nonexistent/speak", id="not there"),
        pytest.param(("/etc/passwd",), "there is no program /etc/passwd", id="no program"),
        pytest.param((sys.executable, "-c", "raise SystemExit(3)"), "exit code 3", id="it fails"),
    ],
)
def test_one_that_does_not_work_is_told_once_and_never_what_it_was_to_say(
    argv: tuple[str, ...], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    speaking = Speaking(argv, clock)
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            speaking.say(ANSWER)
            wait_for(lambda: is_silent(speaking, clock), "silence")
    assert len(caplog.records) == 1
    assert why in speaking.problem
    assert speaking.problem.endswith("see speak under [voice]")
    assert ANSWER not in caplog.text + speaking.problem


def test_what_is_missing_is_known_before_anybody_asks_and_forgotten_once_it_speaks(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "speak"
    speaking = Speaking((str(path),), clock)
    assert f"there is no program {path}" in speaking.problem
    path.write_text("#!/bin/sh\ncat >/dev/null\n")
    path.chmod(0o700)
    speaking.say(ANSWER)
    wait_for(lambda: is_silent(speaking, clock), "silence")
    assert speaking.problem == ""


def test_of_what_is_usually_missing_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "sudo apt-get install espeak-ng" in why_missing(("espeak-ng",))
    assert why_missing(()) == ""


def test_with_none_nothing_is_said() -> None:
    speaking = Speaking(())
    speaking.say(ANSWER)
    assert not speaking.is_heard_at(time.monotonic())


def test_closed_it_is_silent(tmp_path: Path) -> None:
    clock = Clock()
    speaking = Speaking(program(tmp_path, "time.sleep(600)"), clock)
    speaking.say("one")
    speaking.say("two")
    speaking.close()
    assert is_silent(speaking, clock)


class Ears:
    """Hears, and keeps what was said to it, as the pre-roll does."""

    words, position, is_recording = ("okay_nabu",), 0, False

    def __init__(self) -> None:
        self.kept = b""
        self.ends = 0

    def begin(self) -> None:
        self.kept = b""

    def hear(self, pcm: bytes) -> list[Effect]:
        self.kept += pcm
        return []

    def end(self) -> list[Effect]:
        self.ends += 1
        return []


def test_nothing_of_what_it_hears_while_it_speaks_is_in_the_pre_roll(tmp_path: Path) -> None:
    """What was heard before is finished, and not joined to what comes after."""
    clock, ears, go = Clock(), Ears(), tmp_path / "go"
    speaking = Speaking(program(go, """
while not __import__('os').path.exists(sys.argv[1]): time.sleep(0.01)"""), clock)  # fmt: skip
    live = Live(Config(), cast("Listening", ears), VaultLink(tmp_path / "sock"), Stop(), speaking=speaking)

    def hear(sample: bytes) -> None:
        live._hear(Block(sample * 2880, clock.now_s))

    hear(b"\1")
    speaking.say("hello")
    hear(b"\2")
    hear(b"\2")
    assert (ears.kept, ears.ends) == (b"", 1)
    go.touch()
    wait_for(lambda: is_silent(speaking, clock), "silence")
    hear(b"\2")
    clock.now_s += 2 * ECHO_S
    hear(b"\3")
    assert set(ears.kept) == {3}
