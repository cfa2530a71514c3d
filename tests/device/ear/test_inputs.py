"""Which microphone a configuration means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fadeout_device.ear.adapters.remembered import remember, remembered
from fadeout_device.ear.inputs import HeldInput, InputDevice, MicrophoneError, choose, formats

if TYPE_CHECKING:
    from pathlib import Path

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


HELD = HeldInput(RESPEAKER.name, "arecord, process 612")


@pytest.mark.parametrize(
    ("inputs", "wanted", "why", "told"),
    [
        pytest.param((WEBCAM,), "respeaker", "busy", "(arecord, process 612)", id="its name"),
        pytest.param(
            (WEBCAM,), "usb", "ambiguous", f'2 "{WEBCAM.name}", "{RESPEAKER.name}" (in use by',
            id="a name of it and of one that is free",
        ),
        pytest.param((), "default", "busy", RESPEAKER.lasting_name, id="the only one"),
        pytest.param((), 1, "busy", f'number 1; "{RESPEAKER.name}" is in use', id="a number of none"),
        pytest.param((WEBCAM,), "rode", "no such device", "no microphone named", id="another name"),
    ],
)  # fmt: skip
def test_what_another_program_has_is_not_said_to_be_missing(
    inputs: tuple[InputDevice, ...], wanted: str | int, why: str, told: str
) -> None:
    with pytest.raises(MicrophoneError) as refused:
        choose(inputs, wanted, [HELD])
    assert told in str(refused.value)
    assert refused.value.why == why


def test_when_the_default_is_held_another_room_is_not_listened_to() -> None:
    with pytest.raises(MicrophoneError, match='"default" is in use by another program'):
        choose((WEBCAM,), "default", [HeldInput("default")])
    assert choose((WEBCAM,), "default", [HELD]) == WEBCAM, "it is not the default"


@pytest.mark.parametrize(
    ("inputs", "known_as", "found"),
    [
        pytest.param(ALL, "", WEBCAM, id="it was never opened"),
        pytest.param(ALL, WEBCAM.name, WEBCAM, id="it is the same one"),
        pytest.param(
            (moved(WEBCAM, 2, 5), RESPEAKER), WEBCAM.name, moved(WEBCAM, 2, 5),
            id="it is the same one, plugged in elsewhere",
        ),
        pytest.param(
            (moved(RESPEAKER, 2, 1), moved(WEBCAM, 3, 4)), WEBCAM.name, moved(WEBCAM, 3, 4),
            id="it has another number now",
        ),
        pytest.param(
            (HAT, moved(WEBCAM, 1, 1)), WEBCAM.name, moved(WEBCAM, 1, 1), id="no other has its number"
        ),
    ],
)  # fmt: skip
def test_a_number_means_what_it_meant_when_it_was_opened_first(
    inputs: tuple[InputDevice, ...], known_as: str, found: InputDevice
) -> None:
    assert choose(inputs, 2, (), known_as) == found


def test_a_number_that_now_means_another_is_refused_with_what_to_write() -> None:
    with pytest.raises(MicrophoneError, match='"HD Webcam C525: USB Audio", which was number 1') as refused:
        choose(ALL[:2], 1, (), WEBCAM.name)
    assert refused.value.why == "no such device"
    assert f'device = "{RESPEAKER.lasting_name}"' in (refused.value.hint or "")
    with pytest.raises(MicrophoneError) as refused:
        choose((WEBCAM,), 2, [HELD], RESPEAKER.name)
    assert refused.value.why == "busy"


def test_only_the_number_that_is_configured_is_remembered(tmp_path: Path) -> None:
    assert remembered(tmp_path, 2) == ""
    remember(tmp_path, 2, WEBCAM.name)
    remember(tmp_path, 2, WEBCAM.name)
    assert remembered(tmp_path, 2) == WEBCAM.name
    assert remembered(tmp_path, 1) == remembered(tmp_path, "default") == remembered(None, 2) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["microphone.json"]
    (tmp_path / "microphone.json").write_bytes(b"\xff")
    assert remembered(tmp_path, 2) == ""
    remember(tmp_path / "gone", 2, WEBCAM.name)


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
