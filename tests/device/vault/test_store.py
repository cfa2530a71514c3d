"""Sealing, opening and erasing on a real folder: promises P2, P3, P4."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import utterance
from fadeout_device.errors import StorageError
from fadeout_device.vault import sealed_files
from fadeout_device.vault.errors import (
    AuthenticationError,
    EraseError,
    KeyErasedError,
    NoSuchRecordingError,
    SealError,
)
from fakes import PowerCutError

if TYPE_CHECKING:
    from device.vault.conftest import Rig

AUDIO = b"\x01\x02" * 16000


def _files(rig: Rig) -> set[str]:
    return {path.name for path in (rig.folder / "items").iterdir()}


def test_what_was_sealed_can_be_opened_over_restarts(rig: Rig) -> None:
    recording = rig.seal(AUDIO, action="none", score=0.75)
    audio = rig.restart().find(recording)[0]
    assert rig.store.content(audio) == AUDIO
    metadata = rig.store.metadata(audio)
    assert (metadata.wake_word, metadata.score, metadata.captured_at_s) == (
        "okay_nabu", 0.75, rig.clock.now_s - 2.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "kinds"), [("failed", ["audio", "action"]), ("served", ["action"]), ("false_wake", [])]
)
def test_only_what_the_policy_keeps_is_stored(rig: Rig, outcome: str, kinds: list[str]) -> None:
    recording, kept = rig.store.seal(utterance(outcome=outcome), AUDIO)
    assert [item.kind for item in kept] == kinds
    assert bool(recording) == bool(kinds)
    assert len(_files(rig)) == len(kinds)


def test_an_item_can_be_opened_until_its_end_date_and_not_after(rig: Rig) -> None:
    recording = rig.seal()
    (audio, _action) = rig.store.find(recording)
    rig.clock.now_s = audio.ends_at_s - 0.001
    assert rig.store.content(audio) == AUDIO
    rig.clock.now_s = audio.ends_at_s
    with pytest.raises(KeyErasedError):
        rig.store.content(audio)
    with pytest.raises(NoSuchRecordingError):
        rig.store.find(recording)


def test_the_sweep_erases_what_is_due_and_nothing_else(rig: Rig) -> None:
    first = rig.seal()
    (audio, action) = rig.store.find(first)
    leaf_keys = {item: rig.store.keyring.leaf_key(item.item_class, item.leaf) for item in (audio, action)}
    rig.clock.now_s = action.ends_at_s - 1
    assert rig.store.eraser.erase_due() == []
    rig.clock.now_s = action.ends_at_s
    second = rig.seal()
    assert [item.id for item in rig.store.eraser.erase_due()] == [action.id]
    with pytest.raises(KeyErasedError):
        rig.store.keyring.leaf_key(action.item_class, action.leaf)
    assert rig.store.keyring.leaf_key(audio.item_class, audio.leaf) == leaf_keys[audio]
    assert action.id not in _files(rig)
    assert {item.recording for item in rig.store.index.live()} == {first, second}


def test_a_clock_that_went_back_revives_nothing(rig: Rig) -> None:
    recording = rig.seal()
    (audio, _) = rig.store.find(recording)
    rig.clock.now_s = audio.ends_at_s
    rig.store.eraser.erase_due()
    rig.clock.now_s = 0.0
    rig.restart()
    assert rig.clock.now_s >= audio.ends_at_s, "the stored time is the least there is"
    with pytest.raises(NoSuchRecordingError):
        rig.store.find(recording)


def test_an_utterance_sent_twice_is_sealed_once(rig: Rig) -> None:
    sent = utterance()
    first = rig.store.seal(sent, AUDIO)
    rig.restart()
    assert rig.store.seal(sent, AUDIO) == first
    assert len(_files(rig)) == 2


def test_an_erased_utterance_sent_again_does_not_return(rig: Rig) -> None:
    sent = utterance()
    recording, _ = rig.store.seal(sent, AUDIO)
    rig.store.eraser.erase(rig.store.find(recording))
    assert rig.restart().seal(sent, AUDIO) == (recording, ())
    assert _files(rig) == set()


def test_recordings_are_found_by_the_start_of_their_id(rig: Rig) -> None:
    recordings = [rig.seal() for _ in range(40)]
    assert {i.recording for i in rig.store.find(recordings[0])} == {recordings[0]}
    for wrong in ("", "zz"):
        with pytest.raises(NoSuchRecordingError):
            rig.store.find(wrong)
    with pytest.raises(NoSuchRecordingError, match="recordings start with"):
        # Forty ids share a first digit with another one.
        rig.store.find(next(r[0] for r in recordings if sum(o[0] == r[0] for o in recordings) > 1))


def test_everything_captured_since_a_time_is_found_and_what_cannot_be_read_counts(rig: Rig) -> None:
    start = rig.clock.now_s
    old = rig.seal()
    rig.clock.now_s = start + 3600
    new, broken = rig.seal(), rig.seal()
    for item in rig.store.find(broken):
        (rig.folder / "items" / item.id).write_bytes(b"broken")
    found = {item.recording for item in rig.store.captured_since(start + 1800)}
    assert found == {new, broken}
    assert {item.recording for item in rig.store.captured_since(start - 10)} == {old, new, broken}


def test_a_shorter_policy_applies_at_once_and_a_longer_one_does_not(rig: Rig) -> None:
    recording = rig.seal()
    (audio, _) = rig.store.find(recording)
    rig.restart('[retention.failed]\naudio = { keep = "14d", purpose = "p" }')
    assert rig.store.find(recording)[0].ends_at_s == audio.ends_at_s
    rig.restart('[retention.failed]\naudio = { keep = "1h", purpose = "p" }')
    assert rig.store.find(recording)[0].ends_at_s == audio.ends_at_s - 7 * 86400 + 3600
    rig.restart('[retention.failed]\naudio = { keep = "none" }')
    assert [i.item_class.kind for i in rig.store.find(recording)] == ["action"]
    rig.store.eraser.erase_due()
    assert audio.id not in _files(rig)


def test_a_shorter_policy_shortens_once_however_often_the_vault_starts(rig: Rig) -> None:
    recording = rig.seal()
    (audio, _) = rig.store.find(recording)
    shorter = '[retention.failed]\naudio = { keep = "5d", purpose = "p" }'
    for _ in range(3):
        rig.restart(shorter)
        (found, _) = rig.store.find(recording)
        assert found.ends_at_s == audio.ends_at_s - 2 * 86400
    assert (found.promised_s, found.period_s) == (7 * 86400, 5 * 86400)
    rig.restart("")
    assert rig.store.find(recording)[0].ends_at_s == audio.ends_at_s - 2 * 86400, "never moved later again"


def test_a_shortened_item_is_still_found_by_when_it_was_captured(rig: Rig) -> None:
    recording = rig.seal()
    rig.restart('[retention.failed]\naudio = { keep = "5d", purpose = "p" }\naction = { keep = "none" }')
    assert {item.recording for item in rig.store.captured_since(rig.clock.now_s - 60)} == {recording}


def test_a_longer_policy_is_for_new_items_only(rig: Rig) -> None:
    old = rig.seal()
    (before, _) = rig.store.find(old)
    rig.restart('[retention.failed]\naudio = { keep = "14d", purpose = "p" }')
    new = rig.seal()
    assert rig.store.find(old)[0] == before
    (found, _) = rig.store.find(new)
    assert found.ends_at_s == before.ends_at_s + 7 * 86400
    assert found.promised_s == 14 * 86400


def test_a_new_version_ends_what_was_kept_until_then(rig: Rig) -> None:
    rig.store.eraser.erase_outdated("1")
    recording = rig.seal()
    assert rig.restart().eraser.erase_outdated("1") == []
    assert [i.item_class.kind for i in rig.store.eraser.erase_outdated("2")] == ["audio"]
    assert [i.item_class.kind for i in rig.store.find(recording)] == ["action"]


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["write_new", "sync_folder"])
def test_a_full_disk_while_sealing_leaves_nothing_and_harms_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kept = rig.seal()
    before = _files(rig)
    with monkeypatch.context() as broken:
        broken.setattr(sealed_files, name, _no_space)
        with pytest.raises(SealError, match="no space left") as caught:
            rig.seal()
    assert caught.value.hint == "free some space on the disk; erasing goes on by itself"
    assert _files(rig) == before
    assert rig.store.content(rig.store.find(kept)[0]) == AUDIO
    assert {i.state for i in rig.store.eraser.erase_due()} == {"sealing"}, "the taken leaves are erased"
    assert rig.restart().find(kept)


def test_a_sealing_cut_off_is_erased_leaf_and_all(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as broken:
        broken.setattr(sealed_files, "sync_folder", cut)
        with pytest.raises(PowerCutError):
            rig.seal()
    assert len(_files(rig)) == 2, "the files are there, and nobody was told of them"
    rig.restart()
    cut_off = rig.store.eraser.erase_due()
    assert len(cut_off) == 2
    assert _files(rig) == set()
    for item in cut_off:
        with pytest.raises(KeyErasedError):
            rig.store.keyring.leaf_key(item.item_class, item.leaf)
    assert rig.seal()


def test_after_a_lost_index_everything_is_erased_and_sealing_goes_on(rig: Rig) -> None:
    erased = rig.store.find(rig.seal())
    rig.store.eraser.erase(erased)
    lost = rig.store.find(rig.seal())
    for path in rig.folder.glob("index.db*"):
        path.unlink()
    (rig.folder / "items" / "half").write_bytes(b"cut")
    rig.restart()
    assert len(rig.store.eraser.erase_due()) == 2
    assert _files(rig) == set()
    for item in [*erased, *lost]:
        with pytest.raises(KeyErasedError):
            rig.store.keyring.leaf_key(item.item_class, item.leaf)
    assert rig.store.find(rig.seal())


def test_an_older_index_put_back_revives_nothing(rig: Rig) -> None:
    kept, erased = rig.seal(), rig.seal()
    rig.store.close()
    copies = {path: path.read_bytes() for path in rig.folder.glob("index.db*")}
    files = {path: path.read_bytes() for path in (rig.folder / "items").iterdir()}
    rig.store = rig._open()
    rig.store.eraser.erase(rig.store.find(erased))
    rig.store.close()
    for path, data in {**copies, **files}.items():
        path.write_bytes(data)
    rig.store = rig._open()
    assert {item.recording for item in rig.store.index.live()} == {kept}
    assert len(rig.store.eraser.erase_due()) == 2
    assert rig.store.content(rig.store.find(kept)[0]) == AUDIO
    assert rig.store.find(rig.seal())


def test_the_index_does_not_tell_when_somebody_spoke(rig: Rig) -> None:
    rig.clock.now_s += 1234.567
    rig.seal()
    rig.seal(outcome="false_wake")
    rows = [*rig.store.index.db.table("delivery").rows, *rig.store.index.db.table("item").rows]
    times = [row["at_s"] if "at_s" in row else row["ends_at_s"] for row in rows]
    assert len(times) == 3, "a false wake leaves no row at all"
    assert all(time_s % 900 == 0 for time_s in times)


def test_an_erasure_that_fails_is_told_refused_to_open_and_finished_later(rig: Rig) -> None:
    recording = rig.seal()
    items = rig.store.find(recording)

    def broken(_what: str, _slot: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    rig.roots.before = broken
    with pytest.raises(EraseError, match="2 items are not erased yet: input/output error"):
        rig.store.eraser.erase(items)
    for item in rig.store.index.items():
        with pytest.raises(KeyErasedError):
            rig.store.content(item)
    assert rig.store.eraser.overdue() == 2
    rig.roots.before = lambda _what, _slot: None
    assert len(rig.restart().eraser.erase_due()) == 2
    assert rig.store.eraser.overdue() == 0


def test_a_full_disk_does_not_keep_keys_alive(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = rig.seal()
    items = rig.store.find(recording)
    real = rig.store.keyring.erase
    seen_files: list[set[str]] = []

    def full_until_files_are_gone(*args: object) -> None:
        seen_files.append(_files(rig))
        if _files(rig):
            _no_space()
        real(*args)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(rig.store.keyring, "erase", full_until_files_are_gone)
    assert len(rig.store.eraser.erase(items)) == 2
    assert [len(files) for files in seen_files] == [2, 0]


def test_erasing_everything_takes_every_key(rig: Rig) -> None:
    recordings = [rig.seal() for _ in range(3)]
    item_class = rig.store.index.live()[0].item_class
    before = rig.store.keyring.leaf_key(item_class, 99)
    assert len(rig.store.eraser.erase_everything()) == 6
    assert _files(rig) == set()
    assert rig.store.keyring.leaf_key(item_class, 99) != before
    for recording in recordings:
        with pytest.raises(NoSuchRecordingError):
            rig.store.find(recording)
    assert rig.seal()


def test_a_file_that_was_changed_or_swapped_does_not_open(rig: Rig) -> None:
    first, second = rig.store.find(rig.seal()), rig.store.find(rig.seal())
    paths = [rig.folder / "items" / items[0].id for items in (first, second)]
    originals = [path.read_bytes() for path in paths]
    paths[0].write_bytes(originals[1])
    with pytest.raises(StorageError, match="another item's"):
        rig.store.content(first[0])
    paths[0].write_bytes(originals[0][:100] + b"!" + originals[0][101:])
    with pytest.raises(AuthenticationError):
        rig.store.content(first[0])
    paths[0].unlink()
    with pytest.raises(StorageError, match="no such file"):
        rig.store.content(first[0])


def test_a_broken_file_does_not_keep_its_key_alive(rig: Rig) -> None:
    items = rig.store.find(rig.seal())
    for item in items:
        (rig.folder / "items" / item.id).write_bytes(b"broken")
    assert len(rig.store.eraser.erase(items)) == 2
    for item in items:
        with pytest.raises(KeyErasedError):
            rig.store.keyring.leaf_key(item.item_class, item.leaf)


def test_a_withdrawn_event_carries_the_id_that_was_reported(rig: Rig) -> None:
    recording = rig.seal()
    action = rig.store.find(recording)[1]
    reported = rig.store.event_id(action)
    assert [line.what for line in rig.store.outbox.lines()] == ["action"]
    rig.store.metadata(action, "event", "reporter")
    rig.store.eraser.erase(rig.store.find(recording))
    assert [line.what for line in rig.store.outbox.lines()] == ["receipt"]
    assert rig.store.outbox.notices.untold(9) == [(1, (reported,))]


def test_what_ended_on_time_needs_no_withdrawal(rig: Rig) -> None:
    action = rig.store.find(rig.seal())[1]
    rig.store.metadata(action, "event", "reporter")
    rig.clock.now_s = action.ends_at_s
    rig.store.eraser.erase_due()
    assert [line.what for line in rig.store.outbox.lines()] == ["receipt"]
    assert rig.store.outbox.notices.given() == 0
