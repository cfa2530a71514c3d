"""webrtcvad as the capture's speech detector.

Source: WebRTC, common_audio/vad; the Python API of py-webrtcvad, whose maintained
build is webrtcvad-wheels.
"""

from __future__ import annotations

import webrtcvad

from fadeout_device.ear.capture import RATE_HZ


class WebRtcVad:
    """Judges frames of 30 ms in 5 to 30 microseconds each.

    Args:
        mode: 0 takes most sounds for speech, 3 the fewest.
    """

    def __init__(self, mode: int) -> None:
        self._vad = webrtcvad.Vad(mode)

    def is_speech(self, frame: bytes) -> bool:
        """Judge the next 30 ms of 16 kHz mono s16le."""
        return bool(self._vad.is_speech(frame, RATE_HZ))
