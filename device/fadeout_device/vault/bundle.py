"""What an export holds, as a tar: a folder for each recording, and a manifest at the end.

Made piece by piece, so that one recording at a time is in memory in clear, and only
there: what leaves here goes straight into encryption (`export.py`). The manifest
comes last; an export without one was cut short. Zeros after the end of the tar, which
every tar leaves alone, make the size of the encrypted file say little about the content.

Knows nothing of keys, of who gets it, or of where it goes.
"""

from __future__ import annotations

import io
import tarfile
import wave
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fadeout_device.answers import RecordingRow
    from fadeout_device.vault.sealing import Metadata
    from fadeout_device.vault.store import Content

FOLDER = "fadeout-export"
"""Everything is in it: unpacking strews no files."""
RATE_HZ = 16_000
SAMPLE_BYTES = 2
_VERSION = 1
_BLOCK_BYTES = 512
_END_BYTES = 2 * _BLOCK_BYTES
_STEPS = 8
_LEAST_BYTES = 64 * 1024
_METADATA = "metadata.json"


class OpenRecording(NamedTuple):
    """One recording in clear."""

    row: RecordingRow
    metadata: Metadata
    contents: list[Content]

    def __repr__(self) -> str:
        """Say only which: the contents are speech."""
        return f"OpenRecording({self.row.recording})"


class About(NamedTuple):
    """What the manifest says of the export as a whole."""

    fadeout: str
    """The version that made it."""
    made_at_s: float
    recipient: str
    fingerprint: str
    policy_hash: str


class Bundle:
    """One tar in the making: `add` for each recording, `end` once; each yields the tar's next bytes."""

    def __init__(self, about: About) -> None:
        self._about = about
        self._size_bytes = 0
        self._recordings: list[dict[str, object]] = []

    def add(self, recording: OpenRecording) -> Iterator[bytes]:
        """Yield a recording's folder."""
        name = recording.row.recording
        at_s = recording.metadata.captured_at_s
        if not self._recordings:
            yield from self._folder("", self._about.made_at_s)
        yield from self._folder(f"/{name}", at_s)
        files = [
            *((_name(content), _file(content)) for content in recording.contents
              if _name(content) != _METADATA),
            (_METADATA, _json(_described(recording))),
        ]  # fmt: skip
        for file, data in files:
            yield from self._file(f"/{name}/{file}", data, at_s)
        self._recordings.append(
            {
                "recording": name,
                "files": [
                    {"name": file, "size_bytes": len(data), "sha256": sha256(data).hexdigest()}
                    for file, data in files
                ],
            }
        )

    def end(self) -> Iterator[bytes]:
        """Yield the manifest, the end of the tar, and the zeros after it."""
        about = self._about
        manifest = {
            "format": "fadeout export",
            "v": _VERSION,
            "fadeout": about.fadeout,
            "made_at": _time(about.made_at_s),
            "recipient": about.recipient,
            "fingerprint": about.fingerprint,
            "policy_hash": about.policy_hash,
            "note": "fadeout erases its own copies on time; it cannot erase these",
            "recordings": self._recordings,
        }
        yield from self._file("/manifest.json", _json(manifest), about.made_at_s)
        yield bytes(padded_size(self._size_bytes + _END_BYTES) - self._size_bytes)

    def _folder(self, path: str, at_s: float) -> Iterator[bytes]:
        entry = tarfile.TarInfo(FOLDER + path)
        entry.type = tarfile.DIRTYPE
        entry.mode = 0o700
        yield from self._entry(entry, at_s)

    def _file(self, path: str, data: bytes, at_s: float) -> Iterator[bytes]:
        entry = tarfile.TarInfo(FOLDER + path)
        entry.size = len(data)
        entry.mode = 0o600
        yield from self._entry(entry, at_s)
        for piece in (data, bytes(-len(data) % _BLOCK_BYTES)):
            self._size_bytes += len(piece)
            yield piece

    def _entry(self, entry: tarfile.TarInfo, at_s: float) -> Iterator[bytes]:
        entry.mtime = int(at_s)
        header = entry.tobuf(tarfile.USTAR_FORMAT)
        self._size_bytes += len(header)
        yield header


def padded_size(size_bytes: int) -> int:
    """Return the size to which a tar grows: the next of eight steps between two powers of two.

    At least 64 KiB; never more than an eighth is added.
    """
    step = max(_LEAST_BYTES, 1 << (size_bytes - 1).bit_length()) // (2 * _STEPS)
    return max(_LEAST_BYTES, -(-size_bytes // step) * step)


def _described(recording: OpenRecording) -> dict[str, object]:
    metadata = recording.metadata
    return {
        "recording": recording.row.recording,
        "captured_at": _time(metadata.captured_at_s),
        "captured_at_s": metadata.captured_at_s,
        "wake_word": metadata.wake_word,
        "score": metadata.score,
        "duration_s": metadata.duration_s,
        "speech_s": metadata.speech_s,
        "outcome": recording.row.outcome,
        "action": metadata.action,
        "kept": [
            {"kind": content.item.item_class.kind, "file": _name(content),
             "ends_at": _time(content.item.ends_at_s), "ends_on_update": content.item.ends_on_update}
            for content in recording.contents
        ],
    }  # fmt: skip


def _name(content: Content) -> str:
    """Return the file of an item; what is kept of an action stands in the metadata."""
    if content.part == "response":
        return "response.txt"
    return {"audio": "audio.wav", "words": "words.txt"}.get(content.item.item_class.kind, _METADATA)


def _file(content: Content) -> bytes:
    if content.item.item_class.kind != "audio":
        return content.data
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(SAMPLE_BYTES)
        wav.setframerate(RATE_HZ)
        wav.writeframes(content.data)
    return file.getvalue()


def _json(fields: dict[str, object]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
