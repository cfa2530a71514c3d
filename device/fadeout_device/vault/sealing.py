"""Sealing: what the policy keeps of an utterance, and the canaries; each item under a leaf of its own.

The order: the leaf is taken and committed, then the file is synced, then the row becomes
`live` together with its report. A crash in between leaves a row that is not live: it is
erased at the next start, leaf and all.

Part of `store.py`, whose lock its caller holds; it opens nothing.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import msgspec

from fadeout_device.errors import StorageError
from fadeout_device.messages import Kept, WordsOf
from fadeout_device.policy import ItemClass, Period
from fadeout_device.vault import container
from fadeout_device.vault.due import end_date
from fadeout_device.vault.durable import next_step, reason
from fadeout_device.vault.errors import KeyErasedError, SealError
from fadeout_device.vault.index import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fadeout_device.messages import Kind, Outcome, Reported, Utterance
    from fadeout_device.vault.clock import Clock
    from fadeout_device.vault.enforced import Enforced
    from fadeout_device.vault.index import Index, Mark
    from fadeout_device.vault.outbox import Outbox
    from fadeout_device.vault.sealed_files import SealedFiles
    from fadeout_device.vault.timekeeper import Timekeeper

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


class Sealer:
    """Seals items of one state folder."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it writes to, and what it asks
        self,
        index: Index,
        files: SealedFiles,
        outbox: Outbox,
        enforced: Enforced,
        timekeeper: Timekeeper,
        clock: Clock,
        sweep_s: int,
    ) -> None:
        self._index = index
        self._files = files
        self._outbox = outbox
        self._enforced = enforced
        self._timekeeper = timekeeper
        self._clock = clock
        self._sweep_s = sweep_s

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
        known = self._index.delivered(utterance.delivery)
        if known is not None:
            return known, _kept(self._index.live_of(known))
        recording = secrets.token_hex(8)
        audible: dict[Kind, bytes] = {"audio": audio, **({"words": words} if words else {})}
        contents: dict[Kind, bytes] = {**({} if is_action_only else audible), "action": b""}

        def remember(items: Sequence[Item]) -> None:
            if items:
                at_s = int(self._clock.proven()) // _DELIVERY_GRID_S * _DELIVERY_GRID_S
                self._index.add_delivery(utterance.delivery, recording, at_s)
            for item in items:
                if item.item_class.kind == "action":
                    self._outbox.add_action(item)

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
                self._index.report(recording, reported)

        bodies = self._bodies(utterance, contents, words_of)
        return _kept(self._seal(recording, utterance, bodies, debug_s, report))

    def _bodies(
        self, utterance: Utterance, contents: Mapping[Kind, bytes], words_of: WordsOf = "request"
    ) -> dict[Kind, container.Body]:
        self._timekeeper.look()
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
            with self._index.transaction():
                self._index.set_state([item.id for item in items], "live")
                commit(items)
        except (OSError, StorageError, KeyErasedError) as err:
            # The rows stay `sealing`: the next sweep erases their leaves and files.
            self._files.unlink(items)
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
        with self._index.transaction():
            for kind, body in bodies.items():
                item_class = ItemClass(outcome, kind)
                period, mark = self._enforced.policy.period(item_class), _RULE
                if period is None and debug_s is not None and kind != "action":
                    # What subscribers are told is no help in finding a fault: nothing is told.
                    period, mark = Period(debug_s), _DEBUG
                if period is None:
                    continue
                item = self._take_leaf(item_class, recording, captured_at_s, period, body, mark)
                items.append(item)
            return self._index.date(items, *self._timekeeper.captured())

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
            leaf=self._index.take_leaf(item_class),
            state="sealing",
            ends_at_s=end_date(captured_at_s, period.seconds, self._sweep_s),
            period_s=period.seconds,
            promised_s=period.seconds,
            ends_on_update=period.ends_on_update,
            size_bytes=container.sealed_size(body),
            mark=mark,
        )
        self._index.add(item)
        return item

    def _write_items(self, items: Sequence[Item], bodies: Mapping[Kind, container.Body]) -> None:
        for item in items:
            self._files.write(item, bodies[item.item_class.kind])
        self._files.sync()

    def plant(self, classes: Sequence[ItemClass], now_s: float) -> list[Item]:
        """Seal a canary in each of these classes, as any item is sealed.

        Raises:
            SealError: none is planted.
        """
        period_s = self._enforced.policy.canary_s
        metadata = msgspec.json.encode(Metadata(now_s, "canary", 0.0, 0.0, 0.0, "none"))
        body = container.Body(metadata, os.urandom(_CANARY_BYTES))
        items: list[Item] = []
        try:
            with self._index.transaction():
                items = [
                    self._take_leaf(each, secrets.token_hex(8), now_s, Period(period_s), body, _CANARY)
                    for each in classes
                ]
            for item in items:
                self._files.write(item, body)
            self._files.sync()
            with self._index.transaction():
                self._index.set_state([item.id for item in items], "live")
        except (OSError, StorageError) as err:
            self._files.unlink(items)
            raise SealError(f"canaries could not be sealed: {reason(err)}", next_step(err)) from err
        return items


def _kept(items: Iterable[Item]) -> tuple[Kept, ...]:
    return tuple(Kept(item.item_class.kind, item.ends_at_s) for item in items)
