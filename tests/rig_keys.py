"""Every key that a vault ever had, recovered from every byte that it ever wrote.

The vault writes its root under a pad, its key trees under the root, its items under
the trees: whoever has seen every write has it all. That is what the searches need
to know which bytes are keys; and what an erasure must withstand, once the root in
the slots is the last one and the earlier ones were only ever seen by us.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fadeout_device.policy import CLASSES
from fadeout_device.vault import container, keytree, rootslot
from fadeout_device.vault.errors import AuthenticationError, FormatError, KeyErasedError
from fadeout_device.vault.keyring_blob import open_blob
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.roots import file as root_file
from fadeout_device.vault.rootslot import Root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fadeout_device.policy import ItemClass
    from rig_capture import Capture

Trees = Mapping["ItemClass", keytree.KeyTree]

_CLASS_OF = {item_class.code: item_class for item_class in CLASSES}


class SealedItem(NamedTuple):
    """An item as it was written, with what opens it."""

    path: str
    data: bytes
    leaf_key: bytes
    key: bytes

    def __repr__(self) -> str:
        """Say which item, never its keys."""
        return f"SealedItem({self.path})"


class Keys(NamedTuple):
    """All keys of all generations."""

    roots: set[bytes]
    nodes: set[bytes]
    """The nodes of the key trees that were stored, and those between them and the leaves in use."""
    items: list[SealedItem]

    def __repr__(self) -> str:
        """Say how many, never which."""
        return f"Keys({len(self.roots)} roots, {len(self.nodes)} nodes, {len(self.items)} items)"


def recover(capture: Capture, state: Path) -> Keys:
    """Recover every key from a capture of everything that was written to a state folder."""
    roots = set(_roots(capture, state))
    generations = list(_trees(capture, state, roots))
    nodes = {node for trees in generations for tree in trees.values() for node in tree._nodes.values()}
    items = []
    for path, data in _files(capture, state / "items").items():
        opened = _open(data, generations)
        if opened is not None:
            items.append(SealedItem(path, data, *opened))
            nodes |= _path_to(container.parse_header(data), generations)
    return Keys({root.secret for root in roots}, nodes, items)


def openable_afterwards(capture: Capture, state: Path, items: Iterable[SealedItem]) -> list[str]:
    """Return the items that somebody can open who has every write but the slots', and the final slots."""
    store = root_file.FileRootStore(state)
    slots = [store.read(slot) for slot in range(SLOTS)]
    # Any 32 bytes of the slots may be a root: more than the vault itself would try.
    candidates = {slot[at : at + 32] for slot in slots for at in range(len(slot) - 31)}
    numbers = {_number(path) for path in _files(capture, state) if _is_blob(path)}
    generations = list(_trees(capture, state, [Root(n, each) for n in numbers for each in candidates]))
    found = []
    for item in items:
        opened = _open(item.data, generations)
        if opened is not None:
            try:
                container.open_item(opened[0], item.data)
            except (AuthenticationError, FormatError):
                continue
            found.append(item.path)
    return found


def _files(capture: Capture, folder: Path) -> dict[str, bytes]:
    """Return what was written to each file directly in a folder; every file there is written once."""
    files: dict[str, bytes] = {}
    for write in capture.writes:
        if write.target.startswith("/") and Path(write.target).parent == folder:
            files[write.target] = files.get(write.target, b"") + write.data
    return files


def _roots(capture: Capture, state: Path) -> Iterable[Root]:
    stored: dict[str, bytes] = {}
    for write in capture.writes:
        if not write.target.startswith(f"{state}/root-"):
            continue
        # An erasure writes the whole file, a commit its end.
        before = stored.get(write.target, bytes(root_file._FILE_BYTES))
        now = stored[write.target] = before[: -len(write.data)] + write.data
        slot = root_file._mask(now[root_file.PAD_BYTES :], now[: root_file.PAD_BYTES])
        parsed = rootslot.parse(slot)
        if isinstance(parsed, Root):
            yield parsed


def _is_blob(path: str) -> bool:
    return re.search(r"/keyring-\d+$", path) is not None


def _number(path: str) -> int:
    return int(path.rpartition("-")[2])


def _trees(capture: Capture, state: Path, roots: Iterable[Root]) -> Iterable[Trees]:
    blobs = {path: data for path, data in _files(capture, state).items() if _is_blob(path)}
    for root in roots:
        for path, blob in blobs.items():
            if _number(path) == root.generation:
                try:
                    yield open_blob(blob, root).trees
                except (FormatError, AuthenticationError):
                    continue


def _open(data: bytes, generations: Iterable[Trees]) -> tuple[bytes, bytes] | None:
    """Return the leaf's and the item's key, if any generation has them."""
    try:
        header = container.parse_header(data)
    except FormatError:
        return None
    for trees in generations:
        try:
            leaf_key = trees[_CLASS_OF[header.class_code]].leaf_key(header.leaf)
        except (KeyErasedError, KeyError):
            continue
        return leaf_key, container.item_key(leaf_key, header)
    return None


def _path_to(header: container.Header, generations: Iterable[Trees]) -> set[bytes]:
    """Return the nodes from those that were stored down to a leaf."""
    nodes = set()
    for trees in generations:
        for (level, index), stored in trees[_CLASS_OF[header.class_code]]._nodes.items():
            if header.leaf >> (keytree.DEPTH - level) == index:
                node = stored
                for depth in range(level + 1, keytree.DEPTH + 1):
                    node = keytree._child(node, (header.leaf >> (keytree.DEPTH - depth)) & 1)
                    nodes.add(node)
    return nodes
