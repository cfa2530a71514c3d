"""Short stories of a vault's life, told step by step, and what must hold wherever they are cut off.

The real store, keyring, index and root stores in one small process, without sockets:
so that a story can be told a thousand times. Before each step the teller writes down
what is about to change, and after it what was promised: with `writev`, which nothing
else here uses, so that no injected fault hits the teller itself.

usage: python tests/rig_workload.py FOLDER STORY [PLANT]
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import rig_plants
from fadeout_device.config import parse
from fadeout_device.errors import FadeoutError
from fadeout_device.messages import Utterance
from fadeout_device.vault import container, rootslot
from fadeout_device.vault.errors import (
    AuthenticationError,
    EraseError,
    KeyErasedError,
    KeysLostError,
    SealError,
    SyncError,
)
from fadeout_device.vault.root_home import migrate, settle
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.state_folder import lock
from fadeout_device.vault.store import Store
from fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fadeout_device.config import RootStoreName
    from fadeout_device.policy import ItemClass
    from fadeout_device.vault.index import Item
    from fadeout_device.vault.keytree import KeyTree

CHIP_BYTES = 256
CONTENT_BYTES = 1000
DAY_S = 86_400


def content(number: int) -> bytes:
    """Return what the utterance of this number says: noise, so that any 32 bytes of it are its own."""
    return random.Random(number).randbytes(CONTENT_BYTES)  # noqa: S311 - the same again each time


class Told(NamedTuple):
    """What was written down until some moment."""

    planting: str
    """The keys that were there when the vault last said that it is open."""
    now_s: float
    home: RootStoreName
    live: dict[str, int]
    """Items that were promised to be kept, with the number of what they say."""
    doubtful: set[str]
    """Items whose erasure was begun and not reported."""
    erased: set[str]
    """Items whose erasure was reported."""
    is_panicking: bool
    """A panic was begun and not reported: every key may be gone."""


def told(lines: bytes) -> Told:
    """Read what was written down; a last line that is cut short counts for nothing."""
    planting, now_s, home, is_panicking = "", FakeClock().now_s, "file", False
    live: dict[str, int] = {}
    doubtful: set[str] = set()
    erased: set[str] = set()
    for line in lines.split(b"\n")[:-1]:
        what, *words = line.decode().split()
        if what == "opened":
            planting = words[0]
        elif what == "now":
            now_s = float(words[0])
        elif what == "home":
            home = words[0]
        elif what == "panic":
            planting, is_panicking = "", True
        elif what == "sealed":
            live |= dict.fromkeys(words[1:], int(words[0]))
        elif what == "erasing":
            doubtful |= set(words)
            live = {name: number for name, number in live.items() if name not in words}
        elif what == "erased":
            doubtful -= set(words)
            erased |= set(words)
            is_panicking = False
    return Told(planting, now_s, home, live, doubtful, erased, is_panicking)  # type: ignore[arg-type]  # a store's name


class Vault:
    """A store on a folder, which writes down what it promises."""

    def __init__(self, folder: Path, home: RootStoreName = "file", now_s: float | None = None) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.clock = FakeClock() if now_s is None else FakeClock(now_s)
        self.home: RootStoreName = home
        self._lines = os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._lock = lock(self.state)
        self.open()

    def config(self) -> Any:  # noqa: ANN401 - the product's own
        """Return the configuration of a device whose root lives where this one's does."""
        return parse(
            f'[vault]\nroot_store = "{self.home}"\n[vault.nvmem]\nfile = "{self.folder}/chip"\n', "a story"
        )

    def open(self) -> None:
        config = self.config()
        if self.home != "file":
            migrate(self.state, config.vault)
        roots = settle(self.state, config.vault)
        self.store = Store(self.state, roots, config.policy, config.sweep_s, self.clock)
        self.tell("opened", self.store.keyring.planting)

    def close(self) -> None:
        """Let go of everything, as the end of a process does."""
        self.store.close()
        os.close(self._lock)
        os.close(self._lines)

    def tell(self, what: str, *words: object) -> None:
        """Write a line down."""
        os.writev(self._lines, [f"{' '.join(map(str, (what, *words)))}\n".encode()])

    # ---- the steps

    def seal(self, number: int) -> list[Item]:
        said = Utterance(
            delivery=secrets.token_hex(8), wake_word="okay_nabu", score=0.5, age_s=0.0, duration_s=number,
            speech_s=1.0, outcome="failed", action="none",
        )  # fmt: skip
        recording, _ = self.store.seal(said, content(number))
        items = self.store.find(recording)
        self.tell("sealed", number, *(item.id for item in items))
        copies = self.folder / "copies"
        for item in items if copies.is_dir() else ():
            # As the attacker would who sees everything; by `writev` too.
            copy = os.open(copies / item.id, os.O_WRONLY | os.O_CREAT, 0o600)
            os.writev(copy, [(self.state / "items" / item.id).read_bytes()])
            os.close(copy)
        return items

    def erase(self, items: Iterable[Item]) -> None:
        items = list(items)
        self.tell("erasing", *(item.id for item in items))
        self.store.eraser.erase(items)
        self.tell("erased", *(item.id for item in items))

    def sweep(self, now_s: float) -> None:
        due = [item.id for item in self.store.index.expired(now_s)]
        self.tell("erasing", *due)
        self.tell("now", now_s)
        self.clock.now_s = now_s
        self.store.eraser.erase_due()
        self.tell("erased", *due)

    def erase_everything(self) -> None:
        names = [item.id for item in self.store.index.items()]
        self.tell("erasing", *names)
        self.store.eraser.erase_everything()
        self.tell("erased", *names)

    def panic(self) -> None:
        names = [item.id for item in self.store.index.items()]
        self.tell("panic")
        self.tell("erasing", *names)
        self.store.eraser.panic()
        self.tell("erased", *names)
        self.store.eraser.finish_panic()
        self.tell("opened", self.store.keyring.planting)

    def migrate(self) -> None:
        self.home = "nvmem"
        self.tell("home", self.home)
        self.store.close()
        with contextlib.suppress(OSError):
            migrate(self.state, self.config().vault)
        self.open()  # which does it again, as whoever was told of a failure would


# ---- the stories


def _seal(vault: Vault) -> None:
    for number in (1, 2):
        vault.seal(number)


def _erase(vault: Vault) -> None:
    first, second = vault.seal(1), vault.seal(2)
    vault.erase(first)
    vault.seal(3)
    vault.erase(second[:1])


def _sweep(vault: Vault) -> None:
    vault.seal(1)
    vault.sweep(vault.clock.now_s + DAY_S)
    vault.seal(2)
    vault.sweep(vault.clock.now_s + 7 * DAY_S)
    vault.seal(3)


def _panic(vault: Vault) -> None:
    vault.seal(1)
    vault.panic()
    vault.seal(2)
    vault.erase_everything()
    vault.seal(3)


def _migrate(vault: Vault) -> None:
    first = vault.seal(1)
    vault.migrate()
    vault.seal(2)
    vault.erase(first)


def _life(vault: Vault) -> None:
    """Seal much, erase out of order, let some end; then go on."""
    held = [vault.seal(number) for number in range(1, 25)]
    for number in (4, 17, 9, 0, 22, 13):
        vault.erase(held[number])
    vault.sweep(vault.clock.now_s + DAY_S)
    for number in (25, 26):
        vault.seal(number)


STORIES: Mapping[str, Callable[[Vault], None]] = {
    "seal": _seal, "erase": _erase, "sweep": _sweep, "panic": _panic, "migrate": _migrate,
}  # fmt: skip
LIFE: Mapping[str, Callable[[Vault], None]] = {"life": _life}
"""Too long to be cut off everywhere."""


def prepare(folder: Path) -> None:
    """Make the folder in which a story can happen: the machine, before fadeout ever ran on it."""
    folder.mkdir(parents=True)
    (folder / "told").touch()
    (folder / "chip").write_bytes(b"\xff" * CHIP_BYTES)


def tell_story(folder: Path, name: str) -> int:
    """Live through a story; returns the exit code that the vault's process would have.

    What a running vault would report and try again later is tried again here, once.
    """
    try:
        vault = Vault(folder)
        try:
            {**STORIES, **LIFE}[name](vault)
        except (SealError, EraseError):
            with contextlib.suppress(EraseError):
                vault.store.eraser.erase_due()
        vault.store.close()
    except SyncError:
        return os.EX_IOERR
    except FadeoutError as err:
        return err.exit_code
    return 0


# ---- what must hold afterwards


def problems_after(folder: Path, lines: bytes, sealed: Mapping[str, bytes]) -> list[str]:
    """Start the vault on what a cut has left; return what is wrong then, in words without content.

    Args:
        folder: with `state` and `chip` in it; it is changed.
        lines: what was written down before the cut.
        sealed: every item file that was ever written whole, by name: the attacker's copy.
    """
    story = told(lines)
    try:
        vault = Vault(folder, story.home, story.now_s)
    except (FadeoutError, SyncError, OSError) as err:
        if isinstance(err, KeysLostError) and story.is_panicking:
            # Both slots are overwritten before the mark that says so: it refuses to start, and says why.
            return []
        return [f"the vault does not start: {type(err).__name__}: {err}"]
    found = _wrong_with(vault, story, sealed)
    if story.planting and vault.store.keyring.planting != story.planting:
        found.append("the keys were silently made anew")
    vault.store.eraser.erase_due()
    if vault.store.eraser.overdue():
        found.append("what is due is still there after the sweep")
    found += [f"after the sweep, {each}" for each in _wrong_with(vault, story, sealed)]
    slots = [rootslot.parse(vault.store.keyring.roots.read(slot)) for slot in range(SLOTS)]
    if sum(isinstance(slot, rootslot.Root) for slot in slots) != 1 and not rig_plants.has_one_slot():
        found.append("not exactly one slot holds a root")
    vault.seal(99)
    vault.close()
    return found


def _wrong_with(vault: Vault, story: Told, sealed: Mapping[str, bytes]) -> list[str]:
    found = []
    rows = {item.id: item for item in vault.store.index.items()}
    for name, number in story.live.items():
        try:
            item = rows[name]
            says = vault.store.metadata(item).duration_s
            is_whole = item.item_class.kind != "audio" or vault.store.content(item) == content(number)
        except (KeyError, FadeoutError) as err:
            found.append(f"a kept item is lost: {type(err).__name__}")
        else:
            if says != number or not is_whole:
                found.append("a kept item has another's content")
    trees = vault.store.keyring._body.trees
    found += ["an erased item opens" for name in story.erased if opens(trees, sealed[name])]
    for name in story.doubtful:
        row = rows.get(name)
        if row is not None and row.state == "live" and not opens(trees, sealed[name]):
            found.append("an item is listed whose key is gone")
    return found


def opens(trees: Mapping[ItemClass, KeyTree], data: bytes) -> bool:
    """Say whether the keys that there are open a sealed item, whatever any index says of it."""
    header = container.parse_header(data)
    for item_class, tree in trees.items():
        if item_class.code == header.class_code:
            try:
                container.open_item(tree.leaf_key(header.leaf), data)
            except (KeyErasedError, AuthenticationError):
                return False
            return True
    return False


def in_a_child(work: Callable[[], list[str]]) -> list[str]:
    """Do something in a forked process, so that nothing it opens or breaks stays; return what it says."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            said = work()
        except BaseException as err:  # noqa: BLE001 - told to the parent, as a finding
            said = [f"it stops with {type(err).__name__}"]
        os.write(writing, json.dumps(said[:50]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = json.loads(pipe.read() or '["it died"]')
    os.waitpid(child, 0)
    return list(said)


if __name__ == "__main__":
    rig_plants.plant(sys.argv[3] if len(sys.argv) > 3 else "")
    sys.exit(tell_story(Path(sys.argv[1]), sys.argv[2]))
