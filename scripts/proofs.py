"""The proofs in full: power cuts, interruptions, the disk that forgets nothing, and what the network shows.

Runs the rigs of `tests/`, which the suite runs in part: this is the same code with nothing
left out. See `scripts/prove`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import rig_immortal
import rig_interrupted
import rig_outage_plants
import rig_outages
import rig_plants
import rig_powercut
import rig_reporter_outages
import rig_reporter_records
from rig_workload import STORIES

if TYPE_CHECKING:
    from collections.abc import Callable

_WIDTH = 100


class Part(NamedTuple):
    """What came of one part of a proof."""

    tried: int
    problems: list[str]
    """Of a planted mistake: what gave it away."""
    notes: dict[str, int]


class Job(NamedTuple):
    """One part of a proof."""

    claim: str
    what: str
    work: Callable[[Path], Part]
    is_mistake: bool = False
    """Whether a mistake is planted, which must be found."""


POWER = "A power cut at any moment loses nothing that was kept, and revives nothing that was erased."
KILL = "Killed at any system call: the same."
ERRORS = "The disk fails, fills up or turns read-only at any call: the same; a failed sync ends the process."
DISK = "With every byte ever written and the final root, nothing that was erased opens."
OUTAGES = "Through any outage nothing alive is lost, nothing dead leaves, and what is erased is forgotten."
TRAINS = "In batched mode the encrypted network looks the same, whether something happens or not."
UNITS = {
    POWER: "states of the disk",
    KILL: "kills",
    ERRORS: "errors",
    DISK: "tries of a 32-byte window of the root store on a keyring",
    OUTAGES: "histories of outages",
    TRAINS: "TLS records of an idle device, each like a busy one's",
}


def cut(story: str, plant: str, folder: Path) -> Part:
    """Cut the power everywhere in a story; with a mistake, until it shows."""
    effort = rig_powercut.UNTIL_CAUGHT if plant else rig_powercut.EVERYTHING
    outcome = rig_powercut.cut_everywhere(folder / "work", story, plant, effort)
    return Part(outcome.states, [f"{each} ({count} times)" for each, count in outcome.problems.items()], {})


def interrupt(story: str, stride: int, folder: Path, *, with_errors: bool) -> Part:
    """Interrupt a story at every call, or at every so many."""
    faults = rig_interrupted.faults(rig_interrupted.attempt(folder / "whole", story), with_errors=with_errors)
    outcome = rig_interrupted.interrupt(folder / "work", story, faults[::stride])
    return Part(outcome.attempts, outcome.problems, {})


def attack(story: str, plant: str, folder: Path, *, as_nobody: bool = False) -> Part:
    """Attack what a story has left."""
    folder.chmod(0o755)
    found = rig_immortal.attack(folder / "work", story, plant, as_nobody=as_nobody)
    problems = [f"found in what was written: {kind} ({count} times)" for kind, count in found.hits.items()]
    if found.erased_open:
        problems.append(f"{found.erased_open} of {found.erased} erased items open")
    if not found.is_strong and not plant:
        problems.append("the attacker does not open what he must be able to open, or did not see everything")
    notes = {
        "written_bytes": found.written_bytes, "secrets": found.secrets, "live": found.live,
        "live_open": found.live_open, "erased": found.erased, "erased_open": found.erased_open,
        "before_open": found.before_open,
    }  # fmt: skip
    return Part(found.tries, problems, notes)


def outlast_by_vault(histories: int, _folder: Path) -> Part:
    """Have vault, reporter, broker and subscribers, all modelled but the vault, live through outages."""
    # What a run in CI finds must be what the next one finds, too.
    outcome = rig_outages.run(histories, is_always_the_same=bool(os.environ.get("CI")))
    return Part(outcome.histories, outcome.problems, {})


def outlast_by_reporter(histories: int, seed: int, folder: Path) -> Part:
    """Have a real reporter and a real Mosquitto live through outages, with a modelled vault."""
    outcome = rig_reporter_outages.run(folder, histories, seed)
    return Part(outcome.histories, outcome.problems, {})


def outlast_with_mistake(plant: str, folder: Path) -> Part:
    """Search for a mistake through outages."""
    if plant == rig_outage_plants.REPORTER:
        return Part(1, rig_outage_plants.search_reporter(folder), {})
    try:
        rig_outage_plants.search_vault(plant)
    except AssertionError as err:
        return Part(1, [str(err)[:_WIDTH]], {})
    return Part(1, [], {})


def ride(trains: int, plant: str, folder: Path) -> Part:
    """Hold the trains of an idle device against those of a busy one."""
    outcome = rig_reporter_records.compare(folder, trains, plant)
    return Part(outcome.records, [problem[:_WIDTH] for problem in outcome.problems], {})


def jobs() -> list[Job]:
    """Return all parts, the long ones first."""
    found = [
        Job(OUTAGES, "the vault", partial(outlast_by_vault, 200)),
        *(Job(OUTAGES, "the reporter", partial(outlast_by_reporter, 2, seed)) for seed in range(0, 80, 20)),
        *(
            Job(OUTAGES, plant, partial(outlast_with_mistake, plant), is_mistake=True)
            for plant in (*rig_outage_plants.VAULT, rig_outage_plants.REPORTER)
        ),
        Job(ERRORS, "erase", partial(interrupt, "erase", 1, with_errors=True)),
        *(
            Job(ERRORS, story, partial(interrupt, story, 8, with_errors=True))
            for story in STORIES
            if story != "erase"
        ),
        *(Job(KILL, story, partial(interrupt, story, 1, with_errors=False)) for story in STORIES),
        *(Job(POWER, story, partial(cut, story, "")) for story in STORIES),
        *(
            Job(POWER, why, partial(cut, "erase", plant), is_mistake=True)
            for plant, why in rig_plants.POWER.items()
        ),
        Job(TRAINS, "an hour", partial(ride, 60, "")),
        *(
            Job(TRAINS, plant, partial(ride, 8, plant), is_mistake=True)
            for plant in rig_reporter_records.PLANTS
        ),
        Job(DISK, "a life", partial(attack, "life", "")),
        *(
            Job(DISK, why, partial(attack, "erase", plant), is_mistake=True)
            for plant, why in rig_plants.ERASURE.items()
        ),
    ]
    if os.geteuid() == 0:
        found.append(Job(DISK, "as nobody", partial(attack, "erase", "", as_nobody=True)))
    return found


def do(number: int) -> Part:
    """Do one part, in a folder of its own that is fast."""
    logging.disable(logging.CRITICAL)
    memory = Path("/dev/shm")  # noqa: S108 - what is in it is noise
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        return jobs()[number].work(Path(name).resolve())


def run(show: Callable[[str], None]) -> list[tuple[Job, Part]]:
    """Do all parts, on two cores at once where there are two."""
    todo = jobs()
    done: dict[int, Part] = {}
    began = time.monotonic()
    with ProcessPoolExecutor(
        min(2, os.cpu_count() or 1), get_context("fork"), max_tasks_per_child=None
    ) as pool:
        numbers = {pool.submit(do, number): number for number in range(len(todo))}
        for future in as_completed(numbers):
            number = numbers[future]
            try:
                done[number] = future.result()
            # The rigs wait as tests do, and fail as tests do, too.
            except (Exception, pytest.fail.Exception) as err:  # noqa: BLE001 - what cannot be made proves nothing
                done[number] = Part(0, [] if todo[number].is_mistake else [f"stopped: {err!r}"[:200]], {})
            seconds = time.monotonic() - began
            tries = sum(part.tried for part in done.values())
            show(f"{len(done)} of {len(todo)} parts, {tries} tries, {seconds:.0f} s")
    return [(job, done[number]) for number, job in enumerate(todo)]


def report(parts: list[tuple[Job, Part]]) -> dict[str, object]:
    """Return what came of it, for a program."""
    claims = []
    for claim, unit in UNITS.items():
        honest = [(job, part) for job, part in parts if job.claim == claim and not job.is_mistake]
        planted = [(job, part) for job, part in parts if job.claim == claim and job.is_mistake]
        notes: dict[str, int] = {}
        for _, part in honest:
            for name, count in part.notes.items():
                notes[name] = notes.get(name, 0) + count
        problems = [f"{job.what}: {each}" for job, part in honest for each in part.problems]
        missed = [job.what for job, part in planted if not part.problems]
        tried = sum(part.tried for _, part in honest)
        claims.append(
            {
                "claim": claim, "tried": tried, "unit": unit, "problems": problems,
                "mistakes_planted": len(planted), "mistakes_missed": missed, "notes": notes,
                "ok": tried > 0 and not problems and not missed,
            }
        )  # fmt: skip
    return {"ok": all(claim["ok"] for claim in claims), "claims": claims}


def table(parts: list[tuple[Job, Part]], told: dict[str, object]) -> list[str]:
    """Return what came of it, for a stranger."""
    lines: list[str] = []
    claims = told["claims"]
    assert isinstance(claims, list)  # noqa: S101 - made above
    for claim in claims:
        lines += ["", f"{'HELD  ' if claim['ok'] else 'BROKEN'}  {claim['claim']}"]
        lines.append(
            f"        tried: {claim['tried']:,} {claim['unit']}; broken promises: {len(claim['problems'])}"
        )
        lines += [f"        ! {problem}"[:_WIDTH] for problem in claim["problems"][:8]]
        if notes := claim["notes"]:
            lines += [
                f"        searched: {notes['written_bytes']:,} bytes for {notes['secrets']:,} keys",
                f"        kept items that open: {notes['live_open']} of {notes['live']}",
                f"        erased items that open: {notes['erased_open']} of {notes['erased']}",
                f"        with the root of before, the control: {notes['before_open']}",
            ]
        for job, part in parts:
            if job.claim == claim["claim"] and job.is_mistake:
                lines.append(f"        planted: {job.what}: {'FOUND' if part.problems else 'NOT FOUND'}")
    verdict = "every promise held, and every planted mistake was found" if told["ok"] else "NOT PROVED"
    return [*lines, "", verdict]


def main() -> int:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(prog="scripts/prove", description="Try to break fadeout's promises.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        print(
            "error: strace is not installed", "hint: sudo apt-get install strace", sep="\n", file=sys.stderr
        )
        return os.EX_UNAVAILABLE
    is_terminal = sys.stderr.isatty()

    def show(text: str) -> None:
        print(
            f"\r{text}" if is_terminal else text, end="" if is_terminal else "\n", file=sys.stderr, flush=True
        )

    parts = run(show)
    told = report(parts)
    print(file=sys.stderr)
    print(json.dumps(told, indent=1) if arguments.json else "\n".join(table(parts, told)))
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
