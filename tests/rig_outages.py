"""A vault, a reporter, a broker and two subscribers, through anything that can happen, against a model.

One process, no threads, no sleeping: the vault's end is the real one (store, service,
arrow) on a real socket pair; of the others only what the contract promises is here.
The reporter hands payloads to the broker in order and forgets them when the broker is
gone. The subscribers obey ADR 8 and nothing else; one of them goes away now and then.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from unittest import mock

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from device.vault.conftest import utterance
from fadeout_broker import arrow, contract
from fadeout_device import questions, wire
from fadeout_device.config import parse
from fadeout_device.confine import Confinement
from fadeout_device.vault import ratchet, reporting
from fadeout_device.vault.belief import Reading
from fadeout_device.vault.clock import SystemClock
from fadeout_device.vault.notices import MAX_UNTOLD
from fadeout_device.vault.outbox import MAX_RECEIPTS
from fadeout_device.vault.reporter_arrow import ReporterArrow, ReporterState, Sent
from fadeout_device.vault.service import Service
from fadeout_device.vault.store import Store
from fakes import FakeRoots, PowerCutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.messages import Outcome as Ended
    from fadeout_device.vault.index import Item

START_S = 1_600_000_000.0
HOUR, DAY = 3600, 86400
GRID_S = 900
AGE_S = 2.0
STUCK_S = 60
"""So long nothing needs to move before the reporter takes the broker for gone."""
STEPS_S = 30
"""The clock is put right by a second at a time; end dates move by whole seconds."""
RAM = Path("/dev/shm")  # noqa: S108 - syncs cost nothing there; the folder itself is made by mkdtemp
SETTINGS = arrow.BrokerSettings(node="sp-test", actions=("light.on",))
CONFIG = parse(
    '[retention.served]\naction = { keep = "6h", purpose = "p" }\n'
    '[retention.failed]\naudio = { keep = "8h", purpose = "p" }\naction = { keep = "1d", purpose = "p" }',
    "x",
)
PERIODS_S = {"served": 6 * HOUR, "failed": DAY}
SECONDS = st.sampled_from([1, 60, 600, HOUR, 5 * HOUR, 7 * HOUR, DAY, 7 * DAY])
OUTCOMES: list[Ended] = ["served", "failed", "failed"]
DISASTERS = ["panic", "erase everything", "lose the index", "crash in a panic"]
FEW = st.integers(1, 4)


@dataclass
class Happened:
    """What the model knows of one utterance."""

    place: int
    item: str
    captured_at_s: float
    period_s: int
    is_erased: bool = False
    is_at_broker: bool = False
    is_told_no_more: bool = False
    """The device left the broker and came back since."""


@dataclass
class Heard:
    """A subscriber that does what the contract says it must."""

    is_online: bool = True
    era: str = ""
    seen: int = 0
    events: dict[str, float] = field(default_factory=dict)
    """Until when each is kept, by its own clock."""
    forgot_everything: int = 0
    missed: bool = False
    """Whether it was ever away."""

    def take(self, payload: contract.Outgoing, now_s: float) -> None:
        """Take what the broker delivers."""
        if isinstance(payload, contract.ActionEvent):
            self.events[payload.id] = now_s + payload.ttl
        elif isinstance(payload, contract.EraseNotice):
            self._obey(payload.era, payload.n, payload.n, payload.ids)
        elif isinstance(payload, contract.EraseBefore):
            self._obey(payload.era, payload.n, payload.since, payload.ids)

    def _obey(self, era: str, n: int, since: int, ids: tuple[str, ...]) -> None:
        if era != self.era or (n > self.seen and since > self.seen + 1):
            self.forgot_everything += era == self.era
            self.events.clear()
            self.era, self.seen = era, n
        for name in ids:
            self.events.pop(name, None)
        self.seen = max(self.seen, n)

    def held(self, now_s: float) -> set[str]:
        """Return what it has not forgotten by now."""
        return {name for name, until_s in self.events.items() if until_s > now_s}


class World:
    """Everybody, and how they are connected."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=RAM if RAM.is_dir() else None))
        self.roots = FakeRoots()
        self.wall_s, self.running_s = START_S, 0.0
        self.ours: socket.socket | None = None
        self.theirs: wire.Connection | None = None
        self.is_linked = False
        self.queue: deque[tuple[int | None, contract.Outgoing | None]] = deque()
        """With the reporter: not at the broker yet. None: that everything retained is cleared."""
        self.unacknowledged: deque[int | None] = deque()
        """At the broker; the vault does not know. None: of a vault that is gone."""
        self.retained: dict[str, contract.Outgoing] = {}
        self.always, self.sometimes = Heard(), Heard()
        self.on_sent: Callable[[contract.Outgoing], None] = lambda _payload: None
        self.on_connection: Callable[[], None] = lambda: None
        self.start()

    # ---- the vault

    def start(self, before: ReporterState | None = None) -> None:
        self.clock = SystemClock(lambda: Reading(self.wall_s, self.running_s, "boot", False, None))
        self.store = Store(self.folder, self.roots, CONFIG.policy, CONFIG.sweep_s, self.clock)
        self.service = Service(self.store, self.clock, Confinement("n", "m"), CONFIG.sweep_s, coalesce_s=0.0)
        self.arrow = ReporterArrow(self.service, SETTINGS)
        self.service.on_change = self.arrow.pump
        if before is not None:
            self.arrow.take_over(before)
        self.service.start()

    def stop(self) -> None:
        self.service.on_change = lambda: None
        self.store.close()

    def kill_vault(self) -> None:
        """Its end of the socket is gone; the reporter lives, and what it has still goes to the broker."""
        self.stop()
        self.part()
        self.start()

    def renew_vault(self) -> None:
        """As `handover.become` does: another process, the same connection."""
        state = msgspec.json.decode(msgspec.json.encode(self.arrow.hand_over()), type=ReporterState)
        connection, self.theirs = self.theirs, None
        self.stop()
        self.start(state)
        if connection is not None:
            self.theirs = connection
            self.arrow._take(connection)
            self.arrow.pump()
            self.read()

    def read(self) -> None:
        """Take what the vault has written on the socket."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while self.ours is not None and (part := self.ours.recv(65536)):
                data += part
        recalled: list[int] = []
        for line in data.splitlines():
            said = msgspec.json.decode(line, type=arrow.ToReporter)
            if isinstance(said, arrow.Withdraw):
                self.queue.append((said.seq, None))
            if isinstance(said, arrow.Recall):
                recalled += [seq for seq, _ in self.queue if seq in said.seqs]
            if isinstance(said, arrow.Publish):
                contract.encode(said.payload)
                self.on_sent(said.payload)
                self.queue.append((said.seq, said.payload))
        self.queue = deque(each for each in self.queue if each[0] not in recalled)
        for seq in recalled:
            self.say(arrow.Published(seq))
        mine = [seq for seq, _ in self.queue if seq is not None]
        mine += [seq for seq in self.unacknowledged if seq is not None]
        assert len(mine) <= arrow.MAX_IN_FLIGHT, "more is under way than may be"
        if len(self.queue) + len(self.unacknowledged) > arrow.MAX_IN_FLIGHT:
            # What a vault has left that is gone fills the reporter's window: it connects anew.
            self.link(is_linked=False)

    def say(self, what: arrow.FromReporter) -> None:
        if self.theirs is not None:
            self.arrow._hear(msgspec.json.encode(what))
            self.read()

    # ---- the reporter and the broker

    def meet(self) -> None:
        """A reporter connects to the vault."""
        if self.theirs is not None:
            return
        self.ours, theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs = wire.Connection(theirs)
        self.arrow._take(self.theirs)
        self.read()
        if self.is_linked:
            self.on_connection()
            self.say(arrow.BrokerLink(connected=True))

    def part(self) -> None:
        """The socket between vault and reporter is gone."""
        for sock in (self.ours, self.theirs.sock if self.theirs else None):
            if sock is not None:
                sock.close()
        if self.theirs is not None:
            self.arrow._leave()
        self.ours = self.theirs = None
        self.queue = deque((None, payload) for _, payload in self.queue)
        self.unacknowledged = deque([None] * len(self.unacknowledged))

    def kill_reporter(self) -> None:
        self.is_linked = False
        self.part()
        self.queue.clear()
        self.unacknowledged.clear()

    def link(self, *, is_linked: bool) -> None:
        """The broker comes or goes; whoever reports forgets what the broker has not acknowledged."""
        if is_linked == self.is_linked:
            return
        self.is_linked = is_linked
        self.queue.clear()
        self.unacknowledged.clear()
        if is_linked:
            self.on_connection()
        self.say(arrow.BrokerLink(connected=is_linked, detail="" if is_linked else "gone"))

    def deliver(self) -> contract.Outgoing | None:
        """Have the broker take the next payload and pass it on."""
        if not self.queue or not self.is_linked:
            return None
        seq, payload = self.queue.popleft()
        self.unacknowledged.append(seq)
        if payload is None:
            self.retained.clear()
            return self.deliver()
        if payload.is_retained:
            self.retained[payload.topic] = payload
        for subscriber in (self.always, self.sometimes):
            if subscriber.is_online:
                subscriber.take(payload, self.running_s)
        return payload

    def acknowledge(self) -> None:
        if self.unacknowledged:
            seq = self.unacknowledged.popleft()
            if seq is not None:
                is_leaving = self.arrow._in_flight.get(seq) == Sent("withdraw")
                self.say(arrow.Published(seq))
                if is_leaving:
                    self.link(is_linked=False)

    def come_and_go(self) -> None:
        """The subscriber that is not always there goes, or comes back to what is retained."""
        self.sometimes.missed = True
        self.sometimes.is_online = not self.sometimes.is_online
        if self.sometimes.is_online:
            for payload in self.retained.values():
                self.sometimes.take(payload, self.running_s)

    def remove(self) -> None:
        self.part()
        self.stop()
        shutil.rmtree(self.folder)


class Outages(RuleBasedStateMachine):
    """Anything may happen, in any order."""

    changed: ClassVar[dict[str, Any]] = {}
    """What a mutant does otherwise: a dotted name and what stands there instead."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Happened] = {}
        """By event id."""
        self.top: dict[str, int] = {}
        self.is_order_certain = True
        self.is_precise = True
        self.last_place = -1
        self.stack = contextlib.ExitStack()

    @initialize()
    def begin(self) -> None:
        for name, instead in type(self).changed.items():
            self.stack.enter_context(mock.patch(name, instead))
        self.world = World()
        self.stack.callback(self.world.remove)
        self.world.on_sent = self._sent
        self.world.on_connection = self._connected

    def teardown(self) -> None:
        try:
            if hasattr(self, "world") and sys.exc_info()[0] is None:
                self._settle()
        finally:
            self.stack.close()

    # ---- what must hold of everything that is sent

    def _connected(self) -> None:
        self.last_place = -1

    def _sent(self, payload: contract.Outgoing) -> None:
        if isinstance(payload, contract.ActionEvent):
            self._event_sent(payload)
        elif isinstance(payload, contract.EraseNotice):
            top = self.top.get(payload.era, 0)
            assert payload.n <= top + 1, f"notice {payload.n} follows {top}: one was skipped"
            self.top[payload.era] = max(top, payload.n)
        elif isinstance(payload, contract.EraseBefore):
            top = self.top.get(payload.era, 0)
            if payload.since > payload.n and payload.n > top:
                self.top[payload.era] = payload.n
                self.is_precise = False
            else:
                assert payload.n <= top, "the watermark is ahead of the notices"

    def _event_sent(self, event: contract.ActionEvent) -> None:
        assert event.id in self.known, "an event of something that never was"
        happened = self.known[event.id]
        left_s = happened.captured_at_s + happened.period_s - self._now()
        assert not happened.is_erased, "the event of an erased item was sent"
        assert event.ttl <= left_s, "an event outlives its item"
        if self.is_order_certain:
            assert happened.place > self.last_place, "events come out of order"
        self.last_place = max(self.last_place, happened.place)

    # ---- the model

    def _now(self) -> float:
        return START_S + self.world.running_s

    def _tend(self) -> None:
        """Do what the vault's main thread does."""
        self.world.service.look_at_clock()
        if self.world.service.seconds_to_sweep() <= 0:
            self.world.service.sweep()
        self.world.arrow.pump()
        self.world.read()

    def _erased(self, items: set[str]) -> None:
        for happened in self.known.values():
            if happened.item in items:
                happened.is_erased = True

    def _is_alive(self, happened: Happened) -> bool:
        """Say whether its item is certainly not dead yet."""
        ends_at_s = happened.captured_at_s + happened.period_s
        return not happened.is_erased and self._now() < ends_at_s - GRID_S - STEPS_S

    def _is_dead(self, happened: Happened) -> bool:
        # An event may have been on its way for a while when it was delivered.
        ends_at_s = happened.captured_at_s + happened.period_s + STUCK_S
        return happened.is_erased or self._now() >= ends_at_s

    def _some(self, data: st.DataObject) -> list[Item]:
        live = self.world.store.index.live()
        return (
            data.draw(st.lists(st.sampled_from(live), max_size=4, unique_by=lambda i: i.id)) if live else []
        )

    # ---- rules: the device

    @rule()
    def leave_and_come_back(self) -> None:
        reporting.forget(self.world.service, questions.Forget(), 0.0)
        self.world.read()
        self._settle_down()
        retained = dict(self.world.retained)
        assert not retained or self.world.store.outbox.departure == "asked", "something still stands there"
        self.capture("served", 1)
        assert not self.world.queue, "a device that has left says something"
        reporting.forget(self.world.service, questions.Forget(is_undone=True))
        for happened in self.known.values():
            happened.is_told_no_more = True
        self.world.read()
        self.is_precise = False

    @rule(outcome=st.sampled_from(OUTCOMES), count=FEW)
    def capture(self, outcome: Ended, count: int) -> None:
        store = self.world.store
        for _ in range(count):
            before = {item.id for item in store.index.live()}
            # The time of the model is real; what is captured by a clock that is ahead ends with it.
            captured_at_s = self._now() - AGE_S
            on_change, self.world.service.on_change = self.world.service.on_change, lambda: None
            self.world.service.seal(
                utterance(outcome=outcome, action="light.on", age_s=AGE_S), b"\x01\x02" * 800
            )
            self.world.service.on_change = on_change
            for item in store.index.live():
                if item.id not in before and item.item_class.kind == "action":
                    period_s = store.policy.periods[item.item_class].seconds
                    event_id = store.files.event_id(item)
                    self.known[event_id] = Happened(len(self.known), item.id, captured_at_s, period_s)
            on_change()
            self.world.read()

    @rule(outcome=st.sampled_from(OUTCOMES), count=FEW, acknowledged=st.integers(0, 12))
    def capture_and_deliver(self, outcome: Ended, count: int, acknowledged: int) -> None:
        self.world.meet()
        self.world.link(is_linked=True)
        self.capture(outcome, count)
        while payload := self.world.deliver():
            self._note(payload)
            if acknowledged:
                acknowledged -= 1
                self.world.acknowledge()

    @rule(data=st.data())
    def erase_some(self, data: st.DataObject) -> None:
        items = self._some(data)
        self._erased({item.id for item in items})
        self.world.service.erase_items(items)
        self.world.read()

    @rule(how=st.sampled_from(DISASTERS), step=st.sampled_from([0, 3, 4, 5]))
    def lose_everything(self, how: str, step: int) -> None:
        """A panic is not cut off between the two slots: what that leaves, nobody opens again."""
        if how == "crash in a panic":
            self._crash(self.world.store.index.live(), step, self.world.service.panic)
            return
        self._erased({happened.item for happened in self.known.values()})
        if how == "panic":
            self.world.service.panic()
        elif how == "erase everything":
            self.world.service.erase_everything()
        else:
            self._lose_the_index()
        self.world.read()

    @rule(data=st.data(), step=st.integers(0, 2))
    def crash_while_erasing(self, data: st.DataObject, step: int) -> None:
        items = self._some(data)
        self._crash(items, step, lambda: self.world.service.erase_items(items))

    def _crash(self, items: list[Item], step: int, erase: Callable[[], object]) -> None:
        left = iter(range(step))

        def cut(_what: str, _slot: int) -> None:
            if next(left, None) is None:
                raise PowerCutError

        self.world.roots.before = cut
        try:
            with contextlib.suppress(PowerCutError):
                erase()
        finally:
            self.world.roots.before = lambda _what, _slot: None
        self.world.kill_vault()
        alive = {item.id for item in self.world.store.index.live()}
        self._erased({item.id for item in items} - alive)
        self.is_precise = False

    @rule(hours=st.integers(2, 5))
    def shorten(self, hours: int) -> None:
        ratchet.shorten(self.world.service, hours * HOUR, None, None)
        for happened in self.known.values():
            happened.period_s = min(happened.period_s, hours * HOUR)
        self.world.read()

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        if seconds > STUCK_S and (self.world.queue or self.world.unacknowledged):
            self.world.link(is_linked=False)  # the reporter's watchdog: a broker that does not move is gone
        self.world.wall_s += seconds
        self.world.running_s += seconds
        self._tend()

    @rule(data=st.data(), is_just_before=st.booleans())
    def wait_for_an_end(self, data: st.DataObject, *, is_just_before: bool) -> None:
        margin_s = GRID_S + 2 if is_just_before else 0
        ends = {each.captured_at_s + each.period_s - margin_s for each in self.known.values()}
        ahead = sorted(end_s for end_s in ends if end_s > self._now())
        if ahead:
            self._pass(data.draw(st.sampled_from(ahead)) - self._now())

    @rule(seconds=SECONDS, is_back=st.booleans())
    def set_the_clock(self, seconds: int, *, is_back: bool) -> None:
        self.world.wall_s += -seconds if is_back else seconds
        self.is_order_certain = False  # what looks over waits until that is certain
        self._tend()

    @rule(is_killed=st.booleans())
    def another_vault(self, *, is_killed: bool) -> None:
        if is_killed:
            self.world.kill_vault()
        else:
            self.world.renew_vault()

    def _lose_the_index(self) -> None:
        self.world.stop()
        self.world.part()
        for path in self.world.folder.glob("index.db*"):
            path.unlink()
        self.world.start()
        self.is_precise = False

    # ---- rules: everybody else

    @rule()
    def another_reporter(self) -> None:
        self.world.kill_reporter()
        self.world.meet()

    @rule(is_linked=st.booleans())
    def link(self, *, is_linked: bool) -> None:
        self.world.link(is_linked=is_linked)

    @rule(delivered=st.integers(1, 12), acknowledged=st.integers(0, 12))
    def deliver(self, delivered: int, acknowledged: int) -> None:
        for _ in range(delivered):
            self._note(self.world.deliver())
        for _ in range(acknowledged):
            self.world.acknowledge()

    @rule()
    def come_and_go(self) -> None:
        self.world.come_and_go()

    def _note(self, payload: contract.Outgoing | None) -> None:
        if isinstance(payload, contract.ActionEvent):
            self.known[payload.id].is_at_broker = True

    @rule()
    def settle(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Let everything be there and everything arrive; then look at who has what."""
        world = self.world
        world.meet()
        world.link(is_linked=True)
        if not world.sometimes.is_online:
            world.come_and_go()
        self._tend()
        self._settle_down()
        self._all_have_what_they_must()

    def _settle_down(self) -> None:
        for _ in range(10_000):
            self._note(self.world.deliver())
            self.world.acknowledge()
            if not self.world.unacknowledged and (not self.world.queue or not self.world.is_linked):
                return
        raise AssertionError("it never comes to rest")

    def _all_have_what_they_must(self) -> None:
        world, now_s = self.world, self.world.running_s
        view = world.store.timekeeper.view()
        locked = {item.id for item in world.store.index.items() if view.is_locked(item)}
        alive = {
            n: each for n, each in self.known.items() if self._is_alive(each) and each.item not in locked
        }
        lost = [each.place for each in alive.values() if not each.is_at_broker and not each.is_told_no_more]
        assert not lost, "an event is lost whose item lives"
        for subscriber in (world.always, world.sometimes):
            kept = [
                self.known[name].place for name in subscriber.held(now_s) if self._is_dead(self.known[name])
            ]
            assert not kept, "a subscriber that obeys has what was erased"
        if self.is_precise:
            missing = set(alive) - world.always.held(now_s)
            assert not missing, "a subscriber that was always there forgot what it need not"
            assert not world.always.forgot_everything

    @invariant()
    def the_outbox_is_small(self) -> None:
        if hasattr(self, "world"):
            held = len(self.world.store.index.items())
            assert self.world.store.outbox.count() <= held + MAX_RECEIPTS + MAX_UNTOLD


SLOWNESS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


class Outcome(NamedTuple):
    """What came of a search."""

    histories: int
    problems: list[str]


def search(machine: type[Outages], histories: int, steps: int = 30, *, is_always_the_same: bool) -> None:
    """Try so many histories, at random or always the same; raises what a broken promise raises."""
    phases = [Phase.generate] if is_always_the_same else [Phase.generate, Phase.shrink]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories, stateful_step_count=steps, deadline=None, database=None,
            derandomize=is_always_the_same, phases=phases, report_multiple_bugs=False,
            suppress_health_check=SLOWNESS,
        ),
    )  # fmt: skip


def run(histories: int, *, is_always_the_same: bool) -> Outcome:
    """Try so many histories of outages; returns what was broken, in words."""
    try:
        search(Outages, histories, is_always_the_same=is_always_the_same)
    except Exception as err:  # noqa: BLE001 - whatever it is, it is what a proof must tell
        return Outcome(histories, [f"{type(err).__name__}: {err}"[:300]])
    return Outcome(histories, [])
