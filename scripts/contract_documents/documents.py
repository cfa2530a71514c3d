"""All documents of the contract: writes them, or shows where they are not what the structs say."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from contract_documents import asyncapi, metadata, schemas, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).resolve().parents[2] / "docs"


def documents(docs: Path) -> dict[Path, str]:
    """Return what each file should hold."""
    contract, told = docs / "contract.md", docs / "metadata.md"
    return {
        docs / "asyncapi.yaml": asyncapi.document(),
        **{docs / "schemas" / name: text for name, text in schemas.files().items()},
        contract: tables.put_into(contract.read_text(encoding="utf-8"), tables.blocks()),
        told: tables.put_into(told.read_text(encoding="utf-8"), metadata.blocks()),
    }


def drift(wanted: dict[Path, str], docs: Path) -> str:
    """Return a diff from what is there to what should be; empty if they are the same."""
    shown = ""
    there = {path: path.read_text(encoding="utf-8") for path in (docs / "schemas").glob("*")}
    for path in sorted(there.keys() | wanted.keys()):
        old = there.get(path) or (path.read_text(encoding="utf-8") if path.exists() else "")
        new = wanted.get(path, "")
        name = str(path.relative_to(docs.parent))
        shown += "".join(
            difflib.unified_diff(
                old.splitlines(keepends=True),
                new.splitlines(keepends=True),
                name,
                f"{name}, as the structs say",
            )
        )
    return shown


def main(arguments: Sequence[str]) -> int:
    """Write the documents, or check them; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the documents of the contract from its structs.")
    parser.add_argument("--check", action="store_true", help="write nothing; show what would change")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder (default: docs)")
    options = parser.parse_args(arguments)
    docs = options.docs.resolve()
    wanted = documents(docs)
    if options.check:
        shown = drift(wanted, docs)
        if shown:
            sys.stdout.write(shown)
            print("error: the documents are not what the structs say", file=sys.stderr)
            print("hint: scripts/make_contract", file=sys.stderr)
        return 1 if shown else 0
    (docs / "schemas").mkdir(exist_ok=True)
    for path in set((docs / "schemas").glob("*")) - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0
