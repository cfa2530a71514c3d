"""Power cuts, by an adversarial disk: what POSIX allows a disk to have kept when the power goes.

A story (`rig_workload.py`) is told once under strace. Its calls are then done again on
a model that promises no more than POSIX does: a file's data is durable only after its
own fsync, a name only after its folder's; until then any subset of the changes may have
reached the disk, in any order, each torn at sectors of 512 bytes. A chip's cells change
at once, but may be torn at any byte. After each call, states that may be left are made
real, the vault is started on each, and asked for what it promised.

Not in the model: a disk that lies about fsync, and damage to what was durable before.

Source: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014).
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import rig_plants
import rig_workload
from rig_calls import FOLDER, Call, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECTOR_BYTES = 512


class State(NamedTuple):
    """What a power cut may have left: a folder of files, and what had been promised by then."""

    files: dict[str, bytes]
    folders: frozenset[str]
    told: bytes

    def name(self) -> bytes:
        """Return what tells this state from others."""
        digest = sha256(self.told + repr(sorted(self.folders)).encode())
        for path in sorted(self.files):
            digest.update(path.encode() + b"\0" + sha256(self.files[path]).digest())
        return digest.digest()


class Disk:
    """The model: what is durable, and what was changed since."""

    def __init__(self, folder: Path) -> None:
        self._chip, self._told = str(folder / "chip"), str(folder / "told")
        self._durable: dict[int, bytearray] = {}
        self._changes: dict[int, list[Call]] = {}
        self._names: dict[str, int] = {}
        """Those that are durable; a folder's is `FOLDER`."""
        self._entries: list[Call] = []
        """Changes of names that are not durable yet."""
        self._cells = bytearray(b"\xff" * rig_workload.CHIP_BYTES)
        self.told = bytearray()

    def torn_chips(self, call: Call) -> Iterator[bytes]:
        """Yield the chip's cells as a cut in the middle of a write leaves them."""
        for cut in (1, len(call.data) // 2, len(call.data) - 1):
            cells = bytearray(self._cells)
            cells[call.at : call.at + cut] = call.data[:cut]
            yield bytes(cells)

    def is_chip(self, call: Call) -> bool:
        """Say whether a call writes to the chip."""
        return call.path == self._chip and call.what == "write"

    def do(self, call: Call) -> None:
        """Do a call."""
        if call.path in (self._chip, self._told):
            if call.what == "write":
                cells = self._cells if call.path == self._chip else self.told
                cells[call.at : call.at + len(call.data)] = call.data
        elif call.what in ("write", "resize"):
            self._changes[call.inode].append(call)
        elif call.what == "sync" and call.inode != FOLDER:
            for change in self._changes[call.inode]:
                _apply(self._durable[call.inode], change)
            self._changes[call.inode] = []
        elif call.what == "sync":
            mine = [entry for entry in self._entries if str(Path(entry.path).parent) == call.path.rstrip("/")]
            for entry in mine:
                _rename(self._names, entry)
            self._entries = [entry for entry in self._entries if entry not in mine]
        else:
            if call.what == "make":
                self._durable[call.inode], self._changes[call.inode] = bytearray(), []
            self._entries.append(call)

    def left(
        self, takes_name: Callable[[], bool], take: Callable[[Call], list[Call]], chip: bytes | None = None
    ) -> State:
        """Return what is left if only some changes reached the disk."""
        names = dict(self._names)
        for entry in self._entries:
            if takes_name():
                _rename(names, entry)
        folders = {str(Path(self._told).parent)}
        for path in sorted(path for path, inode in names.items() if inode == FOLDER):
            if str(Path(path).parent) in folders:
                folders.add(path)
        files = {}
        for path, inode in names.items():
            if inode == FOLDER or str(Path(path).parent) not in folders:
                continue
            data = bytearray(self._durable[inode])
            for change in self._changes[inode]:
                for part in take(change):
                    _apply(data, part)
            files[path] = bytes(data)
        files[self._chip] = chip if chip is not None else bytes(self._cells)
        return State(files, frozenset(folders), bytes(self.told))


def _apply(data: bytearray, change: Call) -> None:
    end = change.at if change.what == "resize" else change.at + len(change.data)
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    if change.what == "resize":
        del data[change.at :]
    else:
        data[change.at : end] = change.data


def _rename(names: dict[str, int], entry: Call) -> None:
    if entry.what == "make":
        names[entry.path] = entry.inode
    elif entry.what == "mkdir":
        names[entry.path] = FOLDER
    elif entry.what == "unlink":
        names.pop(entry.path, None)
    elif entry.path in names:
        names[entry.to] = names.pop(entry.path)


def _torn(change: Call, rng: random.Random) -> list[Call]:
    """Return the sectors of a change that reached the disk."""
    if change.what == "resize":
        return [change] if rng.random() < 0.5 else []
    fate = rng.random()
    if fate < 0.5:
        return [change] if fate < 0.25 else []
    parts = []
    at, end = change.at, change.at + len(change.data)
    while at < end:
        cut = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if rng.random() < 0.5:
            parts.append(change._replace(at=at, data=change.data[at - change.at : cut - change.at]))
        at = cut
    return parts


def states(calls: list[Call], folder: Path, subsets: int, seed: int = 1) -> Iterator[State]:
    """Yield every different state that is tried: after each call, the extremes and some random subsets."""
    disk, rng, seen = Disk(folder), random.Random(seed), set()  # noqa: S311 - the same again each time
    for call in calls:
        found = []
        if disk.is_chip(call):
            for cells in disk.torn_chips(call):
                found += [_extreme(disk, names=each, data=each, chip=cells) for each in (False, True)]
        disk.do(call)
        found += [_extreme(disk, names=names, data=data) for names in (False, True) for data in (False, True)]
        found += [
            disk.left(lambda: rng.random() < 0.5, lambda change: _torn(change, rng)) for _ in range(subsets)
        ]
        for state in found:
            name = state.name()
            if name not in seen:
                seen.add(name)
                yield state


def _extreme(disk: Disk, *, names: bool, data: bool, chip: bytes | None = None) -> State:
    return disk.left(lambda: names, lambda change: [change] if data else [], chip)


def sealed_by(calls: list[Call], folder: Path) -> dict[str, bytes]:
    """Return every item that was ever sealed, by the name of its file."""
    items = f"{folder}/state/items/"
    sealed: dict[str, bytes] = {}
    for call in calls:
        if call.what == "write" and call.path.startswith(items):
            name = call.path.removeprefix(items)
            sealed[name] = sealed.get(name, b"") + call.data
    return sealed


class Effort(NamedTuple):
    """How much is tried."""

    subsets: int = 2
    """Random subsets of what is not durable, after each call."""
    stride: int = 1
    """Only every so many of the states."""
    enough: int | None = None
    """Stop after so many states with a problem."""
    after: bytes = b""
    """Only states from when this had been told."""


class Outcome(NamedTuple):
    """What came of all states of a story."""

    states: int
    problems: Counter[str]


EVERYTHING = Effort()
UNTIL_CAUGHT = Effort(subsets=4, enough=1, after=b"erasing")
"""For a mistake that is made when something is erased: not even begun, nothing can show it."""


def cut_everywhere(
    folder: Path,
    story: str,
    plant: str = "",
    effort: Effort = EVERYTHING,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Tell a story, cut its power everywhere, and start the vault on each state that may be left.

    Args:
        folder: a new folder.
        story: of `rig_workload.STORIES`.
        plant: a mistake that the vault makes, then and when it starts again.
        effort: how much is tried.
        progress: told how many states there were.
    """
    run, cut = folder / "run", folder / "cut"
    folder.mkdir(parents=True, exist_ok=True)
    calls = record(run, story, plant)
    sealed = sealed_by(calls, run)
    count, bad, problems = 0, 0, Counter[str]()
    tried = (state for state in states(calls, run, effort.subsets) if effort.after in state.told)
    for state in islice(tried, 0, None, effort.stride):
        _make_real(state, run, cut)
        found = rig_workload.in_a_child(partial(_start, cut, plant, state.told, sealed))
        problems.update(found)
        count += 1
        bad += bool(found)
        progress(count)
        if bad == effort.enough:
            break
    shutil.rmtree(cut, ignore_errors=True)
    return Outcome(count, problems)


def _start(cut: Path, plant: str, told: bytes, sealed: dict[str, bytes]) -> list[str]:
    rig_plants.plant(plant)
    return rig_workload.problems_after(cut, told, sealed)


def _make_real(state: State, run: Path, cut: Path) -> None:
    shutil.rmtree(cut, ignore_errors=True)
    cut.mkdir()
    (cut / "told").touch()
    for path in sorted(state.folders):
        (cut / Path(path).relative_to(run)).mkdir(exist_ok=True)
    for path, data in state.files.items():
        target = cut / Path(path).relative_to(run)
        with target.open("wb") as file:
            file.write(data.rstrip(b"\0"))
            file.truncate(len(data))
