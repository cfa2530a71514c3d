"""The keyring's blob: the signing seed and all key trees, sealed under one generation's root.

Bytes in, bytes out. Refuses to know where blobs and roots are kept, and in what
order they are written: that is `keyring.py`. Pure; each root seals one blob, once.

Source: docs/format.md, "Keyring".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fadeout_device.policy import CLASSES, ItemClass
from fadeout_device.vault.errors import AuthenticationError, FormatError
from fadeout_device.vault.keytree import NODE_BYTES, KeyTree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fadeout_device.vault.rootslot import Root

SEED_BYTES = 32

_MAGIC = b"fadeoutK\x01"
_GENERATION = struct.Struct(">Q")
_PREFIX_BYTES = len(_MAGIC) + _GENERATION.size
_TREE_HEADER = struct.Struct(">BI")
_ENTRY_BYTES = 5 + NODE_BYTES
_KEY_INFO = b"fadeout keyring v1"
# Each key seals one blob, once: a fixed nonce never repeats under a key.
_NONCE = bytes(12)


class Body(NamedTuple):
    """What a blob holds."""

    signing_seed: bytes
    """The Ed25519 seed of the ledger, 32 bytes."""
    trees: Mapping[ItemClass, KeyTree]
    """One for each class."""

    def __repr__(self) -> str:
        """Say how many nodes there are, never what they are."""
        return f"Body({sum(len(tree) for tree in self.trees.values())} nodes)"


def seal_blob(body: Body, root: Root) -> bytes:
    """Return the blob of the root's generation."""
    prefix = _prefix(root.generation)
    parts = [body.signing_seed]
    for item_class in CLASSES:
        tree = body.trees[item_class]
        parts += [_TREE_HEADER.pack(item_class.code, len(tree)), tree.encode()]
    return prefix + _cipher(root).encrypt(_NONCE, b"".join(parts), prefix)


def open_blob(blob: bytes, root: Root) -> Body:
    """Open the blob of the root's generation.

    Raises:
        FormatError: a blob of another version or generation, or one that is not written like this.
        AuthenticationError: it was changed or cut short, or another root sealed it.
    """
    prefix = _prefix(root.generation)
    if blob[:_PREFIX_BYTES] != prefix:
        raise FormatError("a keyring of another version or generation")
    try:
        plain = memoryview(_cipher(root).decrypt(_NONCE, blob[_PREFIX_BYTES:], prefix))
    except InvalidTag as err:
        raise AuthenticationError("a keyring that this root does not open") from err
    signing_seed, plain = bytes(plain[:SEED_BYTES]), plain[SEED_BYTES:]
    trees = {}
    for item_class in CLASSES:
        if len(plain) < _TREE_HEADER.size:
            raise FormatError("a keyring ends before its last tree")
        code, nodes = _TREE_HEADER.unpack_from(plain)
        if code != item_class.code:
            raise FormatError(f"a keyring's tree has class code {code}, not {item_class.code}")
        end = _TREE_HEADER.size + nodes * _ENTRY_BYTES
        if len(plain) < end:
            raise FormatError("a keyring ends inside a tree")
        trees[item_class] = KeyTree.decode(bytes(plain[_TREE_HEADER.size : end]))
        plain = plain[end:]
    if plain:
        raise FormatError(f"{len(plain)} bytes follow a keyring's last tree")
    return Body(signing_seed, trees)


def _prefix(generation: int) -> bytes:
    return _MAGIC + _GENERATION.pack(generation)


def _cipher(root: Root) -> ChaCha20Poly1305:
    """Return the blob's cipher. Derived, so that a root of 16 bytes will do as well as one of 32."""
    info = _KEY_INFO + _GENERATION.pack(root.generation)
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt=b"", info=info).derive(root.secret))
