"""What the documents point to is there: files, headings, and the tests that hold a promise."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FOLDERS = ("broker", "config", "device", "docs", "scripts", "tests")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for each in FOLDERS for path in (ROOT / each).rglob("*.md"))])


def _prose(path: Path) -> str:
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(path: Path) -> set[str]:
    """Return the names that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.+)$", _prose(path), re.MULTILINE)
    shown = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in shown}


def _dead_links(path: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(path: Path) -> None:
    assert list(_dead_links(path)) == []


def test_a_dead_link_would_be_found(tmp_path: Path) -> None:
    there = tmp_path / "there.md"
    there.write_text("# On `time`, and *what* it costs\n", encoding="utf-8")
    document = tmp_path / "document.md"
    document.write_text(
        "[a](there.md) [b](there.md#on-time-and-what-it-costs) [c](https://example.org/none.md)\n"
        "[d](gone.md) [e](there.md#gone) [f](#gone)\n```\n[g](gone.md)\n```\n",
        encoding="utf-8",
    )
    assert list(_dead_links(document)) == ["gone.md", "there.md#gone", "#gone"]


def test_the_readme_leads_to_every_document() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name}" not in text] == []


def test_the_readme_names_every_table_of_the_configuration() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tables = tomllib.loads((ROOT / "config" / "fadeout.toml").read_text(encoding="utf-8"))
    assert [name for name in tables if f"`[{name}]`" not in text] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_is_named_is_there(path: Path) -> None:
    named = re.findall(r"`(?:tests/)?([\w/]*test_\w+\.py)`", _prose(path))
    assert [name for name in named if not any((ROOT / "tests").rglob(name))] == []
