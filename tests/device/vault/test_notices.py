"""The numbers of erasures: no gaps, a window that goes back so far, and jumps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import utterance
from fadeout_broker.contract import MAX_IDS
from fadeout_device.vault.errors import EraseError
from fadeout_device.vault.notices import MAX_UNTOLD, Notices
from fadeout_device.vault.outbox import MAX_RECEIPTS

if TYPE_CHECKING:
    from device.vault.conftest import Rig
    from fadeout_device.vault.index import Item


def _ids(count: int) -> list[str]:
    return [f"{number:016}" for number in range(count)]


def _told_action(rig: Rig) -> Item:
    """Seal an utterance and let the reporter have its event."""
    (action,) = [item for item in rig.store.find(rig.seal()) if item.item_class.kind == "action"]
    rig.store.metadata(action, "event", "reporter")
    return action


@pytest.fixture
def notices(rig: Rig) -> Notices:
    return rig.store.outbox.notices


def test_numbers_go_on_after_a_restart(rig: Rig, notices: Notices) -> None:
    with rig.store.index.transaction():
        notices.add(_ids(1))
        notices.mark_told(notices.era, 1)
    era = notices.era
    again = rig.restart().outbox.notices
    with rig.store.index.transaction():
        again.add(_ids(1))
    assert (again.era, again.given(), again.told()) == (era, 2, 1)


def test_the_window_goes_back_as_far_as_sixteen_ids(rig: Rig, notices: Notices) -> None:
    for number in range(1, 12):
        with rig.store.index.transaction():
            notices.add(_ids(3))
            notices.mark_told(notices.era, number)
    mark = notices.watermark()
    assert (mark.n, mark.since, len(mark.ids)) == (11, 7, 15)


def test_told_is_what_was_told_without_a_gap(rig: Rig, notices: Notices) -> None:
    for _ in range(3):
        with rig.store.index.transaction():
            notices.add(_ids(1))
    with rig.store.index.transaction():
        notices.mark_told(notices.era, 2)
    assert notices.told() == 0
    with rig.store.index.transaction():
        notices.mark_told(notices.era, 1)
    assert notices.told() == 2


def test_what_was_told_in_another_era_is_not_told_in_this_one(rig: Rig, notices: Notices) -> None:
    before = notices.era
    with rig.store.index.transaction():
        notices.add(_ids(1))
        notices.begin_anew()
        notices.add(_ids(1))
        notices.mark_told(before, 1)
    assert [notice.n for notice in notices.untold(9)] == [1]


def test_too_many_become_a_jump(rig: Rig, notices: Notices) -> None:
    for _ in range(MAX_UNTOLD + 1):
        with rig.store.index.transaction():
            notices.add(_ids(1))
    mark = notices.watermark()
    assert notices.count() == 0
    assert (mark.n, mark.since, mark.ids) == (MAX_UNTOLD + 2, MAX_UNTOLD + 3, ())


@pytest.mark.parametrize("count", [1, MAX_IDS, MAX_IDS + 1, 3 * MAX_IDS])
def test_no_notice_names_more_than_it_may(rig: Rig, notices: Notices, count: int) -> None:
    with rig.store.index.transaction():
        notices.add(_ids(count))
    sizes = [len(notice.ids) for notice in notices.untold(99)]
    assert sum(sizes) == count
    assert max(sizes) <= MAX_IDS


def test_an_event_whose_id_cannot_be_had_any_more_makes_subscribers_forget_everything(
    rig: Rig, notices: Notices
) -> None:
    action = _told_action(rig)
    (rig.store.files.folder / action.id).unlink()
    rig.store.eraser.erase([action])
    assert notices.watermark()[1:] == (1, 2, ())


def test_one_that_nobody_was_told_of_changes_nothing(rig: Rig, notices: Notices) -> None:
    before = notices.watermark()
    rig.seal()
    rig.store.eraser.erase(rig.store.index.live())
    assert notices.watermark() == before


def test_a_lost_index_begins_another_era(rig: Rig, notices: Notices) -> None:
    _told_action(rig)
    era = notices.era
    rig.store.close()
    for path in rig.folder.glob("index.db*"):
        path.unlink()
    rig.store = rig._open()
    assert rig.store.outbox.notices.era not in {era, "00000000"}


def test_an_index_that_was_put_back_begins_another_era(rig: Rig) -> None:
    action = _told_action(rig)
    rig.store.close()
    copies = {path: path.read_bytes() for path in rig.folder.glob("index.db*")}
    rig.store = rig._open()
    era = rig.store.outbox.notices.era
    rig.store.eraser.erase([action])
    assert rig.store.outbox.notices.given() == 1
    rig.store.close()
    for path in rig.folder.glob("index.db*"):
        path.unlink()
    for path, data in copies.items():
        path.write_bytes(data)
    rig.store = rig._open()
    assert rig.store.outbox.notices.era != era


def test_an_index_put_back_from_before_a_capture_that_is_gone_begins_another_era(rig: Rig) -> None:
    rig.store.close()
    copies = {path: path.read_bytes() for path in rig.folder.glob("index.db*")}
    rig.store = rig._open()
    era = rig.store.outbox.notices.era
    rig.store.eraser.erase([_told_action(rig)])
    rig.store.close()
    for path in rig.folder.glob("index.db*"):
        path.unlink()
    for path, data in copies.items():
        path.write_bytes(data)
    rig.store = rig._open()
    assert rig.store.outbox.notices.era != era


def test_a_restart_without_a_loss_does_not(rig: Rig, notices: Notices) -> None:
    era = notices.era
    rig.store.eraser.erase([_told_action(rig)])
    rig.seal()
    rig.store.eraser.erase_everything()
    rig.seal()
    assert rig.restart().outbox.notices.era == era
    assert rig.restart().outbox.notices.era == era


def test_a_panic_that_was_cut_off_begins_another_era(rig: Rig, notices: Notices) -> None:
    _told_action(rig)
    era = notices.era
    rig.store.eraser.panic()
    store = rig.restart()
    store.eraser.finish_panic()
    assert store.outbox.notices.era != era


def test_a_panic_that_cannot_be_told_in_full_is_a_jump(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fadeout_device.vault.erasure._MAX_PANIC_WITHDRAWALS", 1)
    for _ in range(2):
        _told_action(rig)
    rig.store.eraser.panic()
    rig.store.eraser.finish_panic()
    assert rig.store.outbox.notices.watermark()[1:] == (1, 2, ())


def test_a_number_is_given_with_the_withdrawal_or_not_at_all(
    rig: Rig, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    action = _told_action(rig)

    def cut(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(rig.store.outbox, "remove_actions", cut)
    with pytest.raises(EraseError):
        rig.store.eraser.erase([action])
    monkeypatch.undo()
    assert notices.given() == 0
    rig.store.eraser.erase([action])
    assert notices.given() == 1
    assert [notice.n for notice in notices.untold(9)] == [1]


def test_receipts_are_numbered_and_the_oldest_give_way(rig: Rig) -> None:
    outbox = rig.store.outbox
    with rig.store.index.transaction():
        for entry in range(MAX_RECEIPTS + 3):
            outbox.add_receipt(entry, rig.clock.now_s)
    numbers = [int(line.about) for line in outbox.lines() if line.what == "receipt"]
    assert numbers == list(range(4, MAX_RECEIPTS + 4))


def test_days_without_a_broker_leave_little_to_tell(rig: Rig) -> None:
    for number in range(5 * 8):
        rig.clock.now_s += 3 * 3600
        rig.seal(b"")
        if number % 2:
            _told_action(rig)
            rig.store.eraser.erase(rig.store.index.live()[-2:])
        rig.store.eraser.erase_due()
    lines = [line.what for line in rig.store.outbox.lines()]
    assert lines.count("action") <= 8 + 1, "one for each item that is held"
    assert lines.count("receipt") <= 2 * 8 + 1, "none is older than a day"
    assert rig.store.outbox.notices.count() <= 5 * 8


def test_a_canary_leaves_no_receipt_to_tell(rig: Rig) -> None:
    items = rig.store.plant([item.item_class for item in [_told_action(rig)]], rig.clock.now_s)
    rig.clock.now_s += 7 * 3600
    assert len(rig.store.eraser.erase_due()) == len(items)
    assert [line.what for line in rig.store.outbox.lines()] == ["action"]


def test_an_utterance_of_another_outcome_has_its_own_end(rig: Rig) -> None:
    recording, _ = rig.store.seal(utterance(outcome="served", action="light.on"), b"")
    (action,) = rig.store.find(recording)
    assert rig.store.outbox.may_be_told(action) is False
    rig.store.metadata(action, "event", "reporter")
    assert rig.store.outbox.may_be_told(action) is True


def test_an_item_of_before_a_jump_is_withdrawn_when_it_ends(rig: Rig, notices: Notices) -> None:
    action = _told_action(rig)
    with rig.store.index.transaction():
        rig.store.index.set_meta("jumped", "1")
    rig.clock.now_s = action.ends_at_s
    rig.store.eraser.erase_due()
    assert [notice.n for notice in notices.untold(9)] == [1]
