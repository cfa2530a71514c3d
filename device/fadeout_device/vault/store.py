"""Sealing and opening: the keyring, the index and the sealed files kept in step.

One object, one lock held by its caller, no threads and no sockets. The order of sealing stands
in `sealing.py`, that of erasing in `erasure.py`. Opening, which stands here, is refused for
every row that is not live and for every end date that has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_device.errors import FadeoutError
from fadeout_device.vault import container
from fadeout_device.vault.durable import storage_errors
from fadeout_device.vault.enforced import Enforced
from fadeout_device.vault.erasure import Eraser, Parts
from fadeout_device.vault.errors import FormatError, KeyErasedError, NoSuchRecordingError
from fadeout_device.vault.index import Index, IndexFullError, Item
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.ledger_book import LedgerBook
from fadeout_device.vault.outbox import Outbox
from fadeout_device.vault.recovery import reconcile
from fadeout_device.vault.reserve import Reserve
from fadeout_device.vault.sealed_files import Sealed, SealedFiles
from fadeout_device.vault.sealing import Metadata, Sealer
from fadeout_device.vault.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fadeout_device.messages import Purpose, Visitor, WordsOf
    from fadeout_device.policy import Policy
    from fadeout_device.vault.clock import Clock
    from fadeout_device.vault.roots import RootStore


class Content(NamedTuple):
    """What is in one item."""

    item: Item
    part: WordsOf
    data: bytes

    def __repr__(self) -> str:
        """Say only which: the rest is speech."""
        return f"Content({self.item.id})"


class Store:
    """What is held, in one state folder."""

    def __init__(  # noqa: PLR0913 - what a store is made of
        self,
        folder: Path,
        roots: RootStore,
        policy: Policy,
        sweep_s: int,
        clock: Clock,
        *,
        is_settled: bool = False,
    ) -> None:
        """Open a state folder whose lock the caller holds; `is_settled` is `Keyring`'s.

        Raises:
            StorageError, KeysLostError: it cannot be used.
        """
        self.on_opening: Callable[[Purpose], None] = lambda _: None
        """Called before anything is opened: the light goes on (P8)."""
        self._sweep_s = sweep_s
        self._clock = clock
        self.roots = roots
        with storage_errors(folder):
            self.keyring = Keyring(folder, roots, is_settled=is_settled)
            self.files = SealedFiles(folder / "items", self.keyring)
        self.index = Index(folder / "index.db")
        self.outbox = Outbox(self.index)
        self._reserve = Reserve(folder / "reserve")
        self.enforced = Enforced(self.index, policy, self._reserve)
        self.ledger = LedgerBook(self.index, self.keyring.signing_seed, policy.ledger_s)
        parts = Parts(self.keyring, self.index, self.outbox, self.files, self._reserve, self.ledger)
        self.timekeeper = Timekeeper(self.index, clock)
        self.eraser = Eraser(parts, self.timekeeper)
        sealer = Sealer(self.index, self.files, self.outbox, self.enforced, self.timekeeper, clock, sweep_s)
        self.seal, self.add, self.plant = sealer.seal, sealer.add, sealer.plant
        with self.index.transaction(), storage_errors(self.files.folder):
            is_in_step = reconcile(self.index, self.keyring, self.files)
            self.outbox.begin(is_in_step=is_in_step)
            self.ledger.begin(clock.proven())
            self.enforced.obey()
        self.timekeeper.look()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.enforced.policy

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    # ---- another owner

    def forget_owner(self, version: str) -> None:
        """Empty the index, after a panic: no row, no name of the device, no trace of who was told what.

        Raises:
            StorageError: it cannot be written.
        """
        self.index.clear()
        with self.index.transaction():
            self.index.set_meta("version", version)
            self.timekeeper.note()
            reconcile(self.index, self.keyring, self.files)
            self.outbox.begin(is_in_step=False)
            self.ledger.begin(self._clock.proven())

    # ---- opening

    def metadata(self, item: Item, purpose: Purpose = "show", by: Visitor = "person") -> Metadata:
        """Open an item's metadata.

        Raises:
            KeyErasedError: it is not live, its end date has come, or its key is gone.
            TimeError: whether that has come is not certain.
            FormatError, AuthenticationError, StorageError: its file was changed or cannot be read, or
                the ledger cannot be written: then nothing is opened.
        """
        return self._metadata(item, self._open([item], purpose, by)[0])

    def metadata_of(
        self, items: Sequence[Item], purpose: Purpose = "show", by: Visitor = "person"
    ) -> list[Metadata]:
        """Open the metadata of several items of a recording; raises as `metadata`."""
        opened = self._open(items, purpose, by)
        return [self._metadata(item, sealed) for item, sealed in zip(items, opened, strict=True)]

    def content(self, item: Item, purpose: Purpose = "play", by: Visitor = "person") -> bytes:
        """Open an item's content; raises as `metadata`."""
        return self.whole(item, purpose, by)[1]

    def whole(self, item: Item, purpose: Purpose = "play", by: Visitor = "person") -> tuple[Metadata, bytes]:
        """Open an item's metadata and content; raises as `metadata`."""
        (sealed,) = self._open([item], purpose, by)
        return self._metadata(item, sealed), container.open_item(*sealed).content

    def recording(
        self, items: Sequence[Item], purpose: Purpose, by: Visitor = "person"
    ) -> tuple[Metadata, list[Content]]:
        """Open a recording's items together, and the metadata that they share; raises as `metadata`."""
        opened = list(zip(items, self._open(items, purpose, by), strict=True))
        contents = [
            Content(item, self._metadata(item, sealed).part, container.open_item(*sealed).content)
            for item, sealed in opened
        ]
        return self._metadata(*opened[0]), contents

    def _open(self, items: Sequence[Item], purpose: Purpose, by: Visitor) -> list[Sealed]:
        """Let items be opened, and write so before their first byte is handed over (P8). The only gate."""
        for item in items:
            self._refuse_what_may_not_be_opened(item)
        sealed = [self.files.read(item) for item in items]
        self._note_opening(items, purpose, by)
        return sealed

    def _note_opening(self, items: Sequence[Item], purpose: Purpose, by: Visitor) -> None:
        def note() -> None:
            with self.index.transaction():
                self.ledger.opened(by, purpose, items, self._clock.proven())
                if purpose == "event":
                    for item in items:
                        self.outbox.hand_over(item)

        self.on_opening(purpose)
        try:
            note()
        except IndexFullError:
            # A full disk must not keep people from what is theirs; without the entry it would.
            self._reserve.give_up()
            note()

    @staticmethod
    def _metadata(item: Item, sealed: Sealed) -> Metadata:
        try:
            return msgspec.json.decode(container.open_metadata(*sealed), type=Metadata)
        except msgspec.DecodeError as err:
            raise FormatError(f"item {item.id} has metadata of another version") from err

    def event_id(self, item: Item) -> str:
        """Return the id under which an action item is reported; raises as `metadata`."""
        self._refuse_what_may_not_be_opened(item)
        return self.files.event_id(item)

    def _refuse_what_may_not_be_opened(self, item: Item) -> None:
        if item.state != "live" or item.ends_at_s <= self._clock.proven():
            raise KeyErasedError
        self.timekeeper.refuse_locked(item)

    def find(self, name: str) -> list[Item]:
        """Return the items held of the recording whose id starts with `name`.

        Raises:
            NoSuchRecordingError: there is none, or more than one.
        """
        proven_s = self._clock.proven()
        found = [item for item in self.index.live_of(name) if item.ends_at_s > proven_s]
        recordings = {item.recording for item in found}
        if not recordings or not name:
            raise NoSuchRecordingError(f"no recording {name} is held", "fadeout list shows what is held")
        if len(recordings) > 1:
            raise NoSuchRecordingError(
                f"{len(recordings)} recordings start with {name}", "write more of the id: see fadeout list"
            )
        return found

    def captured_since(self, since_s: float, purpose: Purpose = "erase_since") -> list[Item]:
        """Return every live item of the recordings captured at this time or later; opens their envelopes.

        The time is proven time. An item whose envelope cannot be opened, or was captured by a clock
        that has been put right since, counts: ambiguous erasures erase more, not less.
        """
        # Of the others, even without rounding, the capture lies before.
        candidates = [
            item for item in self.index.live() if item.ends_at_s - item.period_s + self._sweep_s >= since_s
        ]
        if candidates:
            self._note_opening(candidates, purpose, "person")
        recordings = set()
        for item in candidates:
            try:
                captured_at_s = self._metadata(item, self.files.read(item)).captured_at_s
            except FadeoutError:
                captured_at_s = since_s
            earliest_s = item.ends_at_s - item.period_s
            if not earliest_s - 1 <= captured_at_s <= earliest_s + self._sweep_s + 1:
                # Captured by a clock that was wrong then, or has been put right since.
                captured_at_s = since_s
            if captured_at_s >= since_s:
                recordings.add(item.recording)
        return [item for item in self.index.live() if item.recording in recordings]
