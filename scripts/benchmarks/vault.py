"""What forgetting and sealing cost, beside what others do for the same.

Erasing one of many: bytes handed to write calls (proc(5), wchar; of `shred`, by
strace) and time, median of several, with the real keyring and the `file` root store.
Keyrings of 1,000 to 100,000 items are made without the items' files; the store of
6,000 has them all. Sealing: one item of ten seconds, 320,000 bytes, in memory; and
beside the `age` command, which reads and writes files, with the file. Whatever is
compared is measured in turns. Flushing is as fast as this machine's disk says.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import vault_peers
from measured import Measurement, at_most
from rich.console import Console
from vault_states import AUDIO, blob_bytes, make_ring, make_store

from fadeout_device.config import Config
from fadeout_device.vault import container
from fadeout_device.vault.clock import SystemClock
from fadeout_device.vault.durable import write_new
from fadeout_device.vault.roots.file import FileRootStore
from fadeout_device.vault.store import Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

SUMMARY = "bytes and time of erasing, speed of sealing, start, size of the keyring"
HOUSEHOLD = 6_000
"""Live items at 200 a day, kept for 30 days."""
EARLY = 0.05
"""So many items are erased early, at any time of their life; so half as many of those that would live now."""
HOLES = (0.0, 0.01, 0.05)
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
    console = Console(stderr=True)
    rows: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="fadeout-bench-") as name, console.status("") as status:
        folder = Path(name)
        for count in sizes:
            status.update(f"erasing one of {count:,}, ours and others' …")
            rows += _erasing(folder / str(count), count, runs)
        status.update(f"a store of {HOUSEHOLD:,} items …")
        rows += _household(folder, runs)
        status.update("sealing ten seconds of sound …")
        rows += _sealing(folder, 30 if arguments.quick else 200)
    return rows


# ---- erasing


def _erasing(folder: Path, count: int, runs: int) -> list[Measurement]:
    folder.mkdir()
    rows: list[Measurement] = []
    for holes in HOLES:
        ring = make_ring(folder / f"ours-{holes}", count, holes)
        leaves = iter(ring.live[len(ring.live) // 2 :: 7])
        cost = _cost(lambda: ring.keyring.erase([(AUDIO, next(leaves))], {}), runs)  # noqa: B023 - called at once
        rows += _rows(f"one of {count:,}, {holes:.0%} holes", cost)
    for name, make in (
        ("a table of keys, rewritten", vault_peers.wrapped_table),
        ("SQLite secure_delete + VACUUM", vault_peers.sqlite_vacuum),
        ("SQLCipher rekey", vault_peers.sqlcipher_rekey),
    ):
        label = f"one of {count:,}: {name}"
        try:
            erase = make(folder / name.split()[0], count)
        except vault_peers.MissingPeerError as err:
            rows.append(_missing(label, err))
        else:
            rows += _rows(label, _cost(erase, min(runs, 5)))
    return rows


def _cost(erase: Callable[[], None], runs: int) -> Cost:
    sizes, times = [], []
    for _ in range(runs):
        before, started = vault_peers.written_bytes(), time.perf_counter()
        erase()
        times.append(time.perf_counter() - started)
        sizes.append(vault_peers.written_bytes() - before)
    return Cost(statistics.median(sizes) / KIB, statistics.median(times) * 1000)


def _rows(label: str, cost: Cost) -> list[Measurement]:
    return [Measurement(label, cost.kib, "KiB written"), Measurement(label, cost.ms, "ms")]


def _missing(label: str, err: Exception) -> Measurement:
    return Measurement(f"{label}: not measured", float("nan"), str(err))


# ---- a household's store


def _household(folder: Path, runs: int) -> list[Measurement]:
    store = make_store(folder / "household", HOUSEHOLD, EARLY / 2)
    size = blob_bytes(folder / "household")
    items = iter(store.index.live()[HOUSEHOLD // 2 :: 11])
    shred = vault_peers.shred_file(folder / "shred", MIB)
    sizes, ours, theirs = [], [], []
    for _ in range(runs):
        item = next(items)
        before, started = vault_peers.written_bytes(), time.perf_counter()
        store.eraser.erase([item])
        ours.append(time.perf_counter() - started)
        sizes.append(vault_peers.written_bytes() - before)
        shred.prepare()  # type: ignore[attr-defined]  # what must not be timed
        started = time.perf_counter()
        shred()
        theirs.append(time.perf_counter() - started)
    store.close()
    ratio = statistics.median(ours) / statistics.median(theirs)
    return [
        at_most("keyring at 200 a day, 30 days, 5% erased early", size / KIB, "KiB", MAX_KEYRING_KIB),
        at_most(
            f"erase one of {HOUSEHOLD:,}, whole store",
            statistics.median(sizes) / KIB,
            "KiB written",
            MAX_ERASE_KIB,
        ),
        Measurement(f"erase one of {HOUSEHOLD:,}, whole store", statistics.median(ours) * 1000, "ms"),
        Measurement("shred -u of one file of 1 MiB", statistics.median(theirs) * 1000, "ms"),
        *_shred_bytes(folder),
        at_most(f"erase one of {HOUSEHOLD:,} / shred -u of 1 MiB", ratio, "ratio", 1.0),
        *_boot(folder / "household", runs),
    ]


def _shred_bytes(folder: Path) -> Iterator[Measurement]:
    label = "shred -u of one file of 1 MiB"
    try:
        yield Measurement(label, vault_peers.shred_bytes(folder / "shred", MIB) / KIB, "KiB written")
    except vault_peers.MissingPeerError as err:
        yield _missing(label, err)


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
            vault.stdout.readline()
            served.append(time.perf_counter() - started)
            vault.terminate()
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
    for name, make in (("pyrage", vault_peers.age_library), ("secretstream", vault_peers.secretstream)):
        rows += _beside(name, seal, lambda make=make: make(SOUND), runs)  # type: ignore[misc]  # bound at once
    durable = lambda: write_new(path, seal())  # noqa: E731 - a name for the two rows below
    rows.append(Measurement("seal 10 s of sound, into a file, synced", _median_ms(durable, runs), "ms"))
    rows += _beside(
        "the age command", durable, lambda: vault_peers.age_command(folder / "age", SOUND), min(runs, 30)
    )
    return rows


def _beside(
    name: str, ours: Callable[[], object], make: Callable[[], Callable[[], None]], runs: int
) -> list[Measurement]:
    """Measure ours and a peer in turns."""
    label = f"seal: ours / {name}"
    try:
        peer = make()
    except vault_peers.MissingPeerError as err:
        return [_missing(label, err)]
    pairs = [(_once_ms(ours), _once_ms(peer)) for _ in range(runs)]
    us, them = (statistics.median(each) for each in zip(*pairs, strict=True))
    row = (
        Measurement(label, us / them, "ratio")
        if name == "secretstream"
        else at_most(label, us / them, "ratio", 1.0)
    )
    return [Measurement(f"seal: {name}", them, "ms"), row]


def _median_ms(action: Callable[[], object], runs: int) -> float:
    return statistics.median(_once_ms(action) for _ in range(runs))


def _once_ms(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000
