"""What the `fadeout` command asks of the vault, as closed structs.

Made as the messages between the rooms are: one JSON object with a `type`, nothing
unknown in it, every string and number bounded. What comes back is in `answers.py`.

Shapes only: `wire.py` carries them, `vault/control_arrow.py` acts on them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from fadeout_device.messages import Line, Message

MAX_GUEST_S = 366 * 86400


class ListRecordings(Message, tag="list", frozen=True):
    """Ask for every recording that is held."""


class Show(Message, frozen=True):
    """Ask for one recording's metadata; opens its envelope."""

    recording: Line


class Play(Message, frozen=True):
    """Ask for one recording's audio; opens it."""

    recording: Line


class Naming(Message, frozen=True):
    """Names recordings, by exactly one of the four ways."""

    recordings: tuple[Line, ...] = ()
    last: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    since_s: Annotated[float, Meta(gt=0)] | None = None
    """Everything captured within so many seconds before now."""
    everything: bool = False


class Erase(Naming, frozen=True):
    """Erase recordings."""

    now: bool = False
    """With `everything`: the root store first, whatever the state of the disk."""


class Reset(Message, frozen=True):
    """Erase everything at once, and forget all that was ever stored: for another owner."""


class GetLedger(Message, tag="ledger", frozen=True):
    """Ask for the ledger, with a signed statement of which entries there are."""

    nonce: Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){0,32}$(?!\n)")] = ""
    """Of the asker's choice: whoever finds it in the statement knows that it is no old one."""


class Export(Naming, frozen=True, kw_only=True):
    """Ask for recordings, encrypted to a recipient: an `ExportBegins`, `ExportPart`s, an `ExportEnds`."""

    to: Line
    """The recipient's name."""


class ListRecipients(Message, tag="recipients", frozen=True):
    """Ask who may be exported to."""


class AddRecipient(Message, tag="add_recipient", frozen=True):
    """Enrol somebody, unconfirmed."""

    name: Line
    key: Line
    """An age public key."""


class ConfirmRecipient(Message, tag="confirm_recipient", frozen=True):
    """Say that somebody at the device has read a recipient's fingerprint."""

    name: Line
    fingerprint: Line


class RemoveRecipient(Message, tag="remove_recipient", frozen=True):
    """Export to somebody no more."""

    name: Line


class Status(Message, frozen=True):
    """Ask how the vault is."""


class LookAtClock(Message, tag="clock", frozen=True):
    """Ask what time it is believed to be."""

    confirm: bool = False
    """Somebody at the device says that the wall clock is right."""


class GetPolicy(Message, tag="policy", frozen=True):
    """Ask for the retention policy that is being enforced."""


class RestorePolicy(Message, tag="restore_policy", frozen=True):
    """Take away what was shortened by command, for what is captured from now on."""


class Explain(Message, frozen=True):
    """Ask why a recording is still here, and when it goes; opens nothing."""

    recording: Line


class Guest(Message, frozen=True):
    """Begin or end guest mode, in which nothing is stored."""

    is_on: bool | None
    """None: only ask."""
    for_s: Annotated[float, Meta(gt=0, le=MAX_GUEST_S)] | None = None
    """None: until it is switched off."""


class DebugCapture(Message, tag="debug_capture", frozen=True):
    """Begin or end debug capture, in which what has no rule is kept for a short while."""

    is_on: bool | None
    """None: only ask."""
    for_s: Annotated[float, Meta(ge=0)] = 0.0


class Mute(Message, frozen=True):
    """Close the microphone, until somebody at the device opens it."""


class Unmute(Message, frozen=True):
    """Open the microphone again."""


class ListSubscribers(Message, tag="subscribers", frozen=True):
    """Ask who has acknowledged which erasures."""


class Forget(Message, frozen=True):
    """Leave the broker: nothing of this device stands there any more, and nothing is sent; or come back."""

    is_undone: bool = False


class Watch(Message, frozen=True):
    """Ask for every happening from now on, one frame each, until the connection closes."""


Command = (
    ListRecordings | Show | Play | Erase | Reset | GetLedger | Export
    | ListRecipients | AddRecipient | ConfirmRecipient | RemoveRecipient
    | LookAtClock | Status | GetPolicy | RestorePolicy | Explain
    | Guest | Mute | Unmute | DebugCapture | ListSubscribers | Forget | Watch
)  # fmt: skip
