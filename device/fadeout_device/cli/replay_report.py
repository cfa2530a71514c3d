"""What `fadeout replay` shows: results on standard output, progress and everything else on standard error."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fadeout_device.cli import shown
from fadeout_device.replaying.gathered import Gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress

    from fadeout_device.replaying.events import Event
    from fadeout_device.replaying.heard import HeardFile, Utterance
    from fadeout_device.replaying.verdicts import Verdict


_COUNTED = ("overflows", "behind", "reopened", "clipped")
"""docs/ear.md, "What is counted"."""


class Report:
    """Gathers what happens, file by file, and shows it.

    Args:
        names: the files, as they were asked for.
        as_json: one line of JSON for each utterance, as it comes.
        through_microphone: whether they are heard there.
    """

    def __init__(self, names: Sequence[str], *, as_json: bool, through_microphone: bool = False) -> None:
        self._gathered = Gathered(names)
        self._as_json = as_json
        self._through_microphone = through_microphone
        self._counted: Counter[str] = Counter()
        self._stream: dict[str, Any] = {}
        self._progress: Progress | None = None

    def __enter__(self) -> None:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - late: only people need it
            from rich.progress import Progress  # noqa: PLC0415

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._progress.start()

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    @property
    def files(self) -> list[HeardFile]:
        """What has been heard so far, file by file."""
        return self._gathered.files

    @property
    def is_complete(self) -> bool:
        """Whether every file was replayed to its end, or refused."""
        return self._gathered.is_complete

    def note(self, text: str) -> None:
        """Print a line for people."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is what a command does

    def take(self, event: Event) -> None:
        """Take what happened."""
        said = event.said
        if event.what == "note":
            self.note(said["text"])
            return
        if event.what == "microphone":
            self._take_counted(said)
            return
        self._gathered.take(event)
        match event.what:
            case "file":
                self._start_file(event.file, said)
            case "utterance":
                if self._as_json:
                    shown.print_json(said)
            case "bad_file":
                self.note(f"error: {said['error']}")
                if said.get("hint"):
                    self.note(f"hint: {said['hint']}")
            case "progress":
                if self._progress is not None and self._progress.task_ids:
                    self._progress.update(self._progress.task_ids[-1], completed=said["position_s"])

    def _start_file(self, index: int, said: dict[str, Any]) -> None:
        if self._progress is None:
            self.note(f"{said['file']} ({shown.span(said['duration_s'])})")
            return
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        place = f"{index + 1}/{len(self.files)} " if len(self.files) > 1 else ""
        self._progress.add_task(f"{place}{Path(said['file']).name}", total=said["duration_s"])

    def _take_counted(self, said: dict[str, Any]) -> None:
        """Take what one ear has counted at its microphone."""
        self._counted.update({name: said[name] for name in _COUNTED})
        self._stream = {key: value for key, value in said.items() if key not in _COUNTED}

    def summarise(self) -> None:
        """Print the table, for people, and the summary."""
        folder = _shared_folder([heard.name for heard in self.files])
        rows = [_row(heard.name[len(folder) :], one) for heard in self.files for one in heard.utterances]
        if not self._as_json and rows:
            columns = ["file", "start", "wake word", "score", "speech", "outcome", "kept"]
            shown.print_table("", columns, rows)
        bad = sum(heard.error is not None for heard in self.files)
        files = shown.count(len(self.files), "file") + (f", {bad} of them bad" if bad else "")
        audio_s = sum(heard.duration_s for heard in self.files)
        self.note(f"{files}, {shown.span(audio_s)} of audio, {shown.count(len(rows), 'utterance')}")
        if self._through_microphone:
            if self._as_json:
                counts = {name: self._counted[name] for name in _COUNTED}
                shown.print_json({"microphone": {**self._stream, **counts}})
            counted = ", ".join(f"{self._counted[name]} {name}" for name in _COUNTED)
            self.note(f"heard through a microphone, in real time: {counted}")

    def show_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Show what is not as expected, if anything was expected."""
        is_checked = any(verdict.manifest for verdict in verdicts)
        if self._as_json:
            for verdict in verdicts:
                if is_checked or verdict.error is not None:
                    shown.print_json(_as_line(verdict))
        if not is_checked:
            return
        rows = [
            [verdict.name, difference.where, difference.what, difference.expected, difference.came]
            for verdict in verdicts
            for difference in verdict.differences
        ]
        if rows and not self._as_json:
            columns = ["file", "where", "what", "expected", "came"]
            shown.print_table("not as expected", columns, rows)
        count = [verdict.result for verdict in verdicts].count
        unchecked = count("unchecked") + count("bad")
        self.note(
            f"{count('passed')} as expected, {count('failed')} not"
            + (f"; of {unchecked} nothing is expected" if unchecked else "")
        )


def _as_line(verdict: Verdict) -> dict[str, Any]:
    found = [difference._asdict() for difference in verdict.differences]
    error = {} if verdict.error is None else {"error": verdict.error}
    return {"file": verdict.name, "result": verdict.result, "differences": found, **error}


def _shared_folder(names: Sequence[str]) -> str:
    """Return the start that all names have in common, up to a folder: it tells none from another."""
    folders = [os.path.dirname(name) for name in names]  # noqa: PTH120 - as it was typed
    try:
        shared = os.path.commonpath(folders)
    except ValueError:
        return ""
    return f"{shared}/" if shared.strip("/") and all(name.startswith(shared) for name in names) else ""


def _row(name: str, utterance: Utterance) -> list[str]:
    kept = f"nothing: {utterance.error}" if utterance.error else ", ".join(utterance.kept) or "nothing"
    action = "" if utterance.action == "none" else f": {utterance.action}"
    outcome = utterance.outcome + action
    return [
        name, f"{utterance.start_s:.2f} s", utterance.wake_word, f"{utterance.score:.3f}",
        f"{utterance.speech_s:.2f} s", outcome, kept,
    ]  # fmt: skip
