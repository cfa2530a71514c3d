"""Which microphone a configuration means."""

from __future__ import annotations

import pytest

from fadeout_device.ear.inputs import InputDevice, MicrophoneError, choose, formats

RESPEAKER = InputDevice(1, "ReSpeaker 4 Mic Array (UAC1.0): USB Audio (hw:1,0)", 6, 16_000, is_default=False)
WEBCAM = InputDevice(2, "HD Webcam C525: USB Audio (hw:2,0)", 1, 48_000, is_default=False)
HAT = InputDevice(0, "seeed-2mic-voicecard: bcm2835-i2s-wm8960 (hw:0,0)", 2, 44_100, is_default=False)
DEFAULT = InputDevice(5, "default", 32, 44_100, is_default=True)
ALL = (HAT, RESPEAKER, WEBCAM, DEFAULT)


def moved(device: InputDevice, index: int, card: int) -> InputDevice:
    name = device.name[: device.name.index("(hw:")] + f"(hw:{card},0)"
    return InputDevice(index, name, device.channels, device.rate_hz, is_default=False)


@pytest.mark.parametrize(
    ("inputs", "wanted", "found"),
    [
        pytest.param(ALL, "default", DEFAULT, id="the default"),
        pytest.param((WEBCAM,), "default", WEBCAM, id="no default: the first"),
        pytest.param(ALL, 2, WEBCAM, id="an index"),
        pytest.param(ALL, "respeaker", RESPEAKER, id="a part of the name in another case"),
        pytest.param(ALL, WEBCAM.name, WEBCAM, id="the whole name"),
        pytest.param(
            (moved(RESPEAKER, 7, 3), WEBCAM), RESPEAKER.name, moved(RESPEAKER, 7, 3),
            id="the whole name of a microphone that was plugged in elsewhere",
        ),
        pytest.param(
            (RESPEAKER, moved(RESPEAKER, 7, 3)), RESPEAKER.name, RESPEAKER,
            id="the whole name of one of two that are named alike",
        ),
        pytest.param(
            (moved(WEBCAM, 0, 0), InputDevice(1, "HD Webcam C525: USB Audio 2", 1, 48_000, is_default=False)),
            "HD Webcam C525: USB Audio", moved(WEBCAM, 0, 0), id="a name that is a part of another's",
        ),
    ],
)  # fmt: skip
def test_what_is_meant_is_found(
    inputs: tuple[InputDevice, ...], wanted: str | int, found: InputDevice
) -> None:
    assert choose(inputs, wanted) == found


@pytest.mark.parametrize(
    ("inputs", "wanted", "why", "told"),
    [
        pytest.param((), "default", "no device", "no microphone was found", id="there is none at all"),
        pytest.param(ALL, "rode", "no such device", 'no microphone named "rode"', id="a name of none"),
        pytest.param(ALL, 9, "no such device", "no microphone number 9", id="an index of none"),
        pytest.param(
            ALL, "usb", "ambiguous",
            f'"usb" is a part of the names of 2 microphones: 1 "{RESPEAKER.name}", 2 "{WEBCAM.name}"',
            id="a name that two have",
        ),
        pytest.param(
            (RESPEAKER, moved(RESPEAKER, 7, 3)), RESPEAKER.lasting_name, "ambiguous", '7 "ReSpeaker',
            id="two that are named alike",
        ),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused(
    inputs: tuple[InputDevice, ...], wanted: str | int, why: str, told: str
) -> None:
    with pytest.raises(MicrophoneError) as refused:
        choose(inputs, wanted)
    assert told in str(refused.value)
    assert refused.value.why == why
    assert refused.value.hint


def test_many_candidates_make_no_endless_line() -> None:
    many = tuple(InputDevice(index, f"mic {index}", 1, 16_000, is_default=False) for index in range(40))
    with pytest.raises(MicrophoneError, match=r'5 "mic 5", and more$'):
        choose(many, "mic")


@pytest.mark.parametrize(
    ("name", "lasting"),
    [
        pytest.param(RESPEAKER.name, "ReSpeaker 4 Mic Array (UAC1.0): USB Audio", id="a card of ALSA"),
        pytest.param("USB PnP Sound Device: - (hw:3,0)", "USB PnP Sound Device", id="a card without a word"),
        pytest.param("default", "default", id="a plug-in"),
        pytest.param("(hw:1,0)", "(hw:1,0)", id="nothing but the place"),
    ],
)
def test_the_lasting_name_is_without_the_place(name: str, lasting: str) -> None:
    assert InputDevice(0, name, 1, 16_000, is_default=False).lasting_name == lasting


@pytest.mark.parametrize(
    ("device", "channel", "first", "channels"),
    [
        pytest.param(WEBCAM, "mix", (16_000, 1), {1}, id="mono"),
        pytest.param(RESPEAKER, "mix", (16_000, 1), {1, 6}, id="an array, mixed by the driver if it can"),
        pytest.param(RESPEAKER, 0, (16_000, 6), {6}, id="one channel of an array"),
        pytest.param(DEFAULT, "mix", (16_000, 1), {1, 8}, id="a plug-in that claims 32 channels"),
        pytest.param(DEFAULT, 11, (16_000, 12), {12}, id="a channel beyond the named ones"),
    ],
)  # fmt: skip
def test_the_cheapest_format_is_tried_first(
    device: InputDevice, channel: int, first: tuple[int, int], channels: set[int]
) -> None:
    tried = list(formats(device, channel, 16_000))
    assert tried[0] == first
    assert {count for _, count in tried} == channels
    assert {rate for rate, _ in tried} >= {16_000, 44_100, 48_000, 96_000, device.rate_hz}
    assert len(tried) == len(set(tried))


def test_a_rate_that_is_set_is_the_only_one_tried() -> None:
    assert list(formats(RESPEAKER, 0, 16_000, 48_000)) == [(48_000, 6)]


def test_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(MicrophoneError, match=r"there is no channel 2: .* has 2, counted from 0") as refused:
        list(formats(HAT, 2, 16_000))
    assert refused.value.why == "no such channel"
