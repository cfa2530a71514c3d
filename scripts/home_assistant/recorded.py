"""tests/broker/home_assistant_facts.json: what each version's schemas allow, in lines to compare."""

from __future__ import annotations

import json
from typing import Any

FOLDED_BELOW = 3


def formatted(facts: dict[str, Any]) -> str:
    """Return the file's text: versions, parts and platforms on lines of their own."""
    return _formatted(facts, 0) + "\n"


def _formatted(value: Any, depth: int) -> str:  # noqa: ANN401 - JSON
    if not isinstance(value, dict) or depth >= FOLDED_BELOW or not _has_parts(value):
        return json.dumps(value)
    pad = " " * depth
    lines = (f"{pad} {json.dumps(key)}: {_formatted(part, depth + 1)}" for key, part in value.items())
    return "{\n" + ",\n".join(lines) + f"\n{pad}}}"


def _has_parts(value: dict[str, Any]) -> bool:
    return any(isinstance(part, dict) for part in value.values())
