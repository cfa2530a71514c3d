"""Voice commands in a real vault: what each does, what none does; what is told is what the store holds."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import Rig, utterance
from fadeout_device import channels
from fadeout_device.actions_file import load_actions
from fadeout_device.config import RecogniserSettings
from fadeout_device.messages import NotSealed, Sealed, Told
from fadeout_device.spoken import sentence
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.errors import SealError
from fadeout_device.vault.voice import COMMANDS, CONFIRM_S, Voice

if TYPE_CHECKING:
    from fadeout_device.messages import Outcome

AUDIO = b"\x01\x02" * 16000
NOON = 1_600_000_000 // 86_400 * 86_400 + 43_200


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time  # noqa: PLC0415 - tzset is its only use

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


class Room:
    """A vault, and somebody who speaks in the room."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        rig.clock.now_s = NOON
        self.service = rig.serve()
        self.service.start()
        self.voice = Voice(self.service, lambda: rig.clock.now_s, self.service.seal)

    def say(self, action: str, outcome: Outcome = "served") -> Told | None:
        answer = self.voice.hear(utterance(outcome=outcome, action=action), AUDIO)
        assert isinstance(answer, Sealed)
        return answer.told

    def command(self, name: str) -> Told:
        told = self.say(f"data.{name}")
        assert told is not None
        return told

    def held(self) -> list[str]:
        return list(dict.fromkeys(item.recording for item in self.rig.store.index.live()))

    def recorded(self, *hours_ago: float) -> list[str]:
        """Seal a recording at each of these times; returns their ids."""
        made = []
        for ago in hours_ago:
            self.rig.clock.now_s = NOON - ago * 3600
            made.append(self.rig.seal())
        self.rig.clock.now_s = NOON
        return made


@pytest.fixture
def room(rig: Rig) -> Room:
    return Room(rig)


AGO = (40.0, 11.9, 2.0, 1.0, 0.1)
"""Hours before noon: the first is yesterday's."""


@pytest.mark.parametrize(
    ("command", "left"),
    [
        pytest.param("forget_last", 4, id="what I just said"),
        pytest.param("not_for_you", 4, id="that wasn't for you"),
        pytest.param("forget_ten_minutes", 4, id="the last ten minutes"),
        pytest.param("forget_today", 1, id="everything I said today"),
    ],
)
def test_what_is_meant_is_erased_with_the_command_s_own_recording_and_what_is_older_stays(
    room: Room, command: str, left: int
) -> None:
    made = room.recorded(*AGO)
    told = room.command(command)
    assert room.held() == made[:left]
    assert told.what == "erased"
    assert told.erased == len(made) - left + 1


def test_the_last_one_is_erased_however_long_ago_it_was(room: Room) -> None:
    made = room.recorded(30.0, 20.0)
    room.command("forget_last")
    assert room.held() == made[:1]


def test_what_was_said_in_several_goes_just_now_is_erased_together(room: Room) -> None:
    (old,) = room.recorded(5.0)
    room.recorded(20 / 3600, 10 / 3600, 5 / 3600)
    assert room.command("forget_last").erased == 4
    assert room.held() == [old]


def test_everything_is_asked_once_and_erased_by_a_yes(room: Room) -> None:
    made = room.recorded(*AGO)
    asked = room.command("forget_everything")
    assert asked.what == "asked"
    assert set(made) < set(room.held())
    assert asked.held == len(room.held()) == 6
    room.rig.clock.now_s += 10
    told = room.command("forget_everything_yes")
    assert (told.what, told.erased, told.held) == ("erased", 7, 0)
    assert not room.held()


def test_a_yes_without_a_question_or_too_late_erases_nothing_and_asks(room: Room) -> None:
    made = room.recorded(*AGO)
    assert room.command("forget_everything_yes").what == "asked"
    room.rig.clock.now_s += CONFIRM_S + 1
    assert room.command("forget_everything_yes").what == "asked"
    assert set(made) < set(room.held())
    room.rig.clock.now_s += CONFIRM_S - 1
    assert room.command("forget_everything_yes").what == "erased"
    assert room.command("forget_everything_yes").what == "asked"


def test_a_question_is_still_known_to_the_process_after_this_one(room: Room) -> None:
    room.command("forget_everything")
    after = Voice(room.service, lambda: room.rig.clock.now_s, room.service.seal)
    after.state = room.voice.state
    room.voice = after
    assert room.command("forget_everything_yes").what == "erased"


def test_stop_listening_mutes_by_voice_and_nothing_said_unmutes(room: Room) -> None:
    assert room.command("stop_listening").what == "muted"
    assert room.service.privacy.state.muted_by == "voice"
    for action in (*COMMANDS, "data.unmute", "data.start_listening", "data.keep_longer"):
        room.say(action)
        assert room.service.privacy.is_muted


def test_what_is_told_is_what_the_store_holds(room: Room) -> None:
    room.recorded(*AGO)
    told = room.command("tell_held")
    listed = Desk(room.service).recordings().recordings
    assert told.held == len(listed) == len(room.held()) == room.service.held() == 6
    ends = [item.ends_at_s for item in room.rig.store.index.live()]
    assert told.next_end_s == min(each for each in ends if each > NOON)
    assert next(re.finditer(r"\d+", sentence(told)))[0] == str(len(listed))


def test_the_numbers_of_an_erasure_are_those_of_its_receipt(room: Room) -> None:
    room.recorded(*AGO)
    told = room.command("forget_today")
    assert told.receipt is not None
    receipt = room.rig.store.ledger.erasure(told.receipt)
    assert receipt is not None
    assert len(receipt.recordings) == told.erased
    assert told.held == room.service.held()
    numbers = [int(number) for number in re.findall(r"\d+", sentence(told))]
    assert (numbers[0], numbers[1], numbers[-1]) == (told.erased, told.held, told.receipt)


KEPT_WORDS = '[retention.served]\nwords = { keep = "1h", purpose = "test" }\n'


def _words(rig: Rig) -> list[tuple[str, str]]:
    """Return whose words are held, and what they are."""
    held = [item for item in rig.store.index.live() if item.item_class.kind == "words"]
    opened = [rig.store.whole(item) for item in held]
    return [(metadata.part, content.decode()) for metadata, content in opened]


def _hear(room: Room, action: str) -> Sealed:
    answer = room.voice.hear(utterance(outcome="served", action=action), AUDIO, b"what was said\n")
    assert isinstance(answer, Sealed)
    return answer


@pytest.mark.parametrize("action", ["data.tell_held", "data.forget_everything"])
def test_what_is_answered_is_words_of_its_own_where_such_words_are_kept(rig: Rig, action: str) -> None:
    rig.restart(KEPT_WORDS)
    room = Room(rig)
    answer = _hear(room, action)
    assert answer.told is not None
    said = f"{sentence(answer.told)}\n"
    assert _words(rig) == [("request", "what was said\n"), ("response", said)]
    assert [kept.kind for kept in answer.kept] == ["words", "action", "words"]
    first, _, second = (kept.expires_at_s for kept in answer.kept)
    assert first == second
    row = Desk(room.service).show(answer.recording).row
    assert [(item.kind, item.part) for item in row.items] == [
        ("words", "request"), ("words", "response"), ("action", ""),
    ]  # fmt: skip
    assert room.service.held() == answer.told.held == 1


def test_either_s_words_are_erased_on_their_own(rig: Rig) -> None:
    rig.restart(KEPT_WORDS)
    room = Room(rig)
    _hear(room, "data.tell_held")
    response = rig.store.index.live()[-1]
    room.service.erase_items([response])
    assert _words(rig) == [("request", "what was said\n")]
    assert rig.store.eraser.are_gone([response])


def test_what_is_answered_is_not_stored_by_default(room: Room) -> None:
    answer = _hear(room, "data.tell_held")
    assert [kept.kind for kept in answer.kept] == ["action"]
    assert _words(room.rig) == []


@pytest.mark.parametrize(
    "action", ["data.forget_last", "data.forget_today", "data.forget_ten_minutes", "data.not_for_you"]
)
def test_an_erasure_leaves_neither_its_own_words_nor_its_answer(rig: Rig, action: str) -> None:
    rig.restart(KEPT_WORDS)
    room = Room(rig)
    room.recorded(*AGO)
    answer = _hear(room, action)
    assert answer.told is not None
    assert answer.told.what == "erased"
    assert _words(rig) == []
    assert answer.recording not in room.held()


@pytest.mark.parametrize("mode", ["guest mode", "a mute that it asks for"])
def test_once_nothing_may_be_stored_no_answer_is(rig: Rig, mode: str) -> None:
    rig.restart(KEPT_WORDS)
    room = Room(rig)
    if mode == "guest mode":
        room.service.privacy.guest_on(None)
        _hear(room, "data.tell_held")
    else:
        _hear(room, "data.stop_listening")
    assert "response" not in [whose for whose, _ in _words(rig)]


def test_an_answer_that_comes_again_is_not_stored_twice(rig: Rig) -> None:
    rig.restart(KEPT_WORDS)
    room = Room(rig)
    said = utterance(outcome="served", action="data.tell_held")
    first = room.voice.hear(said, AUDIO, b"what was said\n")
    again = room.voice.hear(said, AUDIO, b"what was said\n")
    assert isinstance(first, Sealed)
    assert isinstance(again, Sealed)
    assert again.told == first.told
    assert sorted(kept.kind for kept in again.kept) == sorted(kept.kind for kept in first.kept)
    assert len(_words(rig)) == 2


def test_an_answer_that_cannot_be_sealed_is_given(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.restart(KEPT_WORDS)
    room = Room(rig)

    def full(*_: object, **__: object) -> None:
        raise SealError("no space left on the disk")

    monkeypatch.setattr(rig.store, "add", full)
    assert _hear(room, "data.tell_held").told is not None
    assert _words(rig) == [("request", "what was said\n")]


@pytest.mark.parametrize("action", ["light.on", "data.forget", "data.unmute", "data.export", "none"])
def test_any_other_action_does_nothing(room: Room, action: str) -> None:
    made = room.recorded(*AGO)
    assert room.say(action) is None
    assert room.held()[: len(made)] == made
    assert not room.service.privacy.is_muted


@pytest.mark.parametrize("outcome", ["failed", "false_wake"])
def test_an_utterance_that_was_not_understood_commands_nothing(room: Room, outcome: Outcome) -> None:
    made = room.recorded(*AGO)
    assert room.say("data.forget_today", outcome) is None
    assert set(made) <= set(room.held())


@pytest.mark.parametrize("action", COMMANDS)
def test_no_command_does_what_a_voice_may_not_or_lengthens_a_life(room: Room, action: str) -> None:
    assert channels.is_allowed(COMMANDS[action], "voice")
    room.recorded(*AGO)
    ends = {item.id: item.ends_at_s for item in room.rig.store.index.live()}
    policy = room.rig.store.policy.hash
    room.say(action)
    left = {item.id: item.ends_at_s for item in room.rig.store.index.live() if item.id in ends}
    assert left.items() <= ends.items()
    assert room.rig.store.policy.hash == policy


@pytest.mark.parametrize("action", COMMANDS)
def test_the_ratchet_is_asked_of_each_command(
    room: Room, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """Whatever the table of commands says: what a voice may not ask is not done."""
    kept = room.recorded(1.0)
    monkeypatch.setitem(COMMANDS, action, "unmute")
    assert room.say(action) is None
    assert set(kept) <= set(room.held())
    assert not room.service.privacy.is_muted


def test_the_shipped_sentences_lead_to_the_commands_there_are() -> None:
    ids = load_actions(RecogniserSettings()).ids
    assert {each for each in ids if each.startswith("data.")} == set(COMMANDS)


def test_in_guest_mode_it_is_obeyed_and_nothing_of_it_is_stored(room: Room) -> None:
    made = room.recorded(*AGO)
    room.service.privacy.guest_on(None)
    assert room.command("tell_held").held == len(made)
    assert room.command("forget_today").erased == len(made) - 1
    assert room.held() == made[:1]


def test_nothing_is_called_erased_before_it_is(room: Room) -> None:
    room.recorded(*AGO)

    def fail(what: str, _slot: int) -> None:
        if what == "write":
            raise OSError(errno.EIO, "broken")

    room.rig.roots.before = fail
    told = room.command("forget_today")
    assert (told.what, told.erased, told.receipt) == ("not_erased", 0, None)
    assert "forgotten" not in sentence(told)


def test_a_command_that_cannot_be_sealed_is_obeyed(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    made = room.recorded(*AGO)
    monkeypatch.setattr(
        room.service, "seal", lambda said, *_: NotSealed(said.delivery, "no space left on the disk")
    )
    answer = room.voice.hear(utterance(outcome="served", action="data.forget_today"), AUDIO)
    assert isinstance(answer, NotSealed)
    assert answer.told is not None
    assert answer.told.erased == len(made) - 1


def test_without_a_time_today_is_everything(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.recorded(*AGO)
    monkeypatch.setattr(room.rig.clock, "is_known", lambda: False)
    assert room.command("forget_today").held == 0


@pytest.mark.parametrize("action", COMMANDS)
def test_an_utterance_that_comes_again_is_answered_the_same_and_obeyed_once(room: Room, action: str) -> None:
    room.recorded(*AGO)
    room.command("forget_everything")
    said = utterance(outcome="served", action=action)
    first = room.voice.hear(said, AUDIO)
    held = room.held()
    after = Voice(room.service, lambda: room.rig.clock.now_s, room.service.seal)
    after.state = room.voice.state
    again = after.hear(said, AUDIO)
    assert first.told is not None
    assert again.told == first.told
    assert room.held() == held
