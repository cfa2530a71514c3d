"""Commands over MQTT in a running vault: what they do, what they cannot do, and what is answered."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.vault.conftest import Rig, utterance
from fadeout_broker import arrow, contract
from fadeout_device.errors import StorageError
from fadeout_device.vault import afar, ratchet
from fadeout_device.vault.afar import Afar
from fadeout_device.vault.bucket import Limit
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.outcomes import Outcomes
from fadeout_device.vault.picking import newest, of_the_last

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AUDIO = b"\x01\x02" * 16000
NODE = "sp-test"
BURST = afar.LIMITS["erase"].burst


class Room:
    """A vault, and somebody far away who sends commands to it."""

    def __init__(self, rig: Rig, *, is_enabled: bool = True, wait_s: int = 0) -> None:
        self.rig = rig
        self.running_s = 1000.0
        self.is_enabled = is_enabled
        self.wait_s = wait_s
        self.answers: list[tuple[contract.Reply, str | None, bytes | None]] = []
        self.begin()

    def begin(self) -> None:
        rig = self.rig
        self.service = rig.serve()
        self.service.start()
        known = afar.Settings(lambda: NODE, self.is_enabled, lambda: self.running_s)
        self.outcomes = Outcomes(self.service, self.wait_s, lambda: self.running_s)
        self.afar = Afar(self.service, known, lambda *answer: self.answers.append(answer), self.outcomes)

    def send(self, name: str, payload: bytes | dict[str, Any] = b"", **asked: Any) -> None:  # noqa: ANN401
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        with self.service.lock:
            self.afar.hear(arrow.Asked(name, data, **asked))

    def ask(self, name: str, payload: bytes | dict[str, Any] = b"", **asked: Any) -> contract.Reply:  # noqa: ANN401
        """Send a command and return the answer."""
        before = len(self.answers)
        self.send(name, payload, **asked)
        self.afar.settle()
        assert len(self.answers) == before + 1
        return self.answers[-1][0]

    def event_ids(self) -> list[str]:
        """Return the ids of the events there are, oldest first."""
        live = self.rig.store.index.live()
        return [self.rig.store.event_id(item) for item in live if item.item_class.kind == "action"]

    def held(self) -> list[str]:
        """Return what is held, oldest first."""
        return list(dict.fromkeys(item.recording for item in self.rig.store.index.live()))

    def later(self, seconds: float) -> None:
        self.running_s += seconds
        self.rig.clock.now_s += seconds


@pytest.fixture
def room(rig: Rig) -> Room:
    return Room(rig)


def _count_writes(rig: Rig) -> Callable[[], int]:
    writes: list[int] = []
    rig.roots.before = lambda what, slot: writes.append(slot) if what == "write" else None
    return lambda: len(writes)


# ---- what they do


@pytest.mark.parametrize("name", contract.COMMANDS)
def test_every_command_is_answered_with_its_transaction(room: Room, name: str) -> None:
    payload: dict[str, Any] = {"transaction": "a-1"}
    needs: dict[str, dict[str, Any]] = {
        "erase": {"all": True},
        "shorten": {"keep_s": 60},
        "result": {"id": "0123456789abcdef", "result": "done"},
    }
    payload |= needs.get(name, {})
    reply = room.ask(name, payload)
    # Of a result nobody waits here: test_outcomes.py has those.
    wanted = ("error", "refused") if name == "result" else ("ok", None)
    assert (reply.command, reply.status, reply.error, reply.transaction) == (name, *wanted, "a-1")
    assert contract.encode(reply)


def test_an_event_s_id_erases_its_whole_recording_and_no_other(room: Room) -> None:
    recordings = [room.rig.seal() for _ in range(3)]
    wanted = room.event_ids()[1]
    reply = room.ask("erase", {"ids": [wanted, "0123456789abcdef"]})
    assert (reply.status, reply.data.erased) == ("ok", 1)
    assert room.held() == [recordings[0], recordings[2]]
    again = room.ask("erase", {"ids": [wanted]})
    assert (again.status, again.data.erased) == ("ok", 0), "the same once more does nothing"
    entries = room.rig.store.index.db.execute("SELECT what FROM ledger").fetchall()
    assert ("opened",) not in entries
    assert ("erased",) in entries


def test_ids_are_found_among_many(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fadeout_device.vault.picking._SLICE", 2)
    for _ in range(7):
        room.rig.seal()
    first, *_, last = room.event_ids()
    assert room.ask("erase", {"ids": [first, last]}).data.erased == 2


def test_an_item_whose_file_is_broken_hides_no_other(room: Room) -> None:
    room.rig.seal()
    (wanted,) = room.event_ids()
    room.rig.seal()
    action = room.rig.store.index.live()[-1]
    (room.rig.folder / "items" / action.id).write_bytes(b"broken")
    assert room.ask("erase", {"ids": [wanted]}).data.erased == 1


def test_the_newest_go_with_last(room: Room) -> None:
    recordings = [room.rig.seal() for _ in range(4)]
    assert room.ask("erase", {"last": 2}).data.erased == 2
    assert room.held() == recordings[:2]
    assert room.ask("erase", {"last": 1000}).data.erased == 2


def test_minutes_erase_what_overlaps_and_more_where_it_is_not_certain(room: Room) -> None:
    long_ago = room.rig.seal()
    room.later(3 * 3600)
    before = room.rig.seal(age_s=2.0, duration_s=2.0)
    room.later(1800)
    room.rig.seal(age_s=610.0, duration_s=60.0)
    room.rig.seal()
    assert room.ask("erase", {"last_minutes": 10}).data.erased == 2
    assert room.held() == [long_ago, before]
    assert room.ask("erase", {"last_minutes": 30}).data.erased == 1
    assert room.ask("erase", {"last_minutes": 150}).data.erased == 0
    assert room.held() == [long_ago]
    assert room.ask("erase", {"last_minutes": 43200}).data.erased == 1


def test_minutes_erase_what_was_shortened_too(room: Room) -> None:
    room.rig.seal()
    room.later(3600)
    room.rig.seal()
    ratchet.shorten(room.service, 7200, None, None)
    assert room.ask("erase", {"last_minutes": 5}).data.erased == 1


def test_nobody_knows_when_it_was_so_it_goes(rig: Rig) -> None:
    recording = rig.seal()
    view = rig.store.timekeeper.view()
    rig.clock.now_s += 86400
    live = rig.store.index.live()
    assert of_the_last(live, 60.0, rig.store.timekeeper.view(), 900) == set()
    belief = msgspec.structs.replace(view.belief, era=99, because="unknown")
    unknown = view._replace(proven_s=rig.clock.now_s, belief=belief)
    assert of_the_last(live, 60.0, unknown, 900) == {recording}


def test_newest_counts_recordings_not_items(rig: Rig) -> None:
    recordings = [rig.seal() for _ in range(3)]
    assert newest(rig.store.index.live(), 2) == set(recordings[1:])


def test_everything_goes_with_all(room: Room) -> None:
    for _ in range(3):
        room.rig.seal()
    assert room.ask("erase", {"all": True}).data.erased == 3
    assert room.held() == []


def test_shortening_is_in_force_and_answered_with_the_policy_s_hash(room: Room) -> None:
    room.rig.seal()
    room.later(7200)
    reply = room.ask("shorten", {"keep_s": 3600, "kind": "audio"})
    assert reply.data.hash == room.rig.store.policy.hash == Desk(room.service).policy().policy_hash
    assert [item.item_class.kind for item in room.rig.store.index.live()] == ["action"]


def test_a_mute_from_afar_is_named_so_and_nothing_from_afar_ends_it(room: Room) -> None:
    assert room.ask("mute").status == "ok"
    assert room.service.privacy.state.muted_by == "mqtt"
    for name in ("unmute", "mute", "guest", "restore_policy", "play", "export"):
        room.ask(name, {"is_on": False} if name == "guest" else b"")
    assert room.service.privacy.is_muted


# ---- several at once, and the same again


def test_what_comes_together_costs_the_root_store_one_write_and_each_erases_its_own(room: Room) -> None:
    for _ in range(5):
        room.rig.seal()
    writes = _count_writes(room.rig)
    with room.service.lock:
        for number in range(3):
            room.send("erase", {"last": 1, "transaction": f"t{number}"})
    room.afar.settle()
    assert [answer.data.erased for answer, _, _ in room.answers] == [1, 1, 1]
    assert len(room.held()) == 2
    assert writes() <= 2, "the thread may have had the first one before the others came"


def test_a_repetition_with_a_transaction_is_answered_and_does_nothing(room: Room) -> None:
    recordings = [room.rig.seal() for _ in range(3)]
    first = room.ask("erase", {"last": 1, "transaction": "a"}, correlation=b"1")
    assert room.ask("erase", {"last": 1, "transaction": "a"}, correlation=b"1") == first
    assert room.held() == recordings[:2]
    room.ask("erase", {"last": 1, "transaction": "b"}, correlation=b"1")
    assert room.held() == recordings[:1]
    room.later(afar.REPEATED_S)
    assert room.ask("erase", {"last": 1, "transaction": "b"}, correlation=b"1").data.erased == 1, "meant so"


def test_a_repetition_that_comes_while_the_first_still_waits_does_nothing(room: Room) -> None:
    recordings = [room.rig.seal() for _ in range(3)]
    with room.service.lock:
        for _ in range(3):
            room.send("erase", {"last": 1, "transaction": "a"})
    room.afar.settle()
    assert room.held() == recordings[:2]
    assert len(room.answers) == 1


def test_what_failed_is_not_remembered_as_done(room: Room) -> None:
    room.rig.seal()

    def broken(_what: str, _slot: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    room.rig.roots.before = broken
    reply = room.ask("erase", {"last": 1, "transaction": "a"})
    assert (reply.status, reply.error, reply.data.erased) == ("error", "not_erased", None)
    assert room.held() == [], "nothing opens it any more"
    room.rig.roots.before = lambda _what, _slot: None
    assert room.ask("erase", {"last": 1, "transaction": "a"}).status == "ok"
    room.service.sweep()
    assert room.rig.store.index.items() == []


# ---- limits


def test_erasures_are_limited_and_a_mute_never_is(room: Room) -> None:
    for _ in range(BURST):
        assert room.ask("erase", {"all": True}).status == "ok"
    refused = room.ask("erase", {"all": True, "transaction": "late"})
    assert (refused.status, refused.error, refused.transaction) == ("error", "rate_limited", "late")
    for _ in range(100):
        assert room.ask("mute").status == "ok"
    room.later(afar.LIMITS["erase"].every_s)
    assert room.ask("erase", {"all": True}).status == "ok"
    assert room.ask("erase", {"all": True}).error == "rate_limited"


def test_the_limit_goes_over_to_the_next_process(room: Room) -> None:
    recordings = [room.rig.seal() for _ in range(2)]
    for number in range(BURST):
        room.ask("erase", {"last_minutes": 1 + number} if number else {"last": 1, "transaction": "a"})
        room.rig.seal()
    known = room.afar.hand_over()
    room.begin()
    room.afar.take_over(known)
    assert room.ask("erase", {"all": True}).error == "rate_limited"
    assert room.ask("erase", {"last": 1, "transaction": "a"}).status == "ok", "known, so answered as before"
    assert recordings


def test_of_another_owner_s_requests_nothing_is_handed_on(room: Room) -> None:
    room.ask("erase", {"all": True, "transaction": "a"})
    Desk(room.service).reset()
    assert room.afar.hand_over().done == ()


def test_no_number_of_commands_wears_the_root_store(room: Room) -> None:
    for _ in range(3):
        room.rig.seal()
    writes = _count_writes(room.rig)
    ways: list[dict[str, Any]] = [{"all": True}, {"last": 1}, {"last_minutes": 43200}, {"ids": ["0" * 16]}]
    for number in range(400):
        room.ask("erase", ways[number % 4])
        room.ask("shorten", {"keep_s": 3_000_000 // (number + 2)})
        room.later(60.0)
    assert room.held() == []
    assert writes() <= 3, "no more than there were recordings"


def test_a_flood_of_nonsense_is_answered_for_a_while_and_then_not(room: Room) -> None:
    for _ in range(200):
        room.send("erase", b"{")
    assert len(room.answers) == afar.LIMITS["chatter"].burst
    assert {answer.error for answer, _, _ in room.answers} == {"malformed"}
    room.later(1.0)
    assert room.ask("levitate").error == "unknown_command"


def test_more_than_can_wait_is_refused(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(afar.LIMITS, "erase", Limit(1000, 1.0))
    with room.service.lock:
        for _ in range(afar.MAX_WAITING + 2):
            room.send("erase", {"all": True})
    room.afar.settle()
    errors = [answer.error for answer, _, _ in room.answers]
    assert errors.count("busy") == 2
    assert errors.count(None) == afar.MAX_WAITING


# ---- answers


@pytest.mark.parametrize(
    ("reply_to", "wanted"),
    [
        (f"fadeout/{NODE}/reply", f"fadeout/{NODE}/reply"),
        (f"fadeout/{NODE}/reply/nodered/7", f"fadeout/{NODE}/reply/nodered/7"),
        (f"fadeout/{NODE}/cmd/mute", None),
        ("fadeout/other/reply", None),
        ("homeassistant/switch/door/set", None),
        (f"fadeout/{NODE}/reply/#", None),
        ("", None),
    ],
)
def test_answers_go_where_answers_may_go(room: Room, reply_to: str, wanted: str | None) -> None:
    room.ask("ping", b"{}", reply_to=reply_to, correlation=b"\x00\xff")
    assert room.answers[-1][1:] == (wanted, b"\x00\xff")


def test_where_commands_are_switched_off_none_is_obeyed(rig: Rig) -> None:
    room = Room(rig, is_enabled=False)
    rig.seal()
    for name, payload in (
        ("mute", b""),
        ("erase", b'{"all":true}'),
        ("shorten", b'{"keep_s":1}'),
        ("result", b'{"id":"0123456789abcdef","result":"failed"}'),
        ("ping", b""),
    ):
        assert room.ask(name, payload).error == "refused"
    assert not room.service.privacy.is_muted
    assert len(room.held()) == 1


def test_what_holds_only_until_a_restart_is_told_so(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(room.rig.store.index, "set_meta", broken)
    assert room.ask("mute").error == "not_stored"
    assert room.service.privacy.is_muted
    reply = room.ask("shorten", {"keep_s": 60})
    assert (reply.error, reply.data.hash) == ("not_stored", room.rig.store.policy.hash)


# ---- the ratchet as a property

_REQUESTS = st.one_of(
    st.tuples(st.just("mute"), st.just({})),
    st.tuples(st.just("erase"), st.fixed_dictionaries({"last": st.integers(1, 3)})),
    st.tuples(st.just("erase"), st.fixed_dictionaries({"last_minutes": st.integers(1, 3000)})),
    st.tuples(st.just("erase"), st.just({"all": True})),
    st.tuples(
        st.just("shorten"),
        st.fixed_dictionaries(
            {"keep_s": st.integers(1, contract.MAX_TTL_S)},
            optional={
                "outcome": st.sampled_from(["served", "failed", "false_wake"]),
                "kind": st.sampled_from(["audio", "words", "action"]),
            },
        ),
    ),
    st.tuples(st.sampled_from([*contract.COMMANDS, "unmute", "policy"]), st.binary(max_size=40)),
)
_STEPS = st.one_of(
    _REQUESTS,
    st.tuples(st.just("seal"), st.sampled_from(["served", "failed"])),
    st.tuples(st.just("wait"), st.integers(1, 100_000)),
    st.tuples(st.just("restart"), st.none()),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(_STEPS, max_size=12))
def test_whatever_is_sent_nothing_lives_longer_than_before(
    steps: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rig = Rig(_folder(tmp_path_factory))
    room = Room(rig)
    ends: dict[str, int] = {}
    is_muted = False
    try:
        for what, argument in steps:
            policy = rig.store.policy
            if what == "seal":
                room.service.seal(utterance(outcome=argument), AUDIO)
            elif what == "wait":
                room.later(argument)
                room.service.sweep()
            elif what == "restart":
                rig.restart()
                room.begin()
            else:
                room.send(what, argument)
                room.afar.settle()
            for each, period in rig.store.policy.periods.items():
                assert period.seconds <= policy.periods[each].seconds
            assert rig.store.policy.periods.keys() == policy.periods.keys()
            for item in rig.store.index.items():
                assert item.ends_at_s <= ends.get(item.id, item.ends_at_s)
                ends[item.id] = item.ends_at_s
                assert item.state != "live" or item.ends_at_s > rig.clock.now_s - rig.config.sweep_s
            assert room.service.privacy.is_muted or not is_muted
            is_muted = room.service.privacy.is_muted
    finally:
        rig.store.close()


def _folder(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("rig")


# ---- anything at all

_KEYS = ["ids", "last", "last_minutes", "keep_s", "outcome", "kind", "transaction", "x"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner),
    max_leaves=12,
)
_ANYTHING = st.builds(
    arrow.Asked,
    name=st.sampled_from([*contract.COMMANDS, "unmute"]) | st.text(max_size=32),
    payload=st.binary(max_size=1100) | _JSON.map(lambda value: json.dumps(value).encode()),
    reply_to=st.none() | st.text(max_size=40),
    correlation=st.none() | st.binary(max_size=128),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=_ANYTHING)
def test_no_payload_ends_the_vault_or_loosens_anything(rig: Rig, asked: arrow.Asked) -> None:
    room = Room(rig)
    periods = rig.store.policy.periods
    with room.service.lock:
        room.afar.hear(asked)
    room.afar.settle()
    for reply, where, _ in room.answers:
        contract.encode(reply)
        assert where is None or contract.is_reply_topic(NODE, where)
    assert all(rig.store.policy.periods[each].seconds <= periods[each].seconds for each in periods)
    assert rig.store.policy.periods.keys() == periods.keys()
