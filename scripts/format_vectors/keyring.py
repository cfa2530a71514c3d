"""Cases of docs/format.md, "Keyring"."""

from __future__ import annotations

from format_vectors.key_tree import state
from format_vectors.primitives import ROOT, Case, aead, case, flipped, hkdf, u8, u32, u64

SIGNING_SEED = bytes(range(0x60, 0x80))


def trees_of(trees: list[bytes], codes: list[int]) -> bytes:
    """Return the trees as they stand in a blob's body."""
    return b"".join(u8(code) + u32(len(tree) // 37) + tree for code, tree in zip(codes, trees, strict=True))


def blob(root: bytes, generation: int, text: bytes, prefix: bytes | None = None) -> bytes:
    """Seal a body, rightly or wrongly made."""
    ahead = prefix or b"fadeoutK\x01" + u64(generation)
    key = hkdf(root, b"", b"fadeout keyring v1" + u64(generation))
    return ahead + aead(key, bytes(12), text, ahead)


def keyring_cases() -> dict[str, Case]:
    """Blobs that open, and those that must not."""
    seeds = [bytes([code]) * 32 for code in range(1, 10)]
    codes = list(range(1, 10))
    fresh = [state(seed, []) for seed in seeds]
    used = [
        state(seed, [(0, code)] if code % 2 else [(code, code + 1)]) for code, seed in enumerate(seeds, 1)
    ]
    cases = {}
    for name, root, generation, trees in [
        ("fresh", ROOT, 1, fresh),
        ("narrow-root", ROOT[:16], 1, fresh),
        ("used", ROOT, 7, used),
        ("all-dead", ROOT, 2**64 - 2, [b""] * 9),
    ]:
        given: Case = {"root": root.hex(), "generation": generation, "signing_seed": SIGNING_SEED.hex()}
        given["trees"] = [tree.hex() for tree in trees]
        sealed_blob = blob(root, generation, SIGNING_SEED + trees_of(trees, codes))
        cases[name] = case("success", "signing seed and nine trees", given, {"blob": sealed_blob.hex()})
    text = SIGNING_SEED + trees_of(fresh, codes)
    good = blob(ROOT, 1, text)
    swapped = [2, 1, *codes[2:]]
    for name, kind, comment, data in [
        ("nothing", "format", "no byte", b""),
        ("cut-in-the-prefix", "format", "16 bytes", good[:16]),
        ("cut-after-the-prefix", "authentication", "nothing sealed", good[:17]),
        ("cut-in-the-tag", "authentication", "by one byte", good[:-1]),
        ("cut-before-the-tag", "authentication", "no tag", good[:-16]),
        ("one-byte-more", "authentication", "after the tag", good + b"\0"),
        ("wrong-tag", "authentication", "its last bit", flipped(good, -1)),
        ("wrong-seed", "authentication", "a bit of the signing seed", flipped(good, 17)),
        ("another-root", "authentication", "sealed under another root", blob(ROOT[::-1], 1, text)),
        ("wrong-magic", "format", "sealed so", blob(ROOT, 1, text, b"FadeoutK\x01" + u64(1))),
        ("version-2", "format", "sealed so", blob(ROOT, 1, text, b"fadeoutK\x02" + u64(1))),
        ("another-generation", "format", "generation 2's", blob(ROOT, 2, text)),
        (
            "generation-renamed",
            "authentication",
            "2's with 1 in its prefix",
            good[:17] + blob(ROOT, 2, text)[17:],
        ),
        ("root-as-key", "authentication", "not derived", good[:17] + aead(ROOT, bytes(12), text, good[:17])),
        ("eight-trees", "format", "the last is missing", blob(ROOT, 1, text[:-42])),
        ("ends-in-a-tree", "format", "one byte is missing", blob(ROOT, 1, text[:-1])),
        ("ends-in-a-seed", "format", "31 bytes", blob(ROOT, 1, text[:31])),
        ("no-trees", "format", "only the signing seed", blob(ROOT, 1, text[:32])),
        ("bytes-after-the-trees", "format", "one", blob(ROOT, 1, text + b"\0")),
        ("ten-trees", "format", "the last twice", blob(ROOT, 1, text + text[-42:])),
        ("codes-out-of-order", "format", "2, 1, 3", blob(ROOT, 1, SIGNING_SEED + trees_of(fresh, swapped))),
        ("code-0", "format", "codes 0 to 8", blob(ROOT, 1, SIGNING_SEED + trees_of(fresh, list(range(9))))),
        ("too-many-nodes", "format", "a number beyond the end", blob(ROOT, 1, flipped(text, -41, 0xFF))),
        (
            "a-tree-that-is-none",
            "format",
            "the last tree has depth 33",
            blob(ROOT, 1, flipped(text, -37, 33)),
        ),
    ]:
        cases[name] = case(kind, comment, {"root": ROOT.hex(), "generation": 1, "blob": data.hex()})
    return cases
