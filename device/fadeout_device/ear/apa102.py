"""What a chain of APA102 LEDs is sent, and which colours say what. Pure: shows in, bytes out.

Colour alone tells nothing to whoever does not see it: what is recorded lights every LED,
what is opened every second one, and both together alternate. The colours are two of Okabe's
and Ito's palette, which also differ for those who see no red, no green or no blue.

Source: APA102 datasheet, "Cascading data structure"; for the end of a frame, which the datasheet
has too short for long chains, and with ones that a SK9822 takes for colour: cpldcpu,
"Understanding the APA102 Superled" and "SK9822 - a clone of the APA102?"; Okabe and Ito,
"Color Universal Design".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fadeout_device.messages import LitFor

Colour = tuple[int, int, int]
"""Red, green, blue; each 0 to 255."""

DARK: Colour = (0, 0, 0)
_START = bytes(4)
_LED = 0xE0


def colour(text: str) -> Colour:
    """Return the colour of `#rrggbb`."""
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def colours(shows: Sequence[LitFor], count: int, recording: Colour, opening: Colour) -> list[Colour]:
    """Return the colour of each LED of a chain.

    Args:
        shows: why the light is on; nothing: it is off.
        count: how many LEDs there are.
        recording: the colour for what is recorded.
        opening: the colour for what is opened.
    """
    if "recording" in shows:
        pair = (recording, opening if "opening" in shows else recording)
    else:
        pair = (opening if "opening" in shows else DARK, DARK)
    return [pair[index % 2] for index in range(count)]


def frame(leds: Sequence[Colour], brightness: int) -> bytes:
    """Return what sets a whole chain, the LED that is nearest to the data pin first.

    Args:
        leds: their colours.
        brightness: of all of them, 0 to 31.
    """
    lit = b"".join(bytes((_LED | brightness, blue, green, red)) for red, green, blue in leds)
    # Each LED passes data on half a clock late, so the last one needs half a bit for each before it;
    # and an SK9822 shows what it was sent only after 32 more zeros.
    half_bits = (len(leds) + 1) // 2
    return _START + lit + bytes(4 + (half_bits + 7) // 8)
