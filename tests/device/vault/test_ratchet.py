"""Shortening in a running vault: at once, durably, one policy object; and lifted only for what is new."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import utterance
from fadeout_device import questions
from fadeout_device.errors import StorageError
from fadeout_device.vault import ratchet, switches
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.enforced import Enforced
from fadeout_device.vault.errors import EraseError
from fadeout_device.vault.explain import explain

if TYPE_CHECKING:
    from device.vault.conftest import Rig
    from fadeout_device.vault.service import Service

AUDIO = b"\x01\x02" * 16000
HOUR_S = 3600


def _serve(rig: Rig) -> Service:
    service = rig.serve()
    service.start()
    return service


def _kinds(rig: Rig) -> set[str]:
    return {item.item_class.kind for item in rig.store.index.live()}


def test_what_is_held_ends_earlier_at_once_and_so_does_what_comes(rig: Rig) -> None:
    service = _serve(rig)
    service.seal(utterance(), AUDIO)
    rig.clock.now_s += 2 * HOUR_S
    ratchet.shorten(service, HOUR_S, None, "audio")
    assert _kinds(rig) == {"action"}, "its time is over, and its key is gone"
    service.seal(utterance(), AUDIO)
    rig.clock.now_s += HOUR_S
    service.sweep()
    assert [item.item_class.kind for item in rig.store.index.live()] == ["action", "action"]


def test_enforced_shown_and_published_is_one_object_with_one_hash(rig: Rig) -> None:
    service = _serve(rig)
    before = Desk(service).policy()
    ratchet.shorten(service, HOUR_S, "failed", None)
    after = Desk(service).policy()
    assert after.policy_hash == rig.store.policy.hash == Desk(service).status().policy_hash
    assert after.policy_hash != before.policy_hash
    assert after.policy["rules"]["failed.audio"]["keep_s"] == HOUR_S
    assert after.policy["rules"]["served.action"]["keep_s"] == 86400
    assert after.shortened_from == {
        "failed.audio": 7 * 86400,
        "failed.words": 7 * 86400,
        "failed.action": 86400,
    }
    service.seal(utterance(), AUDIO)
    assert {item.period_s for item in rig.store.index.live()} == {HOUR_S}


def test_it_survives_restarts_and_a_longer_configuration(rig: Rig) -> None:
    ratchet.shorten(_serve(rig), HOUR_S, None, None)
    rig.restart('[retention.failed]\naudio = { keep = "30d", purpose = "p" }')
    service = _serve(rig)
    service.seal(utterance(), AUDIO)
    assert {item.period_s for item in rig.store.index.live()} == {HOUR_S}


def test_restoring_is_for_what_is_captured_from_then_on(rig: Rig) -> None:
    service = _serve(rig)
    service.seal(utterance(), AUDIO)
    ratchet.shorten(service, HOUR_S, None, None)
    service.seal(utterance(), AUDIO)
    held = rig.store.index.live()
    assert {item.period_s for item in held} == {HOUR_S}
    restored = Desk(service).restore_policy()
    assert restored.shortened_from == {}
    assert restored.policy["rules"]["failed.audio"]["keep_s"] == 7 * 86400
    assert rig.store.index.live() == held, "what is held keeps its end"
    (row, _) = Desk(service).recordings().recordings
    assert explain(service, row.recording).items[0].period_s == HOUR_S
    service.seal(utterance(), AUDIO)
    assert rig.store.index.live()[-1].period_s == 86400
    rig.restart()
    assert rig.store.policy.hash == restored.policy_hash
    assert [item.ends_at_s for item in rig.store.index.live()[:4]] == [item.ends_at_s for item in held]


def test_what_debug_capture_keeps_is_shortened_too(rig: Rig) -> None:
    rig.restart('[retention]\ndebug_capture = "12h"')
    service = _serve(rig)
    switches.debug_capture(service, questions.DebugCapture(is_on=True, for_s=1800.0))
    service.seal(utterance(outcome="served"), AUDIO)
    ratchet.shorten(service, HOUR_S, "served", "audio")
    service.seal(utterance(outcome="served"), AUDIO)
    assert {item.period_s for item in rig.store.index.live() if item.mark == "debug"} == {HOUR_S}


@pytest.mark.parametrize("later_s", [0, 2 * HOUR_S], ids=["at once", "at a later sweep"])
def test_subscribers_who_were_told_of_it_are_told_that_it_ends_earlier(rig: Rig, later_s: int) -> None:
    service = _serve(rig)
    service.seal(utterance(), AUDIO)
    (action,) = (item for item in rig.store.index.live() if item.item_class.kind == "action")
    event_id = rig.store.event_id(action)
    rig.store.metadata(action, "event", "reporter")
    rig.clock.now_s += 2 * HOUR_S - later_s
    ratchet.shorten(service, HOUR_S, None, None)
    assert bool(rig.store.outbox.notices.untold(9)) is not bool(later_s)
    rig.clock.now_s += later_s
    service.sweep()
    assert [notice.ids for notice in rig.store.outbox.notices.untold(9)] == [(event_id,)]


def test_canaries_are_nobody_s_recordings_and_keep_their_life(rig: Rig) -> None:
    service = _serve(rig)
    rig.store.plant([next(iter(rig.store.policy.periods))], rig.clock.now_s)
    ratchet.shorten(service, 1, None, None)
    assert [item.period_s for item in rig.store.index.canaries()] == [rig.store.policy.canary_s]


def test_the_same_or_more_changes_nothing_and_writes_nothing(rig: Rig) -> None:
    service = _serve(rig)
    ratchet.shorten(service, HOUR_S, None, None)
    changes = rig.store.index.db.conn.total_changes
    sweeps = service.sweeps.count
    for keep_s in (HOUR_S, HOUR_S + 1, 30 * 86400):
        ratchet.shorten(service, keep_s, "failed", None)
    assert (rig.store.index.db.conn.total_changes, service.sweeps.count) == (changes, sweeps)


def test_what_cannot_be_stored_holds_all_the_same_and_is_tried_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = _serve(rig)
    service.seal(utterance(), AUDIO)

    def broken(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(rig.store.index, "set_meta", broken)
    with pytest.raises(StorageError):
        ratchet.shorten(service, HOUR_S, None, None)
    assert rig.store.policy.periods[next(iter(rig.store.policy.periods))].seconds == HOUR_S
    known = rig.store.enforced.caps
    monkeypatch.undo()
    # The process after this one knows it by the handover alone.
    rig.restart()
    service = _serve(rig)
    rig.store.enforced.take_over(known)
    assert {item.period_s for item in rig.store.index.live()} == {HOUR_S}
    rig.restart()
    assert rig.store.enforced.caps == known


def test_a_restoration_that_cannot_be_stored_changes_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = _serve(rig)
    ratchet.shorten(service, HOUR_S, None, None)
    short = rig.store.policy

    def broken(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(rig.store.index, "set_meta", broken)
    with pytest.raises(StorageError):
        Desk(service).restore_policy()
    assert rig.store.policy is short


def test_what_cannot_be_erased_is_no_success(rig: Rig) -> None:
    service = _serve(rig)
    service.seal(utterance(), AUDIO)
    rig.clock.now_s += 2 * HOUR_S

    def broken(_what: str, _slot: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    rig.roots.before = broken
    with pytest.raises(EraseError):
        ratchet.shorten(service, HOUR_S, None, None)
    assert set(service.alarms.on) == {"erase"}


def test_caps_that_cannot_be_read_keep_the_vault_from_starting(rig: Rig) -> None:
    with rig.store.index.transaction():
        rig.store.index.set_meta("caps", "{")
    with pytest.raises(StorageError, match="shortened by command"):
        Enforced(rig.store.index, rig.config.policy, rig.store._reserve)


def test_another_owner_s_device_has_the_configured_policy(rig: Rig) -> None:
    service = _serve(rig)
    ratchet.shorten(service, HOUR_S, None, None)
    Desk(service).reset()
    assert rig.store.policy == rig.config.policy
    rig.restart()
    assert rig.store.policy == rig.config.policy
