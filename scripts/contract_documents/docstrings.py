"""Reads what the running program does not know: docstrings of fields, and annotations as written."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


class Field(NamedTuple):
    """One field of a struct as its source says it."""

    annotation: ast.expr
    text: str
    """Its docstring; empty if it has none."""


class Source:
    """The sources of some modules, by name."""

    def __init__(self, modules: tuple[ModuleType, ...]) -> None:
        self.names: dict[str, str] = {}
        """Docstrings of names at the top of a module."""
        self.aliases: dict[str, ast.expr] = {}
        """What stands under a name at the top of a module."""
        self.fields: dict[str, dict[str, Field]] = {}
        """Per class, in their order."""
        for module in modules:
            self._read(ast.parse(inspect.getsource(module)))

    def text_of(self, struct: str, field: str) -> str:
        """Return what a field means: its own docstring, or else that of the first name in its annotation."""
        found = self.fields[struct][field]
        if found.text:
            return found.text
        for node in ast.walk(found.annotation):
            if isinstance(node, ast.Name) and self.names.get(node.id):
                return self.names[node.id]
        return ""

    def _read(self, tree: ast.Module) -> None:
        for name, value, text in _documented(tree.body):
            if isinstance(value, ast.expr):
                self.aliases[name] = value
                self.names[name] = text
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                self.fields[node.name] = {
                    name: Field(annotation, text)
                    for name, annotation, text in _documented(node.body, annotated=True)
                    if not ast.unparse(annotation).startswith("ClassVar")
                }


def _documented(body: list[ast.stmt], *, annotated: bool = False) -> Iterator[tuple[str, ast.expr, str]]:
    """Yield each name that is given a value (or an annotation), with it and its docstring."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = " ".join(str(after.value.value).split())
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if annotated:
                yield name, annotation, text
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if not annotated:
                yield name, value, text
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not annotated:
                yield name, value, text
