"""From files to what was heard in each: what the command and the pytest plugin share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fadeout_device.errors import UnavailableError
from fadeout_device.replaying.heard import HeardFile, utterance_of
from fadeout_device.replaying.rounds import Job, Replaying

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fadeout_device.replaying.events import Event


class Gathered:
    """What has been heard so far, file by file."""

    def __init__(self, names: Sequence[str]) -> None:
        self.files = [HeardFile(name) for name in names]
        self._done = 0

    @property
    def is_complete(self) -> bool:
        """Whether every file was replayed to its end, or refused."""
        return self._done == len(self.files)

    def take(self, event: Event) -> None:
        """Take what happened."""
        heard, said = self.files[event.file], event.said
        match event.what:
            case "file":
                heard.duration_s = said["duration_s"]
            case "utterance":
                heard.utterances.append(utterance_of(said))
            case "bad_file":
                heard.error, heard.hint = said["error"], said.get("hint")
            case "done":
                self._done += 1


def hear(folder: Path, paths: Sequence[Path], config: Path, jobs: int = 1) -> list[HeardFile]:
    """Replay files into a throw-away state and return what was heard in each.

    Args:
        folder: from which they are named in what is returned.
        paths: the files.
        config: the configuration file.
        jobs: how many ears share them.

    Raises:
        UnavailableError: a room refused to run, having said why on standard error; or it was interrupted.
    """
    gathered = Gathered([os.path.relpath(path, folder) for path in paths])
    replaying = Replaying(paths, Job(config), jobs)
    for event in replaying.events():
        if event.file >= 0:
            gathered.take(event)
    if not gathered.is_complete:
        code = replaying.refusal
        how = "was interrupted" if code is None else f"ended with exit code {code}"
        raise UnavailableError(f"the replay {how}", "standard error says why")
    return gathered.files
