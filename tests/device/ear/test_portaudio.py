"""Calls that may never return."""

from __future__ import annotations

import os
import threading

import pyaudio
import pytest

from fadeout_device.ear.adapters import portaudio, quiet
from fadeout_device.ear.adapters.portaudio import StuckError, open_input, patiently
from fadeout_device.ear.inputs import InputDevice, MicrophoneError


def test_what_a_call_returns_is_returned() -> None:
    assert patiently(lambda: 7, 60, lambda: True) == 7


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 // 0, 60, lambda: True)


def test_a_call_that_nobody_waits_for_any_more_may_still_end() -> None:
    asked = threading.Event()

    def is_wanted() -> bool:
        asked.set()
        return False

    assert patiently(lambda: asked.wait(60), 60, is_wanted) is True


@pytest.mark.parametrize(
    ("limit_s", "is_wanted"),
    [pytest.param(0.2, True, id="for too long"), pytest.param(3600, False, id="after nobody waits any more")],
)
def test_a_call_that_does_not_return_is_given_up(
    limit_s: float, *, is_wanted: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(portaudio, "GRACE_S", 0.2)
    go_on, has_ended = threading.Event(), threading.Event()

    def call() -> None:
        with quiet.stderr_discarded():
            go_on.wait(60)
        has_ended.set()

    with pytest.raises(StuckError, match="does not answer") as stuck:
        patiently(call, limit_s, lambda: is_wanted)
    assert stuck.value.exit_code == os.EX_OSERR, "whoever runs the ear would not start it again"
    os.write(2, b"said")
    go_on.set()
    assert has_ended.wait(60), "it would end within the next test, and change its standard error"
    assert capfd.readouterr().err == "said", "what is said after it is discarded"


class _Refusing:
    """A PortAudio whose device refuses every rate; no plug-in of ALSA does."""

    def open(self, *_: object, **__: object) -> object:
        raise OSError(pyaudio.paInvalidSampleRate, "Invalid sample rate")


@pytest.mark.parametrize(
    ("tried", "told"),
    [
        pytest.param([(22_051, 1), (22_051, 2)], "has no rate of 22051 Hz", id="the one that is configured"),
        pytest.param([(16_000, 1), (48_000, 1)], "cannot be opened: invalid sample rate", id="every one"),
    ],
)
def test_a_rate_that_a_microphone_has_not_is_named(tried: list[tuple[int, int]], told: str) -> None:
    device = InputDevice(1, "rode", 2, 48_000, is_default=False)
    with pytest.raises(MicrophoneError, match=f'the microphone "rode" {told}') as refused:
        open_input(_Refusing(), device, tried, lambda: (None, 0))
    assert refused.value.hint
