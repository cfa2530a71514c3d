"""The ear's end of the socket, against a small vault on a real one that dies and comes back."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from device.ear.fake_vault import WAIT_S, FakeVault, running_vault
from fadeout_device.ear.adapters.vault_link import GIVE_UP_S, MAX_WAITING, Delivery, VaultLink, token
from fadeout_device.messages import EarState, NotSealed, Sealed, Tick, Utterance, Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PCM = bytes(range(200)) * 16_00
LISTENING = EarState(listening=True, source="a microphone")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        # Time passes with every look, so that retries come due without waiting.
        self.now_s += 0.1
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def link(state: Path, clock: Clock) -> Iterator[VaultLink]:
    opened = VaultLink(state / "run" / "ear.sock", clock=clock)
    yield opened
    opened.close()


def utterance(age_s: float = 10.0) -> Utterance:
    return Utterance(
        delivery=token(), wake_word="okay_nabu", score=0.9, age_s=age_s, duration_s=10.0,
        speech_s=1.0, outcome="failed", action="none",
    )  # fmt: skip


def poll_until(link: VaultLink, condition: Callable[[], bool]) -> None:
    """Poll, and leave the vault's thread its turns: the link's clock runs on with every look."""
    end_mono_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_mono_s
        link.poll()
        time.sleep(0.005)


def poll_until_ready(link: VaultLink) -> None:
    poll_until(link, lambda: link.is_ready)


def poll_until_answered(link: VaultLink, delivery: Delivery) -> None:
    poll_until(link, lambda: delivery.answer is not None)


def test_an_utterance_is_sealed(vault: FakeVault, link: VaultLink) -> None:
    poll_until_ready(link)
    delivery = link.deliver(utterance(), PCM)
    assert isinstance(delivery.answer, Sealed)
    assert delivery.answer.kept[0].kind == "audio"
    (sealed,) = vault.sealed.values()
    assert sealed[1] == PCM
    assert link.waiting == 0
    assert delivery.pcm == b"", "the audio stays in RAM after it was sealed"


def test_a_refused_utterance_is_gone(vault: FakeVault, link: VaultLink) -> None:
    vault.behaviours = ["refuse"]
    poll_until_ready(link)
    delivery = link.deliver(utterance(), PCM)
    assert isinstance(delivery.answer, NotSealed)
    assert delivery.answer.reason == "the disk is full"
    assert link.waiting == 0
    assert link.dropped == 0


@pytest.mark.parametrize("behaviour", ["die", "die after sealing", "babble"])
def test_an_unanswered_utterance_is_sent_again_with_its_token(
    vault: FakeVault, link: VaultLink, behaviour: str
) -> None:
    vault.behaviours = [behaviour]  # type: ignore[list-item]  # of the right three
    poll_until_ready(link)
    delivery = link.deliver(utterance(), PCM)
    assert delivery.answer is None
    poll_until_answered(link, delivery)
    first, second = vault.wait_for(Utterance, 2)
    assert isinstance(first, Utterance)
    assert isinstance(second, Utterance)
    assert first.delivery == second.delivery
    assert list(vault.sealed) == [first.delivery], "it was sealed twice"
    assert second.age_s > first.age_s, "it has grown older meanwhile"


def test_utterances_wait_for_a_vault_that_is_away(state: Path, link: VaultLink) -> None:
    deliveries = [link.deliver(utterance(), bytes([n]) * 2) for n in range(3)]
    assert link.waiting == 3
    with running_vault(state / "run" / "ear.sock") as vault:
        poll_until_answered(link, deliveries[-1])
        assert [pcm for _, pcm in vault.sealed.values()] == [b"\0\0", b"\1\1", b"\2\2"]


def test_a_vault_that_comes_back_is_told_again(vault: FakeVault, link: VaultLink) -> None:
    poll_until_ready(link)
    link.set_state(LISTENING)
    link.tell_time(Tick(5.0))
    link.tell_wake(Wake("okay_nabu", 0.9))
    vault.wait_for(Wake)
    vault.stop()
    poll_until(link, lambda: not link.is_ready)
    vault.messages.clear()
    vault.start()
    poll_until_ready(link)
    vault.wait_for(EarState)
    assert vault.messages == [Tick(5.0), LISTENING], "a wake word is no state, and not repeated"


def test_nothing_is_sent_before_the_vault_is_ready(vault: FakeVault, link: VaultLink) -> None:
    vault.says_ready = False
    delivery = link.deliver(utterance(), PCM)
    link.set_state(LISTENING)
    for _ in range(20):
        link.poll()
    assert not link.is_ready
    assert delivery.answer is None
    assert vault.messages == []


def test_only_so_many_utterances_wait(link: VaultLink, state: Path) -> None:
    deliveries = [link.deliver(utterance(), PCM) for _ in range(MAX_WAITING + 1)]
    assert link.waiting == MAX_WAITING
    assert link.dropped == 1
    with running_vault(state / "run" / "ear.sock") as vault:
        poll_until_answered(link, deliveries[-1])
        assert list(vault.sealed) == [d.utterance.delivery for d in deliveries[1:]]
    assert deliveries[0].answer is None


def test_an_utterance_is_given_up_after_ten_minutes(link: VaultLink, clock: Clock) -> None:
    link.deliver(utterance(), PCM)
    clock.now_s += GIVE_UP_S - 10
    link.poll()
    assert link.waiting == 1
    clock.now_s += 10
    link.poll()
    assert link.waiting == 0
    assert link.dropped == 1


def test_in_replay_an_utterance_neither_ages_nor_is_given_up(state: Path, clock: Clock) -> None:
    link = VaultLink(state / "run" / "ear.sock", ages=False, clock=clock)
    delivery = link.deliver(utterance(10.0), PCM)
    clock.now_s += GIVE_UP_S * 2
    link.poll()
    with running_vault(state / "run" / "ear.sock") as vault:
        poll_until_answered(link, delivery)
        (sent,) = vault.of(Utterance)
        assert isinstance(sent, Utterance)
        assert sent.age_s == 10.0
    link.close()


def test_a_delivery_shows_no_audio() -> None:
    assert "pcm" not in repr(Delivery(utterance(), PCM, 0.0))


def _is_muted(link: VaultLink, *, is_muted: bool) -> bool:
    return link.is_muted is is_muted


def test_it_hears_that_it_is_muted_whenever_the_vault_says_so(link: VaultLink, vault: FakeVault) -> None:
    poll_until_ready(link)
    assert not link.is_muted
    for is_muted in (True, True, False, True):
        vault.mute(is_muted=is_muted)
        poll_until(link, partial(_is_muted, link, is_muted=is_muted))
    vault.stop()
    poll_until(link, lambda: not link.is_ready)
    assert link.is_muted, "while nobody says anything else, that stays"
    vault.is_muted = False
    vault.start()
    poll_until_ready(link)
    assert not link.is_muted


def test_a_mute_may_come_before_the_answer_to_an_utterance(link: VaultLink, vault: FakeVault) -> None:
    poll_until_ready(link)
    vault.behaviours = ["mute first"]
    delivery = link.deliver(utterance(), PCM)
    poll_until_answered(link, delivery)
    assert isinstance(delivery.answer, Sealed)
    assert link.is_muted


def test_a_rest_ends_when_the_vault_speaks(vault: FakeVault, link: VaultLink) -> None:
    link.wait(0.0)
    poll_until_ready(link)
    began_mono_s = time.monotonic()
    vault.mute(is_muted=True)
    link.wait(10 * WAIT_S)
    assert time.monotonic() - began_mono_s < WAIT_S
    link.poll()
    assert link.is_muted
