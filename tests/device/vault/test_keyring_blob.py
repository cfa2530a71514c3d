"""The keyring's blob: the format's examples, and what is refused."""

from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fadeout_device.policy import CLASSES
from fadeout_device.vault import keyring_blob
from fadeout_device.vault.errors import AuthenticationError, FormatError
from fadeout_device.vault.keyring_blob import Body, open_blob, seal_blob
from fadeout_device.vault.keytree import KeyTree
from fadeout_device.vault.rootslot import Root

WIDE = Root(1, bytes(range(0x40, 0x60)))
NARROW = Root(1, bytes(range(0x40, 0x50)))
BODY = Body(bytes(range(0x60, 0x80)), {c: KeyTree.plant(bytes([c.code]) * 32) for c in CLASSES})


def _sealed(plain: bytes) -> bytes:
    """Return a blob with any body, sealed as it should be."""
    prefix = keyring_blob._prefix(1)
    return prefix + keyring_blob._cipher(WIDE).encrypt(bytes(12), plain, prefix)


def _plain() -> bytes:
    return keyring_blob._cipher(WIDE).decrypt(bytes(12), seal_blob(BODY, WIDE)[17:], keyring_blob._prefix(1))


@pytest.mark.parametrize(
    ("root", "digest"),
    [
        (WIDE, "a9aef7eed632bad1fec04d7b5bfdfcef232ac1553c858a8a0da8265c79f8b988"),
        (NARROW, "9da4a3c0280a3eedc7190917aa898a701d3c68e79e322b205a72a422050131d0"),
    ],
    ids=["root of 32 bytes", "root of 16 bytes"],
)
def test_the_examples_of_the_format(root: Root, digest: str) -> None:
    blob = seal_blob(BODY, root)
    assert (len(blob), sha256(blob).hexdigest()) == (443, digest)
    opened = open_blob(blob, root)
    assert opened.signing_seed == BODY.signing_seed
    assert [opened.trees[c].encode() for c in CLASSES] == [BODY.trees[c].encode() for c in CLASSES]


def test_the_key_is_another_for_another_generation() -> None:
    """Whoever could put a root back under another number would still open nothing."""
    blob = seal_blob(BODY, WIDE)
    renumbered = keyring_blob._prefix(2) + blob[17:]
    with pytest.raises(AuthenticationError):
        open_blob(renumbered, Root(2, WIDE.secret))
    with pytest.raises(AuthenticationError):
        open_blob(blob[:17] + ChaCha20Poly1305(WIDE.secret).encrypt(bytes(12), _plain(), blob[:17]), WIDE)


@pytest.mark.parametrize(
    ("blob", "error"),
    [
        pytest.param(b"", FormatError, id="empty"),
        pytest.param(seal_blob(BODY, WIDE)[:16], FormatError, id="less than the prefix"),
        pytest.param(b"fadeoutK\x02" + seal_blob(BODY, WIDE)[9:], FormatError, id="another version"),
        pytest.param(seal_blob(BODY, Root(2, WIDE.secret)), FormatError, id="another generation"),
        pytest.param(seal_blob(BODY, WIDE)[:-1], AuthenticationError, id="cut short"),
        pytest.param(seal_blob(BODY, WIDE) + b"\0", AuthenticationError, id="something follows"),
        pytest.param(seal_blob(BODY, Root(1, bytes(32))), AuthenticationError, id="another root"),
        pytest.param(_sealed(b""), FormatError, id="no body"),
        pytest.param(_sealed(_plain()[:-37]), FormatError, id="a tree that lacks a node"),
        pytest.param(_sealed(_plain()[:-42]), FormatError, id="a tree missing"),
        pytest.param(_sealed(_plain() + b"\0"), FormatError, id="something after the last tree"),
        pytest.param(_sealed(_plain()[32:]), FormatError, id="no signing seed"),
    ],
)
def test_what_is_not_this_generations_whole_is_refused(blob: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        open_blob(blob, WIDE)


def test_a_body_does_not_show_its_keys() -> None:
    assert repr(BODY) == "Body(9 nodes)"
