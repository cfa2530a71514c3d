"""The button: it closes the microphone before the vault is asked, and comes before everything."""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from device.ear.fake_vault import FakeVault, running_vault
from fadeout_device import wire
from fadeout_device.config import ButtonSettings, parse
from fadeout_device.ear.adapters.gpio import PushButton
from fadeout_device.ear.adapters.vault_link import VaultLink
from fadeout_device.errors import ConfigError, UnavailableError
from fadeout_device.messages import EarState, Pressed
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PIN = 17


class _Pressing:
    """A link with a button that a test presses."""

    def __init__(self, path: Path) -> None:
        self.presses = 0
        self.link = VaultLink(path)
        self.link.take_press = self._take

    def _take(self) -> bool:
        self.presses -= 1
        return self.presses >= 0

    def press(self) -> None:
        self.presses = 1
        self.link.poll()

    def until(self, condition: Callable[[], bool], why: str) -> None:
        def polled() -> bool:
            self.presses = 0
            self.link.poll()
            return condition()

        wait_for(polled, why)


@pytest.fixture
def ear(state: Path) -> Iterator[_Pressing]:
    made = _Pressing(state / "run" / "ear.sock")
    yield made
    made.link.close()


@pytest.fixture
def vault(state: Path) -> Iterator[FakeVault]:
    with running_vault(state / "run" / "ear.sock") as made:
        yield made


@pytest.mark.parametrize("active_low", [True, False])
def test_each_press_counts_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, active_low: bool) -> None:
    factory = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    button = PushButton(ButtonSettings(PIN, active_low), tmp_path)
    pin = factory.pin(PIN)
    press, let_go = (pin.drive_low, pin.drive_high) if active_low else (pin.drive_high, pin.drive_low)
    assert not button.take()
    for _ in range(2):
        press()
        let_go()
    assert [button.take() for _ in range(3)] == [True, True, False]
    button.close()
    factory.reset()


def test_a_pin_for_both_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"x:4: button\.pin: 25 is the light's pin"):
        parse("[light]\npin = 25\n[button]\npin = 25", "x")


def test_a_press_mutes_before_the_vault_has_said_anything(ear: _Pressing, vault: FakeVault) -> None:
    ear.until(lambda: ear.link.is_ready, "the vault is there")
    ear.press()
    assert ear.link.is_muted
    assert vault.wait_for(Pressed) == [Pressed(mute=True)]
    ear.press()
    assert not ear.link.is_muted, "the vault has not muted it, so nobody needs to be asked"
    assert vault.wait_for(Pressed, 2)[1] == Pressed(mute=False)


def test_while_the_vault_is_away_a_press_mutes_and_is_the_first_that_it_is_told(
    ear: _Pressing, state: Path
) -> None:
    ear.link.set_state(EarState(listening=True, source="a microphone"))
    ear.press()
    assert ear.link.is_muted
    with running_vault(state / "run" / "ear.sock") as vault:
        ear.until(lambda: bool(vault.of(EarState)), "the vault is there")
        assert vault.messages[0] == Pressed(mute=True)
        assert ear.link.is_muted, "the vault has not confirmed it"
        vault.mute(is_muted=True, by="button")
        vault.mute(is_muted=False)
        ear.until(lambda: not ear.link.is_muted, "what the vault has confirmed it can end")
        ear.link.close()


def test_an_unmute_that_was_under_way_does_not_end_a_mute_by_the_button(
    ear: _Pressing, vault: FakeVault
) -> None:
    ear.until(lambda: ear.link.is_ready, "the vault is there")
    ear.press()
    vault.mute(is_muted=True, by="control")
    vault.mute(is_muted=False)
    vault.mute(is_muted=True, by="mqtt")
    ear.until(lambda: ear.link._is_told_muted, "all of it has come")
    assert ear.link._is_pressed
    vault.mute(is_muted=False)
    ear.until(lambda: not ear.link._is_told_muted, "that, too")
    assert ear.link.is_muted, "only a mute of which the vault says that the button did it is the button's"


def test_what_the_vault_has_muted_only_the_vault_opens(ear: _Pressing, vault: FakeVault) -> None:
    ear.until(lambda: ear.link.is_ready, "the vault is there")
    vault.mute(is_muted=True, by="mqtt")
    ear.until(lambda: ear.link.is_muted, "it is muted")
    ear.press()
    assert vault.wait_for(Pressed) == [Pressed(mute=False)]
    assert ear.link.is_muted
    vault.stop()
    ear.until(lambda: not ear.link.is_ready, "the vault is away")
    ear.press()
    assert ear.link.is_muted


def test_a_press_counts_at_once_when_the_vault_is_back(ear: _Pressing, state: Path) -> None:
    with running_vault(state / "run" / "ear.sock") as vault:
        vault.is_muted = True
        ear.until(lambda: ear.link.is_ready, "the vault is there")
        vault.stop()
        ear.until(lambda: not ear.link.is_ready, "it is gone")
        vault.start()
        wait_for(lambda: _connected(ear), "its Ready waits to be read")
        ear.press()
        assert vault.wait_for(Pressed) == [Pressed(mute=False)]


def _connected(ear: _Pressing) -> bool:
    """Connect, and read nothing."""
    if ear.link._connection is None:
        with contextlib.suppress(UnavailableError):
            ear.link._connection = wire.connect(ear.link._path, 5.0)
    return ear.link._connection is not None and bool(select.select([ear.link._connection.sock], [], [], 0)[0])
