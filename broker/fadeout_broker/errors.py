"""The base of every error that the broker side shows to people.

The same shape as the device's errors, written again because neither side
imports the other: one line that names the thing and the number, a hint with the
next step, and an exit code of sysexits.h. Never holds a password or a payload.
"""

from __future__ import annotations

import os
from typing import ClassVar


class FadeoutBrokerError(Exception):
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


class SettingsError(FadeoutBrokerError):
    """A setting names a file or a value that cannot be used; nothing was sent."""

    exit_code = os.EX_CONFIG


class UnavailableError(FadeoutBrokerError):
    """A program or service that is needed is missing or does not answer."""

    exit_code = os.EX_UNAVAILABLE


class StoreError(FadeoutBrokerError):
    """What a subscriber holds cannot be read or written; nothing was changed, and nothing acknowledged."""

    exit_code = os.EX_IOERR


class CallbackError(FadeoutBrokerError):
    """A callback of the subscriber's program raised. If it was `on_forget`, nothing was acknowledged."""

    exit_code = os.EX_SOFTWARE


class ArrowError(FadeoutBrokerError):
    """The vault is gone or broke the protocol of the arrow; that connection is closed."""

    exit_code = os.EX_PROTOCOL


class UsageError(FadeoutBrokerError):
    """The command line asks for something that does not exist."""

    exit_code = os.EX_USAGE
