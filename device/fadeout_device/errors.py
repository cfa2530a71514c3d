"""The base of every error that people see, and the few that all rooms share.

An error says in one line what is wrong, naming the thing and the number; its
`hint` says what to do next. Neither ever holds speech, words or key bytes.
Exit codes are those of sysexits.h, so that systemd and scripts can tell a typo
in the configuration from a full disk.
"""

from __future__ import annotations

import os
from typing import ClassVar


class FadeoutError(Exception):
    """Something a person can act on.

    Args:
        message: one line, lower case, no full stop.
        hint: the operator's next step, or None where there is none.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def lines(self) -> list[str]:
        """Return what is shown to people: an `error:` line, then `hint:` lines."""
        shown = [f"error: {self}"]
        if self.hint is not None:
            shown.append(f"hint: {self.hint}")
        return shown


class ConfigError(FadeoutError):
    """The configuration cannot be used; nothing was started."""

    exit_code = os.EX_CONFIG


class AudioDataError(FadeoutError):
    """An audio file holds nothing that can be replayed."""

    exit_code = os.EX_DATAERR


class UsageError(FadeoutError):
    """The command line asks for something that does not exist."""

    exit_code = os.EX_USAGE


class UnavailableError(FadeoutError):
    """A process, device or service that is needed does not answer."""

    exit_code = os.EX_UNAVAILABLE


class StorageError(FadeoutError):
    """The state folder cannot be read or written."""

    exit_code = os.EX_CANTCREAT


class WireError(FadeoutError):
    """The other side of a socket broke the protocol; the connection is closed."""

    exit_code = os.EX_PROTOCOL
