"""The tables of docs/contract.md: topics, words, payloads and examples, in Markdown."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import msgspec
from contract_documents.shapes import INCOMING, OUTGOING, SHAPES, SOURCE, Shape, as_sent

from fadeout_broker import contract
from fadeout_broker.payloads import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARTS = ("PolicyDocument", "PolicyRule", "ReplyData")
"""Structs within a payload."""
_WHEN = {
    "state": "on each change, and every 10 minutes",
    "info": "on connecting",
    "policy": "on connecting, and on each change",
    "erase_before": "on connecting, and with each notice",
}


def blocks() -> dict[str, str]:
    """Return every generated part of the document by the name in its markers."""
    return {
        "topics": _topics(),
        "words": _words(),
        "payloads": _payloads(OUTGOING) + "".join(_part(name) for name in _PARTS),
        "requests": _payloads(INCOMING),
        "examples": _examples(),
    }


def put_into(text: str, parts: dict[str, str]) -> str:
    """Replace what stands between the markers of each part.

    Raises:
        ValueError: a part has no place in the text.
    """
    for name, part in parts.items():
        begin, end = f"<!-- made: {name} -->\n", "<!-- end -->"
        before, found, after = text.partition(begin)
        _, closed, after = after.partition(end)
        if not found or not closed:
            raise ValueError(f"no place for {name}: {begin.strip()} ... {end}")
        text = before + begin + "\n" + part.strip() + "\n\n" + end + after
    return text


def row(*cells: str) -> str:
    """Return one row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def head(*cells: str) -> str:
    """Return the first rows of a table."""
    return row(*cells) + "|" + "---|" * len(cells) + "\n"


def _topics() -> str:
    rows = head("`fadeout/<node>/` …", "from", "retained", "expiry", "padded to", "what")
    rows += row("`availability`", "device; will", "yes", "no", "no", "`online`, `stopped`, `offline`")
    for shape in OUTGOING:
        assert issubclass(shape.struct, Payload)  # noqa: S101 - what leaves is
        has_end = "ttl" in shape.struct.__struct_fields__
        rows += row(
            f"`{shape.topic}`",
            "device",
            "yes" if shape.struct.is_retained else "no",
            "= `ttl`" if has_end else "no",
            str(shape.struct.padded_bytes),
            f"[`{shape.tag}`](#{shape.tag})" + (f": {_WHEN[shape.name]}" if shape.name in _WHEN else ""),
        )
    for shape in INCOMING:
        rows += row(f"`{shape.topic}`", "others", "must not", "any", "no", f"[`{shape.name}`](#{shape.name})")
    return rows


def _words() -> str:
    rows = head("word", "form", "meaning")
    for name, value in SOURCE.aliases.items():
        if isinstance(value, ast.Subscript) and name not in {"Availability", "Alarm", "ReplyError"}:
            rows += row(f"`{name}`", _value(value), SOURCE.names[name])
    return rows


def _payloads(shapes: Iterable[Shape]) -> str:
    text = ""
    for shape in shapes:
        text += f"\n### {shape.tag or shape.name}\n\n"
        text += f"`{shape.topic}`: {shape.text}\n\n"
        fields = _fields(shape.struct)
        text += fields or "No fields.\n"
    return text


def _part(name: str) -> str:
    struct: type[msgspec.Struct] = getattr(contract, name)
    return f"\n#### {name}\n\n{' '.join((struct.__doc__ or '').split())}\n\n{_fields(struct)}"


def _fields(struct: type[msgspec.Struct]) -> str:
    rows = head("field", "value", "meaning")
    if struct.__struct_config__.tag is not None:
        rows += row("`type`", f"`{struct.__struct_config__.tag}`", "")
    for field in msgspec.structs.fields(struct):
        source = SOURCE.fields[struct.__name__][field.name]
        value = _value(source.annotation)
        if not field.required:
            value = value.removesuffix(" or `null`") + "; may be left out"
        meaning = "" if field.name == "v" else SOURCE.text_of(struct.__name__, field.name)
        rows += row(f"`{field.name}`", value, meaning)
    return rows


def _value(node: ast.expr) -> str:  # noqa: C901, PLR0911 - a table of what an annotation can be
    """Write an annotation for people."""
    match node:
        case ast.Constant(value=None):
            return "`null`"
        case ast.Name(id="bool"):
            return "`true`, `false`"
        case ast.Name(id="Alarm" | "ReplyError" as name):
            return _value(SOURCE.aliases[name])
        case ast.Name(id="PolicyDocument" | "PolicyRule" | "ReplyData" as name):
            return f"[`{name}`](#{name.lower()})"
        case ast.Name(id=name):
            return f"`{name}`"
        case ast.BinOp(left=left, right=right):
            return f"{_value(left)} or {_value(right)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=words)):
            return ", ".join(f"`{ast.literal_eval(word)}`" for word in words)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Constant(value=word)):
            return f"`{word!s}`"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, *_])):
            return f"list of {_value(item)}"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
            return f"object: {_value(key)} → {_value(value)}"
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, ast.Call() as meta])):
            return _bounded(inner, {word.arg or "": _number(word.value) for word in meta.keywords})
    raise ValueError(f"no words for {ast.unparse(node)}")


def _bounded(inner: ast.expr, bounds: dict[str, str | int]) -> str:
    if "pattern" in bounds:
        # A bare `$` would let a line feed follow; that is no matter of people's.
        form = "`" + str(bounds["pattern"]).removesuffix("$(?!\\n)").removeprefix("^") + "`"
        return form + (f", at most {bounds['max_length']} characters" if "max_length" in bounds else "")
    if "ge" in bounds:
        return f"{bounds['ge']} … {_power(bounds['le'])}"
    low, high = bounds.get("min_length", 0), bounds["max_length"]
    return f"{_value(inner)}, {low} to {high} of them"


def _power(number: str | int) -> str:
    return "2^53 - 1" if number == 2**53 - 1 else str(number)


def _number(node: ast.expr) -> str | int:
    """Return what stands in a `Meta`: a constant, one of the contract's names, or 2**53 - 1."""
    if isinstance(node, ast.Name):
        named: int = getattr(contract, node.id)
        return named
    if isinstance(node, ast.BinOp):
        return 2**53 - 1
    value: str | int = ast.literal_eval(node)
    return value


def _examples() -> str:
    lines = ["    fadeout/sp-7f3a9c/availability  online"]
    for shape in SHAPES:
        topic = f"fadeout/sp-7f3a9c/{shape.topic}".replace("<consumer>", "homeassistant")
        for example in shape.examples:
            lines += ["", f"    {topic}", f"    {msgspec.json.encode(as_sent(example)).decode()}"]
    return "\n".join(lines)
