"""Searching bytes for secrets, however they are written down: raw, hex, base64, escaped, as numbers.

Secrets are cut into windows of 16 bytes that cannot match by accident; the words
are looked for as words. What is found is counted by name and never shown.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WINDOW_BYTES = 16
_HEAD_BYTES = 8
_LOUD = 1_500
_DISTINCT = 10
_FULL_SCALE = 32_768.0

_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}[ :]?){15,}[0-9a-fA-F]{2}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{20,}")
_ESCAPES = re.compile(rb"\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_NUMBERS = re.compile(rb"-?\d{1,5}(?:[,;\s]{1,4}-?\d{1,5}){7,}")
_NAMED_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0"}


class Secrets:
    """What must not be found, with a name for each kind."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self._words: dict[bytes, str] = {}
        self._heads: np.ndarray = np.zeros(0, "<u8")

    def add_words(self, words: Iterable[str]) -> None:
        """Add words, each of which must not be found alone, in any case."""
        for word in words:
            for encoding in ("utf-8", "utf-16-le"):
                self._words[word.lower().encode(encoding)] = "words"

    def add_audio(self, pcm: bytes) -> None:
        """Add the loud parts of 16 kHz mono s16le audio; as floats, too."""
        samples = np.frombuffer(pcm, "<i2")
        for start in range(0, len(samples) - 8, 8):
            part = samples[start : start + 8]
            if np.abs(part).max() < _LOUD or len(set(part.tobytes())) < _DISTINCT:
                continue
            self._names[part.tobytes()] = "audio"
            for four in (part[:4], part[4:]):
                scaled = (four / _FULL_SCALE).astype("<f4").tobytes()
                if len(set(scaled)) >= _DISTINCT:
                    self._names[scaled] = "audio"
        self._sort()

    def add_keys(self, name: str, keys: Iterable[bytes]) -> int:
        """Add keys, each half on its own; return how many there are."""
        count = 0
        for key in keys:
            count += 1
            for start in range(0, len(key) - WINDOW_BYTES + 1, WINDOW_BYTES):
                self._names[key[start : start + WINDOW_BYTES]] = name
        self._sort()
        return count

    def _sort(self) -> None:
        heads = [int.from_bytes(window[:_HEAD_BYTES], "little") for window in self._names]
        self._heads = np.unique(np.array(heads, "<u8"))

    def found(self, data: bytes) -> Counter[str]:
        """Count what is found in some bytes: by kind of secret and way of writing."""
        counts: Counter[str] = Counter()
        for writing, view in _views(data):
            lower = view.lower()
            counts.update(f"{name}, {writing}" for word, name in self._words.items() if word in lower)
            counts.update(f"{name}, {writing}" for name in self._windows(view))
        return counts

    def _windows(self, data: bytes) -> Iterator[str]:
        positions = len(data) - WINDOW_BYTES + 1
        if positions < 1 or not len(self._heads):
            return
        heads: np.ndarray = np.ndarray((positions,), "<u8", data, 0, (1,))
        at = np.minimum(np.searchsorted(self._heads, heads), len(self._heads) - 1)
        for position in np.flatnonzero(self._heads[at] == heads):
            name = self._names.get(data[position : position + WINDOW_BYTES])
            if name is not None:
                yield name


def _views(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes as they are, and what they may stand for."""
    yield "raw", data
    for run in _HEX.findall(data):
        digits = re.sub(rb"[ :]", b"", run)
        for skipped in (0, 1):
            rest = digits[skipped:]
            yield "hex", bytes.fromhex(rest[: len(rest) // 2 * 2].decode())
    for run in _BASE64.findall(data):
        standard = run.translate(bytes.maketrans(b"-_", b"+/"))
        for skipped in range(4):
            rest = standard[skipped:]
            try:
                yield "base64", base64.b64decode(rest[: len(rest) // 4 * 4])
            except binascii.Error:
                continue
    if b"\\x" in data:
        yield "escaped", _ESCAPES.sub(_unescape, data)
    for run in _NUMBERS.findall(data):
        numbers = [int(number) for number in re.findall(rb"-?\d+", run)]
        if all(0 <= number <= 255 for number in numbers):
            yield "numbers", bytes(numbers)
        elif all(-32_768 <= number <= 32_767 for number in numbers):
            yield "numbers", struct.pack(f"<{len(numbers)}h", *numbers)


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1] is not None:
        return bytes.fromhex(found[1].decode())
    return _NAMED_ESCAPES.get(found[2], found[2])
