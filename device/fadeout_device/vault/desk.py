"""The desk: what people at the device ask for by the `fadeout` command, and what they get.

Lists without opening anything, opens one recording, and names what is to be erased. All
of it under the service's lock.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from fadeout_device.answers import (
    Erased,
    ItemRow,
    LedgerReport,
    Opened,
    PolicyReport,
    RecipientRow,
    RecordingRow,
    Recordings,
)
from fadeout_device.errors import UsageError
from fadeout_device.policy import KINDS
from fadeout_device.vault import ratchet, reporting, status, switches
from fadeout_device.vault.caps import name
from fadeout_device.vault.errors import NoSuchRecordingError
from fadeout_device.vault.explain import explain
from fadeout_device.vault.export import Chosen
from fadeout_device.vault.recipients import Recipients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fadeout_device.answers import (
        ClockReport,
        Departed,
        Explanation,
        Modes,
        Muting,
        StatusReport,
        Subscribers,
    )
    from fadeout_device.messages import Purpose, WordsOf
    from fadeout_device.questions import (
        DebugCapture,
        Erase,
        Export,
        Forget,
        GetLedger,
        Guest,
        LookAtClock,
        Naming,
    )
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.ledger import Signed
    from fadeout_device.vault.recipients import Recipient
    from fadeout_device.vault.sealing import Metadata
    from fadeout_device.vault.service import Service


class Desk:
    """Answers one question at a time. Thread-safe."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def recordings(self) -> Recordings:
        """Return what is held, newest first, without opening anything."""
        with self._service.lock:
            store, view = self._service.store, self._service.store.timekeeper.view()
            rows = _rows(item for item in store.index.live() if view.remaining_s(item) > 0)
            return Recordings(tuple(reversed(rows)))

    def show(self, name: str) -> Opened:
        """Open the metadata of a recording; raises as `Store.find` and `Store.metadata`."""
        with self._service.lock:
            items = self._service.store.find(name)
            words = [item for item in items[1:] if item.item_class.kind == "words"]
            first, *of_words = self._service.store.metadata_of([items[0], *words])
            parts = {item.id: read.part for item, read in zip(words, of_words, strict=True)}
            parts[items[0].id] = first.part
            return _opened(_rows(items, parts)[0], first)

    def play(self, name: str) -> tuple[Opened, bytes]:
        """Open the audio of a recording.

        Raises:
            NoSuchRecordingError: no such recording, or its audio is not kept.
        """
        with self._service.lock:
            audio = [item for item in self._service.store.find(name) if item.item_class.kind == "audio"]
            if not audio:
                raise NoSuchRecordingError(
                    f"no audio of recording {name} is held", "fadeout list shows what is kept of it"
                )
            metadata, content = self._service.store.whole(audio[0])
            row = _rows(self._service.store.find(name))[0]
            return _opened(row, metadata), content

    def ledger(self, command: GetLedger) -> Iterator[tuple[LedgerReport, bytes]]:
        """Yield the ledger as lines of JSON, in parts: docs/format.md, "Export of the ledger"."""
        book = self._service.store.ledger
        with self._service.lock:
            payload = _ledger_line("head", book.head(self._service.clock.proven(), command.nonce))
            last, sent = book.last_seq(), book.first_seq() - 1
            count, public_key = last - sent, book.public_key
        while sent < last:
            # Nobody waits for a slow reader: the lock is let go between two parts.
            with self._service.lock:
                entries = book.entries(sent, min(_LEDGER_PART, last - sent))
            if not entries:
                break
            sent += len(entries)
            payload += b"".join([_ledger_line("body", entry) for entry in entries])
            yield LedgerReport(count, public_key, sent >= last), payload
            payload = b""

    def erase(self, command: Erase) -> Erased:
        """Erase what the command names; the answer comes after the deletion point.

        Raises:
            UsageError: it names nothing, or in more than one way.
            NoSuchRecordingError: nothing of that name is held.
            EraseError: the keys may still exist; it will be tried again.
        """
        _refuse_two_ways(command, "erase")
        if command.now and not command.everything:
            raise UsageError("--now erases everything, so it needs --all", "fadeout erase --all --now")
        with self._service.lock:
            ledger = self._service.store.ledger
            before = ledger.last_seq()
            if command.now:
                answer = self._erased_at_once(self._service.panic)
            elif command.everything:
                held = _rows(self._service.store.index.live())
                erased = self._service.erase_everything()
                count = sum(not item.is_canary for item in erased)
                answer = Erased(tuple(row.recording for row in held), count)
            else:
                items = self._named(command, "erase_since")
                self._service.erase_items(items)
                answer = Erased(tuple(row.recording for row in _rows(items)), len(items))
            return msgspec.structs.replace(answer, receipts=ledger.receipts_after(before))

    def reset(self) -> Erased:
        """Make the device as new: every key erased at once, then everything that was ever stored.

        Raises:
            EraseError: as `erase`.
        """
        notes: list[str] = []
        with self._service.lock:
            answer = self._erased_at_once(
                lambda: self._service.reset(lambda: notes.append(reporting.leave_for_good(self._service)))
            )
            return msgspec.structs.replace(answer, note="".join(notes))

    def _erased_at_once(self, erase: Callable[[], str]) -> Erased:
        held = _rows(self._service.store.index.live())
        count = sum(not item.is_canary for item in self._service.store.index.items())
        left = erase()
        return Erased(tuple(row.recording for row in held), count, left)

    def export(self, command: Export) -> Chosen:
        """Choose what an export is to hold; opens no recording's content, and writes nothing.

        Raises:
            RecipientError: it may not be exported to. Asked first of all.
            UsageError: it names nothing, in more than one way, or too much.
            NoSuchRecordingError: nothing of that name is held.
        """
        with self._service.lock:
            recipient = self._recipients().confirmed(command.to)
            _refuse_two_ways(command, "export")
            named = self._service.store.index.live() if command.everything else self._named(command, "export")
            view = self._service.store.timekeeper.view()
            items = [item for item in named if view.remaining_s(item) > 0]
            return Chosen(recipient, items, _rows(items))

    # ---- who may be exported to

    def recipients(self) -> tuple[RecipientRow, ...]:
        """Return everybody who is enrolled."""
        with self._service.lock:
            return tuple(_recipient_row(recipient) for recipient in self._recipients().all())

    def add_recipient(self, name: str, key: str) -> RecipientRow:
        """Enrol somebody, unconfirmed; raises as `Recipients.add`."""
        with self._service.lock:
            return _recipient_row(self._recipients().add(name, key))

    def confirm_recipient(self, name: str, fingerprint: str) -> RecipientRow:
        """Take note that a person has read the fingerprint; raises as `Recipients.confirm`."""
        with self._service.lock:
            return _recipient_row(self._recipients().confirm(name, fingerprint))

    def remove_recipient(self, name: str) -> RecipientRow:
        """Take somebody off the list; raises as `Recipients.remove`."""
        with self._service.lock:
            return _recipient_row(self._recipients().remove(name))

    def _recipients(self) -> Recipients:
        return Recipients(self._service.store.index)

    def _named(self, command: Naming, purpose: Purpose) -> list[Item]:
        if command.recordings:
            found = {item.id: item for name in command.recordings for item in self._service.store.find(name)}
            return list(found.values())
        if command.since_s is not None:
            return self._service.store.captured_since(self._service.clock.proven() - command.since_s, purpose)
        newest = [row.recording for row in self.recordings().recordings[: command.last]]
        return [item for item in self._service.store.index.live() if item.recording in newest]

    def subscribers(self) -> Subscribers:
        """Return who has acknowledged which erasures."""
        return reporting.subscribers(self._service)

    def forget(self, command: Forget) -> Departed:
        """Leave the broker, or come back; raises as `reporting.forget`."""
        return reporting.forget(self._service, command)

    def policy(self) -> PolicyReport:
        """Return the policy that is being enforced."""
        with self._service.lock:
            enforced = self._service.store.enforced
            return PolicyReport(
                msgspec.json.decode(enforced.policy.document),
                enforced.policy.hash,
                {
                    name(each): configured.seconds
                    for each, configured in enforced.configured.periods.items()
                    if configured.seconds > enforced.caps.of(each)
                },
            )

    def restore_policy(self) -> PolicyReport:
        """Let what is captured from now on live as configured; raises as `ratchet.restore_policy`."""
        with self._service.lock:
            ratchet.restore_policy(self._service)
            return self.policy()

    def explain(self, name: str) -> Explanation:
        """Explain why a recording is still here."""
        return explain(self._service, name)

    def guest(self, command: Guest) -> Modes:
        """Begin or end guest mode."""
        return switches.guest(self._service, command)

    def debug_capture(self, command: DebugCapture) -> Modes:
        """Begin or end debug capture."""
        return switches.debug_capture(self._service, command)

    def mute(self) -> Muting:
        """Mute the microphone."""
        return switches.mute(self._service)

    def unmute(self) -> Muting:
        """Let the microphone open again."""
        return switches.unmute(self._service)

    def clock(self, command: LookAtClock) -> ClockReport:
        """Say what time it is believed to be, and why; believe the wall clock, if somebody says so.

        Raises:
            StorageError: that cannot be stored, and is not believed.
        """
        with self._service.lock:
            if command.confirm:
                self._service.confirm_clock()
            else:
                self._service.look_at_clock()
            return self._service.store.timekeeper.report()

    def status(self) -> StatusReport:
        """Return how the vault is."""
        with self._service.lock:
            return status.report(self._service)


_LEDGER_PART = 1000
"""Entries in one part of the ledger: each is at most some 2.5 KB, and a payload at most 4 MiB."""


def _ledger_line(name: str, signed: Signed) -> bytes:
    return msgspec.json.encode({name: signed.body.decode(), "signature": signed.signature.hex()}) + b"\n"


def _refuse_two_ways(command: Naming, verb: str) -> None:
    ways = [bool(command.recordings), command.last is not None, command.since_s is not None]
    if sum(ways) + command.everything != 1:
        raise UsageError(
            f"name what to {verb} in one way: ids, --last, --since or --all",
            f"fadeout list shows the ids; --last 1 is the newest: fadeout {verb} --last 1",
        )


def _recipient_row(recipient: Recipient) -> RecipientRow:
    return RecipientRow(recipient.name, recipient.key, recipient.fingerprint, recipient.is_confirmed)


def _opened(row: RecordingRow, metadata: Metadata) -> Opened:
    return Opened(
        row, metadata.captured_at_s, metadata.wake_word, metadata.score, metadata.duration_s,
        metadata.speech_s, metadata.action,
    )  # fmt: skip


_NO_PARTS: Mapping[str, WordsOf] = MappingProxyType({})


def _rows(items: Iterable[Item], parts: Mapping[str, WordsOf] = _NO_PARTS) -> list[RecordingRow]:
    """Group items by recording, in the order of capture; `parts` says of some whose words they are."""
    grouped: dict[str, list[Item]] = {}
    for item in items:
        grouped.setdefault(item.recording, []).append(item)
    rows = []
    for recording, held in grouped.items():
        held.sort(key=lambda item: KINDS.index(item.item_class.kind))
        rows.append(
            RecordingRow(
                recording,
                held[0].item_class.outcome,
                tuple(
                    ItemRow(
                        each.item_class.kind,
                        each.ends_at_s,
                        each.size_bytes,
                        each.ends_on_update,
                        parts.get(each.id, ""),
                    )
                    for each in held
                ),
                held[0].reported,
            )
        )
    return rows
