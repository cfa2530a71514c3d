"""What tightens, wherever it is asked for: mute and shorten; and what ends them, at the device.

Who may ask is `channels.py`'s to say, and is asked before. All of it under the service's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fadeout_device.errors import UsageError
from fadeout_device.vault.errors import EraseError

if TYPE_CHECKING:
    from fadeout_device.messages import Kind, MutedBy, Outcome
    from fadeout_device.vault.service import Service


def mute(service: Service, by: MutedBy) -> None:
    """Have the ear close the microphone, and store nothing that it may still send.

    Args:
        service: of this vault.
        by: over which channel somebody asked.

    Raises:
        StorageError: it is muted, and that will not survive a restart of the vault.
    """
    with service.lock:
        try:
            service.privacy.mute(by)
        finally:
            service.mute_changed()


def unmute(service: Service, by: MutedBy = "control") -> None:
    """Let the ear open the microphone again.

    Raises:
        UsageError: it was muted with the button, and there is one.
        StorageError: it may, and is muted again after a restart of the vault.
    """
    with service.lock:
        if service.has_button and service.privacy.state.muted_by == "button" != by:
            raise UsageError(
                "it was muted with the button, and only the button ends that", "press the button"
            )
        try:
            service.privacy.unmute()
        finally:
            service.mute_changed()


def shorten(service: Service, keep_s: int, outcome: Outcome | None, kind: Kind | None) -> None:
    """Keep no item of these for longer; what ends by that is erased before this returns.

    Raises:
        StorageError: it holds for what is captured from now on, until a restart; it is tried again.
        EraseError: it is in force, and what has ended by it may still exist; it will be tried again.
    """
    with service.lock:
        try:
            is_new = service.store.enforced.shorten(keep_s, outcome, kind)
        finally:
            service.privacy.obey(service.store.policy)
        if is_new:
            service.tell("mode", reason="the policy is shortened")
            service.sweep()
            if service.sweeps.outcome != "ok":
                raise EraseError(service.sweeps.outcome)


def restore_policy(service: Service) -> None:
    """Keep what is captured from now on for as long as is configured; what is held keeps its end.

    Raises:
        StorageError: it cannot be stored, and nothing is changed.
    """
    with service.lock:
        service.store.enforced.restore()
        service.privacy.obey(service.store.policy)
        service.tell("mode", reason="the policy is the configured one")
        service.on_change()
