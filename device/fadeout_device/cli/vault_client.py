"""The command's end of the vault's control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fadeout_device import answers, questions, wire
from fadeout_device.cli.places import run_folder, state_folder
from fadeout_device.errors import FadeoutError, UnavailableError, WireError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

ANSWER_TIMEOUT_S = 60.0

T = TypeVar("T")


class RefusedError(FadeoutError):
    """The vault's own error, passed on with its hint and exit code."""

    def __init__(self, failure: answers.Failure) -> None:
        super().__init__(failure.message, failure.hint or None)
        self.exit_code = failure.exit_code  # type: ignore[misc]  # the vault's, not the class's


def ask(arguments: argparse.Namespace, command: questions.Command, kind: type[T]) -> tuple[T, bytes]:
    """Send one command and return its answer, of the kind that belongs to it, and its payload.

    Raises:
        UnavailableError: no fadeout runs on this state folder.
        RefusedError: the vault says no.
    """
    connection = connect(state_folder(arguments), ANSWER_TIMEOUT_S)
    try:
        connection.send(command)
        return _receive(connection, kind)
    finally:
        connection.close()


def ledger_parts(arguments: argparse.Namespace, nonce: str) -> Iterator[tuple[answers.LedgerReport, bytes]]:
    """Yield the parts of the ledger as they come; raises as `ask`."""
    connection = connect(state_folder(arguments), ANSWER_TIMEOUT_S)
    try:
        connection.send(questions.GetLedger(nonce))
        is_last = False
        while not is_last:
            answer, payload = _receive(connection, answers.LedgerReport)
            yield answer, payload
            is_last = answer.is_last
    finally:
        connection.close()


def export_parts(
    state: Path, command: questions.Export
) -> Iterator[tuple[answers.ExportBegins | answers.ExportPart | answers.ExportEnds, bytes]]:
    """Yield the messages of an export and their payloads, as they come, until the vault has no more.

    Raises:
        UnavailableError: no fadeout runs on this state folder.
        RefusedError: the vault says no, or broke the export off.
        WireError: it went away in the middle of a message.
    """
    connection = connect(state, ANSWER_TIMEOUT_S)
    try:
        connection.send(command)
        kind: Any = answers.ExportBegins
        while kind is not None:
            answer, payload = _receive(connection, kind)
            yield answer, payload
            kind = None if isinstance(answer, answers.ExportEnds) else _AFTER_THE_BEGINNING
    finally:
        connection.close()


_AFTER_THE_BEGINNING = answers.ExportPart | answers.ExportEnds


def watch(state: Path) -> Iterator[answers.StatusReport | answers.Happening]:
    """Yield the status, and then happenings until the vault goes away.

    Raises:
        UnavailableError: no fadeout runs on this state folder.
    """
    connection = connect(state, timeout_s=None)
    try:
        connection.send(questions.Watch())
        while frame := connection.receive():
            yield frame.message(answers.StatusReport | answers.Happening)
    finally:
        connection.close()


def connect(state: Path, timeout_s: float | None) -> wire.Connection:
    """Connect to the vault of a state folder."""
    try:
        return wire.connect(run_folder(state) / "control.sock", timeout_s, wire.MAX_ANSWER_BYTES)
    except UnavailableError as err:
        raise UnavailableError(
            f"no fadeout is running with the state folder {state}",
            err.hint or "start one with fadeout run, or name its folder with --state or FADEOUT_STATE",
        ) from err


def _receive(connection: wire.Connection, kind: type[T]) -> tuple[T, bytes]:
    frame = connection.receive()
    if frame is None:
        raise WireError(
            "the vault closed the connection before its answer was complete",
            "try again: it may be restarting",
        )
    answer = frame.message(answers.Answer)
    if isinstance(answer, answers.Failure):
        raise RefusedError(answer)
    try:
        return msgspec.convert(answer, kind), frame.payload
    except msgspec.ValidationError as err:
        raise WireError(f"the vault answered with {type(answer).__name__}, which was not asked for") from err
