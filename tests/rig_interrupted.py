"""A vault interrupted at any of its system calls: killed there, or told by the kernel that it failed.

Each story is told in a child of its own, to which an strace is attached that injects
the fault; afterwards the vault is started on what is left and asked for what it promised.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import rig_workload
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SYNCS = ("fsync", "fdatasync")
CHANGES = ("write", "pwrite64", *SYNCS, "rename", "unlink", "ftruncate", "fallocate", "mkdir")
FAULTS = {
    **dict.fromkeys(("write", "pwrite64"), ("ENOSPC", "EIO", "EROFS")),
    **dict.fromkeys(SYNCS, ("EIO", "ENOSPC")),
    **dict.fromkeys(("rename", "unlink", "ftruncate", "mkdir"), ("EIO", "EROFS")),
}
_PR_SET_PTRACER = 0x59616D61
_CALL = re.compile(r"(?:\d+ +)?(\w+)\(")


class Fault(NamedTuple):
    """What happens at which call."""

    call: str
    number: int
    """From 1 on."""
    error: str = ""
    """The error that the call returns; none: the process is killed there."""

    def __str__(self) -> str:
        return f"{self.error or 'SIGKILL'} at {self.call} {self.number}"

    def injected(self) -> str:
        """Return it in strace's words."""
        how = f"error={self.error}" if self.error else "signal=SIGKILL"
        return f"inject={self.call}:{how}:when={self.number}"


class Attempt(NamedTuple):
    """How a story went."""

    code: int
    calls: list[str]
    """strace's lines about the story's folder, in order."""
    made: Counter[str]
    """How often each call was made, anywhere."""

    def went_past(self, fault: Fault) -> bool:
        """Say whether it ended well without having come to the fault.

        Ids are random, and so are the pages of SQLite's that they fall on: one telling makes a few
        calls more than another.
        """
        return self.code == 0 and self.made[fault.call] < fault.number

    def fault_at(self) -> int:
        """Return which of the calls failed."""
        return next(n for n, line in enumerate(self.calls) if "(INJECTED)" in line)

    def after_fault(self) -> list[str]:
        """Return the calls that changed something after the one that failed; SQLite's own count apart.

        When a sync of SQLite's fails, what it does to its own files to get back to a
        state it knows is no step of ours.
        """
        failed = self.fault_at()
        is_sqlite = "index.db" in self.calls[failed]
        return [line for line in self.calls[failed + 1 :] if not (is_sqlite and "index.db" in line)]


def attempt(folder: Path, story: str, fault: Fault | None = None) -> Attempt:
    """Tell a story in a new folder, with a fault."""
    shutil.rmtree(folder, ignore_errors=True)
    rig_workload.prepare(folder)
    (folder / "copies").mkdir()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = os.EX_SOFTWARE
        try:
            os.close(writing)
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, -1, 0, 0, 0)
            os.read(reading, 1)
            code = rig_workload.tell_story(folder, story)
        finally:
            os._exit(code)
    os.close(reading)
    log = folder / "trace"
    inject = [] if fault is None else ["-e", fault.injected()]
    trace = ["-y", "-s", "0", "-o", str(log), "-e", f"trace={','.join(CHANGES)}"]
    tracer = subprocess.Popen(
        ["strace", "-f", "--quiet=all", *trace, *inject, "-p", str(child)], stdin=subprocess.DEVNULL
    )
    status = Path(f"/proc/{child}/status")
    wait_for(lambda: "TracerPid:\t0\n" not in status.read_text(), "strace has attached")
    os.write(writing, b"\n")
    os.close(writing)
    _, ended = os.waitpid(child, 0)
    tracer.wait()
    called = [line for line in log.read_text(errors="replace").splitlines() if name_of(line)]
    inside = [line for line in called if str(folder) in line]
    return Attempt(os.waitstatus_to_exitcode(ended), inside, Counter(map(name_of, called)))


def faults(attempted: Attempt, *, with_errors: bool) -> list[Fault]:
    """Return every fault there can be in a story, from how it went without one."""
    found = []
    for call, count in Counter(name_of(line) for line in attempted.calls).items():
        errors = FAULTS.get(call, ()) if with_errors else ("",)
        found += [Fault(call, number, error) for number in range(1, count + 1) for error in errors]
    return found


def name_of(line: str) -> str:
    """Return the name of the call in a line of strace's."""
    called = _CALL.match(line)
    return called[1] if called else ""


class Outcome(NamedTuple):
    """What came of many attempts."""

    attempts: int
    problems: list[str]


def interrupt(
    folder: Path, story: str, chosen: Iterable[Fault], progress: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Tell a story once with each fault, and start the vault on what is left."""
    problems = []
    count = 0
    for fault in chosen:
        went = attempt(folder / story, story, fault)
        if not went.went_past(fault):
            problems += [f"{fault}: {each}" for each in _wrong_with(went, fault, story)]
        told = (folder / story / "told").read_bytes()
        sealed = {path.name: path.read_bytes() for path in (folder / story / "copies").iterdir()}
        found = rig_workload.in_a_child(partial(rig_workload.problems_after, folder / story, told, sealed))
        problems += [f"{fault}: {each}" for each in found]
        count += 1
        progress(count)
    return Outcome(count, problems)


def _wrong_with(went: Attempt, fault: Fault, story: str) -> list[str]:
    if not fault.error:
        return [] if went.code < 0 else ["it was not killed"]
    if not any("(INJECTED)" in line for line in went.calls):
        return ["the fault did not happen"]
    if went.code == os.EX_SOFTWARE:
        return ["it stops with an error that nothing expects"]
    if fault.call not in SYNCS:
        return []
    failed, *later = went.calls[went.fault_at() :]
    if fault.call == "fdatasync" and failed.partition("<")[2].partition(">")[0].endswith("/state"):
        # SQLite's sync of the folder, of which it ignores the result. Ours follows.
        return []
    found = []
    # Where the root moves, one process closes the index, and SQLite tells nobody of what fails then.
    is_closing = story == "migrate" and "index.db" in failed
    if went.code != os.EX_IOERR and later and not is_closing:
        found.append("a failed sync does not end the process")
    further = went.after_fault()
    if "/root-" in failed:
        # A panic tries every slot, whatever happened to another one.
        further = [line for line in further if story != "panic" or "/root-" not in line]
    if further and not is_closing:
        found.append(f"after a failed sync it goes on with {name_of(further[0])}")
    return found
