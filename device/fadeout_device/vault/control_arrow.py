"""The arrow from the `fadeout` command: one command, one answer; or a stream of happenings, or an export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fadeout_device import messages
from fadeout_device.errors import FadeoutError, WireError
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
            command = frame.message(messages.Command)
            if isinstance(command, messages.Watch):
                _stream(connection, service)
                return
            if isinstance(command, messages.Export):
                _export(connection, service, desk.export(command))
                continue
            if isinstance(command, messages.GetLedger):
                for part, lines in desk.ledger(command):
                    connection.send(part, lines)
                continue
            answer, payload = _answer(command, desk)
        except WireError:
            raise
        except FadeoutError as err:
            answer, payload = messages.Failure(str(err), err.hint or "", err.exit_code), b""
        connection.send(answer, payload)


def _answer(command: messages.Command, desk: Desk) -> tuple[messages.Answer, bytes]:
    if isinstance(command, messages.Play):
        return desk.play(command.recording)
    return _ANSWERS[type(command)](desk, command), b""


_ANSWERS: dict[type, Callable[[Desk, Any], messages.Answer]] = {
    messages.ListRecordings: lambda desk, _: desk.recordings(),
    messages.Show: lambda desk, command: desk.show(command.recording),
    messages.Erase: lambda desk, command: desk.erase(command),
    messages.ListRecipients: lambda desk, _: messages.Recipients(desk.recipients()),
    messages.AddRecipient: lambda desk, command: messages.Recipients(
        (desk.add_recipient(command.name, command.key),)
    ),
    messages.ConfirmRecipient: lambda desk, command: messages.Recipients(
        (desk.confirm_recipient(command.name, command.fingerprint),)
    ),
    messages.RemoveRecipient: lambda desk, command: messages.Recipients(
        (desk.remove_recipient(command.name),)
    ),
    messages.Reset: lambda desk, _: desk.reset(),
    messages.LookAtClock: lambda desk, command: desk.clock(command),
    messages.Status: lambda desk, _: desk.status(),
    messages.GetPolicy: lambda desk, _: desk.policy(),
    messages.Explain: lambda desk, command: desk.explain(command.recording),
    messages.Guest: lambda desk, command: desk.guest(command),
    messages.DebugCapture: lambda desk, command: desk.debug_capture(command),
}


def _export(connection: Connection, service: Service, chosen: Chosen) -> None:
    """Send an export as it is made; an error in the middle takes the place of the next part."""
    recipient = chosen.recipient
    connection.send(
        messages.ExportBegins(len(chosen.rows), chosen.most_bytes, recipient.name, recipient.fingerprint)
    )
    export = Export(service, chosen)
    connection.sock.settimeout(PATIENCE_S)
    try:
        export.write(lambda data: connection.send(messages.ExportPart(export.opened), data))
    finally:
        connection.sock.settimeout(None)
    connection.send(messages.ExportEnds(tuple(row.recording for row in chosen.rows), export.size_bytes))


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
