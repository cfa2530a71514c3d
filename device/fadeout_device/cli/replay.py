"""`fadeout replay`: what would be heard, done and kept of audio files. No microphone, no broker.

The same ear and the same vault as ever, but the audio's time is the clock: so an
hour takes minutes, and the results are the same at every speed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fadeout_device import config
from fadeout_device.cli import shown
from fadeout_device.cli.places import config_file
from fadeout_device.supervisor import Refused, Room, Supervisor

if TYPE_CHECKING:
    import argparse

    from rich.progress import Progress

    from fadeout_device.supervisor import What

THROW_AWAY_START_S = 1_577_836_800.0
"""2020-01-01T00:00:00Z: a replay into a throw-away state gives the same end dates every time."""

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, for us alone


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verb to the command line."""
    verb = verbs.add_parser(
        "replay",
        help="see what would be heard, done and kept of audio files",
        description=(
            "Sends WAV, FLAC or OGG files (of any rate and channel count) or folders of them through the ear"
            " and the vault, and prints one line for each utterance. Time is the audio's: it starts at"
            " 2020-01-01T00:00:00Z in a throw-away state, and now in one you name with --state."
        ),
    )
    verb.add_argument("paths", nargs="+", metavar="PATH", help="audio files, or folders of them")
    verb.add_argument("--speed", choices=["max", "real"], default="max", help="fast, or in real time")
    verb.set_defaults(run=replay)


def replay(arguments: argparse.Namespace) -> int:
    """Replay files."""
    if arguments.state:
        return _replay_into(arguments, Path(arguments.state).absolute(), time.time())
    # Sealed like everything; in memory all the same, where there is such a folder.
    memory = str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="fadeout-replay-", dir=memory) as folder:
        return _replay_into(arguments, Path(folder), THROW_AWAY_START_S)


def _replay_into(arguments: argparse.Namespace, state: Path, start_s: float) -> int:
    path = config_file(arguments)
    config.load(path)
    common = ["--state", str(state)]
    if path is not None:
        common += ["--config", str(path.absolute())]
    report = _Report(as_json=arguments.json)
    audio = arguments.paths
    ear = ("--replay", *audio, "--speed", arguments.speed, "--start-at", str(start_s))
    supervisor: Supervisor

    def tell(what: What, room: str, how: str) -> None:
        if what == "ended":
            supervisor.stop()
        elif what == "died":
            report.note(f"the {room} died ({how}); it is started again")

    supervisor = Supervisor(
        [
            Room("vault", ("fadeout_device.vault", *common, "--replay-clock", str(start_s)), opens=True),
            Room("ear", ("fadeout_device.ear", *common, *ear), reads=report.read, may_end=True),
        ],
        tell,
    )
    supervisor.stop_on_signals()
    with report:
        outcome = supervisor.run()
    if isinstance(outcome, Refused):
        return outcome.exit_code
    report.summarise()
    return outcome


class _Report:
    """Results on standard output, progress and everything else on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._utterances: list[dict[str, Any]] = []
        self._end: dict[str, Any] | None = None
        self._progress: Progress | None = None
        self._file = ""

    def __enter__(self) -> None:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - late: only people need it
            from rich.progress import Progress  # noqa: PLC0415

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._progress.start()

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def note(self, text: str) -> None:
        """Print a line for people."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is what a command does

    def read(self, lines: IO[bytes]) -> None:
        """Read what the ear prints."""
        for line in lines:
            said = json.loads(line)
            match said.pop("type"):
                case "utterance":
                    self._utterances.append(said)
                    if self._as_json:
                        shown.print_json(said)
                case "bad_file":
                    self.note(f"error: {said['error']}")
                    if said.get("hint"):
                        self.note(f"hint: {said['hint']}")
                case "file":
                    self._start_file(said)
                case "progress":
                    if self._progress is not None and self._progress.task_ids:
                        self._progress.update(self._progress.task_ids[-1], completed=said["position_s"])
                case "end":
                    self._end = said

    def _start_file(self, said: dict[str, Any]) -> None:
        if self._progress is None:
            self.note(f"{said['file']} ({shown.span(said['duration_s'])})")
            return
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(Path(said["file"]).name, total=said["duration_s"])

    def summarise(self) -> None:
        """Print the table, for people, and the summary."""
        if not self._as_json and self._utterances:
            shown.print_table("", ["file", "start", "wake word", "score", "speech", "outcome", "kept"], [
                [
                    Path(u["file"]).name, f"{u['start_s']:.2f} s", u["wake_word"], f"{u['score']:.3f}",
                    f"{u['speech_s']:.2f} s", u["outcome"], _kept(u),
                ]
                for u in self._utterances
            ])  # fmt: skip
        if self._end is not None:
            bad = f", {self._end['bad_files']} of them bad" if self._end["bad_files"] else ""
            files = shown.count(self._end["files"], "file")
            utterances = shown.count(self._end["utterances"], "utterance")
            self.note(f"{files}{bad}, {shown.span(self._end['audio_s'])} of audio, {utterances}")


def _kept(utterance: dict[str, Any]) -> str:
    if utterance.get("error"):
        return f"nothing: {utterance['error']}"
    kinds = [kept["kind"] for kept in utterance["kept"]]
    return ", ".join(kinds) if kinds else "nothing"
