"""When the light is on, and what is said of it: with gpiozero's own simulated pins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from device.ear.fake_vault import running_vault
from fadeout_device.config import Config, LightSettings, parse
from fadeout_device.ear.adapters.gpio import Lamp, refuse_without_gpio
from fadeout_device.ear.adapters.vault_link import VaultLink
from fadeout_device.ear.light import Indicator, Terminal
from fadeout_device.errors import ConfigError
from fadeout_device.messages import Lit, Opening
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIN = 25


class _Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class _Room:
    """An indicator, and what the vault is told; the light is looked at when it is told."""

    def __init__(self, light: Any) -> None:  # noqa: ANN401 - a lamp with its pin, or none
        self.clock = _Clock()
        self.told: list[Lit] = []
        self.indicator = Indicator(light, self.told.append, self.clock)

    def shows(self) -> tuple[str, ...]:
        return self.told[-1].shows


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockFactory]:
    factory = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory
    factory.reset()


@pytest.fixture
def room() -> _Room:
    return _Room(Terminal())


def test_it_begins_dark_and_says_so(room: _Room) -> None:
    assert room.told == [Lit("terminal")]


def test_it_is_on_while_something_is_recorded(room: _Room) -> None:
    for is_recording in (False, True, True, False, False):
        room.indicator.look(is_recording=is_recording)
    assert [lit.shows for lit in room.told] == [(), ("recording",), ()], "only changes are told"


def test_it_is_on_for_as_long_as_the_vault_says_and_goes_out_by_itself(room: _Room) -> None:
    room.indicator.opening(Opening(1, 2000))
    assert room.told[-1] == Lit("terminal", ("opening",), 1)
    room.clock.now_s += 1.9
    room.indicator.look(is_recording=False)
    assert room.shows() == ("opening",)
    room.clock.now_s += 0.2
    room.indicator.look(is_recording=False)
    assert room.shows() == ()


def test_a_blink_does_not_cut_a_longer_light_short_and_every_opening_is_answered(room: _Room) -> None:
    room.indicator.opening(Opening(1, 2000))
    room.indicator.opening(Opening(2, 300))
    assert [lit.answers for lit in room.told] == [0, 1, 2]
    room.clock.now_s += 1.0
    room.indicator.look(is_recording=False)
    assert room.shows() == ("opening",)


def test_what_is_recorded_keeps_it_on_when_the_opening_is_over(room: _Room) -> None:
    room.indicator.look(is_recording=True)
    room.indicator.opening(Opening(1, 300))
    assert room.shows() == ("recording", "opening")
    room.clock.now_s += 1.0
    room.indicator.look(is_recording=True)
    assert room.shows() == ("recording",)


@pytest.mark.parametrize("active_low", [False, True])
def test_a_lamp_is_on_before_the_vault_is_told(
    pins: MockFactory, tmp_path: Path, *, active_low: bool
) -> None:
    lamp = Lamp(LightSettings(pin=PIN, active_low=active_low), tmp_path)
    pin = pins.pin(PIN)
    seen = []
    indicator = Indicator(lamp, lambda lit: seen.append((lit.shows, pin.state != active_low)), _Clock())
    indicator.opening(Opening(1, 2000))
    assert seen == [((), False), (("opening",), True)]
    indicator.close()
    assert pin.state == active_low


def test_a_pin_that_something_else_has_is_one_clear_error(pins: MockFactory, tmp_path: Path) -> None:
    assert pins
    other = gpiozero.LED(PIN)
    with pytest.raises(ConfigError, match=f"light.pin: GPIO {PIN} cannot be used") as caught:
        Lamp(LightSettings(pin=PIN), tmp_path)
    assert caught.value.hint
    assert caught.value.exit_code == 78
    other.close()


def test_without_gpio_the_start_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "no_such_library")
    with pytest.raises(ConfigError, match=r"light\.pin"):
        Lamp(LightSettings(pin=PIN), tmp_path)


def test_without_the_library_a_pin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="gpiozero is not installed") as caught:
        refuse_without_gpio("light.pin")
    assert "fadeout[pi]" in (caught.value.hint or "")


@pytest.mark.parametrize("line", ["pin = 28", "pin = -1", 'pin = "GPIO25"', "active_low = 1"])
def test_what_is_no_pin_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"x:2: light\."):
        parse(f"[light]\n{line}", "x")
    assert Config().light.pin is None


def test_the_vault_is_answered_and_told_again_when_it_comes_back(state: Path) -> None:
    link = VaultLink(state / "run" / "ear.sock")
    indicator = Indicator(Terminal(), link.set_light, _Clock())
    link.on_opening = indicator.opening

    def is_told(lit: Lit) -> bool:
        link.poll()
        return vault.of(Lit)[-1:] == [lit]

    with running_vault(state / "run" / "ear.sock") as vault:
        wait_for(lambda: is_told(Lit("terminal")), "the light is told")
        vault.open(Opening(7, 2000))
        wait_for(lambda: is_told(Lit("terminal", ("opening",), 7)), "the opening is answered")
        vault.stop()
        vault.messages.clear()
        vault.start()
        wait_for(lambda: is_told(Lit("terminal", ("opening",), 7)), "the light is told again")
        link.close()
