"""An export: recordings opened one by one, and encrypted to a recipient before they leave.

One age file, whose content is the tar of `bundle.py`. It is made while it is sent:
age asks for the next bytes, the next recording is opened for them, what age returns
goes to whoever asked. So nothing in clear leaves this process, nothing touches a
disk, and one recording at a time stands in memory.

Every opening is in the ledger before its first byte leaves, one entry for a recording.
The service's lock is held while a recording is opened, and not while the other side
takes its time: erasing never waits for a reader. What was chosen and is erased, or
comes to its end, before the last byte is refused, and with it the export as a whole:
an age file without its last chunk does not open to its end.

Source: the age specification, "Payload" (C2SP/age.md); pyrage, `encrypt_io`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fadeout_device import __version__
from fadeout_device.errors import FadeoutError, UsageError
from fadeout_device.policy import KINDS
from fadeout_device.vault.errors import KeyErasedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fadeout_device.answers import RecordingRow
    from fadeout_device.vault.bundle import OpenRecording
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.recipients import Recipient
    from fadeout_device.vault.service import Service

MOST_RECORDINGS = 500
"""Two days of a busy home. Whoever wants everything has to ask again, and again."""
MOST_BYTES = 256 * 1024 * 1024
"""As sealed, padding included: so that an export is over within the minute for which the
vault waits, after an erasure, before it sends away whoever is in the middle of something."""
PATIENCE_S = 30.0
"""A reader that takes nothing for so long is sent away: what was opened for it stands in memory."""


class ExportError(FadeoutError):
    """The export was broken off; what there is of it does not open to its end."""

    exit_code = os.EX_NOINPUT


class Chosen:
    """What one export is to hold."""

    def __init__(self, recipient: Recipient, items: Sequence[Item], rows: Sequence[RecordingRow]) -> None:
        """Take the items that were named; nothing is opened yet.

        Raises:
            UsageError: nothing is held of what was named, or more than one export may hold.
        """
        size_bytes = sum(item.size_bytes for item in items)
        if not rows:
            raise UsageError("nothing to export", "fadeout list shows what is held")
        hint = "export fewer at a time: by their ids, --last or --since"
        if len(rows) > MOST_RECORDINGS:
            raise UsageError(f"{len(rows)} recordings; one export holds at most {MOST_RECORDINGS}", hint)
        if size_bytes > MOST_BYTES:
            mib = 1024 * 1024
            raise UsageError(
                f"{-(-size_bytes // mib)} MiB; one export holds at most {MOST_BYTES // mib} MiB", hint
            )
        self.recipient = recipient
        self.rows = rows
        self.most_bytes = 3 * size_bytes + 1024 * 1024
        """More than the age file can have: what surrounds an item is less than its 16 KiB of padding."""
        self.items: dict[str, list[Item]] = {}
        for item in items:
            self.items.setdefault(item.recording, []).append(item)


class Export:
    """One export on its way out."""

    def __init__(self, service: Service, chosen: Chosen) -> None:
        self._service = service
        self._chosen = chosen
        self.opened = 0
        """So many recordings were opened for it."""
        self.size_bytes = 0
        """So long the age file is until now."""

    def write(self, put: Callable[[bytes], None]) -> None:
        """Open, pack and encrypt; `put` is given the age file, a piece of at most about 64 KiB at a time.

        Raises:
            ExportError: something of it was erased, or has come to its end, meanwhile; or age refuses.
            FormatError, AuthenticationError, StorageError: a file of it was changed or cannot be read.
            Whatever `put` raises.
        """
        # Late, here and in `_pieces`: the vault is small when it exports nothing.
        import pyrage  # noqa: PLC0415

        def count(data: bytes) -> None:
            put(data)
            self.size_bytes += len(data)

        source, sink = _Source(self._pieces()), _Sink(count)
        try:
            recipient = pyrage.x25519.Recipient.from_str(self._chosen.recipient.key)
            pyrage.encrypt_io(source, sink, [recipient])
        except (pyrage.EncryptError, pyrage.RecipientError) as err:
            # age's own words may quote ours: only the kind of failure is passed on.
            failure = source.failure or sink.failure
            if failure is not None:
                raise failure from None
            raise ExportError(f"age cannot encrypt to {self._chosen.recipient.name}") from err
        finally:
            # What was opened stood in this process's memory.
            self._service.renew()

    def _pieces(self) -> Iterator[bytes]:
        from fadeout_device.vault.bundle import About, Bundle  # noqa: PLC0415

        recipient, service = self._chosen.recipient, self._service
        about = About(__version__, service.clock.now(), recipient.name, recipient.fingerprint,
                      service.store.policy.hash)  # fmt: skip
        bundle = Bundle(about)
        for row in self._chosen.rows:
            yield from bundle.add(self._open(row))
            self.opened += 1
        yield from bundle.end()
        self._refuse_what_has_gone()

    def _open(self, row: RecordingRow) -> OpenRecording:
        from fadeout_device.vault.bundle import OpenRecording  # noqa: PLC0415

        store = self._service.store
        chosen = sorted(self._chosen.items[row.recording], key=lambda item: KINDS.index(item.item_class.kind))
        with self._service.lock:
            # As they stand now: what was chosen may have been erased since.
            now = {item.id: item for item in store.index.live_of(row.recording)}
            if not all(item.id in now for item in chosen):
                raise _gone()
            try:
                return OpenRecording(row, *store.recording([now[item.id] for item in chosen], "export"))
            except KeyErasedError as err:
                raise _gone() from err

    def _refuse_what_has_gone(self) -> None:
        with self._service.lock:
            store, view = self._service.store, self._service.store.timekeeper.view()
            live = {item.id for item in store.index.live() if view.remaining_s(item) > 0}
        if not all(item.id in live for items in self._chosen.items.values() for item in items):
            raise _gone()


def _gone() -> ExportError:
    return ExportError(
        "the export was broken off: a recording of it was erased meanwhile, or its time is over",
        "export again: what is gone is not chosen any more",
    )


class _Source:
    """What age reads from. Keeps what went wrong: age turns every error into one of its own."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.failure: BaseException | None = None

    def read(self, size_bytes: int) -> bytes:
        """Return at most so many of the next bytes; nothing when there are no more."""
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except BaseException as err:
            self.failure = err
            raise
        taken, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        return bytes(taken)


class _Sink:
    """What age writes to; keeps what went wrong, as `_Source` does."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self.failure: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Pass the next bytes on."""
        try:
            self._put(data)
        except BaseException as err:
            self.failure = err
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""
