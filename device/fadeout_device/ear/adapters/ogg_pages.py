"""The last page of an Ogg file, read only to learn whether the file is all there.

libsndfile takes an Ogg file that was cut short for a shorter one, without a word.

Source: RFC 3533, "The Ogg page format".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import FileIO

_CAPTURE = b"OggS"
_HEADER_BYTES = 27
_MOST_PAGE_BYTES = 65_307
_LAST_OF_STREAM = 0x04


def is_ogg(stream: FileIO) -> bool:
    """Return whether a file begins as Ogg files do."""
    stream.seek(0)
    return stream.read(len(_CAPTURE)) == _CAPTURE


def is_cut_short(stream: FileIO) -> bool:
    """Return whether an Ogg file ends before its stream does: its last page is another, or is not whole."""
    size_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size_bytes - 2 * _MOST_PAGE_BYTES))
    tail = stream.read()
    at = tail.rfind(_CAPTURE)
    # What looks like the start of a page within one has no version 0.
    while at > 0 and tail[at + 4 : at + 5] not in (b"", b"\0"):
        at = tail.rfind(_CAPTURE, 0, at)
    page = tail[at:] if at >= 0 else b""
    if len(page) < _HEADER_BYTES:
        return True
    lengths = page[_HEADER_BYTES : _HEADER_BYTES + page[26]]
    is_whole = len(lengths) == page[26] and len(page) >= _HEADER_BYTES + len(lengths) + sum(lengths)
    return not (is_whole and page[5] & _LAST_OF_STREAM)
