"""Two implementations of docs/format.md agree: `scripts/make_vectors` and this one."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fadeout_device.policy import CLASSES
from fadeout_device.vault import container, rootslot
from fadeout_device.vault.errors import AuthenticationError, FormatError, KeyErasedError
from fadeout_device.vault.keyring_blob import Body, open_blob, seal_blob
from fadeout_device.vault.keytree import KeyTree
from fadeout_device.vault.roots import file as file_roots
from fadeout_device.vault.rootslot import Root

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
GENERATOR = ROOT / "scripts" / "make_vectors"
VECTORS = ROOT / "tests" / "vectors"
KINDS = {"format": FormatError, "authentication": AuthenticationError, "erased": KeyErasedError}

Case = dict[str, Any]


def _cases(form: str, *expected: str) -> list[Any]:
    found = []
    for path in sorted((VECTORS / form).glob("*.json")):
        case = json.loads(path.read_text())
        if case["expect"] in expected:
            found.append(pytest.param(case, id=path.stem))
    assert found
    return found


def _bytes(form: str, described: Any) -> bytes:  # noqa: ANN401 - as JSON has it
    """Join the pieces in which a vector describes bytes."""
    if isinstance(described, str):
        return bytes.fromhex(described)
    joined = b""
    for piece in described:
        if isinstance(piece, str):
            joined += bytes.fromhex(piece)
        elif "repeat" in piece:
            joined += bytes.fromhex(piece["repeat"]) * piece["times"]
        else:
            other = json.loads((VECTORS / form / f"{piece['case']}.json").read_text())
            joined += _bytes(form, other["output"]["item"])[piece["from"] : piece["to"]]
    return joined


# ---- key tree


def _punctured(case: Case) -> KeyTree:
    tree = KeyTree.plant(bytes.fromhex(case["input"]["seed"]))
    for puncture in case["input"]["punctures"]:
        if "leaf" in puncture:
            tree.puncture(puncture["leaf"])
        else:
            tree.puncture_below(puncture["below"])
    return tree


def _key_or_erased(tree: KeyTree, leaf: int) -> str:
    try:
        return tree.leaf_key(leaf).hex()
    except KeyErasedError:
        return "erased"


@pytest.mark.parametrize("case", _cases("keytree", "success"))
def test_a_key_tree_is_punctured_as_the_document_says(case: Case) -> None:
    encoded = bytes.fromhex(case["output"]["tree"])
    assert _punctured(case).encode() == encoded
    tree = KeyTree.decode(encoded)
    assert tree.encode() == encoded
    keys = {leaf: _key_or_erased(tree, int(leaf)) for leaf in case["output"]["leaf_keys"]}
    assert keys == case["output"]["leaf_keys"]


@pytest.mark.parametrize("case", _cases("keytree", "format", "erased"))
def test_what_a_key_tree_refuses(case: Case) -> None:
    with pytest.raises(KINDS[case["expect"]]):
        KeyTree.decode(bytes.fromhex(case["input"]["tree"])).leaf_key(case["input"].get("leaf", 0))


# ---- sealed item


@pytest.mark.parametrize("case", _cases("item", "success"))
def test_an_item_is_sealed_and_opened_as_the_document_says(case: Case) -> None:
    given, output = case["input"], case["output"]
    leaf_key = bytes.fromhex(given["leaf_key"])
    header = container.Header(given["class_code"], given["leaf"], bytes.fromhex(given["salt"]))
    body = container.Body(bytes.fromhex(given["metadata"]), _bytes("item", given["content"]))
    item = container.seal(leaf_key, header, body)
    assert container.item_key(leaf_key, header).hex() == output["item_key"]
    assert len(item) == output["size"] == container.sealed_size(body)
    assert hashlib.sha256(item).hexdigest() == output["item_sha256"]
    if "item" in output:
        # The document's own bytes are opened, not those that were sealed here.
        assert _bytes("item", output["item"]) == item
        item = _bytes("item", output["item"])
    assert container.parse_header(item) == header
    assert container.open_item(leaf_key, item) == body
    assert container.open_metadata(leaf_key, item) == body.metadata


@pytest.mark.parametrize("case", _cases("item", "format", "authentication"))
def test_an_item_that_must_not_open(case: Case) -> None:
    item = _bytes("item", case["input"]["item"])
    with pytest.raises(KINDS[case["expect"]]):
        container.open_item(bytes.fromhex(case["input"]["leaf_key"]), item)


@pytest.mark.parametrize("case", _cases("event_id", "success"))
def test_an_event_id_is_derived_as_the_document_says(case: Case) -> None:
    header = container.parse_header(bytes.fromhex(case["input"]["header"]))
    key = container.item_key(bytes.fromhex(case["input"]["leaf_key"]), header)
    assert key.hex() == case["output"]["item_key"]
    assert container.event_id(key) == case["output"]["event_id"]


# ---- root slots


@pytest.mark.parametrize("case", _cases("slot", "success"))
def test_a_root_slot_is_written_as_the_document_says(case: Case) -> None:
    data = bytes.fromhex(case["input"]["slot"])
    root = rootslot.parse(data)
    assert root == Root(case["output"]["generation"], bytes.fromhex(case["output"]["root"]))
    assert rootslot.encode(root, len(data)) == data


@pytest.mark.parametrize("case", _cases("slot", "wiped"))
def test_the_mark_of_a_panic_is_written_as_the_document_says(case: Case) -> None:
    data = bytes.fromhex(case["input"]["slot"])
    assert rootslot.parse(data) == "wiped"
    assert rootslot.wiped(len(data)) == data


@pytest.mark.parametrize("case", _cases("slot", "empty"))
def test_a_slot_that_holds_no_root(case: Case) -> None:
    assert rootslot.parse(bytes.fromhex(case["input"]["slot"])) is None


@pytest.mark.parametrize("case", _cases("file_root", "success"))
def test_a_slots_file_is_masked_as_the_document_says(case: Case, tmp_path: Path) -> None:
    stored = _bytes("file_root", case["output"]["file"])
    pad, slot = _bytes("file_root", case["input"]["pad"]), bytes.fromhex(case["input"]["slot"])
    (tmp_path / "root-1").write_bytes(stored)
    assert file_roots.FileRootStore(tmp_path).read(1) == slot
    # Pads are random, so what writing does with this one is asked of its inner part.
    assert pad + file_roots._mask(slot, pad) == stored


@pytest.mark.parametrize("case", _cases("file_root", "empty"))
def test_a_slots_file_that_gives_no_root(case: Case, tmp_path: Path) -> None:
    (tmp_path / "root-0").write_bytes(_bytes("file_root", case["input"]["file"]))
    assert rootslot.parse(file_roots.FileRootStore(tmp_path).read(0)) is None


# ---- keyring


def _root(case: Case) -> Root:
    return Root(case["input"]["generation"], bytes.fromhex(case["input"]["root"]))


@pytest.mark.parametrize("case", _cases("keyring", "success"))
def test_a_keyring_is_sealed_and_opened_as_the_document_says(case: Case) -> None:
    blob = bytes.fromhex(case["output"]["blob"])
    trees = [bytes.fromhex(tree) for tree in case["input"]["trees"]]
    seed = bytes.fromhex(case["input"]["signing_seed"])
    body = open_blob(blob, _root(case))
    assert body.signing_seed == seed
    assert [body.trees[item_class].encode() for item_class in CLASSES] == trees
    assert seal_blob(body, _root(case)) == blob
    planted = {name: KeyTree.decode(tree) for name, tree in zip(CLASSES, trees, strict=True)}
    assert seal_blob(Body(seed, planted), _root(case)) == blob


@pytest.mark.parametrize("case", _cases("keyring", "format", "authentication"))
def test_a_keyring_that_must_not_open(case: Case) -> None:
    with pytest.raises(KINDS[case["expect"]]):
        open_blob(bytes.fromhex(case["input"]["blob"]), _root(case))


# ---- the vectors themselves


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")}


def test_the_generator_writes_the_same_bytes_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GENERATOR, tmp_path], check=True, capture_output=True)
    written, kept = _files(tmp_path), _files(VECTORS)
    assert written.keys() == kept.keys()
    assert [name for name in kept if written[name] != kept[name]] == []


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def test_the_generator_shares_no_code_with_what_it_tests() -> None:
    parts = sorted((ROOT / "scripts" / "format_vectors").glob("*.py"))
    imported = {name for path in (GENERATOR, *parts) for name in _imported(path.read_text())}
    own = {f"format_vectors.{path.stem}" for path in parts}
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign - own == {"cryptography.hazmat.primitives.ciphers.aead"}
    assert not {"importlib", "runpy"} & imported


def test_more_is_refused_than_accepted_and_every_kind_is_tested() -> None:
    expects = [json.loads(data)["expect"] for data in _files(VECTORS).values()]
    assert set(expects) == {"success", "wiped", "empty", *KINDS}, "and no other: nothing is left out"
    assert 2 * expects.count("success") < len(expects)
