"""A chain of APA102 LEDs: the bits on its two wires, and what it then shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory, MockSPIDevice

from fadeout_device.config import LightSettings, parse
from fadeout_device.ear.adapters.gpio import Ring, light_on_pins
from fadeout_device.ear.apa102 import DARK, colour, colours, frame
from fadeout_device.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORANGE, BLUE = (0xE6, 0x9F, 0x00), (0x00, 0x72, 0xB2)


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockFactory]:
    factory = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory
    factory.reset()


def shown(bits: list[int], count: int) -> list[tuple[int, ...]]:
    """Return what LEDs with so many bits on their wires show: brightness, red, green, blue.

    Written from the datasheet, and knows nothing of the code under test.
    """
    start = bits.index(1)
    assert start >= 32, "no start frame"
    words = [bits[at : at + 32] for at in range(start, start + 32 * count, 32)]
    assert all(word[:3] == [1, 1, 1] for word in words), "an LED frame begins with three ones"
    rest = bits[start + 32 * count :]
    assert len(rest) >= 32 + count / 2, "the last LED does not see the end of its frame"
    assert not any(rest), "an LED that is not there, or the next frame, would be set"

    def number(some: list[int]) -> int:
        return int("".join(str(int(bit)) for bit in some), 2)

    return [(number(word[3:8]), number(word[24:]), number(word[16:24]), number(word[8:16])) for word in words]


def bits_of(data: bytes) -> list[int]:
    return [byte >> place & 1 for byte in data for place in range(7, -1, -1)]


@pytest.mark.parametrize("count", [1, 2, 3, 12, 63, 64])
def test_each_led_gets_its_colour_and_the_last_one_sees_it(count: int) -> None:
    leds = [(index, 255 - index, index // 2) for index in range(count)]
    assert shown(bits_of(frame(leds, 31)), count) == [(31, *led) for led in leds]


def test_the_bytes_are_those_of_the_datasheet() -> None:
    assert frame([(0x11, 0x22, 0x33)], 1) == bytes.fromhex("00000000 e1 33 22 11 00000000 00")


@pytest.mark.parametrize(
    ("shows", "lit"),
    [
        ((), [DARK, DARK, DARK]),
        (("recording",), [ORANGE, ORANGE, ORANGE]),
        (("opening",), [BLUE, DARK, BLUE]),
        (("recording", "opening"), [ORANGE, BLUE, ORANGE]),
    ],
)
def test_what_is_shown_can_be_told_apart_without_seeing_colours(shows: Any, lit: list[Any]) -> None:  # noqa: ANN401 - a literal's tuple
    assert colours(shows, 3, ORANGE, BLUE) == lit
    assert any(led != DARK for led in colours(shows, 1, ORANGE, BLUE)) is bool(shows), "one LED is enough"


@pytest.mark.parametrize(("data", "clock"), [(10, 11), (5, 6)])
def test_the_wires_carry_it_and_the_power_is_on_before(
    pins: MockFactory, tmp_path: Path, data: int, clock: int
) -> None:
    settings = LightSettings(
        kind="apa102", leds=3, brightness=5, data_pin=data, clock_pin=clock, power_pin=12
    )
    chain = MockSPIDevice(clock, data, None, 8, pin_factory=pins)
    ring = light_on_pins(settings, tmp_path)
    assert isinstance(ring, Ring)
    assert pins.pin(12).state
    ring.show(("recording",))
    assert shown(chain.rx_buf, 3) == [(5, *ORANGE)] * 3
    ring.close()
    assert shown(chain.rx_buf, 3) == [(5, *DARK)] * 3


def test_a_pin_that_something_else_has_is_one_clear_error(pins: MockFactory, tmp_path: Path) -> None:
    assert pins
    other = gpiozero.LED(11)
    with pytest.raises(ConfigError, match=r"light\.data_pin, light\.clock_pin: GPIO 10, 11 and 8 cannot"):
        Ring(LightSettings(kind="apa102"), tmp_path)
    other.close()


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('kind = "apa102"\npin = 25', r"x:3: light\.pin: is a lamp's"),
        ('kind = "apa102"\nclock_pin = 10', r"light\.clock_pin: 10 is also light\.data_pin"),
        ('kind = "apa102"\npower_pin = 8', r"light\.power_pin: 8 is also"),
        ('kind = "apa102"\n[button]\npin = 11', r"x:4: button\.pin: 11 is the light's pin"),
        ('kind = "apa102"\nleds = 0', r"x:3: light\.leds"),
        ('kind = "apa102"\nbrightness = 32', r"x:3: light\.brightness"),
        ('kind = "apa102"\nrecording_colour = "red"', r"x:3: light\.recording_colour"),
        ('kind = "apa102"\nrecording_colour = "#000000"', r"light\.recording_colour.*too dark to be seen"),
        ('kind = "neopixel"', r"x:2: light\.kind"),
    ],
)
def test_what_cannot_be_is_refused(lines: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(f"[light]\n{lines}", "x")


def test_colours_are_read_as_they_are_written() -> None:
    assert colour("#E69f00") == ORANGE
    assert parse('[light]\nkind = "apa102"\n[button]\npin = 17', "x").light.leds == 3
