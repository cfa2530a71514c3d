"""JSON Schemas (2020-12), one per shape of the contract: what the structs say, with their docstrings."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from contract_documents.shapes import SHAPES, SOURCE, Shape, as_sent

from fadeout_broker import contract

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_STRICT = (
    "Strict: what a device of this version sends or takes. A later device of the same version may add"
    " fields, and a subscriber must ignore those: it leaves out additionalProperties, everywhere."
)
_COMMON = {"v": "The version of the contract.", "type": "What this is."}


def schema_id(shape: Shape) -> str:
    """Return the name of a shape's schema, wherever its file lies."""
    return f"urn:fadeout:contract:{contract.VERSION}:{shape.name}"


def schema_of(shape: Shape) -> dict[str, Any]:
    """Return the JSON Schema of one shape, complete in itself."""
    _, parts = msgspec.json.schema_components([shape.struct])
    for struct, part in parts.items():
        for field, found in part["properties"].items():
            text = _COMMON.get(field) or SOURCE.text_of(struct, field)
            if text:
                part["properties"][field] = {"description": text, **found}
    root = parts.pop(shape.struct.__name__)
    schema: dict[str, Any] = {"$schema": DIALECT, "$id": schema_id(shape), "$comment": _STRICT, **root}
    schema["description"] = shape.text
    if parts:
        schema["$defs"] = parts
    schema["examples"] = [as_sent(example) for example in shape.examples]
    return schema


def files() -> dict[str, str]:
    """Return every schema by its file name."""
    return {f"{shape.name}.json": json.dumps(schema_of(shape), indent=2) + "\n" for shape in SHAPES}
