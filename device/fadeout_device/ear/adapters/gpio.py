"""A lamp, a chain of LEDs and a button on pins, by gpiozero; imported here only where a pin is configured.

`GPIOZERO_PIN_FACTORY`, which is gpiozero's own, chooses another library than lgpio;
`mock` is one without any pins, for tests.

Source: gpiozero's documentation, "API - Pins"; lgpio, "lguGetWorkDir" (LG_WD).
"""

from __future__ import annotations

import importlib.util
import os
import queue
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fadeout_device.config import SELECT_PIN
from fadeout_device.ear.apa102 import colour, colours, frame
from fadeout_device.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.config import ButtonSettings, LightSettings
    from fadeout_device.messages import LightKind, LitFor

_BOUNCE_S = 0.05
_FACTORY_VARIABLE = "GPIOZERO_PIN_FACTORY"
_INSTALL_HINT = "install it with pip install 'fadeout[pi]', or leave the pin out"
_SPI_HINT = "switch SPI on (dtparam=spi=on), for a user of the groups gpio and spi; or leave out kind"
_CHIP_HINT = "it takes a board with GPIO and a user of the group gpio; or leave the pin out"


class Lamp:
    """A lamp.

    Raises:
        ConfigError: there is no such pin here, or something else has it.
    """

    kind: LightKind = "gpio"

    def __init__(self, settings: LightSettings, scratch: Path) -> None:
        """Take the pin; `scratch` is where lgpio may put its pipe."""

        def take() -> Any:  # noqa: ANN401 - gpiozero has no types
            gpiozero = _gpiozero(scratch)
            return gpiozero.LED(settings.pin, active_high=not settings.active_low)

        self._led = _taken(f"light.pin: GPIO {settings.pin}", take)

    def show(self, shows: tuple[LitFor, ...]) -> None:
        """Switch it; a fault of the pin ends the ear: nobody is to be heard unseen."""
        if shows:
            self._led.on()
        else:
            self._led.off()

    def close(self) -> None:
        """Switch it off, and let the pin go."""
        self._led.off()
        self._led.close()


class Ring:
    """A chain of APA102 LEDs, as HATs have them around or beside their microphones.

    Raises:
        ConfigError: one of its pins is not here, or something else has it.
    """

    kind: LightKind = "ring"

    def __init__(self, settings: LightSettings, scratch: Path) -> None:
        """Take the pins; `scratch` is where lgpio may put its pipe."""

        def take_power() -> Any:  # noqa: ANN401 - gpiozero has no types
            gpiozero = _gpiozero(scratch)
            return gpiozero.OutputDevice(settings.power_pin, initial_value=True)

        def take_bus() -> Any:  # noqa: ANN401 - gpiozero has no types
            gpiozero = _gpiozero(scratch)
            gpiozero.Device.ensure_pin_factory()
            with warnings.catch_warnings():
                # Where SPI is not switched on, gpiozero moves the pins itself, which is fast enough.
                warnings.simplefilter("ignore", gpiozero.SPISoftwareFallback)
                return gpiozero.Device.pin_factory.spi(
                    clock_pin=settings.clock_pin, mosi_pin=settings.data_pin,
                    miso_pin=None, select_pin=SELECT_PIN,
                )  # fmt: skip

        self._settings = settings
        self._power = None
        if settings.power_pin is not None:
            self._power = _taken(f"light.power_pin: GPIO {settings.power_pin}", take_power)
        named = f"GPIO {settings.data_pin}, {settings.clock_pin} and {SELECT_PIN}"
        self._bus = _taken(f"light.data_pin, light.clock_pin: {named}", take_bus, _SPI_HINT)

    def show(self, shows: tuple[LitFor, ...]) -> None:
        """Light it; a fault of the pins ends the ear: nobody is to be heard unseen."""
        settings = self._settings
        pair = colour(settings.recording_colour), colour(settings.opening_colour)
        leds = colours(shows, settings.leds, *pair)
        self._bus.write(list(frame(leds, settings.brightness)))

    def close(self) -> None:
        """Switch it off, and let the pins go."""
        self.show(())
        self._bus.close()
        if self._power is not None:
            self._power.close()


class PushButton:
    """A button that is pressed and let go.

    Raises:
        ConfigError: there is no such pin here, or something else has it.
    """

    def __init__(self, settings: ButtonSettings, scratch: Path) -> None:
        """Take the pin; `scratch` is where lgpio may put its pipe."""

        def take() -> Any:  # noqa: ANN401 - gpiozero has no types
            gpiozero = _gpiozero(scratch)
            return gpiozero.Button(settings.pin, pull_up=settings.active_low, bounce_time=_BOUNCE_S)

        self._presses: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._button = _taken(f"button.pin: GPIO {settings.pin}", take)
        # Called in gpiozero's thread.
        self._button.when_pressed = lambda: self._presses.put(None)

    def take(self) -> bool:
        """Take one press, if there was one that nobody has taken."""
        try:
            self._presses.get_nowait()
        except queue.Empty:
            return False
        return True

    def close(self) -> None:
        """Let the pin go."""
        self._button.close()


def light_on_pins(settings: LightSettings, scratch: Path) -> Lamp | Ring | None:
    """Return the light that is configured; None: there is none on pins. Raises ConfigError."""
    if not settings.pins:
        return None
    return Ring(settings, scratch) if settings.kind == "apa102" else Lamp(settings, scratch)


def refuse_without_gpio(key: str) -> None:
    """Say what is missing for a configured pin, without taking it: the running ear may have it.

    Raises:
        ConfigError: no library, or no GPIO.
    """
    if importlib.util.find_spec("gpiozero") is None:
        raise ConfigError(f"{key}: gpiozero is not installed", _INSTALL_HINT)
    if _FACTORY_VARIABLE in os.environ:
        return
    if importlib.util.find_spec("lgpio") is None:
        raise ConfigError(f"{key}: lgpio is not installed", _INSTALL_HINT)
    chips = list(Path("/dev").glob("gpiochip*"))
    if not chips:
        raise ConfigError(f"{key}: this machine has no GPIO (/dev/gpiochip*)", _CHIP_HINT)
    if not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        raise ConfigError(f"{key}: no permission for /dev/gpiochip*", _CHIP_HINT)


def _gpiozero(scratch: Path) -> Any:  # noqa: ANN401 - gpiozero has no types
    # Before the import: lgpio makes a pipe in the working folder, which may not be ours to write to.
    os.environ.setdefault("LG_WD", str(scratch))
    import gpiozero  # noqa: PLC0415 - only where a pin is configured

    if gpiozero.Device.pin_factory is None and _FACTORY_VARIABLE not in os.environ:
        # Else gpiozero would try one library after another, with warnings, and end with one without edges.
        from gpiozero.pins.lgpio import LGPIOFactory  # noqa: PLC0415

        gpiozero.Device.pin_factory = LGPIOFactory()
    return gpiozero


def _taken(what: str, take: Callable[[], Any], hint: str = _CHIP_HINT) -> Any:  # noqa: ANN401 - gpiozero has no types
    try:
        return take()
    except ModuleNotFoundError as err:
        raise ConfigError(f"{what}: {err.name} is not installed", _INSTALL_HINT) from err
    except Exception as err:
        # gpiozero's own errors, lgpio's, and OSError: all say that this pin cannot be had.
        raise ConfigError(f"{what} cannot be used: {type(err).__name__}: {err}"[:300], hint) from err
