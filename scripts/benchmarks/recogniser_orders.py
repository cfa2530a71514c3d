"""Commands by people: coffee orders, from https://github.com/Picovoice/speech-to-intent-benchmark.

619 orders by more than 50 people at their own computers, with what was ordered (Apache
2.0): `DIR` is a clone of it. The grammar takes more orders than an actions file may have ways to say
something, so it is a hard one.
"""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from measured import Measurement

from fadeout_device.config import RecogniserSettings
from fadeout_device.ear.adapters.audiofile import AudioFile
from fadeout_device.ear.adapters.sphinx import Sphinx

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = RecogniserSettings()

GRAMMAR = """#JSGF V1.0;
grammar orders;
<open> = brew | can i get | can i have | i want | get me | give me | i'd like | make me | may i have ;
<size> = small | medium | large | ( eight | twelve | sixteen | twenty ) ounce ;
<roast> = ( light | medium | dark ) roast ;
<shots> = ( single | double | triple ) shot ;
<drink> = americano | cappuccino | espresso | [ iced ] mocha | latte | [ drip | house | iced ] coffee ;
<much> = a [ little ] bit of | some | a lot of | lots of ;
<added> = [ skim | whole | soy | almond ] milk | cream | [ brown ] sugar | sweetener ;
<with> = with [ <much> ] <added> [ and [ <much> ] <added> ] ;
public <order> = <open> [ a | an ] ( <size> | <roast> | <shots> )* <drink> [ <with> ] ;
"""


class Result(NamedTuple):
    """What came of one order."""

    is_right: bool
    """All that was ordered was understood, and no more."""
    is_kept: bool
    """It was not rejected."""


def measure(folder: Path, step: int) -> list[Measurement]:
    """Hear every so manyth order."""
    labels: dict[str, Any] = json.loads((folder / "data/label/label.json").read_text(encoding="utf-8"))
    orders = [
        (path, [said.strip() for said in labels[path.name]["slots"].values()])
        for path in sorted((folder / "data/speech/clean").glob("*.wav"))
        if path.name in labels
    ]
    with ProcessPoolExecutor(os.cpu_count(), initializer=_begin) as pool:
        results = list(pool.map(_listen, orders[::step], chunksize=4))
    of = f"% of {len(results)}"

    def share(what: str, found: list[Result]) -> Measurement:
        return Measurement(what, 100 * len(found) / max(1, len(results)), of)

    return [
        share("people, coffee orders: right", [each for each in results if each.is_right and each.is_kept]),
        share("  another order", [each for each in results if not each.is_right and each.is_kept]),
        share("  plain grammar: right", [each for each in results if each.is_right]),
    ]


_SPHINX: list[Sphinx] = []
"""Of this process."""


def _begin() -> None:
    _SPHINX.append(Sphinx(GRAMMAR, {}))


def _listen(order: tuple[Path, list[str]]) -> Result:
    path, ordered = order
    file = AudioFile(path)
    try:
        likeness = _SPHINX[0].likeness(b"".join(file.blocks()))
    finally:
        file.close()
    is_kept = likeness.ratio >= SETTINGS.least_ratio and likeness.beside <= SETTINGS.most_beside
    return Result(_is_right(likeness.words, ordered), is_kept)


def _is_right(words: str, ordered: list[str]) -> bool:
    left = words
    for said in sorted(ordered, key=len, reverse=True):
        left, found = re.subn(rf"\b{re.escape(said)}\b", "|", left, count=1)
        if not found:
            return False
    more = "ounce|roast|shot|milk|cream|sugar|sweetener|mocha|coffee|latte|espresso|cappuccino|americano"
    return not re.search(rf"\b({more}|small|large|iced|drip|house)\b", left)
