"""Audio files as streams of 16 kHz mono blocks, never whole in memory.

WAV, FLAC, OGG, MP3 and whatever else libsndfile reads, of any rate and channel
count. A file whose header shows that it cannot be heard to its end is refused
before its first block; the reason is one line for the person who chose it.
Knows nothing of what is in the audio.

Source: soundfile.SoundFile; libsndfile, "API".
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Literal

import soundfile

from fadeout_device.ear.adapters.conversion import Blocks, Converter
from fadeout_device.ear.adapters.ogg_pages import is_cut_short, is_ogg
from fadeout_device.ear.adapters.quiet import stderr_discarded
from fadeout_device.ear.adapters.wave_header import FinishedStream, read_wave_header
from fadeout_device.errors import AudioDataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    import numpy as np

_READ_FRAMES = 16_384
_RATES_HZ = range(1_000, 768_001)
_COPY_HINT = "copy or record the file again: only complete files are replayed"
_FORMAT_HINT = "WAV, FLAC, OGG and (with libsndfile 1.1 or later) MP3 files can be replayed"


class AudioFile:
    """One open file.

    Raises:
        AudioDataError: missing, not readable, not audio, empty, or shorter than its header says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Opened here and handed on as a descriptor: libsndfile's "System error" says too little.
            # Unbuffered, so that the descriptor stands where the stream stands. Not blocking: a named
            # pipe is to be refused, and not waited for.
            stream = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115 - closed below
        except OSError as err:
            reason = (err.strerror or "cannot be opened").lower()
            raise AudioDataError(f"{path}: {reason}", "check the path and its permissions") from err
        with contextlib.ExitStack() as opened:
            opened.enter_context(stream)
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise AudioDataError(f"{path}: is no file: a pipe, or a device", "name a file or a folder")
            self._sound = opened.enter_context(_open_sound(path, stream))
            self._is_noisy = self._sound.format == "MP3"
            self._promised_frames = self._sound.frames
            self._check()
            self._opened = opened.pop_all()

    @property
    def duration_s(self) -> float:
        """Seconds of audio, as the header has it."""
        return float(self._promised_frames / self._sound.samplerate)

    def blocks(self) -> Iterator[bytes]:
        """Yield the audio in blocks of `BLOCK_SAMPLES`; the last one may be shorter.

        Raises:
            AudioDataError: the file cannot be decoded to its end.
        """
        converter = Converter(self._sound.samplerate, self._sound.channels)
        # Sixteen bits stay as they are; anything else is scaled by way of floats.
        is_plain = converter.is_identity and self._sound.subtype == "PCM_16"
        blocks = Blocks()
        frames_read = 0
        is_last = False
        while not is_last:
            frames = self._read("int16" if is_plain else "float32", frames_read)
            frames_read += len(frames)
            is_last = len(frames) < _READ_FRAMES
            pcm = frames.astype("<i2").tobytes() if is_plain else converter.from_float(frames, last=is_last)
            yield from blocks.cut(pcm)
        if rest := blocks.rest():
            yield rest
        if frames_read < self._promised_frames:
            raise AudioDataError(
                f"{self.path}: is cut short: its header promises {self._promised_frames} frames"
                f" of audio, and {frames_read} are there",
                _COPY_HINT,
            )

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def _check(self) -> None:
        if self._promised_frames == 0:
            raise AudioDataError(f"{self.path}: is empty: 0 frames of audio", _COPY_HINT)
        rate_hz = self._sound.samplerate
        if rate_hz not in _RATES_HZ:
            raise AudioDataError(
                f"{self.path}: has {rate_hz} samples per second",
                f"rates from {_RATES_HZ[0]} to {_RATES_HZ[-1]} can be replayed",
            )

    def _read(self, dtype: Literal["int16", "float32"], frames_read: int) -> np.ndarray:
        try:
            with stderr_discarded() if self._is_noisy else contextlib.nullcontext():
                frames: np.ndarray = self._sound.read(_READ_FRAMES, dtype=dtype, always_2d=True)
        except soundfile.LibsndfileError as err:
            after_s = frames_read / self._sound.samplerate
            raise AudioDataError(
                f"{self.path}: is cut short or damaged: cannot be decoded after {after_s:.1f} s:"
                f" {_reason(err)}",
                _COPY_HINT,
            ) from err
        return frames


def _open_sound(path: Path, stream: FileIO) -> soundfile.SoundFile:
    """Open the audio in a file.

    Raises:
        AudioDataError: it is not audio, or not all there.
    """
    if stream.seek(0, os.SEEK_END) == 0:
        raise AudioDataError(f"{path}: is empty: 0 bytes", _COPY_HINT)
    try:
        wave = read_wave_header(stream)
    except EOFError as err:
        raise AudioDataError(f"{path}: is cut short: {err}", _COPY_HINT) from err
    if wave is not None and wave.is_cut_short:
        raise AudioDataError(
            f"{path}: is cut short: its header promises {wave.promised_bytes} bytes of audio,"
            f" and {wave.present_bytes} are there",
            _COPY_HINT,
        )
    if wave is None and is_ogg(stream) and is_cut_short(stream):
        raise AudioDataError(
            f"{path}: is cut short: its last page of Ogg is missing, or not whole", _COPY_HINT
        )
    try:
        stream.seek(0)
        if wave is not None and wave.is_unfinished:
            return soundfile.SoundFile(FinishedStream(stream.fileno(), wave.data_at))
        with stderr_discarded():
            return soundfile.SoundFile(stream.fileno(), closefd=False)
    except soundfile.LibsndfileError as err:
        raise AudioDataError(f"{path}: is no audio that can be read: {_reason(err)}", _FORMAT_HINT) from err


def _reason(err: soundfile.LibsndfileError) -> str:
    return str(err.error_string).lower().removeprefix("error : ").rstrip(".")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
