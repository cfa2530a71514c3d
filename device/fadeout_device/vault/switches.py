"""The switches for guest mode, mute and debug capture, as people at the device press them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fadeout_device.answers import Modes, Muting
from fadeout_device.vault import ratchet

if TYPE_CHECKING:
    from fadeout_device.questions import DebugCapture, Guest
    from fadeout_device.vault.service import Service

CLOSING_S = 3.0
"""So long whoever mutes waits for the microphone to be closed: an ear takes a quarter of a second."""


def guest(service: Service, command: Guest) -> Modes:
    """Begin or end guest mode; raises as `Privacy.guest_on` and `guest_off`."""
    with service.lock:
        if command.is_on:
            service.privacy.guest_on(command.for_s)
        elif command.is_on is False:
            service.privacy.guest_off()
        service.tell_modes()
        return shown(service)


def debug_capture(service: Service, command: DebugCapture) -> Modes:
    """Begin or end debug capture; raises as `Privacy.debug_on` and `debug_off`."""
    with service.lock:
        if command.is_on:
            service.privacy.debug_on(command.for_s)
        elif command.is_on is False:
            service.privacy.debug_off()
        service.tell_modes()
        return shown(service)


def mute(service: Service) -> Muting:
    """Mute, and wait a moment until the ear has closed the microphone. Raises as `ratchet.mute`."""
    with service.lock:
        ratchet.mute(service, "control")
        service.wait_until_closed(CLOSING_S)
        return _muting(service)


def unmute(service: Service) -> Muting:
    """End a mute; raises as `ratchet.unmute`."""
    with service.lock:
        ratchet.unmute(service)
        return _muting(service)


def _muting(service: Service) -> Muting:
    ear = service.ear
    microphone: Literal["open", "closed", "away"] = "away"
    if ear is not None:
        microphone = "open" if ear.listening else "closed"
    return Muting(service.privacy.state.muted_by, microphone)


def shown(service: Service) -> Modes:
    """Return what is on."""
    with service.lock:
        state, private = service.privacy.state, service.privacy.private()
        quiet_hours = service.store.policy.quiet_hours
        return Modes(
            is_guest=state.is_guest,
            guest_until_s=state.guest_until_s,
            is_quiet=private == "quiet",
            quiet_hours="" if quiet_hours is None else str(quiet_hours),
            debug_left_s=service.privacy.debug_left_s(),
            muted_by=state.muted_by,
        )
