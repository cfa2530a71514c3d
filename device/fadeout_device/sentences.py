"""What may be said, written for people: `(turn | switch) on the [{room}] light[s]`.

Words, `[what may be left out]`, `(this | that)` and `{slot}`, which stands for one of the
values listed under its name; what follows a word without a space is a part of it. A
sentence becomes a small tree that can be counted, said in every way, and written as a
JSGF grammar for a recogniser. Every bound stands here, so that no file can make the ear
large or slow. Pure: knows neither where sentences come from nor what they do.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_TEXT = 300
"""Characters of a sentence as it is written."""
MAX_DEPTH = 6
"""Brackets within brackets."""
MAX_WORDS = 40
"""Words of a sentence as it is said."""

_TOKEN = re.compile(r"\s*([a-z']+(?:\[[a-z']+\])?|\{[a-z][a-z0-9_]*\}|[][()|])")
_CLOSES = {"(": ")", "[": "]"}


class SentenceError(ValueError):
    """A sentence that cannot be read; the text says what is wrong, in words."""


class Word(NamedTuple):
    """One word."""

    text: str


class InTurn(NamedTuple):
    """One after the other; nothing at all if there are none."""

    parts: tuple[Node, ...]


class OneOf(NamedTuple):
    """One of them, and which of them stands for itself in an action id."""

    options: tuple[Node, ...]
    slot: str = ""
    """The slot's name; empty: no slot, and `values` is empty."""
    values: tuple[str, ...] = ()


Node = Word | InTurn | OneOf


class Said(NamedTuple):
    """One way to say it."""

    words: tuple[str, ...]
    values: tuple[tuple[str, str], ...] = ()
    """Slots, each with the value that was said for it."""


def parse(text: str, slots: Mapping[str, OneOf]) -> Node:
    """Read a sentence.

    Args:
        text: as it is written.
        slots: what `{name}` stands for.

    Raises:
        SentenceError: it is too long, its brackets do not match, there is no such slot, or nothing
            need be said.
    """
    if len(text) > MAX_TEXT:
        raise SentenceError(f"longer than {MAX_TEXT} characters")
    tokens, position = [], 0
    while text[position:].strip():
        token = _TOKEN.match(text, position)
        if token is None:
            wrong = text[position:].strip()[0]
            raise SentenceError(f'"{wrong}" cannot stand here; small letters, \' [ ] ( ) | and {{slot}} can')
        tokens.append(token[1])
        position = token.end()
    reader = _Reader(tokens, slots)
    node = reader.alternatives("")
    if _shortest(node) == 0:
        raise SentenceError("every word of it may be left out")
    if _longest(node) > MAX_WORDS:
        raise SentenceError(f"can be longer than {MAX_WORDS} words")
    return node


class _Reader:
    """Reads tokens from left to right, one level of brackets per call."""

    def __init__(self, tokens: list[str], slots: Mapping[str, OneOf]) -> None:
        self._tokens = tokens
        self._slots = slots
        self._at = 0

    def alternatives(self, closes: str, depth: int = 0) -> Node:
        """Read up to a closing bracket, or to the end of the sentence if there is none to close."""
        if depth > MAX_DEPTH:
            raise SentenceError(f"more than {MAX_DEPTH} brackets within brackets")
        options: list[Node] = []
        parts: list[Node] = []
        while True:
            token = self._next()
            if token in {"|", closes}:
                if not parts:
                    raise SentenceError("nothing stands before | or a closing bracket, or in the whole of it")
                options.append(parts[0] if len(parts) == 1 else InTurn(tuple(parts)))
                parts = []
                if token == closes:
                    return options[0] if len(options) == 1 else OneOf(tuple(options))
            elif token in _CLOSES:
                inner = self.alternatives(_CLOSES[token], depth + 1)
                parts.append(OneOf((inner, InTurn(()))) if token == "[" else inner)  # noqa: S105 - a bracket
            elif token in {"", ")", "]"}:
                raise SentenceError(f"{closes or token} has no partner")
            else:
                parts.append(self._one(token))

    def _next(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        self._at += 1
        return token

    def _one(self, token: str) -> Node:
        if token.startswith("{"):
            name = token[1:-1]
            if name not in self._slots:
                raise SentenceError(f"there is no slot {token}")
            return self._slots[name]
        word, _, ending = token.partition("[")
        return OneOf((Word(word + ending[:-1]), Word(word))) if ending else Word(word)


def count(node: Node) -> int:
    """Return how many ways there are to say it."""
    match node:
        case Word():
            return 1
        case InTurn(parts):
            return math.prod(count(part) for part in parts)
        case OneOf(options):
            return sum(count(option) for option in options)


def ways(node: Node) -> Iterator[Said]:
    """Yield every way to say it; look at `count` before."""
    match node:
        case Word(text):
            yield Said((text,))
        case InTurn(parts):
            for whole in itertools.product(*(list(ways(part)) for part in parts)):
                yield Said(
                    tuple(word for said in whole for word in said.words),
                    tuple(value for said in whole for value in said.values),
                )
        case OneOf(options, slot, values):
            for option, value in itertools.zip_longest(options, values):
                for said in ways(option):
                    yield Said(said.words, (*said.values, (slot, value))) if slot else said


def jsgf(node: Node) -> str:
    """Return it as the right side of a JSGF rule.

    Source: JSpeech Grammar Format, W3C note of 5 June 2000, "Rule expansions".
    """
    match node:
        case Word(text):
            return text
        case InTurn(parts):
            return " ".join(jsgf(part) for part in parts)
        case OneOf((option, InTurn(()))):
            return f"[ {jsgf(option)} ]"
        case OneOf(options):
            return f"( {' | '.join(jsgf(option) for option in options)} )"


def _shortest(node: Node) -> int:
    match node:
        case Word():
            return 1
        case InTurn(parts):
            return sum(_shortest(part) for part in parts)
        case OneOf(options):
            return min(_shortest(option) for option in options)


def _longest(node: Node) -> int:
    match node:
        case Word():
            return 1
        case InTurn(parts):
            return sum(_longest(part) for part in parts)
        case OneOf(options):
            return max(_longest(option) for option in options)
