"""When nothing may be stored, and when more is kept than the rules say. Pure.

State and times in, decision out. There are four. *Guest*: nothing is stored at all;
somebody switches it on, and it ends when somebody at the device switches it off, or
when it is certain that its time is over. *Quiet hours*: the same, by the clock on the
wall, every day. *Mute*: the ear closes the microphone,
and nothing that it may still send is stored; it ends when somebody at the device says so.
*Debug capture*: what has no rule is kept too, for a short while; it ends by itself.

Everything uncertain ends on the private side. While the time is not known, or a jump
of the clock waits to be confirmed, guest mode goes on and every hour is quiet. What
began in a private time or ended in one is not stored. Debug capture counts the time
that the machine has been running, which no clock can turn back, and does not survive
a start of the machine, a guest, or quiet hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from fadeout_device.messages import MutedBy

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_device.policy import QuietHours

Private = Literal["", "guest", "quiet", "muted"]

_SURE_S = 60.0
"""Times that differ by less name the same minutes of the day."""
_STEP_S = 30.0
"""Quiet hours are at least a minute long: so none fits between two looks."""


class Moment(NamedTuple):
    """What time it is, in each way that it can be told."""

    now_s: float
    """What is believed; Unix seconds, UTC."""
    proven_s: float | None
    """What is certain; None: nothing is."""
    running_s: float
    """Since the machine started."""
    boot: str
    """Which start of the machine that was."""


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody has switched on; survives restarts of the vault."""

    is_guest: bool = False
    guest_until_s: float | None = None
    """None: until somebody says so."""
    guest_ended_running_s: float = 0.0
    guest_ended_boot: str = ""
    debug_until_running_s: float = 0.0
    debug_boot: str = ""
    """Empty: debug capture is off."""
    muted_by: MutedBy = ""
    mute_ended_running_s: float = 0.0
    mute_ended_boot: str = ""


class Day(NamedTuple):
    """The quiet hours and how to read the clock on the wall."""

    quiet: QuietHours | None
    minute_of: Callable[[float], int]
    """From Unix seconds to the minute of the local day."""


def guest_on(state: State, now_s: float, for_s: float | None) -> State:
    """Begin guest mode, or make it longer: never shorter, so that anybody may ask for it."""
    until_s = None if for_s is None else now_s + for_s
    if state.is_guest and (state.guest_until_s is None or until_s is None):
        until_s = None
    elif state.is_guest and state.guest_until_s is not None and until_s is not None:
        until_s = max(until_s, state.guest_until_s)
    return debug_off(msgspec.structs.replace(state, is_guest=True, guest_until_s=until_s))


def guest_off(state: State, moment: Moment) -> State:
    """End guest mode."""
    if not state.is_guest:
        return state
    return msgspec.structs.replace(
        state, is_guest=False, guest_until_s=None,
        guest_ended_running_s=moment.running_s, guest_ended_boot=moment.boot,
    )  # fmt: skip


def mute(state: State, by: MutedBy) -> State:
    """Mute the microphone; who was first stays named, unless it is the button, which comes before all."""
    return state if state.muted_by and by != "button" else msgspec.structs.replace(state, muted_by=by)


def unmute(state: State, moment: Moment) -> State:
    """End the mute."""
    if not state.muted_by:
        return state
    return msgspec.structs.replace(
        state, muted_by="", mute_ended_running_s=moment.running_s, mute_ended_boot=moment.boot
    )


def without_mute(state: State) -> State:
    """Return what is on besides a mute: for a replay, which has no microphone to close."""
    return msgspec.structs.replace(state, muted_by="", mute_ended_boot="")


def debug_on(state: State, moment: Moment, for_s: float) -> State:
    """Begin debug capture, or set its end anew."""
    return msgspec.structs.replace(
        state, debug_boot=moment.boot, debug_until_running_s=moment.running_s + for_s
    )


def debug_off(state: State) -> State:
    """End debug capture."""
    return msgspec.structs.replace(state, debug_boot="", debug_until_running_s=0.0)


def settled(state: State, moment: Moment, day: Day) -> State:
    """End what has ended by itself."""
    proven_s, until_s = moment.proven_s, state.guest_until_s
    if state.is_guest and until_s is not None and proven_s is not None and proven_s >= until_s:
        then = moment._replace(running_s=max(0.0, moment.running_s - (proven_s - until_s)))
        state = guest_off(state, then)
    is_over = state.debug_boot != moment.boot or moment.running_s >= state.debug_until_running_s
    if state.debug_boot and (is_over or private(state, moment, day)):
        state = debug_off(state)
    return state


def private(state: State, moment: Moment, day: Day) -> Private:
    """Say whether nothing may be stored now, and why."""
    if state.is_guest:
        return "guest"
    if _is_quiet(moment.now_s, moment, day):
        return "quiet"
    return "muted" if state.muted_by else ""


def private_during(state: State, moment: Moment, day: Day, ages_s: tuple[float, float]) -> Private:
    """Say whether an utterance must not be stored, and why.

    Args:
        state: settled.
        moment: now.
        day: the quiet hours.
        ages_s: for how long the utterance has begun, and ended.
    """
    now_private = private(state, moment, day)
    if now_private:
        return now_private
    began_s, ended_s = ages_s
    if state.guest_ended_boot == moment.boot and moment.running_s - began_s <= state.guest_ended_running_s:
        return "guest"
    if state.mute_ended_boot == moment.boot and moment.running_s - began_s <= state.mute_ended_running_s:
        return "muted"
    age_s = began_s
    while age_s > ended_s:
        if _is_quiet(moment.now_s - age_s, moment, day):
            return "quiet"
        age_s -= _STEP_S
    return "quiet" if _is_quiet(moment.now_s - ended_s, moment, day) else ""


def debug_left_s(state: State, moment: Moment) -> float | None:
    """Return how much longer debug capture lasts; None: it is off. `state` is settled."""
    return state.debug_until_running_s - moment.running_s if state.debug_boot else None


def _is_quiet(at_s: float, moment: Moment, day: Day) -> bool:
    if day.quiet is None:
        return False
    if moment.proven_s is None or abs(moment.now_s - moment.proven_s) >= _SURE_S:
        return True
    return day.quiet.has(day.minute_of(at_s))
