"""The actions file: which sentences lead to which action. A closed list, checked as a whole.

Words that are in the list name an action; all others are rejected, however close.
`{slot}` in an action's id is replaced by the value that was said, and a slot that the
id does not name is not reported to anybody. The ids together are what may ever be
reported, so there are few, and each fits the contract. Pure: knows neither files nor
who hears the words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fadeout_device import sentences
from fadeout_device.policy import PolicyError
from fadeout_device.sentences import Node, OneOf, SentenceError

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = tuple[str, ...]

MAX_IDS = 64
"""Action ids of a file: `MAX_ACTIONS` of the contract."""
MAX_SAID = 10_000
"""Ways to say all sentences of a file together."""
MAX_ENTRIES = 200
"""Entries of a list, and of a table."""
ABOUT_DATA = "data."
"""How the ids begin that fadeout itself obeys."""
RESERVED = ("none", "other")
"""What the contract says for no action, and for one that is not in the list."""

_ID = re.compile(r"[a-z][a-z0-9_.]{0,39}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_WORD = re.compile(r"[a-z']{1,40}")
_PHONES = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
)
"""Those of CMUdict, which are the English model's."""
_MAX_PHONES = 40
_STRESS = "012"
"""CMUdict's digits after a vowel; the model knows no stress."""
_SLOT_IN_ID = re.compile(r"\{([a-z0-9_]*)\}")
_NOT_IN_WORDS = re.compile(r"[^a-z' ]+")
_SENTENCE_HINT = "allowed: (turn | switch) on the [{room}] light[s]"
_ID_HINT = "allowed: small letters, digits, _ and ., at most 40, like light.on or light.{state}"


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is written; what is in its tables is checked entry by entry."""

    actions: dict[str, Any] = {}
    """Action ids, each with its sentences."""
    slots: dict[str, Any] = {}
    """What can be said for a slot: a list, or for each value of an action id a list."""
    pronunciations: dict[str, Any] = {}
    """Words that the recogniser's dictionary has not, in its phones."""


class Actions(NamedTuple):
    """A closed list of actions."""

    by_words: dict[str, str]
    """Everything that can be said, and the action that it leads to."""
    grammar: str
    """The same as a JSGF grammar."""
    ids: tuple[str, ...]
    """All ids, in the file's order."""
    pronunciations: dict[str, str]

    def action(self, text: str) -> str | None:
        """Return the action of what was said, or None: it is not in the list."""
        return self.by_words.get(spoken(text))

    @property
    def words(self) -> set[str]:
        """Every word that can be said."""
        return {word for said in self.by_words for word in said.split()}


NO_ACTIONS = Actions({}, "", (), {})


def spoken(text: str) -> str:
    """Return the words of a text alone: small letters, one space between two."""
    return " ".join(_NOT_IN_WORDS.sub(" ", text.lower().replace("\u2019", "'")).split())


def compile_actions(file: File) -> Actions:
    """Return the list that a file describes.

    Raises:
        PolicyError: it cannot be; with the key that is wrong.
    """
    slots = {name: _slot(name, values) for name, values in _entries(file.slots, ("slots",), _NAME)}
    by_words: dict[str, str] = {}
    ids: dict[str, None] = {}
    rules: list[str] = []
    if not file.actions:
        raise PolicyError(
            "has no action", key=("actions",), hint='write one: "light.on" = ["turn on the light"]'
        )
    for template, texts in _entries(file.actions, ("actions",)):
        key = ("actions", template)
        for text in _texts(texts, key):
            node = _parsed(text, slots, key)
            rules.append(sentences.jsgf(node))
            _refuse_too_many(len(by_words) + sentences.count(node), key)
            for said in sentences.ways(node):
                action = _id(template, dict(said.values), slots, key)
                words = " ".join(said.words)
                if by_words.setdefault(words, action) != action:
                    raise PolicyError(
                        f'"{words}" leads to {by_words[words]} already',
                        key=key,
                        hint="one sentence, one action",
                    )
                ids[action] = None
    if len(ids) > MAX_IDS:
        raise PolicyError(
            f"{len(ids)} action ids; at most {MAX_IDS} are taken", key=("actions",),
            hint="take out some, or leave slots out of the ids: what is not reported cannot be collected",
        )  # fmt: skip
    grammar = "#JSGF V1.0;\ngrammar actions;\npublic <action> =\n  " + "\n| ".join(rules) + " ;\n"
    return Actions(by_words, grammar, tuple(ids), _pronunciations(file.pronunciations))


def _entries(
    table: dict[str, Any], key: Key, pattern: re.Pattern[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield a table's entries, bounded in number and name."""
    if len(table) > MAX_ENTRIES:
        raise PolicyError(f"has {len(table)} entries", key=key, hint=f"allowed: at most {MAX_ENTRIES}")
    for name, value in table.items():
        if pattern is not None and not pattern.fullmatch(name):
            raise PolicyError("is no name", key=(*key, name), hint="allowed: small letters, digits and _")
        yield name, value


def _texts(value: object, key: Key) -> list[str]:
    if isinstance(value, dict):
        while isinstance(value, dict) and value:
            name = next(iter(value))
            key, value = (*key, name), value[name]
        raise PolicyError(
            "is a table, not a list of sentences", key=key,
            hint=f'a name with a dot stands in quotes: "{".".join(key[1:])}" = ["turn on the light"]',
        )  # fmt: skip
    if (
        not isinstance(value, list)
        or not 1 <= len(value) <= MAX_ENTRIES
        or not all(isinstance(text, str) for text in value)
    ):
        raise PolicyError(
            "is no list of sentences", key=key, hint=f"allowed: 1 to {MAX_ENTRIES} texts in [ ]"
        )
    return value


def _slot(name: str, values: object) -> OneOf:
    """Return what a slot stands for; only one that is a table has values for an id."""
    key = ("slots", name)
    if not isinstance(values, dict):
        return OneOf(tuple(_parsed(text, {}, key) for text in _texts(values, key)))
    options: list[Node] = []
    for value, texts in _entries(values, key, _NAME):
        parsed = tuple(_parsed(text, {}, (*key, value)) for text in _texts(texts, (*key, value)))
        options.append(parsed[0] if len(parsed) == 1 else OneOf(parsed))
    if not options:
        raise PolicyError("has no value", key=key, hint='write one: value = ["what is said for it"]')
    return OneOf(tuple(options), name, tuple(values))


def _parsed(text: str, slots: dict[str, OneOf], key: Key) -> Node:
    try:
        return sentences.parse(text, slots)
    except SentenceError as err:
        raise PolicyError(f'"{text[:60]}": {err}', key=key, hint=_SENTENCE_HINT) from err


def _refuse_too_many(number: int, key: Key) -> None:
    """Refuse before anything is listed."""
    if number > MAX_SAID:
        raise PolicyError(
            f"up to here there are {number} ways to say something; at most {MAX_SAID} are taken",
            key=key, hint="fewer alternatives make a better recogniser, too",
        )  # fmt: skip


def _id(template: str, values: dict[str, str], slots: dict[str, OneOf], key: Key) -> str:
    """Return the id of one way to say a sentence."""
    for name in _SLOT_IN_ID.findall(template):
        if not slots.get(name, OneOf(())).slot:
            raise PolicyError(
                f"there is no slot {{{name}}} with values for an id", key=key,
                hint=f'write [slots.{name}] and in it each value: value = ["what is said for it"]',
            )  # fmt: skip
        if name not in values:
            hint = f"say {{{name}}} in each of its sentences, outside of [ ]"
            raise PolicyError(f"a sentence does not say {{{name}}}, which the id needs", key=key, hint=hint)
    action = _SLOT_IN_ID.sub(lambda found: values[found[1]], template)
    if not _ID.fullmatch(action):
        raise PolicyError("is no action id", key=key, hint=_ID_HINT)
    if action in RESERVED:
        hint = "it means that there was no action of the list: choose another"
        raise PolicyError("is taken", key=key, hint=hint)
    return action


def _pronunciations(table: dict[str, Any]) -> dict[str, str]:
    """Return the phones of each word, without the stress that may be copied from CMUdict."""
    key = ("pronunciations",)
    found = {}
    for word, text in _entries(table, key, _WORD):
        phones = [phone.rstrip(_STRESS) for phone in text.split()] if isinstance(text, str) else []
        wrong = next((phone for phone in phones if phone not in _PHONES.split()), None)
        if wrong is not None:
            raise PolicyError(
                f'"{wrong[:8]}" is no phone',
                key=(*key, word),
                hint=f"the phones: {_PHONES}",
            )
        if not 1 <= len(phones) <= _MAX_PHONES:
            raise PolicyError(
                "is no pronunciation", key=(*key, word), hint='allowed: 1 to 40 phones, like "N AA B UW"'
            )
        found[word] = " ".join(phones)
    return found
