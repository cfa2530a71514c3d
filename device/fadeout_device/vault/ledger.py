"""The ledger: what was erased, what could not be, and what was opened; chained, signed, without content.

Each entry is a JSON body and an Ed25519 signature over it. The body holds the hash
of the entry before it, so that none can be changed, left out or moved; the time is
coarse, to the hour. Recordings stand by their random ids, classes by name: nothing
of what was said, nor when to the minute. Pure: keys, times and rows are arguments.

Source: docs/format.md, "Ledger"; RFC 8032 (Ed25519). The chain is that of Schneier and
Kelsey, "Secure audit logs to support computer forensics" (1999), without its keys.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from fadeout_device.messages import Purpose, Reason, Visitor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERSION = 1
HOUR_S = 3600
MAX_RECORDINGS = 100
"""In one entry: an erasure of more is told in several."""
NO_HASH = "0" * 64

_ENTRY_LABEL = b"fadeout ledger v1\n"
_HEAD_LABEL = b"fadeout ledger head v1\n"

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
FailureKind = Literal["disk_full", "read_only", "io_error", "other"]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="what", kw_only=True):
    """What all entries have."""

    v: int = VERSION
    seq: int
    prev: Hash
    """The hash of the entry before; of the first one: zeros."""
    hour: int
    """Unix seconds, a whole hour."""


class Begun(_Entry, tag="begun", frozen=True, kw_only=True):
    """The first entry under a key that no earlier entry vouches for."""

    public_key: Hash
    after: Literal["nothing", "keys_erased"]
    """`keys_erased`: there was a ledger, and its signing key went in a panic before it could sign this."""


class ErasedEntry(_Entry, tag="erased", frozen=True, kw_only=True):
    """A receipt: these keys were gone before it was written."""

    reason: Reason
    items: int
    classes: dict[str, int]
    """Items per class, like `failed.audio`."""
    recordings: tuple[str, ...]
    """Those of which an item was erased, at most `MAX_RECORDINGS`."""
    generation: int
    """The keyring that no longer holds them."""
    root_store: str


class FailedEntry(_Entry, tag="failed", frozen=True, kw_only=True):
    """An erasure that could not be completed; it is tried again until an `erased` follows."""

    reason: FailureKind
    items: int


class OpenedEntry(_Entry, tag="opened", frozen=True, kw_only=True):
    """Sealed items were opened; written before their first byte was handed over."""

    by: Visitor
    purpose: Purpose
    items: int
    recordings: tuple[str, ...]


class AcknowledgedEntry(_Entry, tag="acknowledged", frozen=True, kw_only=True):
    """A subscriber says that it has forgotten everything up to an erasure's number. Said, not proved."""

    consumer: str
    """Its name at the broker."""
    era: str
    """In which the number counts."""
    n: int


class Checkpoint(_Entry, tag="checkpoint", frozen=True, kw_only=True):
    """Entries whose end date had come were dropped, up to this one."""

    dropped: int
    dropped_hash: Hash


class Rekeyed(_Entry, tag="rekeyed", frozen=True, kw_only=True):
    """The last entry under a key: what follows is signed by this one."""

    public_key: Hash


Entry = Begun | ErasedEntry | FailedEntry | OpenedEntry | AcknowledgedEntry | Checkpoint | Rekeyed


class Signed(NamedTuple):
    """An entry as it is stored."""

    body: bytes
    signature: bytes

    @property
    def hash(self) -> str:
        """What the next entry's `prev` is."""
        return hashlib.sha256(self.body + self.signature).hexdigest()

    def decode(self) -> Entry:
        """Return the entry; raises msgspec.DecodeError if it is of no known form."""
        entry: Entry = msgspec.json.decode(self.body, type=Entry)
        return entry


class Signer:
    """Holds the signing key."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw().hex()

    def __repr__(self) -> str:
        """Say the public key only."""
        return f"Signer({self.public_key[:16]})"

    def sign(self, entry: Entry) -> Signed:
        """Return the entry as it is stored."""
        body = msgspec.json.encode(entry, order="sorted")
        return Signed(body, self._key.sign(_ENTRY_LABEL + body))

    def sign_text(self, text: bytes) -> bytes:
        """Sign bytes that begin with a label, so that they can be taken for nothing else."""
        return self._key.sign(text)

    def sign_head(self, head: dict[str, object]) -> Signed:
        """Return a signed statement of which entries there are: see docs/format.md, "Head"."""
        body = msgspec.json.encode(head, order="sorted")
        return Signed(body, self._key.sign(_HEAD_LABEL + body))


def hour_of(time_s: float) -> int:
    """Return the hour in which a time lies, in Unix seconds."""
    return int(time_s) // HOUR_S * HOUR_S


class Erasure(NamedTuple):
    """One item of which a receipt tells."""

    recording: str
    """Empty: it is not known any more."""
    class_name: str
    reason: Reason


def receipts(erasures: Iterable[Erasure]) -> Iterator[tuple[Reason, dict[str, int], tuple[str, ...]]]:
    """Group items into receipts, by reason: (reason, items per class, recordings), each small enough."""
    by_reason: dict[Reason, dict[str, list[str]]] = {}
    for erasure in erasures:
        by_reason.setdefault(erasure.reason, {}).setdefault(erasure.recording, []).append(erasure.class_name)
    for why, recordings in by_reason.items():
        names = list(recordings)
        for start in range(0, len(names), MAX_RECORDINGS):
            part = names[start : start + MAX_RECORDINGS]
            classes: dict[str, int] = {}
            for name in part:
                for class_name in recordings[name]:
                    classes[class_name] = classes.get(class_name, 0) + 1
            yield why, classes, tuple(name for name in part if name)
