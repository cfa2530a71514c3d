"""Sealing, opening and erasing: the keyring, the index and the sealed files kept in step.

One object, one lock held by its caller, no threads and no sockets. Three orders
must hold, and stand here:

- sealing: the leaf is taken and committed, then the file is synced, then the row
  becomes `live` together with its report. A crash in between leaves a row that is
  not live: it is erased at the next start, leaf and all.
- opening: refused for every row that is not live and for every end date that has come.
- erasing: rows become `erasing`, committed, together with what subscribers must
  forget; then the keyring forgets (`keyring.py`); then files and rows go. Everything
  before the keyring can be repeated; everything after it is tidiness.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
from typing import TYPE_CHECKING

import msgspec

from fadeout_device.errors import FadeoutError, StorageError, UnavailableError
from fadeout_device.messages import Kept
from fadeout_device.policy import CLASSES, ItemClass, Policy
from fadeout_device.vault import container
from fadeout_device.vault.due import end_date, shortened
from fadeout_device.vault.durable import is_full, next_step, reason, storage_errors, sync_folder, write_new
from fadeout_device.vault.errors import (
    EraseError,
    FormatError,
    KeyErasedError,
    NoSuchRecordingError,
    SealError,
)
from fadeout_device.vault.index import Index, IndexFullError, Item
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from fadeout_device.messages import Kind, Outcome, Utterance
    from fadeout_device.vault.clock import Clock
    from fadeout_device.vault.roots import RootStore

log = logging.getLogger(__name__)

_RESERVE_BYTES = 512 * 1024
"""Room for what an erasure writes: a few pages of the index, and the keyring."""
_DELIVERY_GRID_S = 3600
"""Deliveries are remembered to the hour: the index need not tell when somebody spoke."""
_DELIVERY_MEMORY_S = 2 * _DELIVERY_GRID_S
"""The ear gives an utterance up after ten minutes, and no message is older than fifteen."""


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an envelope says besides its content. The only place where these are stored."""

    captured_at_s: float
    wake_word: str
    score: float
    duration_s: float
    speech_s: float
    action: str


class Store:
    """What is held, in one state folder."""

    def __init__(self, folder: Path, roots: RootStore, policy: Policy, sweep_s: int, clock: Clock) -> None:
        """Open a state folder whose lock the caller holds.

        Raises:
            StorageError, KeysLostError: it cannot be used.
        """
        self._items = folder / "items"
        self._reserve = folder / "reserve"
        self.policy = policy
        self._sweep_s = sweep_s
        self._clock = clock
        self.roots = roots
        with storage_errors(folder):
            self._items.mkdir(mode=0o700, exist_ok=True)
            self.keyring = Keyring(folder, roots)
        self.index = Index(folder / "index.db")
        self.outbox = Outbox(self.index)
        self._clock.raise_floor(float(self.index.get_meta("clock_floor_s") or 0))
        with self.index.transaction(), storage_errors(self._items):
            self._reconcile()
            self._obey_shorter_policy()

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    # ---- sealing

    def seal(self, utterance: Utterance, audio: bytes) -> tuple[str, tuple[Kept, ...]]:
        """Seal what the policy keeps of an utterance; returns its recording id and the items, durable.

        An utterance delivered before is not sealed again: what is left of it is returned.

        Args:
            utterance: from the ear; bounded by its type.
            audio: 16 kHz mono s16le.

        Raises:
            SealError: nothing of it is stored.
        """
        known = self.index.delivered(utterance.delivery)
        if known is not None:
            kept = self.index.live_of(known)
            return known, tuple(Kept(item.item_class.kind, item.ends_at_s) for item in kept)
        captured_at_s = self._clock.now() - utterance.age_s
        recording = secrets.token_hex(8)
        metadata = msgspec.json.encode(
            Metadata(
                captured_at_s,
                utterance.wake_word,
                utterance.score,
                utterance.duration_s,
                utterance.speech_s,
                utterance.action,
            )
        )
        bodies: dict[Kind, container.Body] = {
            "audio": container.Body(metadata, audio),
            "action": container.Body(metadata, b""),
        }
        try:
            items = self._take_leaves(utterance.outcome, recording, captured_at_s, bodies)
        except StorageError as err:
            raise SealError(f"an utterance could not be sealed and was dropped: {err}", err.hint) from err
        try:
            self._write_items(items, bodies)
            with self.index.transaction():
                self.index.set_state([item.id for item in items], "live")
                if items:
                    at_s = int(self._clock.now()) // _DELIVERY_GRID_S * _DELIVERY_GRID_S
                    self.index.add_delivery(utterance.delivery, recording, at_s)
                for item in items:
                    if item.item_class.kind == "action":
                        self.outbox.add_action(item)
        except (OSError, StorageError) as err:
            # The rows stay `sealing`: the next sweep erases their leaves and files.
            self._unlink(items)
            raise SealError(
                f"an utterance could not be sealed and was dropped: {reason(err)}", next_step(err)
            ) from err
        return recording if items else "", tuple(Kept(i.item_class.kind, i.ends_at_s) for i in items)

    def _take_leaves(
        self, outcome: Outcome, recording: str, captured_at_s: float, bodies: Mapping[Kind, container.Body]
    ) -> list[Item]:
        """Commit the intent: which items are to be sealed, under which leaves, until when."""
        items = []
        with self.index.transaction():
            for kind, body in bodies.items():
                item_class = ItemClass(outcome, kind)
                period = self.policy.period(item_class)
                if period is None:
                    continue
                item = Item(
                    id=secrets.token_hex(16),
                    recording=recording,
                    item_class=item_class,
                    leaf=self.index.take_leaf(item_class),
                    state="sealing",
                    ends_at_s=end_date(captured_at_s, period.seconds, self._sweep_s),
                    period_s=period.seconds,
                    ends_on_update=period.ends_on_update,
                    size_bytes=container.sealed_size(body),
                )
                self.index.add(item)
                items.append(item)
        return items

    def _write_items(self, items: Sequence[Item], bodies: Mapping[Kind, container.Body]) -> None:
        for item in items:
            header = container.Header(item.item_class.code, item.leaf, os.urandom(container.SALT_BYTES))
            leaf_key = self.keyring.leaf_key(item.item_class, item.leaf)
            write_new(self._items / item.id, container.seal(leaf_key, header, bodies[item.item_class.kind]))
        sync_folder(self._items)

    # ---- opening

    def metadata(self, item: Item) -> Metadata:
        """Open an item's metadata.

        Raises:
            KeyErasedError: it is not live, its end date has come, or its key is gone.
            FormatError, AuthenticationError, StorageError: its file was changed or cannot be read.
        """
        leaf_key, data = self._leaf_key_and_file(item)
        try:
            return msgspec.json.decode(container.open_metadata(leaf_key, data), type=Metadata)
        except msgspec.DecodeError as err:
            raise FormatError(f"item {item.id} has metadata of another version") from err

    def content(self, item: Item) -> bytes:
        """Open an item's content; raises as `metadata`."""
        leaf_key, data = self._leaf_key_and_file(item)
        return container.open_item(leaf_key, data).content

    def event_id(self, item: Item) -> str:
        """Return the id under which an action item is reported; raises as `metadata`."""
        leaf_key, data = self._leaf_key_and_file(item)
        return container.event_id(container.item_key(leaf_key, container.parse_header(data)))

    def _leaf_key_and_file(self, item: Item) -> tuple[bytes, bytes]:
        if item.state != "live" or item.ends_at_s <= self._clock.now():
            raise KeyErasedError
        leaf_key = self.keyring.leaf_key(item.item_class, item.leaf)
        with storage_errors(self._items):
            data = (self._items / item.id).read_bytes()
        header = container.parse_header(data)
        if (header.class_code, header.leaf) != (item.item_class.code, item.leaf):
            raise StorageError(f"the file of item {item.id} is another item's")
        return leaf_key, data

    def find(self, name: str) -> list[Item]:
        """Return the readable items of the recording whose id starts with `name`.

        Raises:
            NoSuchRecordingError: there is none, or more than one.
        """
        now = self._clock.now()
        found = [item for item in self.index.live_of(name) if item.ends_at_s > now]
        recordings = {item.recording for item in found}
        if not recordings or not name:
            raise NoSuchRecordingError(f"no recording {name} is held", "fadeout list shows what is held")
        if len(recordings) > 1:
            raise NoSuchRecordingError(
                f"{len(recordings)} recordings start with {name}", "write more of the id: see fadeout list"
            )
        return found

    def captured_since(self, since_s: float) -> list[Item]:
        """Return every live item of the recordings captured at this time or later.

        An item whose envelope cannot be opened counts: ambiguous erasures erase more, not less.
        """
        recordings = set()
        for item in self.index.live():
            if item.ends_at_s - item.period_s + self._sweep_s < since_s:
                continue  # even without rounding, its capture lies before
            try:
                captured_at_s = self.metadata(item).captured_at_s
            except FadeoutError:
                captured_at_s = since_s
            if captured_at_s >= since_s:
                recordings.add(item.recording)
        return [item for item in self.index.live() if item.recording in recordings]

    # ---- erasing

    def erase(self, items: Iterable[Item], *, withdraw: bool) -> list[Item]:
        """Erase items; on return their keys are gone. Returns those whose keys this call erased.

        Args:
            items: rows of the index, in any state.
            withdraw: whether subscribers are told to forget their events; those that
                end on time are forgotten by everybody without being told.

        Raises:
            EraseError: the keys may still exist. Nothing can be opened any more; the next sweep tries again.
        """
        items = list(items)
        if items:
            self._erase(items, withdraw=withdraw, forget=lambda: self._puncture(items))
        return items

    def erase_everything(self) -> list[Item]:
        """Erase every key there is, used or not; raises as `erase`."""
        items = self.index.items()
        self._erase(items, withdraw=True, forget=self.keyring.erase_everything)
        return items

    def _erase(self, items: Sequence[Item], *, withdraw: bool, forget: Callable[[], None]) -> None:
        withdrawals = self._event_ids(items) if withdraw else []

        def intend_and_forget() -> None:
            with self.index.transaction():
                self.index.set_state([item.id for item in items], "erasing")
                self.outbox.remove_actions(items)
                for item, event_id in withdrawals:
                    self.outbox.add_withdrawal(item, event_id)
            forget()

        try:
            try:
                intend_and_forget()
            except (OSError, IndexFullError) as err:
                if isinstance(err, OSError) and not is_full(err):
                    raise
                # A full disk must not keep keys alive: the reserve and the dead items' own files make room.
                log.warning("disk full while erasing; making room")
                self._reserve.unlink(missing_ok=True)
                self._unlink(items)
                intend_and_forget()
        except (OSError, StorageError) as err:
            raise EraseError(f"{len(items)} items are not erased yet: {reason(err)}", next_step(err)) from err
        self._unlink(items)
        # The keys are gone; should there be no room even for this, the next sweep tidies up.
        with contextlib.suppress(IndexFullError), self.index.transaction():
            self.index.remove([item.id for item in items])

    def erase_due(self) -> list[Item]:
        """Erase what is past its end date, and finish what was cut off. Raises EraseError.

        Also remembers how late it is, so that a clock that goes back later delays nothing.
        """
        now = self._clock.now()
        erased = self.erase(self.index.due(now), withdraw=False)
        try:
            with self.index.transaction():
                self.index.set_meta("clock_floor_s", str(now))
                self.index.forget_deliveries(now - _DELIVERY_MEMORY_S)
                self.outbox.remove_ended(now)
        except IndexFullError as err:
            log.warning("the time of this sweep is not stored: %s", err)
        self._keep_reserve()
        return erased

    def erase_outdated(self, version: str) -> list[Item]:
        """Erase what was kept until the next software version, if this is one. Raises EraseError."""
        if self.index.get_meta("version") == version:
            return []
        erased = self.erase([item for item in self.index.live() if item.ends_on_update], withdraw=True)
        with self.index.transaction():
            self.index.set_meta("version", version)
        return erased

    def overdue(self) -> int:
        """Return how many items should be gone and are not."""
        return self.index.count_due(self._clock.now())

    def _puncture(self, items: Sequence[Item]) -> None:
        self.keyring.erase([(item.item_class, item.leaf) for item in items], self.index.floors())

    def _keep_reserve(self) -> None:
        """Keep some room back, so that erasing works on a disk that is full."""
        if self._reserve.exists():
            return
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)
        except OSError as err:
            self._reserve.unlink(missing_ok=True)
            log.warning("no room is kept back for erasing: %s", reason(err))

    def _event_ids(self, items: Iterable[Item]) -> list[tuple[Item, str]]:
        """Compute what subscribers must forget, while the keys still exist."""
        ids = []
        for item in items:
            if item.item_class.kind == "action" and item.state == "live":
                try:
                    ids.append((item, self.event_id(item)))
                except FadeoutError:
                    # Ended by itself, or its file is gone or broken: no id can be had any
                    # more, and that must not keep its key alive.
                    continue
        return ids

    def _unlink(self, items: Iterable[Item]) -> None:
        for item in items:
            (self._items / item.id).unlink(missing_ok=True)

    def _reconcile(self) -> None:
        """Bring an index that was lost or put back from a copy into line with keys and files.

        A file without a row could never end: its row is made, to be erased by the first
        sweep. A row without a key is one of an item that was erased: it goes too.
        """
        rows = self.index.items()
        known = {item.id for item in rows}
        strays = [path for path in self._items.iterdir() if path.name not in known]
        for path in strays:
            self._adopt(path)
        dead = [i.id for i in rows if i.state == "live" and not self.keyring.is_alive(i.item_class, i.leaf)]
        self.index.set_state(dead, "erasing")
        for item_class in CLASSES:
            self.index.skip_leaves(item_class, self.keyring.next_unused(item_class))
        if strays or dead:
            log.warning("the index is not that of the items: strays=%d erased=%d", len(strays), len(dead))

    def _adopt(self, path: Path) -> None:
        """Make the row of a file that has none, so that it is erased."""
        try:
            header = container.parse_header(path.read_bytes()[: container.HEADER_BYTES])
            item_class = CLASSES[header.class_code - 1]
        except (FormatError, IndexError):
            path.unlink()  # no sealed item: nothing to erase
            return
        self.index.add(Item(path.name, "", item_class, header.leaf, "erasing", 0, 0, False, 0))
        self.index.skip_leaves(item_class, header.leaf + 1)

    def _obey_shorter_policy(self) -> None:
        """Move end dates forward where the policy has become shorter since capture (P2)."""
        for item in self.index.live():
            period = self.policy.period(item.item_class)
            allowed_s = 0 if period is None else period.seconds
            ends_at_s = shortened(item.ends_at_s, item.period_s, allowed_s)
            if ends_at_s < item.ends_at_s:
                self.index.set_end(item.id, ends_at_s)


def lock(folder: Path) -> int:
    """Make a state folder and take its lock for the life of this process; returns the descriptor.

    Raises:
        StorageError: no permission, or not a folder.
        UnavailableError: another fadeout has it.
    """
    with storage_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(descriptor)
        raise UnavailableError(
            f"another fadeout is using the state folder {folder}",
            "stop that one, or choose another folder with --state or FADEOUT_STATE",
        ) from err
    return descriptor
