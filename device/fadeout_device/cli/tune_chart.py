"""The curve of `fadeout tune`: detection against false accepts, by matplotlib, without a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fadeout_device.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from fadeout_device.cli.tune_report import Tuned, TunedSecond, Tuning


def draw(tuning: Tuning, path: Path) -> None:
    """Write a PNG file with a line for each word and for the second stage; its points are the cutoffs.

    Raises:
        StorageError: the file cannot be written.
    """
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curves: dict[str, Tuned | TunedSecond] = {word.word: word for word in tuning.words}
    if tuning.second_stage is not None:
        curves["with a second stage"] = tuning.second_stage
    for label, curve in curves.items():
        points = [
            (point.false_accepts_per_hour, 100 * point.detection, point.cutoff)
            for point in curve.points
            if point.false_accepts_per_hour is not None and point.detection is not None
        ]
        if not points:
            continue
        (line,) = axes.plot([p[0] for p in points], [p[1] for p in points], ".-", label=label)
        for false, detection, cutoff in points:
            if cutoff in (curve.cutoff, curve.recommended):
                axes.plot([false], [detection], "o", color=line.get_color())
                axes.annotate(f"{cutoff:g}", (false, detection), (6, -12), textcoords="offset points")
    axes.set(xlabel="false accepts per hour", ylabel="detected (%)")
    axes.grid(visible=True, alpha=0.3)
    if axes.lines:
        axes.legend(loc="lower right")
    try:
        figure.savefig(path, format="png")
    except OSError as err:
        raise StorageError(f"{path}: {(err.strerror or 'cannot be written').lower()}") from err
