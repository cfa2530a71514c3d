"""Says what the checks showed: a table for people, JSON for programs, JUnit for what builds them."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # only written here, never read
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fadeout_broker.conformance.verdict import Result

_CHECK, _VERDICT, _ACK = 50, 13, 14
HEADING = f"{'check':{_CHECK}}{'verdict':{_VERDICT}}{'acknowledged':{_ACK}}"


def row(result: Result) -> str:
    """Return one line of the table, and one below it for the detail."""
    acknowledged = "-" if result.acknowledged is None else "yes" if result.acknowledged else "no"
    line = f"{result.check:{_CHECK}}{result.verdict:{_VERDICT}}{acknowledged:{_ACK}}".rstrip()
    return f"{line}\n    {_printable(result.detail)}"


def summary(results: Sequence[Result], *, is_conforming: bool) -> str:
    """Return the last line of the table."""
    counts = {
        verdict: sum(result.verdict == verdict for result in results)
        for verdict in ("forgot", "still there", "lied", "cannot tell", "not tried")
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{'conforms' if is_conforming else 'does not conform'}: {told}"


def as_json(results: Sequence[Result], *, is_conforming: bool) -> str:
    """Return the whole report as one JSON object."""
    return msgspec.json.encode({"conforms": is_conforming, "results": results}).decode()


def as_junit(results: Sequence[Result]) -> bytes:
    """Return the whole report as JUnit's XML."""
    suite = ET.Element("testsuite", name="fadeout-broker conformance", tests=str(len(results)))
    for result in results:
        case = ET.SubElement(suite, "testcase", classname="conformance", name=_printable(result.check))
        if result.verdict == "not tried":
            ET.SubElement(case, "skipped", message=_printable(result.detail))
        elif result.verdict != "forgot":
            failure = ET.SubElement(case, "failure", type=result.verdict, message=result.verdict)
            failure.text = _printable(result.detail)
    bad = sum(result.verdict not in ("forgot", "not tried") for result in results)
    suite.set("failures", str(bad))
    suite.set("skipped", str(sum(result.verdict == "not tried" for result in results)))
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
