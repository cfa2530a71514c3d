"""The envelope: how much fadeout is made and measured for. Beyond it there is a warning, never a failure.

Erasing writes the whole keyring anew, so what it costs is the number of nodes in it. Where
items end in the order in which they were captured, that is a few dozen. Each item that is
erased out of order is a hole; at five holes in a hundred there are about 0.22 nodes for
each live item (docs/format.md, "Key tree"; measured with holes drawn at random).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fadeout_device.policy import CLASSES

if TYPE_CHECKING:
    from fadeout_device.vault.store import Store

MAX_LIVE = 100_000
_NODES_WITHOUT_HOLES = 32 * len(CLASSES)
_LIVE_PER_NODE = 4


def warnings(store: Store) -> tuple[str, ...]:
    """Return a line for each limit that is passed."""
    return passed(store.index.count_live(), store.keyring.node_count())


def passed(live: int, nodes: int) -> tuple[str, ...]:
    """Return a line for each limit that so many live items and nodes pass."""
    lines = []
    if live > MAX_LIVE:
        lines.append(f"{live} items are held; erasing is measured for up to {MAX_LIVE}")
    if nodes > _NODES_WITHOUT_HOLES + live // _LIVE_PER_NODE:
        lines.append(
            f"the keyring has {nodes} nodes for {live} items: more than 5 % were erased out of order,"
            " so each erasure writes more than fadeout is made for"
        )
    return tuple(lines)
