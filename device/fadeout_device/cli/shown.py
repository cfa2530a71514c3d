"""How answers are shown to people: tables, times, spans. And, for machines, JSON."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

_NO_FOLD = 10_000
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def print_json(answer: Any) -> None:  # noqa: ANN401 - any struct
    """Print an answer as one line of JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.flush()


def print_lines(*lines: str) -> None:
    """Print lines."""
    print(*lines, sep="\n", flush=True)  # noqa: T201 - this is what a command does


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    from rich.console import Console  # noqa: PLC0415 - late: most commands never need it
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # Folded for the eyes only: who reads it line by line wants each row on one.
    is_read = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(highlight=False, width=None if is_read else _NO_FOLD).print(table)


def count(number: int, thing: str, things: str | None = None) -> str:
    """Return a number of things: `1 key`, `2 keys`; or, with another plural, `2 entries`."""
    return f"{number} {thing}" if number == 1 else f"{number} {things or thing + 's'}"


def clock_time(at_s: float) -> str:
    """Return a time as the user's clock shows it."""
    return datetime.fromtimestamp(at_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """Return a length of time in its two largest units: `6 d 23 h`."""
    left = max(0, int(seconds))
    parts = []
    for size, unit in _SPANS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def ending(at_s: float, now_s: float, *, on_update: bool = False) -> str:
    """Return when something ends: `in 6 d 23 h, or at the next update`."""
    words = f"in {span(at_s - now_s)}" if at_s > now_s else "now"
    return f"{words}, or at the next update" if on_update else words
