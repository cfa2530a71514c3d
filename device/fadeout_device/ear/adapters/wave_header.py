"""The header of a WAV file, read only to learn whether its audio is all there.

libsndfile decodes the audio; but it plays a file that was cut short without a
word, and takes one whose writer never came back to fill in the size for empty.

Source: Microsoft "Multimedia Programming Interface and Data Specifications 1.0", RIFF and WAVE.
"""

from __future__ import annotations

import os
import struct
from io import FileIO
from typing import Any, NamedTuple

_RIFF_BYTES = 12
_CHUNK_HEADER = struct.Struct("<4sI")
_SIZE_FIELD_BYTES = 4
_MAX_CHUNKS = 1_000

# Writers that cannot seek back leave a size of this kind; the audio ends where the file ends.
# 0x7FFFF000 is SoX's, 0x7FFFFFFF and 0x80000000 are arecord's, 0xFFFFFFFF is FFmpeg's.
_STREAMED_FROM_BYTES = 0x7FFF_0000


class WaveHeader(NamedTuple):
    """What a WAV file says of its audio, and what is there."""

    data_at: int
    """Offset of the audio in the file."""
    promised_bytes: int
    """Size of the audio by the header; 0 and huge numbers come from writers that could not seek back."""
    present_bytes: int

    @property
    def is_cut_short(self) -> bool:
        """The header promises audio that is not there."""
        return self.present_bytes < self.promised_bytes < _STREAMED_FROM_BYTES

    @property
    def is_unfinished(self) -> bool:
        """There is audio, though the header says that there is none."""
        return self.promised_bytes == 0 < self.present_bytes


def read_wave_header(stream: FileIO) -> WaveHeader | None:
    """Read the header at the start of a file; None for anything that is no WAV file.

    Raises:
        EOFError: it is a WAV file, and ends before its audio begins.
    """
    size_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    riff = stream.read(_RIFF_BYTES)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return None
    for _ in range(_MAX_CHUNKS):
        header = stream.read(_CHUNK_HEADER.size)
        if len(header) < _CHUNK_HEADER.size:
            break
        name, length_bytes = _CHUNK_HEADER.unpack(header)
        start = stream.tell()
        if name == b"data":
            return WaveHeader(start, length_bytes, size_bytes - start)
        # Chunks start at even offsets.
        stream.seek(start + length_bytes + length_bytes % 2)
    raise EOFError(f"no audio in {size_bytes} bytes")


class FinishedStream(FileIO):
    """A WAV file whose size field, 0 in the file, reads as "to the end of the file".

    Args:
        descriptor: of the open file; stays the caller's, who closes it last.
        data_at: offset of the audio in the file; the size field stands right before it.
    """

    def __init__(self, descriptor: int, data_at: int) -> None:
        super().__init__(descriptor, closefd=False)
        self._field_at = data_at - _SIZE_FIELD_BYTES

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - whatever has the buffer protocol
        """Read as `FileIO` does, with the size field filled in."""
        start = self.tell()
        count = super().readinto(buffer) or 0
        view = memoryview(buffer).cast("B")
        for at in range(
            max(self._field_at - start, 0), min(self._field_at + _SIZE_FIELD_BYTES - start, count)
        ):
            view[at] = 0xFF
        return count
