"""Sentences as they are written, and every way to say them."""

from __future__ import annotations

import re

import pytest

from fadeout_device import sentences
from fadeout_device.sentences import OneOf, SentenceError, Word

SLOTS = {"room": OneOf((Word("hall"), Word("office"))), "way": OneOf((Word("up"),), "way", ("higher",))}


def said(text: str) -> list[str]:
    return [" ".join(way.words) for way in sentences.ways(sentences.parse(text, SLOTS))]


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        pytest.param("stop", ["stop"], id="one word"),
        pytest.param("  stop   it ", ["stop it"], id="spaces"),
        pytest.param("stop [it]", ["stop it", "stop"], id="a word that may be left out"),
        pytest.param("light[s] on", ["lights on", "light on"], id="an ending that may be left out"),
        pytest.param("(a | b c) d", ["a d", "b c d"], id="alternatives"),
        pytest.param("a | b", ["a", "b"], id="alternatives without brackets"),
        pytest.param("go [to the (hall | bath)]", ["go to the hall", "go to the bath", "go"], id="nested"),
        pytest.param("in the {room}", ["in the hall", "in the office"], id="a slot"),
        pytest.param("what's on", ["what's on"], id="an apostrophe"),
    ],
)
def test_every_way_is_found(text: str, ways: list[str]) -> None:
    assert said(text) == ways
    assert sentences.count(sentences.parse(text, SLOTS)) == len(ways)


def test_a_value_is_told_with_the_words() -> None:
    (way,) = sentences.ways(sentences.parse("turn it {way}", SLOTS))
    assert way == sentences.Said(("turn", "it", "up"), (("way", "higher"),))


def test_the_grammar_says_the_same() -> None:
    node = sentences.parse("(turn | switch) on the [{room}] light[s]", SLOTS)
    assert sentences.jsgf(node) == "( turn | switch ) on the [ ( hall | office ) ] ( lights | light )"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "nothing stands", id="nothing"),
        pytest.param("[stop]", "may be left out", id="nothing need be said"),
        pytest.param("[a] [b | [c]]", "may be left out", id="nothing need be said, nested"),
        pytest.param("(stop", "no partner", id="a bracket that is not closed"),
        pytest.param("stop)", "no partner", id="a bracket that is not opened"),
        pytest.param("(stop]", "no partner", id="brackets that do not match"),
        pytest.param("a | ", "nothing stands", id="an empty alternative"),
        pytest.param("a ()", "nothing stands", id="empty brackets"),
        pytest.param("in the {cellar}", "no slot {cellar}", id="a slot there is not"),
        pytest.param("in the {room", '"{" cannot stand', id="a slot that is not closed"),
        pytest.param("Stop", '"S" cannot stand', id="a capital"),
        pytest.param("stop; <x> = y", '";" cannot stand', id="grammar in a sentence"),
        pytest.param("für", '"ü" cannot stand', id="a letter the dictionary has not"),
        pytest.param("set 5 minutes", '"5" cannot stand', id="a digit"),
        pytest.param("a" * 301, "longer than 300", id="too long to write"),
        pytest.param("a " * 41, "longer than 40 words", id="too long to say"),
        pytest.param("(" * 8 + "a" + ")" * 8, "more than 6 brackets", id="too deep"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, told: str) -> None:
    with pytest.raises(SentenceError, match=re.escape(told)):
        sentences.parse(text, SLOTS)
