"""A press, from the pin to the sound server, through the real ear and vault."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from rig_fadeout import Run
from rig_pins import Pins
from rig_speech import PHRASE, WAKE, say, silence, write_wav
from rig_waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from fadeout_device.answers import StatusReport
    from rig_fadeout import Home
    from sound_card import SoundCard

pytestmark = pytest.mark.system

BUTTON, LAMP = 17, 25
CONFIG = f"""
[microphone]
device = "fakemic"
[light]
pin = {LAMP}
[button]
pin = {BUTTON}
[mqtt]
enabled = false
"""


def test_a_press_closes_the_microphone_in_the_middle_of_a_recording_and_the_next_opens_it(
    home: Home, sound_card: SoundCard, tmp_path: Path
) -> None:
    """It holds for a vault that is killed, too; what was being said is gone, and the lamp is dark."""
    home.config.write_text(CONFIG)
    said = write_wav(tmp_path / "said.wav", silence(0.5) + say(WAKE) + silence(0.4) + say(PHRASE) * 6)
    pins = Pins(tmp_path)

    def status(*, muted_by: str) -> StatusReport | None:
        now = home.status()
        is_so = now is not None and now.modes.muted_by == muted_by and now.listening is (muted_by == "")
        return now if is_so else None

    with Run(home, **pins.environment) as run:
        wait_for(lambda: status(muted_by=""), "it listens")
        assert sound_card.recorders() == 1
        with sound_card.play(said) as playing:
            wait_for(lambda: pins.changes(LAMP)[-1:] == [1], "the lamp is on: it records")
            pins.press(BUTTON)
            muted = wait_for(lambda: status(muted_by="button"), "the vault says that it is muted")
            assert sound_card.recorders() == 0, "the sound server still shows a client"
            assert muted.light == "a lamp: off"
            assert pins.changes(LAMP) == [1, 0]
            playing.kill()

        killed = run.rooms()["vault"]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: run.rooms().get("vault", killed) != killed, "another vault")
        muted = wait_for(
            lambda: (now := status(muted_by="button")) and now.ear == "connected" and now,
            "a new vault says that it is muted",
        )
        assert sound_card.recorders() == 0, "it listens again, because the vault was started again"
        assert home.verb("unmute").returncode != 0, "what the button muted something else has ended"

        pins.press(BUTTON)
        ended = wait_for(lambda: status(muted_by=""), "it listens again")
        assert sound_card.recorders() == 1
        assert ended.held == 0, "what was being said when the button was pressed is stored"
