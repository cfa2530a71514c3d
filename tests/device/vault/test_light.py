"""The light is on before anything is opened, and a dead ear delays that but does not prevent it."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import pytest

from fadeout_device.errors import WireError
from fadeout_device.messages import EarState, Lit, Opening
from fadeout_device.vault import container
from fadeout_device.vault.ear_line import EarLine, light_in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from device.vault.conftest import Rig
    from fadeout_device.messages import Purpose, ToEar
    from fadeout_device.vault.service import Service


class _Ear:
    """An ear that answers at once, in a thread, as the real one does; or never."""

    def __init__(self, service: Service, *, answers: bool = True) -> None:
        self.asked: list[Opening] = []
        self._service = service
        self._answers = answers
        arriving = threading.Thread(target=lambda: service.ear_is_here(self.hear, is_new=True))
        arriving.start()
        arriving.join()

    def hear(self, message: ToEar) -> None:
        if isinstance(message, Opening):
            self.asked.append(message)
            if self._answers:
                lit = Lit("terminal", ("opening",), message.n)
                threading.Thread(target=self._service.light_shows, args=(lit,), daemon=True).start()


@pytest.fixture
def service(rig: Rig) -> Service:
    return rig.serve()


@pytest.mark.parametrize(
    ("purpose", "for_ms"),
    [
        pytest.param("play", 2000, id="for a person it is on for a while"),
        pytest.param("export", 2000, id="for an export, too"),
        pytest.param("event", 300, id="for an event it blinks"),
    ],
)
def test_every_opening_asks_for_the_light_first(
    rig: Rig, service: Service, monkeypatch: pytest.MonkeyPatch, purpose: Purpose, for_ms: int
) -> None:
    rig.seal()
    ear = _Ear(service)
    service.light_shows(Lit("terminal"))
    opened: list[int] = []
    really = container.open_metadata

    def open_metadata(leaf_key: bytes, data: bytes) -> bytes:
        opened.append(len(ear.asked))
        return really(leaf_key, data)

    monkeypatch.setattr(container, "open_metadata", open_metadata)
    with service.lock:
        rig.store.metadata(rig.store.index.live()[0], purpose)
    assert opened == [1], "something was opened before the light was asked for"
    assert ear.asked == [Opening(1, for_ms)]


def test_erasing_by_time_opens_envelopes_and_asks_for_the_light(rig: Rig, service: Service) -> None:
    rig.seal()
    ear = _Ear(service)
    service.light_shows(Lit("terminal"))
    with service.lock:
        assert rig.store.captured_since(rig.clock.proven() - 60)
    assert len(ear.asked) == 1


def test_without_an_ear_it_is_opened_and_whoever_watches_is_told(rig: Rig, service: Service) -> None:
    rig.seal()
    with service.watchers.watch() as watcher, service.lock:
        rig.store.metadata(rig.store.index.live()[0])
        assert [(h.what, h.reason) for h in watcher.take()] == [
            ("light", "missing, no ear with one is here: opening")
        ]


def test_an_ear_without_a_light_is_not_asked(rig: Rig, service: Service) -> None:
    """One that replays files has none."""
    rig.seal()
    ear = _Ear(service)
    service.hear(EarState(listening=True, source="files"))
    with service.lock:
        rig.store.metadata(rig.store.index.live()[0])
    assert ear.asked == []
    assert light_in_words(service.light).startswith("none")


def test_what_the_light_shows_is_told_and_in_the_status(service: Service) -> None:
    assert _Ear(service)
    with service.watchers.watch() as watcher:
        for shows in ((), ("recording",), ("recording",), ("recording", "opening"), ()):
            service.light_shows(Lit("gpio", shows))
        assert [h.reason for h in watcher.take()] == ["on: recording", "on: recording and opening", "off"]
    assert light_in_words(service.light) == "a lamp: off"


class _Silent:
    """An ear's line whose ear never answers; the time is a test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Opening] = []
        self.waits = 0
        self.now_s = 1000.0
        self.line = EarLine(threading.RLock(), lambda: self.now_s)
        self.line.arrive(self._tell, is_new=True, is_muted=False)
        self.line._served_by = 0
        self.line.light_shows(Lit("gpio"))
        monkeypatch.setattr(self.line._has_answered, "wait_for", self._wait_for)

    def _tell(self, message: ToEar) -> None:
        if isinstance(message, Opening):
            self.asked.append(message)

    def _wait_for(self, _condition: Callable[[], bool], timeout_s: float = math.inf) -> bool:
        assert timeout_s <= 0.5
        self.waits += 1
        return False


def test_an_ear_that_does_not_answer_is_waited_for_once_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = _Silent(monkeypatch)
    for _ in range(5):
        assert silent.line.light_up(is_short=False)
        silent.now_s += 10
    assert (silent.waits, len(silent.asked)) == (1, 5)
    silent.line.light_shows(Lit("gpio", (), 5))
    assert silent.line.light_up(is_short=False)
    assert silent.waits == 2


def test_openings_one_after_the_other_keep_the_light_on_and_ask_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = _Silent(monkeypatch)
    for _ in range(100):
        assert silent.line.light_up(is_short=False)
        silent.now_s += 0.1
    assert 8 <= len(silent.asked) <= 12


def test_a_blink_is_not_waited_for_and_what_follows_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = _Silent(monkeypatch)
    assert silent.line.light_up(is_short=True)
    assert silent.waits == 0
    silent.line.light_shows(Lit("gpio", ("opening",), 1))
    assert silent.line.light_up(is_short=False)
    assert silent.waits == 1
    assert [(each.n, each.for_ms) for each in silent.asked] == [(1, 300), (2, 2000)]


def test_what_the_ear_itself_asks_for_does_not_wait_for_the_ear(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = _Silent(monkeypatch)
    silent.line._served_by = threading.get_ident()
    assert silent.line.light_up(is_short=False)
    assert (silent.waits, len(silent.asked)) == (0, 1)


def test_an_ear_that_is_gone_is_no_light(rig: Rig, service: Service) -> None:
    def gone(message: ToEar) -> None:
        if isinstance(message, Opening):
            raise WireError("gone")

    rig.seal()
    service.ear_is_here(gone, is_new=True)
    service.light_shows(Lit("terminal"))
    with service.watchers.watch() as watcher, service.lock:
        rig.store.metadata(rig.store.index.live()[0])
        assert [h.what for h in watcher.take()] == ["light"]


def test_the_process_after_this_one_asks_on(rig: Rig, service: Service) -> None:
    ear = _Ear(service)
    service.light_shows(Lit("terminal", (), 41))
    following = rig.serve()
    following.go_on_with_light(service.light)
    following.ear_is_here(ear.hear, is_new=False)
    rig.seal()
    with following.lock:
        rig.store.metadata(rig.store.index.live()[0], "event")
    assert [each.n for each in ear.asked] == [42]
