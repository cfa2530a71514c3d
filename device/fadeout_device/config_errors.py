"""From a library's complaint about the configuration to one line a person can act on.

tomllib and msgspec say what is wrong; people need to know where: file, line, key,
what was given, and what is allowed. Knows the form of the file, not its meaning.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from fadeout_device.errors import ConfigError
from fadeout_device.policy import PolicyError

Key = tuple[str, ...]

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
"""One part of a key in TOML: bare, or in quotes."""


def explained(
    err: Exception, name: str, text: str, tree: dict[str, Any], struct: type[msgspec.Struct]
) -> ConfigError:
    """Return the error that a person sees.

    Args:
        err: tomllib's, msgspec's, or the policy's.
        name: what the file is called.
        text: the whole file.
        tree: what tomllib made of it; empty if it could not.
        struct: what it should be.
    """
    if isinstance(err, PolicyError):
        return ConfigError(f"{_where(name, text, err.key)}: {err}", err.hint)
    if isinstance(err, msgspec.ValidationError):
        return _value_error(name, text, tree, struct, str(err))
    return _syntax_error(name, str(err))


def _syntax_error(name: str, complaint: str) -> ConfigError:
    """Return the error for text that is no TOML; `complaint` is tomllib's."""
    found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", complaint)
    if found:
        where = f"{name}:{found[2]}: column {found[3]}: {found[1].lower()}"
    else:
        where = f"{name}: {complaint.lower()}"
    return ConfigError(where, "the file is TOML: https://toml.io")


def _value_error(
    name: str, text: str, tree: dict[str, Any], struct: type[msgspec.Struct], complaint: str
) -> ConfigError:
    """Return the error for a key or value that is not allowed; `complaint` is msgspec's."""
    what, _, path = complaint.partition(" - at `")
    key = tuple(part or number for part, number in re.findall(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]", path))
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown:
        wrong = (*key, unknown[1])
        return ConfigError(f"{_where(name, text, wrong)}: no such key", _suggestion(struct, wrong))
    if "[...]" in path:
        # msgspec does not say which element; the whole list is shown.
        what = f"each {what.removeprefix('Expected ')}"
    given = _shown(_value_at(tree, key))
    allowed = _allowed_words(struct, key) if "enum value" in what else _allowed(what)
    return ConfigError(f"{_where(name, text, key)}: given {given}", f"allowed: {allowed}")


def line_of(text: str, key: Key) -> int:
    """Return the line (from 1) on which a key stands in TOML text; its table's line if it is not found.

    tomllib gives no positions. This looks only for what has already been parsed,
    so it need not understand values, just headers and `key =` at the start of a line.
    """
    table: Key = ()
    best, best_depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+([^\]]+)\]+", line)
        pair = re.match(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=", line)
        if header:
            here = table = _names(header[1])
        elif pair:
            here = (*table, *_names(pair[1]))
        else:
            continue
        if here == key[: len(here)] and len(here) > best_depth:
            best, best_depth = number, len(here)
    return best


def _names(dotted: str) -> Key:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, dotted))


def _where(name: str, text: str, key: Key) -> str:
    return f"{name}:{line_of(text, key)}: {'.'.join(key)}"


def _type_of(struct: type[msgspec.Struct], key: Key) -> Any:  # noqa: ANN401 - type expressions
    """Return the type that the structs give to a key; the whole file's for no key."""
    found: Any = struct
    for name in key:
        if name.isdigit():
            (whole, *_) = get_args(found)  # Annotated[tuple[element, ...], bounds]
            (found, *_) = get_args(whole)
        else:
            found = next(field.type for field in msgspec.structs.fields(found) if field.encode_name == name)
    return found


def _allowed_words(struct: type[msgspec.Struct], key: Key) -> str:
    """Return the words that a key takes, and in words what else."""
    allowed = []
    for option in (_type_of(struct, key), *get_args(_type_of(struct, key))):
        if get_origin(option) is Literal:
            allowed += [f'"{word}"' for word in get_args(option)]
        elif get_origin(option) is Annotated and get_args(option)[0] is int:
            allowed.append("a whole number")
    return " or ".join(dict.fromkeys(allowed))


def _suggestion(struct: type[msgspec.Struct], key: Key) -> str:
    known = [field.encode_name for field in msgspec.structs.fields(_type_of(struct, key[:-1]))]
    close = difflib.get_close_matches(key[-1], known, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}known here: {', '.join(known)}"


def _value_at(tree: Any, key: Key) -> Any:  # noqa: ANN401 - TOML values
    for name in key:
        tree = tree[int(name)] if isinstance(tree, list) else tree.get(name)
    return tree


def _shown(value: Any) -> str:  # noqa: ANN401 - TOML values
    if isinstance(value, dict):
        return "a table"
    return msgspec.json.encode(value, enc_hook=str).decode()[:80]


def _of_letters(pattern: str) -> str:
    """Say which characters a pattern of a name takes."""
    capitals = "letters" if "A-Z" in pattern else "small letters"
    taken = re.sub(r"\w-\w", "", "".join(re.findall(r"\[(.*?)\]", pattern)))
    return "of " + ", ".join([capitals, "digits", *(mark for mark in "_.-" if mark in taken)])


def _allowed(what: str) -> str:
    what = what.removeprefix("Expected ").replace("`", "")
    what = re.sub(r"matching regex '(.*)'", lambda found: _of_letters(found[1]), what)
    for theirs, ours in (
        ("str", "text"),
        ("object", "a table"),
        ("array", "a list"),
        ("int", "a whole number"),
        ("bool", "true or false"),
    ):
        what = re.sub(rf"\b{theirs}\b", ours, what)
    return what.split(", got ")[0]
