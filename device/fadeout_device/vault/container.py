"""A sealed item: metadata and content in one envelope, under a key of its own.

docs/format.md, "Sealed item", is the specification. The header is public and
bound as associated data; everything else, times and names included, is inside.
Padding to a power of two of chunks makes the size say little about the length.
Pure: keys, salts and bytes are arguments.

Source: RFC 8439 (ChaCha20-Poly1305), RFC 5869 (HKDF); the chunk nonces are those of
STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, 2015) as age writes them.
"""

from __future__ import annotations

import struct
from base64 import b32hexencode
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fadeout_device.vault.errors import AuthenticationError, FormatError

MAGIC = b"fadeout\x01"
SALT_BYTES = 32
HEADER_BYTES = 48
CHUNK_BYTES = 16 * 1024
TAG_BYTES = 16
MAX_CHUNKS = 256
MAX_METADATA_BYTES = 4096

_HEADER = struct.Struct(f">8sB3sI{SALT_BYTES}s")
_LENGTHS = struct.Struct(">II")
_SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
_ITEM_KEY_INFO = b"fadeout item v1"
_EVENT_ID_LABEL = b"fadeout event id v1"


class Header(NamedTuple):
    """The public part: which key opens the item."""

    class_code: int
    """The item's class: `policy.ItemClass.code`."""
    leaf: int
    """The item's leaf in its class's key tree."""
    salt: bytes
    """32 random bytes; a leaf used twice still gives two keys."""


class Body(NamedTuple):
    """The secret part."""

    metadata: bytes
    content: bytes

    def __repr__(self) -> str:
        """Say only the sizes."""
        return f"Body({len(self.metadata)} B metadata, {len(self.content)} B content)"


def item_key(leaf_key: bytes, header: Header) -> bytes:
    """Derive the item's own 32-byte key from its leaf."""
    info = _ITEM_KEY_INFO + struct.pack(">BI", header.class_code, header.leaf)
    return HKDF(SHA256(), 32, header.salt, info).derive(leaf_key)


def event_id(key: bytes) -> str:
    """Return the name under which the item is reported: 16 base32hex digits (80 bits).

    An HMAC under the item's own key: it links to nothing, and nobody can derive it
    once the key is gone.
    """
    hmac = HMAC(key, SHA256())
    hmac.update(_EVENT_ID_LABEL)
    return b32hexencode(hmac.finalize()[:10]).decode().lower()


def seal(leaf_key: bytes, header: Header, body: Body) -> bytes:
    """Seal a body; returns the whole item: header, then sealed chunks."""
    if len(body.metadata) > MAX_METADATA_BYTES:
        raise ValueError(f"{len(body.metadata)} bytes of metadata, at most {MAX_METADATA_BYTES}")
    plain = _LENGTHS.pack(len(body.metadata), len(body.content)) + body.metadata + body.content
    chunks = _padded_chunks(len(plain))
    plain = plain.ljust(chunks * CHUNK_BYTES, b"\0")
    public = _HEADER.pack(MAGIC, header.class_code, bytes(3), header.leaf, header.salt)
    cipher = ChaCha20Poly1305(item_key(leaf_key, header))
    sealed = [public]
    for number in range(chunks):
        chunk = plain[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        sealed.append(cipher.encrypt(_nonce(number, chunks), chunk, public))
    return b"".join(sealed)


def sealed_size(body: Body) -> int:
    """Return the size in bytes that `seal` will give this body."""
    chunks = _padded_chunks(_LENGTHS.size + len(body.metadata) + len(body.content))
    return HEADER_BYTES + chunks * _SEALED_CHUNK_BYTES


def _padded_chunks(size_bytes: int) -> int:
    """Return the number of chunks for so many bytes: the next power of two."""
    chunks = max(1, -(-size_bytes // CHUNK_BYTES))
    chunks = 1 << (chunks - 1).bit_length()
    if chunks > MAX_CHUNKS:
        raise ValueError(f"{size_bytes} bytes do not fit into {MAX_CHUNKS} chunks")
    return chunks


def parse_header(data: bytes) -> Header:
    """Read the 48-byte header at the start of a sealed item; anything after it is left alone.

    Raises:
        FormatError: too short, unknown magic or version, or reserved bytes set.
            Never about keys: nothing here is secret, and nothing is trusted yet.
    """
    if len(data) < HEADER_BYTES:
        raise FormatError(f"a sealed item of {len(data)} bytes is cut short")
    magic, class_code, reserved, leaf, salt = _HEADER.unpack_from(data)
    if magic[:-1] != MAGIC[:-1]:
        raise FormatError("not a sealed item")
    if magic != MAGIC:
        raise FormatError(f"a sealed item of version {magic[-1]}; this fadeout reads version {MAGIC[-1]}")
    if reserved != bytes(3):
        # A byte we ignored would be a byte an attacker may change unseen.
        raise FormatError("a sealed item's reserved bytes are not zero")
    return Header(class_code, leaf, salt)


def open_item(leaf_key: bytes, data: bytes) -> Body:
    """Open a whole item.

    Raises:
        FormatError: it is cut, or padded in a way `seal` does not.
        AuthenticationError: a bit was changed, chunks were moved, or the key is another.
    """
    header = parse_header(data)
    chunks = _count_chunks(data)
    cipher = ChaCha20Poly1305(item_key(leaf_key, header))
    plain = b"".join([_open_chunk(cipher, data, number, chunks) for number in range(chunks)])
    metadata_length, content_length = _LENGTHS.unpack_from(plain)
    start = _LENGTHS.size + metadata_length
    end = start + content_length
    if metadata_length > MAX_METADATA_BYTES or end > len(plain) or _padded_chunks(end) != chunks:
        raise FormatError("a sealed item's lengths do not fit its size")
    if plain.count(0, end) != len(plain) - end:
        raise FormatError("a sealed item's padding is not zero")
    return Body(plain[_LENGTHS.size : start], plain[start:end])


def open_metadata(leaf_key: bytes, data: bytes) -> bytes:
    """Open an item's metadata, without its content: the first chunk holds it whole.

    Raises:
        FormatError, AuthenticationError: as `open_item`.
    """
    header = parse_header(data)
    cipher = ChaCha20Poly1305(item_key(leaf_key, header))
    plain = _open_chunk(cipher, data, 0, _count_chunks(data))
    length, _ = _LENGTHS.unpack_from(plain)
    if length > MAX_METADATA_BYTES:
        raise FormatError("a sealed item's lengths do not fit its size")
    return plain[_LENGTHS.size : _LENGTHS.size + length]


def _count_chunks(data: bytes) -> int:
    chunks, rest = divmod(len(data) - HEADER_BYTES, _SEALED_CHUNK_BYTES)
    if rest or chunks < 1 or chunks > MAX_CHUNKS or chunks & (chunks - 1):
        raise FormatError(f"a sealed item of {len(data)} bytes is cut short or has something after it")
    return chunks


def _open_chunk(cipher: ChaCha20Poly1305, data: bytes, number: int, chunks: int) -> bytes:
    start = HEADER_BYTES + number * _SEALED_CHUNK_BYTES
    try:
        return cipher.decrypt(
            _nonce(number, chunks), data[start : start + _SEALED_CHUNK_BYTES], data[:HEADER_BYTES]
        )
    except InvalidTag as err:
        raise AuthenticationError("a sealed item was changed, or belongs to another key") from err


def _nonce(number: int, chunks: int) -> bytes:
    """Return STREAM's nonce: an 11-byte counter, and 1 on the last chunk only: none can be cut off."""
    return number.to_bytes(11, "big") + bytes([number == chunks - 1])
