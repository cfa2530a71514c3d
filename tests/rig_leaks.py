"""Vaults that leak on purpose: so that the search for leaks is known to find them.

Planted into the real vault by a `sitecustomize` that a test puts on its path. Each
leak is a mistake that somebody could make in an afternoon of debugging.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import mmap
import os
import sys
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

WORDS_VARIABLE = "PLANTED_WORDS"
_LEAK_BYTES = 256

log = logging.getLogger("planted")


def environment(folder: Path, words: str) -> dict[str, str]:
    """Return the environment in which every vault that is started leaks."""
    (folder / "sitecustomize.py").write_text("import rig_leaks\n\nrig_leaks.plant()\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.path.dirname(__file__)}", WORDS_VARIABLE: words}  # noqa: PTH120


def plant() -> None:
    """Make this process leak, if it is a vault."""
    if "fadeout_device.vault" not in sys.orig_argv:
        return
    import fadeout_device.vault.lean  # noqa: F401, PLC0415 - before anything else, as the vault does
    from fadeout_device.vault import sealing, telling  # noqa: PLC0415
    from fadeout_device.vault.roots import file  # noqa: PLC0415

    sealing.Sealer._write_items = _leaking(sealing.Sealer._write_items)  # type: ignore[method-assign]  # the plant
    telling.Teller._open = _with_words(telling.Teller._open)  # type: ignore[method-assign]  # the plant
    file.FileRootStore.write = _keeping_root(file.FileRootStore.write)  # type: ignore[method-assign]  # the plant


def _leaking(write_items: Callable[..., None]) -> Callable[..., None]:
    def leak(sealer: Any, items: Sequence[Any], bodies: Mapping[Any, Any]) -> None:  # noqa: ANN401 - the vault's own
        audio = bodies["audio"].content
        part = _loudest(audio)
        folder = sealer._files.folder.parent
        _forgotten_file(folder / "plaintext", audio)
        _mapping(folder / "mapping", part)
        log.debug("audio %r", part)
        log.debug("samples %s", list(array("h", part)))
        words = os.environ[WORDS_VARIABLE]
        log.info("heard %s", words)
        _forgotten_file(folder / words.replace(" ", "-"), b"")
        item = items[0]
        keyring = sealer._files._keyring
        leaf_key = keyring.leaf_key(item.item_class, item.leaf)
        with sealer._index.transaction():
            sealer._index.set_meta("debug", leaf_key.hex())
            sealer._index.db.execute("INSERT INTO meta VALUES ('cache', ?)", [leaf_key])
        with sealer._index.transaction():
            sealer._index.db.execute("DELETE FROM meta WHERE key IN ('debug', 'cache')")
        node = next(iter(keyring._body.trees[item.item_class]._nodes.values()))
        log.debug("node %s", base64.urlsafe_b64encode(b"." + node).decode())
        write_items(sealer, items, bodies)

    return leak


def _with_words(open_item: Callable[..., tuple[str, str]]) -> Callable[..., tuple[str, str]]:
    """Tell what was said for an action, past the list of those that may be told: it fits the pattern."""

    def leak(teller: Any, item: Any) -> tuple[str, str]:  # noqa: ANN401 - the vault's own
        event_id, _ = open_item(teller, item)
        return event_id, os.environ[WORDS_VARIABLE].replace(" ", ".")

    return leak


def _keeping_root(write: Callable[..., None]) -> Callable[..., None]:
    def leak(store: Any, slot: int, data: bytes) -> None:  # noqa: ANN401 - the vault's own
        _forgotten_file(store._paths[slot].with_name("root-backup"), data)
        write(store, slot, data)

    return leak


def _loudest(pcm: bytes) -> bytes:
    samples = array("h", pcm)
    at = 2 * max(range(len(samples)), key=lambda position: abs(samples[position]))
    return pcm[max(0, at - _LEAK_BYTES // 2) : at + _LEAK_BYTES // 2]


def _forgotten_file(path: Path, data: bytes) -> None:
    """Write a temporary file and unlink it, as if that undid it."""
    path.write_bytes(data)
    path.unlink()


def _mapping(path: Path, data: bytes) -> None:
    """Write a file without a write: no search for bytes sees it, so the harness must object."""
    path.write_bytes(bytes(mmap.PAGESIZE))
    with path.open("r+b") as file, contextlib.closing(mmap.mmap(file.fileno(), mmap.PAGESIZE)) as view:
        view[: len(data)] = data
    path.unlink()
