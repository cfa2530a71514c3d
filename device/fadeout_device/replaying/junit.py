"""The report that CI systems read: JUnit XML. The same bytes for the same results: no times, no host.

Source: https://github.com/testmoapp/junitxml, "JUnit XML format".
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fadeout_device.replaying.verdicts import Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(verdicts: Sequence[Verdict], *, through_microphone: bool = False) -> bytes:
    """Return the report: one test case for each file, in order."""
    counts = {
        "tests": len(verdicts),
        "failures": sum(verdict.result == "failed" for verdict in verdicts),
        "errors": sum(verdict.result == "bad" for verdict in verdicts),
        "skipped": sum(verdict.result == "unchecked" for verdict in verdicts),
    }
    numbers = {name: str(number) for name, number in counts.items()}
    suites = ET.Element("testsuites", {"name": "fadeout replay", **numbers})
    suite = ET.SubElement(suites, "testsuite", {"name": "fadeout replay", **numbers})
    if through_microphone:
        properties = ET.SubElement(suite, "properties")
        ET.SubElement(properties, "property", name="heard", value="through a microphone, in real time")
    for verdict in verdicts:
        case = ET.SubElement(suite, "testcase", classname=_clean(verdict.manifest or "replay"))
        case.set("name", _clean(verdict.name))
        match verdict.result:
            case "failed":
                lines = [difference.line() for difference in verdict.differences]
                failure = ET.SubElement(case, "failure", type="mismatch", message=_clean(lines[0]))
                failure.text = _clean("\n".join(lines))
            case "bad":
                ET.SubElement(case, "error", type="audio", message=_clean(verdict.error or ""))
            case "unchecked":
                ET.SubElement(case, "skipped", message="nothing is expected of it")
    ET.indent(suites)
    text: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
