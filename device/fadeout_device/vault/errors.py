"""The answers of the vault that are not success, one type for each decision a caller can take."""

from __future__ import annotations

import os

from fadeout_device.errors import FadeoutError


class FormatError(FadeoutError):
    """Stored bytes are not of a form this version writes. Says nothing about keys."""

    exit_code = os.EX_DATAERR


class AuthenticationError(FadeoutError):
    """Stored bytes were changed, or sealed under another key."""

    exit_code = os.EX_DATAERR


class KeyErasedError(FadeoutError):
    """The key is gone, as it should be: an expected answer."""

    exit_code = os.EX_NOINPUT

    def __init__(self) -> None:
        super().__init__("the key of this recording was erased")


class TimeError(FadeoutError):
    """Nobody knows yet whether its time is over: neither opened nor erased until that is certain."""

    exit_code = os.EX_TEMPFAIL


class NoSuchRecordingError(FadeoutError):
    """No recording of that name is held."""

    exit_code = os.EX_NOINPUT


class SealError(FadeoutError):
    """An utterance could not be sealed; nothing of it is stored."""

    exit_code = os.EX_CANTCREAT


class EraseError(FadeoutError):
    """Keys that should be gone may still exist; nothing was reported as erased; it will be tried again."""

    exit_code = os.EX_IOERR


class KeysLostError(FadeoutError):
    """No root slot opens the keyring: everything that was sealed is unreadable, for us too."""

    exit_code = os.EX_DATAERR


class RootStoreError(FadeoutError):
    """The root store is not there, or cannot be used as it is configured."""

    exit_code = os.EX_CONFIG


class SyncError(Exception):
    """The kernel could not say that data reached the disk.

    After a failed fsync the page cache and the disk may differ for good, and a
    second fsync may wrongly succeed; so this ends the process, and start-up
    reads back what is really there.

    Source: Rebello et al., "Can Applications Recover from fsync Failures?" (USENIX ATC 2020).
    """
