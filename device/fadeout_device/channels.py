"""The ratchet: what may be asked over which channel (P7). One table; what is not in it is refused.

From afar one can only mute, shorten and erase. Listening again, keeping longer, reading
and exporting need somebody at the device: at its button, or with the `fadeout` command,
which only this machine's user can run. How an action ended may be told from afar, too:
"failed" keeps more than silence would, so it is heeded only where somebody at the device
has switched the waiting for it on (docs/adr/0013). A voice is in the room, but may be a
guest's or the television's: it can mute and erase as from afar, and be told how much is held.

A deed and its opposite are two rows, so that no row both tightens and loosens. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from fadeout_broker import contract
from fadeout_device import questions

if TYPE_CHECKING:
    from collections.abc import Callable

Channel = Literal["mqtt", "control", "button", "voice"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

Deed = Literal[
    # what tightens
    "mute", "erase", "erase the newest", "shorten", "guest mode on", "debug capture off",
    # what loosens
    "unmute", "restore the policy", "guest mode off", "debug capture on", "confirm the clock", "reset",
    "leave the broker", "come back to the broker",
    # what reads, or lets somebody read
    "list", "show", "play", "explain", "watch", "export", "list recipients", "add a recipient",
    "confirm a recipient", "remove a recipient", "read the ledger", "list subscribers",
    # what says how an action ended, where the device waits for that: what is switched on there is the consent
    "report done", "report failed",
    # what only says how the device is
    "ping", "count", "status", "policy", "modes", "clock",
]  # fmt: skip
DEEDS: tuple[Deed, ...] = get_args(Deed)

_EVERYWHERE: Final = frozenset(CHANNELS)
_AT_THE_DEVICE: Final[frozenset[Channel]] = frozenset({"control"})

_ALLOWED: dict[Deed, frozenset[Channel]] = {
    "mute": _EVERYWHERE,
    "erase": frozenset({"mqtt", "control", "voice"}),
    "erase the newest": _EVERYWHERE,
    "shorten": frozenset({"mqtt", "control"}),
    "guest mode on": _AT_THE_DEVICE,
    "debug capture off": _AT_THE_DEVICE,
    "unmute": frozenset({"control", "button"}),
    "restore the policy": _AT_THE_DEVICE,
    "guest mode off": _AT_THE_DEVICE,
    "debug capture on": _AT_THE_DEVICE,
    "confirm the clock": _AT_THE_DEVICE,
    "reset": _AT_THE_DEVICE,
    "leave the broker": _AT_THE_DEVICE,
    "come back to the broker": _AT_THE_DEVICE,
    "list": _AT_THE_DEVICE,
    "show": _AT_THE_DEVICE,
    "play": _AT_THE_DEVICE,
    "explain": _AT_THE_DEVICE,
    "watch": _AT_THE_DEVICE,
    "export": _AT_THE_DEVICE,
    "list recipients": _AT_THE_DEVICE,
    "add a recipient": _AT_THE_DEVICE,
    "confirm a recipient": _AT_THE_DEVICE,
    "remove a recipient": _AT_THE_DEVICE,
    "read the ledger": _AT_THE_DEVICE,
    "list subscribers": _AT_THE_DEVICE,
    "report done": frozenset({"mqtt", "control"}),
    "report failed": frozenset({"mqtt", "control"}),
    "ping": frozenset({"mqtt", "control"}),
    "count": frozenset({"control", "voice"}),
    "status": _AT_THE_DEVICE,
    "policy": _AT_THE_DEVICE,
    "modes": _AT_THE_DEVICE,
    "clock": _AT_THE_DEVICE,
}

Request = questions.Command | contract.Request


def _erasing(names: questions.Erase | contract.EraseRequest) -> Deed:
    return "erase" if names.last is None else "erase the newest"


_DEEDS: dict[type, Deed | Callable[..., Deed]] = {
    # the `fadeout` command
    questions.ListRecordings: "list",
    questions.Show: "show",
    questions.Play: "play",
    questions.Explain: "explain",
    questions.Watch: "watch",
    questions.Export: "export",
    questions.Erase: _erasing,
    questions.Reset: "reset",
    questions.GetLedger: "read the ledger",
    questions.ListRecipients: "list recipients",
    questions.AddRecipient: "add a recipient",
    questions.ConfirmRecipient: "confirm a recipient",
    questions.RemoveRecipient: "remove a recipient",
    questions.ListSubscribers: "list subscribers",
    questions.Forget: lambda asked: "come back to the broker" if asked.is_undone else "leave the broker",
    questions.LookAtClock: lambda asked: "confirm the clock" if asked.confirm else "clock",
    questions.Status: "status",
    questions.GetPolicy: "policy",
    questions.RestorePolicy: "restore the policy",
    questions.Guest: lambda asked: _switched(asked.is_on, "guest mode on", "guest mode off"),
    questions.Mute: "mute",
    questions.Unmute: "unmute",
    questions.DebugCapture: lambda asked: _switched(asked.is_on, "debug capture on", "debug capture off"),
    # commands over MQTT
    contract.MuteRequest: "mute",
    contract.EraseRequest: _erasing,
    contract.ShortenRequest: "shorten",
    contract.ResultRequest: lambda asked: "report done" if asked.result == "done" else "report failed",
    contract.PingRequest: "ping",
}


def _switched(is_on: bool | None, on: Deed, off: Deed) -> Deed:  # noqa: FBT001 - what the command says
    if is_on is None:
        return "modes"
    return on if is_on else off


def deed_of(request: Request) -> Deed | None:
    """Return what a request asks for; None: nothing that this table knows, so nobody may."""
    found = _DEEDS.get(type(request))
    return found(request) if callable(found) else found


def is_allowed(deed: Deed | None, channel: Channel) -> bool:
    """Say whether a deed may be asked for over a channel."""
    return deed is not None and channel in _ALLOWED.get(deed, frozenset())
