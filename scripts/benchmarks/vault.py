"""What forgetting and sealing cost, beside what others do for the same.

Erasing one of many: bytes handed to write calls (proc(5), wchar; of `shred`, by
strace) and time, median of several, with the real keyring and the `file` root store.
Keyrings of 1,000 to 100,000 items are made without the items' files; the stores of
6,000 have them all. A hole is a leaf that died before its time among those that live.
Sealing: one item of ten seconds, 320,000 bytes, in memory, and into a file that is
synced. The `age` command only reads and writes files, and syncs none. Whatever is
compared is measured in turns. Flushing is as fast as this machine's disk says.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import vault_peers
from measured import Measurement, at_most, not_measured
from rich.console import Console
from rich.progress import Progress
from vault_states import AUDIO, blob_bytes, make_ring, make_store

from fadeout_device.config import Config
from fadeout_device.vault import container
from fadeout_device.vault.clock import SystemClock
from fadeout_device.vault.durable import write_new
from fadeout_device.vault.roots.file import FileRootStore
from fadeout_device.vault.store import Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

SUMMARY = "bytes and time of erasing, speed of sealing, start, size of the keyring"
HOUSEHOLD = 6_000
"""Live items at 200 a day, kept for 30 days."""
HOLES = (0.0, 0.01, 0.05)
HOUSEHOLD_HOLES = (0.0, 0.01, 0.025, 0.05)
"""2.5%: where 5% of all items are erased early, at any time of their life, half of them would still live."""
AIMED_HOLES = 0.05
KIB = 1024
MIB = 1024 * 1024
SOUND = os.urandom(320_000)
MAX_ERASE_KIB, MAX_KEYRING_KIB, MAX_BOOT_S = 64.0, 48.0, 0.5


class Cost(NamedTuple):
    """Of one erasure: medians."""

    kib: float
    ms: float


def add_options(verb: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    verb.add_argument("--runs", type=int, default=9, help="the median of so many runs counts (default 9)")
    verb.add_argument("--quick", action="store_true", help="leave out 100,000 items; three runs")


def measure(arguments: argparse.Namespace) -> list[Measurement]:
    """Measure everything."""
    runs = 3 if arguments.quick else arguments.runs
    sizes = (1_000, 10_000) if arguments.quick else (1_000, 10_000, 100_000)
    holes = HOUSEHOLD_HOLES[-2:] if arguments.quick else HOUSEHOLD_HOLES
    rows: list[Measurement] = []
    with (
        tempfile.TemporaryDirectory(prefix="fadeout-bench-") as name,
        # Drawn by hand between the steps: a thread that draws would write, and be counted.
        Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress,
    ):
        folder = Path(name)
        steps: list[tuple[str, Callable[[], list[Measurement]]]] = [
            (f"erasing one of {count:,}", partial(_erasing, folder / str(count), count, runs))
            for count in sizes
        ]
        steps += [
            (f"stores of {HOUSEHOLD:,} items", partial(_household, folder, holes, runs)),
            ("sealing ten seconds of sound", partial(_sealing, folder, 30 if arguments.quick else 200)),
        ]
        task = progress.add_task("", total=len(steps))
        for label, step in steps:
            progress.update(task, description=label, refresh=True)
            rows += step()
            progress.advance(task)
    return rows


# ---- erasing


def _erasing(folder: Path, count: int, runs: int) -> list[Measurement]:
    folder.mkdir()
    erasers = {
        f"one of {count:,}, {holes:.0%} holes": _eraser(folder / f"ours-{holes}", count, holes)
        for holes in HOLES
    }
    missing = []
    for name, make in (
        ("a table of keys, rewritten", vault_peers.wrapped_table),
        ("SQLite secure_delete + VACUUM", vault_peers.sqlite_vacuum),
        ("SQLCipher rekey", vault_peers.sqlcipher_rekey),
    ):
        label = f"one of {count:,}: {name}"
        try:
            erasers[label] = make(folder / name.split()[0], count)
        except vault_peers.MissingPeerError as err:
            missing.append(not_measured(label, err))
    os.sync()
    costs = _in_turns(erasers, runs)
    return [row for label, cost in costs.items() for row in _rows(label, cost)] + missing


def _eraser(folder: Path, count: int, holes: float) -> Callable[[], None]:
    ring = make_ring(folder, count, holes)
    leaves = iter(ring.live[len(ring.live) // 2 :: 7])
    return lambda: ring.keyring.erase([(AUDIO, next(leaves))], {})


def _in_turns(erasers: Mapping[str, Callable[[], None]], runs: int) -> dict[str, Cost]:
    """Let each erase once, then each again: whatever else the machine does hits all of them."""
    seen: dict[str, list[Cost]] = {label: [] for label in erasers}
    for _ in range(runs):
        for label, erase in erasers.items():
            before, started = vault_peers.written_bytes(), time.perf_counter()
            erase()
            took_ms = (time.perf_counter() - started) * 1000
            seen[label].append(Cost((vault_peers.written_bytes() - before) / KIB, took_ms))
    return {
        label: Cost(*(statistics.median(each) for each in zip(*costs, strict=True)))
        for label, costs in seen.items()
    }


def _rows(label: str, cost: Cost) -> list[Measurement]:
    return [Measurement(label, cost.kib, "KiB written"), Measurement(label, cost.ms, "ms")]


# ---- a household's store


def _household(folder: Path, all_holes: Sequence[float], runs: int) -> list[Measurement]:
    places = {holes: folder / f"household-{holes}" for holes in all_holes}
    stores = {holes: make_store(place, HOUSEHOLD, holes) for holes, place in places.items()}
    keyring = blob_bytes(places[AIMED_HOLES]) / KIB
    shred = vault_peers.shred_file(folder / "shred", MIB)
    erasers = {_of_household(holes): _store_eraser(store) for holes, store in stores.items()}
    costs: dict[str, list[Cost]] = {label: [] for label in erasers}
    shred_ms = []
    # What making the stores left to be written must not be waited for below.
    os.sync()
    for _ in range(runs):
        for label, cost in _in_turns(erasers, 1).items():
            costs[label].append(cost)
        shred.prepare()  # type: ignore[attr-defined]  # what must not be timed
        shred_ms.append(_once_ms(shred))
    for store in stores.values():
        store.close()
    theirs = statistics.median(shred_ms)
    rows = [at_most("keyring at 200 a day, 30 days, 5% holes", keyring, "KiB", MAX_KEYRING_KIB)]
    for label, each in costs.items():
        kib, ms = (statistics.median(values) for values in zip(*each, strict=True))
        rows += [
            at_most(label, kib, "KiB written", MAX_ERASE_KIB),
            Measurement(label, ms, "ms"),
            at_most(f"{label} / shred -u of 1 MiB", ms / theirs, "ratio", 1.0),
        ]
    return [
        *rows,
        Measurement("shred -u of one file of 1 MiB", theirs, "ms"),
        *_shred_bytes(folder),
        *_boot(places[AIMED_HOLES], runs),
    ]


def _of_household(holes: float) -> str:
    return f"erase one of {HOUSEHOLD:,}, whole store, {holes * 100:g}% holes"


def _store_eraser(store: Store) -> Callable[[], None]:
    items = iter(store.index.live()[HOUSEHOLD // 2 :: 11])

    def erase() -> None:
        store.eraser.erase([next(items)])

    return erase


def _shred_bytes(folder: Path) -> Iterator[Measurement]:
    label = "shred -u of one file of 1 MiB"
    try:
        yield Measurement(label, vault_peers.shred_bytes(folder / "shred", MIB) / KIB, "KiB written")
    except vault_peers.MissingPeerError as err:
        yield not_measured(label, err)


def _boot(folder: Path, runs: int) -> list[Measurement]:
    config = Config()
    opened, served = [], []
    for _ in range(runs):
        started = time.perf_counter()
        Store(folder, FileRootStore(folder), config.policy, config.sweep_s, SystemClock()).close()
        opened.append(time.perf_counter() - started)
        started = time.perf_counter()
        command = [sys.executable, "-m", "fadeout_device.vault", "--state", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as vault:
            assert vault.stdout is not None  # noqa: S101 - it is a pipe
            said = vault.stdout.readline()
            served.append(time.perf_counter() - started)
            vault.terminate()
        if said != b"ready\n":
            # Else a vault that fails at once would be the fastest of all.
            raise SystemExit(f"the vault ended with exit code {vault.returncode} instead of serving")
    label = f"start with {HOUSEHOLD:,} items"
    return [
        Measurement(f"{label}: opening the store", statistics.median(opened), "s"),
        at_most(f"{label}: a new process until it serves", statistics.median(served), "s", MAX_BOOT_S),
    ]


# ---- sealing


def _sealing(folder: Path, runs: int) -> list[Measurement]:
    ring = make_ring(folder / "sealing", 1_000, 0.05)
    leaves = iter(ring.live * runs)

    def seal() -> bytes:
        leaf = next(leaves)
        header = container.Header(AUDIO.code, leaf, os.urandom(container.SALT_BYTES))
        return container.seal(ring.keyring.leaf_key(AUDIO, leaf), header, container.Body(b"{}", SOUND))

    path = folder / "sealed"
    rows = [Measurement("seal 10 s of sound, in memory", _median_ms(seal, runs), "ms")]
    rows.append(
        Measurement("seal 10 s of sound, synced file", _median_ms(_into(path, seal), min(runs, 30)), "ms")
    )
    for name, make in (("pyrage", vault_peers.age_library), ("secretstream", vault_peers.secretstream)):
        limit = 1.0 if name == "pyrage" else None
        try:
            peer = make(SOUND)
        except vault_peers.MissingPeerError as err:
            rows.append(not_measured(f"seal: ours / {name}", err))
            continue
        rows += _beside(name, seal, peer, runs, limit)
        synced = _into(folder / f"sealed-{name}", peer)
        rows += _beside(f"{name}, synced file", _into(path, seal), synced, min(runs, 30), limit)
    try:
        command = vault_peers.age_command(folder / "age", SOUND)
    except vault_peers.MissingPeerError as err:
        return [*rows, not_measured("seal: ours / the age command", err)]
    return [*rows, *_beside("the age command", _into(path, seal), command, min(runs, 30), 1.0)]


def _into(path: Path, seal: Callable[[], bytes]) -> Callable[[], None]:
    return lambda: write_new(path, seal())


def _beside(
    name: str, ours: Callable[[], object], peer: Callable[[], object], runs: int, limit: float | None
) -> list[Measurement]:
    """Measure ours and a peer in turns."""
    label = f"seal: ours / {name}"
    pairs = [(_once_ms(ours), _once_ms(peer)) for _ in range(runs)]
    us, them = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = (
        Measurement(label, us / them, "ratio") if limit is None else at_most(label, us / them, "ratio", limit)
    )
    return [Measurement(f"seal: {name}", them, "ms"), ratio]


def _median_ms(action: Callable[[], object], runs: int) -> float:
    return statistics.median(_once_ms(action) for _ in range(runs))


def _once_ms(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000
