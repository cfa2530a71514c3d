"""What the system tests share: the real thing, at a place of its own, and a phrase to hear."""

from __future__ import annotations

from rig_capture import strace
from rig_fadeout import as_root, home, mosquitto
from rig_speech import speech
from rig_state import sealed_state
from sound_card import no_sound_card, sound_card

__all__ = ["as_root", "home", "mosquitto", "no_sound_card", "sealed_state", "sound_card", "speech", "strace"]
