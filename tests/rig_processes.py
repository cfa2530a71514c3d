"""The processes of the machine, as /proc shows them: who is whose child, and what it runs."""

from __future__ import annotations

from pathlib import Path

ROOMS = {
    "vault": "fadeout_device.vault",
    "ear": "fadeout_device.ear",
    "reporter": "fadeout_broker.reporter",
}


def arguments(process_id: int) -> list[str]:
    """Return a process's command line; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def children(process_id: int) -> list[int]:
    """Return the process ids of all descendants."""
    found: list[int] = []
    for task in Path(f"/proc/{process_id}/task").glob("*/children"):
        try:
            direct = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in direct:
            found += [child, *children(child)]
    return found


def is_running(process_id: int) -> bool:
    """Say whether there is such a process, zombies not counted."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def status(process_id: int, field: str) -> list[str]:
    """Return a field of /proc/PID/status for every thread of a process."""
    values = []
    for path in Path(f"/proc/{process_id}/task").glob("*/status"):
        try:
            text = path.read_text()
        except OSError:
            continue
        lines = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        values.append(lines.get(field, "").strip())
    return values


def rooms(process_id: int) -> dict[str, int]:
    """Return the process ids of the rooms below a process, by name."""
    found = {}
    for child in children(process_id):
        line = arguments(child)
        for name, module in ROOMS.items():
            if module in line[:3] and "strace" not in line[0]:
                found[name] = child
    return found
