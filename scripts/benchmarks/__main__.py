"""`scripts/bench VERB`: measurements that anyone can run again.

Each verb prints a table, or with `--json` the same as JSON, and says what it was
measured on. This machine is never the only thing that runs on it: compare the
ratios within one run, not numbers between runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from typing import TYPE_CHECKING

import hearing
import pipeline
import recogniser
import reporting
import vault
from rich.console import Console
from rich.table import Table

WIDTH = 120
if TYPE_CHECKING:
    from measured import Measurement

VERBS = {
    "broker": reporting,
    "ear": hearing,
    "pipeline": pipeline,
    "recogniser": recogniser,
    "vault": vault,
}


def main() -> int:
    """Run one verb."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure fadeout on this machine.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in VERBS.items():
        verb = verbs.add_parser(name, help=module.SUMMARY, description=module.__doc__)
        verb.add_argument("--json", action="store_true", help="print JSON")
        module.add_options(verb)
    arguments = parser.parse_args()
    measurements = VERBS[arguments.verb].measure(arguments)
    machine = _machine()
    if arguments.json:
        rows = [measurement._asdict() for measurement in measurements]
        print(json.dumps({"verb": arguments.verb, "machine": machine, "measurements": rows}, indent=2))
    else:
        _print_table(arguments.verb, machine, measurements)
    return 0 if all(measurement.is_met is not False for measurement in measurements) else 1


def _machine() -> dict[str, str | int | None]:
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - one line is read of it
        for line in file:
            if line.startswith(("model name", "Model")):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "processor": model or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _print_table(verb: str, machine: dict[str, str | int | None], measurements: list[Measurement]) -> None:
    console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    table = Table(title=f"scripts/bench {verb}", title_justify="left", box=None, header_style="bold")
    for column in ("what", "measured", "unit", "aim", ""):
        # A reason why something was not measured stands in place of the unit, and may be long.
        is_number = column == "measured"
        table.add_column(
            column, justify="right" if is_number else "left", no_wrap=column != "unit", overflow="fold"
        )
    for what, value, unit, aim, is_met in measurements:
        verdict = {True: "met", False: "[bold red]missed[/bold red]", None: ""}[is_met]
        table.add_row(what, "-" if value is None else f"{value:.2f}", unit, aim, verdict)
    console.print(table)
    console.print("measured on: " + ", ".join(f"{key} {value}" for key, value in machine.items()))


if __name__ == "__main__":
    sys.exit(main())
