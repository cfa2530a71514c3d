"""The subscriber under test, as far as the kit can start and stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import Protocol, Self

from fadeout_broker.errors import UsageError

_STOP_S = 10.0


class Absence(Protocol):
    """Something that can be away for a while."""

    def pause(self) -> None:
        """Have it stop listening; returns when it does not any more."""

    def resume(self) -> None:
        """Have it listen again; may return before it does."""

    def ended(self) -> str:
        """Say that it ended by itself; empty: it did not."""


class Child:
    """A subscriber that the kit runs itself, with a process group of its own."""

    def __init__(self, command: str, environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def resume(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(  # noqa: S603 - the command of whoever started us
            ["/bin/sh", "-c", self._command],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # ours is for the report
            env={**os.environ, **self._environment},
            start_new_session=True,
        )

    def pause(self) -> None:
        """Stop it: SIGTERM to its whole group, then SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        # Also after its leader has gone: somebody of the group may have stayed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def ended(self) -> str:
        """Say that it ended by itself."""
        code = None if self._process is None else self._process.poll()
        return "" if code is None else f"the target ended by itself, exit code {code}"


class Commands:
    """A subscriber that commands of its owner pause and resume."""

    def __init__(self, pause: str, resume: str, environment: dict[str, str]) -> None:
        self._pause = pause
        self._resume = resume
        self._environment = environment

    def pause(self) -> None:
        """Run the one command."""
        self._run("--pause", self._pause)

    def resume(self) -> None:
        """Run the other one."""
        self._run("--resume", self._resume)

    def ended(self) -> str:
        """Nothing: we would not know."""
        return ""

    def _run(self, option: str, command: str) -> None:
        done = subprocess.run(  # noqa: S603 - the command of whoever started us
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            env={**os.environ, **self._environment},
            check=False,
        )
        if done.returncode:
            raise UsageError(f"{option}: exit code {done.returncode}", "try the command by hand")
