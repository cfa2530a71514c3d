"""What the fault tests share with the system tests."""

from __future__ import annotations

from rig_capture import strace
from rig_fadeout import as_root, home, mosquitto
from rig_speech import speech
from rig_state import sealed_state

__all__ = ["as_root", "home", "mosquitto", "sealed_state", "speech", "strace"]
