"""What `fadeout tune` measured, as tables and as lines for fadeout.toml."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fadeout_device.cli import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fadeout_device.ear.scoring import Unreadable
    from fadeout_device.ear.tuning import Limit, Point

_MAX_TOLD = 5
_ENOUGH = 100
"""Words of which one is at most 1 %, what may be lost."""
_COLUMNS = ["cutoff", "detected", "", "false accepts", "per hour", ""]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was measured of one word."""

    word: str
    spoken: int
    """How often it is in the audio."""
    other_s: float
    """Seconds of audio without it."""
    cutoff: float
    """What it is set to."""
    recommended: float | None
    limits: list[Limit]
    points: list[Point]


@dataclass(frozen=True, slots=True)
class TunedSecond:
    """What was measured of the second stage, of all words together, with the first one as it is set."""

    words: list[str]
    spoken: int
    alone: Point
    """The first stage, without the second."""
    cutoff: float
    """What it is set to."""
    recommended: float | None
    limits: list[Limit]
    points: list[Point]


@dataclass(frozen=True, slots=True)
class Tuning:
    """`fadeout tune --json`."""

    words: list[Tuned]
    second_stage: TunedSecond | None
    unreadable: list[Unreadable]


def show(tuning: Tuning) -> None:
    """Print everything for a person."""
    for word in tuning.words:
        spoken = shown.count(word.spoken, "time", "times")
        title = f"{word.word}: {spoken}, and {shown.span(word.other_s)} without it"
        rows = [_row(point, word.spoken, _remark(word, point)) for point in word.points]
        shown.print_table(title, _COLUMNS, rows)
        shown.print_lines(*_for_limits(word.limits, f"cutoffs = {{ {word.word} = %g }}"), "")
    second = tuning.second_stage
    if second is not None:
        rows = [_row(point, second.spoken, _remark(second, point)) for point in second.points]
        alone = _row(second.alone, second.spoken, "the first stage alone")
        title = f"second stage, asked about {', '.join(second.words)}"
        shown.print_table(title, _COLUMNS, [["-", *alone[1:]], *rows])
        shown.print_lines(*_for_limits(second.limits, "second_stage_cutoff = %g"), "")
    shown.print_lines(*recommendation(tuning))


def recommendation(tuning: Tuning) -> list[str]:
    """Return the lines that should go into fadeout.toml, or why there are none."""
    missing = [f"no recommendation for {word.word}: {_missing(word)}" for word in tuning.words
               if word.recommended is None]  # fmt: skip
    found = {word.word: word.recommended for word in tuning.words if word.recommended is not None}
    lines = [*missing]
    if found:
        cutoffs = ", ".join(f"{word} = {cutoff:g}" for word, cutoff in found.items())
        lines += ["recommended, alone:", "", "  [wake]", f"  cutoffs = {{ {cutoffs} }}", ""]
    second = tuning.second_stage
    if second is not None and second.recommended is not None:
        lines += [
            "recommended, with a second stage and the cutoffs of the first as they are now:",
            "",
            "  [wake]",
            '  second_stage = "openwakeword"',
            f"  second_stage_cutoff = {second.recommended:g}",
            "",
        ]
    if found:
        lines.append(
            "recommended are the fewest false accepts among the cutoffs that lose at most 1 % of what the"
            " best detects, or the first stage alone"
        )
    lines += [
        f"{word.word}: of {shown.count(word.spoken, 'word')}, each is {100 / word.spoken:.0f} %:"
        " more of them would tell more"
        for word in tuning.words
        if 0 < word.spoken < _ENOUGH
    ]
    return lines


def tell_unreadable(tuning: Tuning) -> None:
    """Say on standard error which files count for nothing."""
    files = tuning.unreadable
    lines = [f"error: {file.error}" for file in files[:_MAX_TOLD]]
    if len(files) > _MAX_TOLD:
        lines.append(f"error: and {len(files) - _MAX_TOLD} more")
    if files:
        left_out = shown.count(len(files), "file that was left out", "files that were left out")
        lines.append(f"hint: all numbers are without the {left_out}")
        print(*lines, sep="\n", file=sys.stderr)  # noqa: T201 - this is what a command does


def _for_limits(limits: Sequence[Limit], line: str) -> list[str]:
    return [
        f"for {_bound(limit.per_hour)}: {line % limit.point.cutoff}"
        + ("" if limit.point.detection is None else f", which detects {100 * limit.point.detection:.1f} %")
        for limit in limits
    ]


def _bound(per_hour: float) -> str:
    if not per_hour:
        return "no false wake in this audio"
    return f"at most {per_hour:g} false {'wake' if per_hour == 1 else 'wakes'} an hour"


def _row(point: Point, spoken: int, remark: str) -> list[str]:
    return [
        f"{point.cutoff:g}",
        "-" if point.detection is None else f"{point.detected} of {spoken}",
        "-" if point.detection is None else f"{100 * point.detection:.1f} %",
        "-" if point.false_accepts_per_hour is None else str(point.false_accepts),
        "-" if point.false_accepts_per_hour is None else f"{point.false_accepts_per_hour:.2f}",
        remark,
    ]


def _missing(tuned: Tuned) -> str:
    if not tuned.spoken:
        return "it takes files with the word"
    return "it takes a file in which it is detected" if tuned.other_s else "it takes files without the word"


def _remark(tuned: Tuned | TunedSecond, point: Point) -> str:
    remarks = ["now"] if point.cutoff == tuned.cutoff else []
    return ", ".join(remarks + (["recommended"] if point.cutoff == tuned.recommended else []))
