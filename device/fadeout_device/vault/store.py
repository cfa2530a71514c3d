"""Sealing and opening: the keyring, the index and the sealed files kept in step.

One object, one lock held by its caller, no threads and no sockets. Two orders must
hold, and stand here; that of erasing stands in `erasure.py`:

- sealing: the leaf is taken and committed, then the file is synced, then the row
  becomes `live` together with its report. A crash in between leaves a row that is
  not live: it is erased at the next start, leaf and all.
- opening: refused for every row that is not live and for every end date that has come.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_device.errors import FadeoutError, StorageError
from fadeout_device.messages import Kept, WordsOf
from fadeout_device.policy import ItemClass, Period
from fadeout_device.vault import container
from fadeout_device.vault.due import end_date
from fadeout_device.vault.durable import next_step, reason, storage_errors
from fadeout_device.vault.enforced import Enforced
from fadeout_device.vault.erasure import Eraser, Parts
from fadeout_device.vault.errors import FormatError, KeyErasedError, NoSuchRecordingError, SealError
from fadeout_device.vault.index import Index, IndexFullError, Item
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.ledger_book import LedgerBook
from fadeout_device.vault.outbox import Outbox
from fadeout_device.vault.recovery import reconcile
from fadeout_device.vault.reserve import Reserve
from fadeout_device.vault.sealed_files import Sealed, SealedFiles
from fadeout_device.vault.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from fadeout_device.messages import Kind, Outcome, Purpose, Reported, Utterance, Visitor
    from fadeout_device.policy import Policy
    from fadeout_device.vault.clock import Clock
    from fadeout_device.vault.index import Mark
    from fadeout_device.vault.roots import RootStore

_RULE: Mark = ""
_DEBUG: Mark = "debug"
_CANARY: Mark = "canary"
_CANARY_BYTES = 1024
_DELIVERY_GRID_S = 3600
"""Deliveries are remembered to the hour: the index need not tell when somebody spoke."""


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an envelope says besides its content. The only place where these are stored."""

    captured_at_s: float
    wake_word: str
    score: float
    duration_s: float
    speech_s: float
    action: str
    part: WordsOf = ""
    """Whose words these are; of other items, and of words from before that was told apart, empty."""


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

    # ---- sealing

    def seal(
        self,
        utterance: Utterance,
        audio: bytes,
        words: bytes = b"",
        debug_s: int | None = None,
        *,
        is_action_only: bool = False,
    ) -> tuple[str, tuple[Kept, ...]]:
        """Seal what the policy keeps of an utterance; returns its recording id and the items, durable.

        An utterance delivered before is not sealed again: what is left of it is returned.

        Args:
            utterance: from the ear; bounded by its type.
            audio: 16 kHz mono s16le.
            words: of the request, in UTF-8; empty: they are not known, and no item is made of them.
            debug_s: how long what has no rule is kept; None: not at all.
            is_action_only: seal nothing but the action now.

        Raises:
            SealError: nothing of it is stored.
        """
        known = self.index.delivered(utterance.delivery)
        if known is not None:
            return known, _kept(self.index.live_of(known))
        recording = secrets.token_hex(8)
        audible: dict[Kind, bytes] = {"audio": audio, **({"words": words} if words else {})}
        contents: dict[Kind, bytes] = {**({} if is_action_only else audible), "action": b""}

        def remember(items: Sequence[Item]) -> None:
            if items:
                at_s = int(self._clock.proven()) // _DELIVERY_GRID_S * _DELIVERY_GRID_S
                self.index.add_delivery(utterance.delivery, recording, at_s)
            for item in items:
                if item.item_class.kind == "action":
                    self.outbox.add_action(item)

        bodies = self._bodies(utterance, contents)
        items = self._seal(recording, utterance, bodies, debug_s, remember)
        return recording if items else "", _kept(items)

    def add(  # noqa: PLR0913 - what there is to say of it
        self,
        recording: str,
        utterance: Utterance,
        contents: Mapping[Kind, bytes],
        *,
        debug_s: int | None = None,
        words_of: WordsOf = "request",
        reported: Reported = "",
    ) -> tuple[Kept, ...]:
        """Seal more of a recording, as `seal`; returns the items, durable.

        Args:
            recording: it has an item already.
            utterance: its age is that of now, and its outcome the one that says what is kept.
            contents: what to keep, where the policy does.
            debug_s: as of `seal`.
            words_of: whose words they are.
            reported: how somebody has said that its action ended.

        Raises:
            SealError: nothing of `contents` is stored.
        """

        def report(_: Sequence[Item]) -> None:
            if reported:
                self.index.report(recording, reported)

        bodies = self._bodies(utterance, contents, words_of)
        return _kept(self._seal(recording, utterance, bodies, debug_s, report))

    def _bodies(
        self, utterance: Utterance, contents: Mapping[Kind, bytes], words_of: WordsOf = "request"
    ) -> dict[Kind, container.Body]:
        self.timekeeper.look()
        metadata = Metadata(
            self._clock.now() - utterance.age_s,
            utterance.wake_word,
            utterance.score,
            utterance.duration_s,
            utterance.speech_s,
            utterance.action,
        )
        encoded = msgspec.json.encode(metadata)
        of_words = msgspec.json.encode(msgspec.structs.replace(metadata, part=words_of))
        return {
            kind: container.Body(of_words if kind == "words" else encoded, content)
            for kind, content in contents.items()
        }

    def _seal(
        self,
        recording: str,
        utterance: Utterance,
        bodies: Mapping[Kind, container.Body],
        debug_s: int | None,
        commit: Callable[[Sequence[Item]], None],
    ) -> list[Item]:
        """Seal these; `commit` is called in the transaction in which they become `live`."""
        try:
            proven_at_s = self._clock.proven() - utterance.age_s
            items = self._take_leaves(utterance.outcome, recording, proven_at_s, bodies, debug_s)
        except StorageError as err:
            raise SealError(f"an utterance could not be sealed and was dropped: {err}", err.hint) from err
        try:
            self._write_items(items, bodies)
            with self.index.transaction():
                self.index.set_state([item.id for item in items], "live")
                commit(items)
        except (OSError, StorageError, KeyErasedError) as err:
            # The rows stay `sealing`: the next sweep erases their leaves and files.
            self.files.unlink(items)
            raise SealError(
                f"an utterance could not be sealed and was dropped: {reason(err)}", next_step(err)
            ) from err
        return items

    def _take_leaves(
        self,
        outcome: Outcome,
        recording: str,
        captured_at_s: float,
        bodies: Mapping[Kind, container.Body],
        debug_s: int | None,
    ) -> list[Item]:
        """Commit the intent: which items are to be sealed, under which leaves, until when."""
        items = []
        with self.index.transaction():
            for kind, body in bodies.items():
                item_class = ItemClass(outcome, kind)
                period, mark = self.policy.period(item_class), _RULE
                if period is None and debug_s is not None and kind != "action":
                    # What subscribers are told is no help in finding a fault: nothing is told.
                    period, mark = Period(debug_s), _DEBUG
                if period is None:
                    continue
                item = self._take_leaf(item_class, recording, captured_at_s, period, body, mark)
                items.append(item)
            return self.index.date(items, *self.timekeeper.captured())

    def _take_leaf(  # noqa: PLR0913, PLR0917 - the columns of a row
        self,
        item_class: ItemClass,
        recording: str,
        captured_at_s: float,
        period: Period,
        body: container.Body,
        mark: Mark,
    ) -> Item:
        item = Item(
            id=secrets.token_hex(16),
            recording=recording,
            item_class=item_class,
            leaf=self.index.take_leaf(item_class),
            state="sealing",
            ends_at_s=end_date(captured_at_s, period.seconds, self._sweep_s),
            period_s=period.seconds,
            promised_s=period.seconds,
            ends_on_update=period.ends_on_update,
            size_bytes=container.sealed_size(body),
            mark=mark,
        )
        self.index.add(item)
        return item

    def _write_items(self, items: Sequence[Item], bodies: Mapping[Kind, container.Body]) -> None:
        for item in items:
            self.files.write(item, bodies[item.item_class.kind])
        self.files.sync()

    def plant(self, classes: Sequence[ItemClass], now_s: float) -> list[Item]:
        """Seal a canary in each of these classes, as any item is sealed.

        Raises:
            SealError: none is planted.
        """
        period_s = self.policy.canary_s
        metadata = msgspec.json.encode(Metadata(now_s, "canary", 0.0, 0.0, 0.0, "none"))
        body = container.Body(metadata, os.urandom(_CANARY_BYTES))
        items: list[Item] = []
        try:
            with self.index.transaction():
                items = [
                    self._take_leaf(each, secrets.token_hex(8), now_s, Period(period_s), body, _CANARY)
                    for each in classes
                ]
            for item in items:
                self.files.write(item, body)
            self.files.sync()
            with self.index.transaction():
                self.index.set_state([item.id for item in items], "live")
        except (OSError, StorageError) as err:
            self.files.unlink(items)
            raise SealError(f"canaries could not be sealed: {reason(err)}", next_step(err)) from err
        return items

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


def _kept(items: Iterable[Item]) -> tuple[Kept, ...]:
    return tuple(Kept(item.item_class.kind, item.ends_at_s) for item in items)
