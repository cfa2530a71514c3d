"""How words sound to pocketsphinx, and which of the actions file's it does not know; before anything starts.

Reads the model's dictionary as text, without the library.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fadeout_device.actions_file import file_of, read_text
from fadeout_device.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fadeout_device.actions import Actions
    from fadeout_device.config import RecogniserSettings

_DICTIONARY = "model/en-us/cmudict-en-us.dict"


def refuse_unknown_words(actions: Actions, settings: RecogniserSettings) -> None:
    """Refuse a list that pocketsphinx could not be given.

    Raises:
        ConfigError: a word is neither in the dictionary nor among the file's pronunciations.
        UnavailableError: pocketsphinx is not installed.
    """
    missing = missing_words(actions.words - actions.pronunciations.keys())
    if missing:
        word = min(missing)
        others = f" (nor {', '.join(sorted(missing - {word})[:9])})" if len(missing) > 1 else ""
        path = file_of(settings)
        lines = read_text(path).splitlines()
        number = next((at for at, line in enumerate(lines, 1) if re.search(rf"\b{re.escape(word)}", line)), 1)
        raise ConfigError(
            f'{path}:{number}: the recogniser does not know how "{word}" sounds{others}',
            f'choose another word, or write its phones under [pronunciations]: {word} = "..."; '
            'fadeout actions --sound "WORDS THAT SOUND LIKE IT" prints them',
        )


def missing_words(words: Iterable[str]) -> set[str]:
    """Return those of the words that are not in the dictionary. Raises UnavailableError."""
    wanted = set(words)
    return wanted - phones_of(wanted).keys()


def phones_of(words: Iterable[str]) -> dict[str, str]:
    """Return the phones of those of the words that are in the dictionary. Raises UnavailableError."""
    spec = find_spec("pocketsphinx")
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError("pocketsphinx is not installed", 'install it, or set engine = "none"')
    wanted = set(words)
    found = {}
    path = Path(spec.submodule_search_locations[0]) / _DICTIONARY
    with path.open(encoding="ascii") as file:
        for line in file:
            word, _, phones = line.partition(" ")
            if word in wanted:
                found[word] = phones.strip()
    return found
