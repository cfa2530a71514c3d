"""After an erasure the vault is a new process under the old one's number, and nobody notices."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

import pytest

import rig_processes
from device.vault.conftest import utterance
from fadeout_device import answers, messages, questions
from fadeout_device.vault.handover import OPTION
from rig_fadeout import Home, Process, vault_command
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fadeout_device.wire import Connection

pytestmark = pytest.mark.system

ENDED_WHILE_RENEWING = """
import os
import signal
import sys

if "fadeout_device.vault" in sys.orig_argv:
    from fadeout_device.vault.doors import Doors

    pause = Doors.pause

    def ended_meanwhile(self, patience_s):
        os.kill(os.getpid(), signal.SIGTERM)
        return pause(self, patience_s)

    Doors.pause = ended_meanwhile
"""
AUDIO = b"\x01\x02" * 16_000


@pytest.fixture
def vault(home: Home) -> Iterator[Process]:
    with Process(home, vault_command(home)) as process:
        wait_for(home.status, "the vault answers")
        yield process


def renewals(vault: Process) -> str | None:
    """Return what tells one incarnation from the next: the descriptor it was handed, and when it started."""
    words = rig_processes.arguments(vault.process.pid)
    return words[words.index(OPTION) + 1] if OPTION in words else None


def receive(connection: Connection) -> object:
    frame = connection.receive()
    assert frame is not None, "the connection was closed"
    return frame.message(messages.ToEar | answers.Answer)


def ear_of(home: Home) -> Connection:
    ear = home.connect("ear")
    assert receive(ear) == messages.Ready()
    ear.send(messages.EarState(listening=True, source="a microphone", wake_words=("alexa",)))
    return ear


def seal(ear: Connection) -> str:
    ear.send(utterance(), AUDIO)
    sealed = receive(ear)
    assert isinstance(sealed, messages.Sealed)
    return sealed.recording


def test_ear_and_watcher_stay_connected_through_renewals(home: Home, vault: Process) -> None:
    watcher = home.connect("control")
    watcher.send(questions.Watch())
    assert isinstance(receive(watcher), answers.StatusReport)
    with contextlib.closing(ear_of(home)) as ear:
        for _ in range(3):
            recording = seal(ear)
            assert home.ask("erase", recording)["items"] == 2
            wait_for(lambda: renewals(vault), "the vault became a new process")
            now = home.status()
            assert now is not None
            assert (now.ear, now.listening, now.source) == ("connected", True, "a microphone")
            assert (now.held, now.overdue, now.last_sweep) == (0, 0, "ok")
        assert home.held() == []
        kept = seal(ear)
        assert home.held() == [kept]
    seen: list[str] = []
    while seen.count("sealed") < 4:
        happening = receive(watcher)
        assert isinstance(happening, answers.Happening)
        seen.append(happening.what)
    assert seen == ["listening", *["utterance", "sealed", "erased"] * 3, "utterance", "sealed"]
    watcher.close()
    assert vault.process.poll() is None


def test_it_is_the_same_process_still_confined_and_the_filters_do_not_pile_up(
    home: Home, vault: Process
) -> None:
    with contextlib.closing(ear_of(home)) as ear:
        for _ in range(3):
            home.ask("erase", seal(ear))
        wait_for(lambda: renewals(vault), "the vault became a new process")
    assert wait_for(home.status, "it answers")
    pid = vault.process.pid
    assert set(rig_processes.status(pid, "Seccomp_filters")) == {"1"}
    assert set(rig_processes.status(pid, "Seccomp")) == {"2"}
    assert set(rig_processes.status(pid, "NoNewPrivs")) == {"1"}


def test_a_visitor_in_the_middle_of_a_message_is_waited_for(home: Home, vault: Process) -> None:
    with contextlib.closing(ear_of(home)) as ear:
        recording = seal(ear)
        half = home.connect("control")
        half.sock.sendall(b'{"type":"stat')
        assert home.ask("erase", recording)["items"] == 2
        again = seal(ear)
        assert renewals(vault) is None, "somebody is in the middle of a message"
        half.sock.sendall(b'us"}\n')
        assert isinstance(receive(half), answers.StatusReport)
        wait_for(lambda: renewals(vault), "the vault became a new process")
        half.send(questions.ListRecordings())
        listed = receive(half)
        assert isinstance(listed, answers.Recordings)
        assert [row.recording for row in listed.recordings] == [again]
        half.close()


def test_commands_that_come_all_the_time_are_all_answered(home: Home, vault: Process) -> None:
    said: list[object] = []

    def ask() -> None:
        for _ in range(20):
            with contextlib.closing(home.connect("control", timeout_s=30.0)) as connection:
                connection.send(questions.Status())
                said.append(receive(connection))

    with contextlib.closing(ear_of(home)) as ear:
        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        for _ in range(3):
            home.ask("erase", seal(ear))
        for asker in askers:
            asker.join(60)
    assert len(said) == 60
    assert all(isinstance(answer, answers.StatusReport) for answer in said)
    assert vault.process.poll() is None


def test_a_second_fadeout_finds_no_moment_to_take_the_folder(home: Home, vault: Process) -> None:
    with contextlib.closing(ear_of(home)) as ear:
        home.ask("erase", seal(ear))
        wait_for(lambda: renewals(vault), "the vault became a new process")
    with Process(home, vault_command(home)) as second:
        second.wait_for_line("another fadeout is using the state folder")
    assert vault.process.poll() is None


def test_it_ends_when_it_is_told_to_while_it_becomes_a_new_process(home: Home, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(ENDED_WHILE_RENEWING)
    planted = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
    with Process(home, vault_command(home), PYTHONPATH=planted) as vault:
        wait_for(home.status, "the vault answers")
        with contextlib.closing(ear_of(home)) as ear:
            home.ask("erase", seal(ear))
        wait_for(lambda: vault.process.poll() is not None, "the vault has ended")
        assert vault.finish() == 0
