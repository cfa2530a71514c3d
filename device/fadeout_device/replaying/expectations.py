"""Manifests: `expect.toml` says what a replay should find in the files beside it.

    [tolerance]
    speech_start_s = 0.2

    [files."kitchen.wav"]
    utterances = [
      { wake_word = "okay_nabu", outcome = "failed", speech_start_s = 2.9, kept = ["audio", "action"] },
    ]

A key of an utterance that is left out is not compared. Knows the form of the
file, and writes it; what differs is found in `differences.py`.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from fadeout_device.errors import ConfigError
from fadeout_device.messages import ToldWhat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fadeout_device.replaying.heard import HeardFile

_T = TypeVar("_T", bound=msgspec.Struct)

MANIFEST = "expect.toml"
"""The name under which manifests are found beside files."""

DEFAULT_TOLERANCE_S = 0.15
"""Five frames of the VAD: what a change of the wake-word engine or of the resampler moves."""

Seconds = Annotated[float, Meta(ge=0.0)]
Kind = Literal["audio", "words", "action"]


class ManifestError(ConfigError):
    """A manifest cannot be used: `file:line: key: what is wrong`."""


class Tolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How far off a position may be, in seconds."""

    speech_start_s: Seconds = DEFAULT_TOLERANCE_S
    speech_end_s: Seconds = DEFAULT_TOLERANCE_S

    def at_least(self, least_s: float) -> Tolerance:
        """Return it, nowhere less than that."""
        return Tolerance(max(self.speech_start_s, least_s), max(self.speech_end_s, least_s))


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One utterance; what is left out may be anything."""

    wake_word: str | msgspec.UnsetType = msgspec.UNSET
    outcome: Literal["served", "failed", "false_wake"] | msgspec.UnsetType = msgspec.UNSET
    action: str | msgspec.UnsetType = msgspec.UNSET
    speech_start_s: Seconds | msgspec.UnsetType = msgspec.UNSET
    speech_end_s: Seconds | msgspec.UnsetType = msgspec.UNSET
    kept: tuple[Kind, ...] | msgspec.UnsetType = msgspec.UNSET
    """The kinds of items that are stored, in any order."""
    told: ToldWhat | Literal["none"] | msgspec.UnsetType = msgspec.UNSET
    """What a voice command was answered; `none`: it is no command."""


class ExpectedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file."""

    utterances: tuple[Expected, ...] | None = None
    """In order; empty: nothing is heard in it."""
    readable: bool = True
    """False: it is refused as no audio."""
    tolerance: Tolerance | None = None
    """In the place of the manifest's."""


class Manifest(msgspec.Struct, frozen=True):
    """One manifest."""

    path: Path
    files: dict[str, ExpectedFile]
    """By their path from the manifest's folder."""
    tolerance: Tolerance = Tolerance()

    def tolerance_of(self, name: str) -> Tolerance:
        """Return how far off positions in a file may be."""
        return self.files[name].tolerance or self.tolerance


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file, its parts unread."""

    files: dict[str, Any] = {}
    tolerance: Any = {}


def load(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it cannot be read, is no TOML, or says what cannot be.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise ManifestError(f"{path}: {(err.strerror or 'cannot be read').lower()}") from err
    except UnicodeDecodeError as err:
        raise ManifestError(f"{path}: not UTF-8 at byte {err.start}") from err
    manifest = parse(text, path)
    for name in manifest.files:
        if (path.parent / name).is_dir():
            line = line_of(text, ("files", name))
            raise ManifestError(f"{path}:{line}: files.{name}: is a folder", "name each file in it")
    return manifest


def parse(text: str, path: Path) -> Manifest:
    """Read a manifest from its text. Raises ManifestError."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        found = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", str(err))
        what, line, column = found.groups() if found else (str(err), None, None)
        placed = f"column {column}: " if column else ""
        if twice := re.fullmatch(r"Cannot declare \((.*)\) twice", what):
            key = ".".join(re.findall("'([^']*)'", twice[1]))
            what = f"{key}: stands twice"
        where = f"{path}:{line or text.count(chr(10)) + 1}: {placed}{what[:1].lower()}{what[1:]}"
        raise ManifestError(where, "the file is TOML: https://toml.io") from err
    reader = _Reader(text, path)
    raw = reader.convert(tree, _Raw, ())
    tolerance = reader.convert(raw.tolerance, Tolerance, ("tolerance",))
    files = {name: reader.file(name, given) for name, given in raw.files.items()}
    return Manifest(path, files, tolerance)


class _Reader:
    """Reads a manifest piece by piece, so that what is wrong can be placed."""

    def __init__(self, text: str, path: Path) -> None:
        self._text = text
        self._path = path

    def file(self, name: str, given: Any) -> ExpectedFile:  # noqa: ANN401 - TOML values
        """Read one file's table."""
        key = ("files", name)
        if name.startswith("/") or ".." in name.split("/"):
            raise self._error(
                key, "lies outside the manifest's folder", "name files from the manifest's folder"
            )
        plain = posixpath.normpath(name) if name else ""
        if plain in ("", ".") or plain != name:
            # Else it would be a file of its own beside the same one under its plain name.
            hint = "name files from the manifest's folder" if plain in ("", ".") else f'write "{plain}"'
            raise self._error(key, "is no plain path", hint)
        utterances = given.get("utterances") if isinstance(given, dict) else None
        if isinstance(utterances, list):
            read = [
                self.convert(utterance, Expected, (*key, "utterances", number))
                for number, utterance in enumerate(utterances)
            ]
            given = {**given, "utterances": read}
        file = self.convert(given, ExpectedFile, key)
        if file.readable == (file.utterances is None):
            both = "of a file that is refused no utterances can be expected"
            raise self._error(
                key, "utterances is missing" if file.readable else both, "utterances = [] for none"
            )
        return file

    def convert(self, given: Any, struct: type[_T], key: tuple[str | int, ...]) -> _T:  # noqa: ANN401
        """Read a piece."""
        try:
            return msgspec.convert(given, struct, strict=True)
        except msgspec.ValidationError as err:
            what, _, below = str(err).partition(" - at `")
            inner = re.findall(r"\.([A-Za-z0-9_-]+)", below)
            unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
            if unknown:
                known = ", ".join(field.encode_name for field in msgspec.structs.fields(struct))
                raise self._error((*key, *inner, unknown[1]), "no such key", f"known here: {known}") from err
            words = re.sub(r"\bobject\b", "table", what[:1].lower() + what[1:].replace("`", ""))
            raise self._error((*key, *inner), re.sub(r"\barray\b", "list", words)) from err

    def _error(self, key: tuple[str | int, ...], what: str, hint: str | None = None) -> ManifestError:
        shown = ".".join(str(part + 1) if isinstance(part, int) else part for part in key)
        return ManifestError(f"{self._path}:{line_of(self._text, key)}: {shown}: {what}", hint)


def line_of(text: str, key: tuple[str | int, ...]) -> int:
    """Return the line (from 1) of a key in TOML text that has been parsed; of its table if it is not found.

    tomllib gives no positions. Files stand under `[files."NAME"]`, and their utterances
    one on a line, or under `[[files."NAME".utterances]]`.
    """
    table: list[str] = []
    best, best_depth = 1, 0
    seen_utterances = 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*(.*?)\s*\]+\s*(#.*)?$", line) if re.match(r"\s*\[", line) else None
        pair = re.match(r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_.-])+)\s*=""", line)
        here: list[str | int]
        if header:
            names = _names(header[1])
            seen_utterances = seen_utterances + 1 if names == table else 1
            table = names
            here = [*names]
            if names[2:] == ["utterances"]:
                here.append(seen_utterances - 1)
        elif pair:
            here = [*table, *_names(pair[1])]
            if table[2:] == ["utterances"]:
                here = [*table, seen_utterances - 1, *_names(pair[1])]
            elif here[-1:] == ["utterances"]:
                seen_utterances = 0
        elif line.lstrip().startswith("{") and len(table) == 2:  # noqa: PLR2004 - files, and the name
            here = [*table, "utterances", seen_utterances]
            seen_utterances += 1
        else:
            continue
        if tuple(here) == key[: len(here)] and len(here) > best_depth:
            best, best_depth = number, len(here)
    return best


def _names(dotted: str) -> list[str]:
    return [name.strip("\"'") for name in re.findall(r""""[^"]*"|'[^']*'|[A-Za-z0-9_-]+""", dotted)]


def from_heard(files: Mapping[str, HeardFile], before: Manifest | None, path: Path) -> Manifest:
    """Return a manifest that expects what came.

    Args:
        files: what came, by the path from the manifest's folder.
        before: the manifest whose tolerances are kept, and its files that were not replayed.
        path: where it will stand.
    """
    kept = dict(before.files) if before else {}
    for name, heard in files.items():
        tolerance = kept[name].tolerance if name in kept else None
        if heard.error is not None:
            kept[name] = ExpectedFile(readable=False)
            continue
        kept[name] = ExpectedFile(
            tuple(
                Expected(
                    wake_word=utterance.wake_word,
                    outcome=utterance.outcome,  # type: ignore[arg-type]  # the vault's own words
                    action=utterance.action,
                    speech_start_s=_or_unset(utterance.speech_start_s),
                    speech_end_s=_or_unset(utterance.speech_end_s),
                    kept=utterance.kept,  # type: ignore[arg-type]  # the same
                    told=msgspec.UNSET if utterance.told is None else utterance.told.what,
                )
                for utterance in heard.utterances
            ),
            tolerance=tolerance,
        )
    return Manifest(path, kept, before.tolerance if before else Tolerance())


def _or_unset(value: float | None) -> float | msgspec.UnsetType:
    return msgspec.UNSET if value is None else value


def dump(manifest: Manifest) -> str:
    """Return a manifest's text: the same for the same content."""
    lines = ["# What `fadeout replay` should find in these files; a key that is left out is not compared."]
    if tolerance := msgspec.to_builtins(manifest.tolerance):
        lines += ["", "[tolerance]", *(f"{key} = {toml(value)}" for key, value in tolerance.items())]
    for name, file in sorted(manifest.files.items()):
        lines += ["", f"[files.{toml(name)}]"]
        if file.tolerance is not None:
            lines.append(f"tolerance = {toml(msgspec.to_builtins(file.tolerance))}")
        if not file.readable:
            lines.append("readable = false")
        elif not file.utterances:
            lines.append("utterances = []")
        else:
            utterances = [f"  {toml(msgspec.to_builtins(one))}," for one in file.utterances]
            lines += ["utterances = [", *utterances, "]"]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:  # noqa: ANN401 - TOML values
    """Return a value as TOML, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # JSON's escapes are among TOML's; DEL is the one character that JSON leaves alone.
            return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
        case dict():
            inner = ", ".join(f"{_key(key)} = {toml(one)}" for key, one in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(toml(one) for one in value)}]"
    raise TypeError(f"no value for TOML: {type(value).__name__}")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml(key)
