"""`python -m fadeout_device.replaying.mouth`: plays one file into a loop, after a mark.

Confined as the ear is, because it decodes what somebody chose. The mark is ten
milliseconds of a tone, and silence up to a second from its start: where the ear hears it
begin, the file begins `LEAD_S` later. Prints what happens, a line of JSON each: `opened`
or `bad`; then `played`, or `broken`: the program that plays does not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import fadeout_device.ear.lean  # noqa: F401 - before anything else
from fadeout_device.confine import confine
from fadeout_device.errors import AudioDataError

if TYPE_CHECKING:
    from fadeout_device.ear.adapters.audiofile import AudioFile

LEAD_S = 1.0
"""From the start of the mark to the start of the file."""
RATE_HZ = 16_000
_MARK_S, _MARK_HZ, _MARK_PEAK = 0.01, 1_000, 16_000
_TAIL_S = 0.1


def main() -> int:
    """Play a file to its end."""
    confine()
    parser = argparse.ArgumentParser(prog="python -m fadeout_device.replaying.mouth", description=__doc__)
    parser.add_argument("--rate", type=int, required=True, help="samples per second that are played")
    parser.add_argument("--channels", type=int, required=True, help="channels, which all play the same")
    parser.add_argument("file", help="the file")
    parser.add_argument("player", nargs="+", help="the program that plays s16le from its standard input")
    arguments = parser.parse_args()
    from pathlib import Path  # noqa: PLC0415 - after confine

    from fadeout_device.ear.adapters.audiofile import AudioFile  # noqa: PLC0415

    try:
        file = AudioFile(Path(arguments.file))
    except AudioDataError as err:
        _say("bad", error=_printable(str(err)), hint=err.hint)
        return err.exit_code
    _say("opened", duration_s=round(file.duration_s, 3))
    return _play(file, arguments)


def _play(file: AudioFile, arguments: argparse.Namespace) -> int:
    shaped = Shaped(arguments.rate, arguments.channels)
    samples = 0
    cut: AudioDataError | None = None
    with subprocess.Popen(arguments.player, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as player:  # noqa: S603 - as named
        assert player.stdin is not None  # noqa: S101 - a pipe
        assert player.stderr is not None  # noqa: S101 - a pipe
        complaints: list[bytes] = []
        reader = threading.Thread(target=complaints.extend, args=(player.stderr,), daemon=True)
        reader.start()
        try:
            player.stdin.write(shaped.shape(mark()))
            try:
                for pcm in file.blocks():
                    player.stdin.write(shaped.shape(pcm))
                    samples += len(pcm) // 2
            except AudioDataError as err:
                cut = err
            player.stdin.write(shaped.shape(bytes(2 * int(_TAIL_S * RATE_HZ)), is_last=True))
            player.stdin.close()
        except BrokenPipeError:
            # Its exit code says why.
            player.stdin = None
        reader.join()
    if player.returncode:
        said = complaints[-1].decode(errors="replace").strip() if complaints else ""
        name = arguments.player[0]
        _say("broken", error=f"{name} ended with exit code {player.returncode}: {said or 'it says nothing'}")
        return os.EX_UNAVAILABLE
    error = {} if cut is None else {"error": _printable(str(cut)), "hint": cut.hint}
    _say("played", samples=samples, **error)
    return 0


def mark() -> bytes:
    """Return the mark and the silence after it, 16 kHz s16le."""
    import numpy as np  # noqa: PLC0415 - after confine

    tone = np.zeros(int(LEAD_S * RATE_HZ), "<i2")
    at = np.arange(int(_MARK_S * RATE_HZ))
    # From the first sample on above what counts as quiet.
    tone[: len(at)] = np.rint(_MARK_PEAK * np.cos(2 * np.pi * _MARK_HZ * at / RATE_HZ))
    return tone.tobytes()


class Shaped:
    """16 kHz mono as another rate and number of channels."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        import soxr  # noqa: PLC0415 - after confine

        self._channels = channels
        self._resampler = None if rate_hz == RATE_HZ else soxr.ResampleStream(RATE_HZ, rate_hz, 1, "int16")

    def shape(self, pcm: bytes, *, is_last: bool = False) -> bytes:
        """Return the next samples."""
        import numpy as np  # noqa: PLC0415 - after confine

        samples = np.frombuffer(pcm, "<i2")
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=is_last)
        return np.repeat(samples, self._channels).tobytes()


def _printable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "replace")


def _say(kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON values
    import msgspec  # noqa: PLC0415 - after confine

    sys.stdout.buffer.write(msgspec.json.encode({"type": kind, **fields}) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
