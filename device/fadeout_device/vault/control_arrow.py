"""The arrow from the `fadeout` command: one command, one answer; or a stream of happenings, or an export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fadeout_device import answers, channels, questions
from fadeout_device.errors import FadeoutError, UsageError, WireError
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.export import PATIENCE_S, Export

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.vault.export import Chosen
    from fadeout_device.vault.service import Service
    from fadeout_device.wire import Connection

WATCHING = "watching"
"""The stage of a connection on which nothing but happenings come any more."""
_PULSE_S = 1.0
"""How long a watcher that went away may go unnoticed."""


def serve(connection: Connection, service: Service) -> None:
    """Answer commands until the other side closes.

    Raises:
        WireError: it broke the protocol, or is gone.
    """
    if connection.stage == WATCHING:
        _stream(connection, service)
        return
    desk = Desk(service)
    while frame := connection.receive():
        try:
            command = frame.message(questions.Command)
            _refuse_what_needs_another_channel(command)
            if isinstance(command, questions.Watch):
                _stream(connection, service)
                return
            if isinstance(command, questions.Export):
                _export(connection, service, desk.export(command))
                continue
            if isinstance(command, questions.GetLedger):
                for part, lines in desk.ledger(command):
                    connection.send(part, lines)
                continue
            answer, payload = _answer(command, desk)
        except WireError:
            raise
        except FadeoutError as err:
            answer, payload = answers.Failure(str(err), err.hint or "", err.exit_code), b""
        connection.send(answer, payload)


def _refuse_what_needs_another_channel(command: questions.Command) -> None:
    if not channels.is_allowed(channels.deed_of(command), "control"):
        raise UsageError(f"{type(command).__name__} cannot be asked for by the fadeout command")


def _answer(command: questions.Command, desk: Desk) -> tuple[answers.Answer, bytes]:
    if isinstance(command, questions.Play):
        return desk.play(command.recording)
    return _ANSWERS[type(command)](desk, command), b""


_ANSWERS: dict[type, Callable[[Desk, Any], answers.Answer]] = {
    questions.ListRecordings: lambda desk, _: desk.recordings(),
    questions.Show: lambda desk, command: desk.show(command.recording),
    questions.Erase: lambda desk, command: desk.erase(command),
    questions.ListRecipients: lambda desk, _: answers.Recipients(desk.recipients()),
    questions.AddRecipient: lambda desk, command: answers.Recipients(
        (desk.add_recipient(command.name, command.key),)
    ),
    questions.ConfirmRecipient: lambda desk, command: answers.Recipients(
        (desk.confirm_recipient(command.name, command.fingerprint),)
    ),
    questions.RemoveRecipient: lambda desk, command: answers.Recipients(
        (desk.remove_recipient(command.name),)
    ),
    questions.Reset: lambda desk, _: desk.reset(),
    questions.ListSubscribers: lambda desk, _: desk.subscribers(),
    questions.Forget: lambda desk, command: desk.forget(command),
    questions.LookAtClock: lambda desk, command: desk.clock(command),
    questions.Status: lambda desk, _: desk.status(),
    questions.GetPolicy: lambda desk, _: desk.policy(),
    questions.Explain: lambda desk, command: desk.explain(command.recording),
    questions.Guest: lambda desk, command: desk.guest(command),
    questions.RestorePolicy: lambda desk, _: desk.restore_policy(),
    questions.Mute: lambda desk, _: desk.mute(),
    questions.Unmute: lambda desk, _: desk.unmute(),
    questions.DebugCapture: lambda desk, command: desk.debug_capture(command),
}


def _export(connection: Connection, service: Service, chosen: Chosen) -> None:
    """Send an export as it is made; an error in the middle takes the place of the next part."""
    recipient = chosen.recipient
    connection.send(
        answers.ExportBegins(len(chosen.rows), chosen.most_bytes, recipient.name, recipient.fingerprint)
    )
    export = Export(service, chosen)
    connection.sock.settimeout(PATIENCE_S)
    try:
        export.write(lambda data: connection.send(answers.ExportPart(export.opened), data))
    finally:
        connection.sock.settimeout(None)
    connection.send(answers.ExportEnds(tuple(row.recording for row in chosen.rows), export.size_bytes))


def _stream(connection: Connection, service: Service) -> None:
    with service.watchers.watch(connection) as watcher:
        if connection.stage != WATCHING:
            # The status first: so that whoever watches knows that the watch has begun.
            connection.send(Desk(service).status())
            connection.stage = WATCHING
        connection.rest()
        while not connection.is_closed():
            watcher.wait(_PULSE_S)
            with connection.busy:
                for happening in watcher.take():
                    connection.send(happening)
