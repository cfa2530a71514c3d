"""The last bytes of a stream, always in the same place in memory: what is older is overwritten.

A buffer that grows at one end and shrinks at the other would be moved with each block, and
leave copies of what was said behind. Knows nothing of audio.
"""

from __future__ import annotations


class Ring:
    """So many bytes, and no more.

    Args:
        size_bytes: how many are held at most; 0: none.
    """

    def __init__(self, size_bytes: int) -> None:
        self._bytes = bytearray(size_bytes)
        self._at = 0
        self._held = 0

    def __len__(self) -> int:
        """Return how many bytes are held."""
        return self._held

    def add(self, data: bytes) -> None:
        """Take what comes next, in the place of what is oldest."""
        size = len(self._bytes)
        if len(data) > size:
            data = data[len(data) - size :]
        first = min(len(data), size - self._at)
        self._bytes[self._at : self._at + first] = data[:first]
        self._bytes[: len(data) - first] = data[first:]
        self._at = (self._at + len(data)) % (size or 1)
        self._held = min(self._held + len(data), size)

    def last(self, count: int) -> bytearray:
        """Return the newest so many bytes, or as many as are held."""
        count = min(count, self._held)
        before = max(count - self._at, 0)
        return self._bytes[len(self._bytes) - before :] + self._bytes[self._at - count + before : self._at]

    def clear(self) -> None:
        """Hold nothing, and nothing of it stays in memory."""
        self._bytes[:] = bytes(len(self._bytes))
        self._at = self._held = 0
