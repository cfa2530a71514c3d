"""What the rooms and the `fadeout` command say to each other, as closed structs.

Each message is one JSON object with a `type`; unknown types and unknown fields
are refused, and every string and number is bounded, because the vault believes
the ear about nothing. No message but `Utterance` (inwards) and `Opened`
(outwards, to a person at the device) travels with audio.

Shapes only: `wire.py` carries them, `vault/app.py` acts on them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Outcome = Literal["served", "failed", "false_wake"]
Kind = Literal["audio", "words", "action"]
Reason = Literal["expired", "user", "update", "size", "panic", "recovered"]
"""Why an item is erased. `recovered`: it was cut off while it was sealed, or the index was lost."""
Purpose = Literal["show", "play", "event", "export", "erase_since"]
"""What an item is opened for."""
Visitor = Literal["person", "reporter"]
"""For whom an item is opened: somebody at the device, or the reporter, which tells subscribers."""

# In these patterns `$` alone would let a line feed follow.
WakeWordId = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,40}$(?!\n)")]
ActionId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.]{0,39}$(?!\n)")]
Token = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$(?!\n)")]
Score = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=900.0)]
Line = Annotated[str, Meta(max_length=300)]
MAX_GUEST_S = 366 * 86400


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag=str.lower):
    """A message of one of the tables below; `type` is the class name in lower case."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a message; has no `type` of its own."""


# ---- ear -> vault


class EarState(Message, tag="ear_state", omit_defaults=True, frozen=True):
    """What the ear is doing; sent on every change, shown by `status` and `watch`."""

    listening: bool
    source: Line
    """The microphone's name, or the name of the file that is replayed."""
    wake_words: tuple[WakeWordId, ...] = ()
    overflows: int = 0
    """Times the sound card's buffer ran over since the ear started: samples were lost."""
    dropped: int = 0
    """Utterances given up since the ear started, because the vault did not take them in time."""


class Wake(Message, frozen=True):
    """A wake word was heard; an utterance is being recorded in RAM."""

    wake_word: WakeWordId
    score: Score


class Tick(Message, frozen=True):
    """Replay only: the audio's time has reached this point."""

    time_s: float


class Utterance(Message, frozen=True):
    """One finished utterance. The payload is its audio: 16 kHz mono s16le, at most 60 s."""

    delivery: Token
    """Random, the same on every retry, so that an utterance sent twice is sealed once."""
    wake_word: WakeWordId
    score: Score
    age_s: Seconds
    """Time since the utterance's first sample, when this was sent."""
    duration_s: Seconds
    speech_s: Seconds
    outcome: Outcome
    action: ActionId
    """An action of the configured list, or `none`."""


# ---- vault -> ear


class Ready(Message, frozen=True):
    """Whatever was overdue is erased; the microphone may open (P11)."""


class Kept(Part, frozen=True):
    """One item that was sealed for an utterance, and its end date."""

    kind: Kind
    expires_at_s: int
    """Unix seconds, UTC."""


class Sealed(Message, frozen=True):
    """The answer to an `Utterance`: what the policy keeps of it is sealed and durable."""

    delivery: Token
    recording: str
    """The recording's id; empty when nothing is kept."""
    kept: tuple[Kept, ...]


class NotSealed(Message, tag="not_sealed", frozen=True):
    """The answer to an `Utterance` that could not be sealed: it is gone, and nothing of it is stored."""

    delivery: Token
    reason: Line


FromEar = EarState | Wake | Tick | Utterance
ToEar = Ready | Sealed | NotSealed


# ---- the fadeout command -> vault (control socket)


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


class Watch(Message, frozen=True):
    """Ask for every happening from now on, one frame each, until the connection closes."""


Command = (
    ListRecordings | Show | Play | Erase | Reset | GetLedger | Export
    | ListRecipients | AddRecipient | ConfirmRecipient | RemoveRecipient
    | LookAtClock | Status | GetPolicy | Explain | Guest | DebugCapture | Watch
)  # fmt: skip


def needs_presence(command: Command) -> bool:
    """Say whether a command may only come from somebody at the device (P7).

    Whatever comes from afar can only mute, shorten or erase: reading, exporting, enrolling those
    who are exported to, storing again, and storing more are not among these; nor is what this
    function does not know. Who asks over the control socket is at the device.
    """
    if isinstance(command, Guest):
        return command.is_on is False
    if isinstance(command, DebugCapture):
        return command.is_on is True
    return not isinstance(command, Erase | Status | GetPolicy)


# ---- vault -> the fadeout command


class ItemRow(Part, frozen=True):
    """What may be said of a sealed item without opening it."""

    kind: Kind
    expires_at_s: int
    size_bytes: int
    """Padded: says little about the length."""
    ends_on_update: bool
    """Erased early when a new version of fadeout starts."""


class RecordingRow(Part, frozen=True):
    """One recording: its random id, and its items in the order audio, words, action."""

    recording: str
    outcome: Outcome
    items: tuple[ItemRow, ...]


class Recordings(Message, frozen=True):
    """The answer to `ListRecordings`, newest first."""

    recordings: tuple[RecordingRow, ...]


class Opened(Message, frozen=True):
    """The answer to `Show` and `Play`: the envelope's metadata; for `Play` the payload is the audio."""

    row: RecordingRow
    captured_at_s: float
    wake_word: str
    score: float
    duration_s: float
    speech_s: float
    action: str


class Erased(Message, frozen=True):
    """The answer to `Erase`, after the deletion point: these keys are gone."""

    recordings: tuple[str, ...]
    items: int
    left: str = ""
    """What could not be tidied up yet, in words: the keys are gone all the same."""
    receipts: tuple[int, ...] = ()
    """The numbers of the ledger's entries that say so."""


class ItemReason(Part, frozen=True):
    """Why one item is still here, and when it goes."""

    kind: Kind
    state: Literal["kept", "erasing", "overdue", "locked"]
    """`erasing`: nothing opens it, its key still exists. `overdue`: its time has come, the sweep has not.
    `locked`: whether its time has come is not certain."""
    expires_at_s: int
    promised_s: int
    """The period that was promised when it was captured."""
    allowed_s: int | None
    """What the present policy would keep it for; None: it would not keep it."""
    period_s: int
    """Of these two the shorter, or an even shorter one of a policy in between: it rules."""
    ruled_by: Literal["promise", "shorter policy", "debug capture"]
    ends_on_update: bool
    size_bytes: int
    age_rank: int
    """1: the oldest of all items, and the first to go when there is too much."""
    because: str
    """For `erasing`: a `Reason`."""


class Receipt(Part, frozen=True):
    """Which line of the ledger says that it was erased."""

    seq: int
    reason: Reason
    hour_s: int
    """Unix seconds, UTC: the beginning of the hour."""


class Explanation(Message, frozen=True):
    """The answer to `Explain`."""

    recording: str
    """Its whole id; as it was asked for, when nothing of it is held."""
    outcome: str
    """Empty: nothing of it is held."""
    items: tuple[ItemReason, ...]
    held_items: int
    held_bytes: int
    max_size_bytes: int
    last_sweep: str
    """`ok`, or why erasing fails."""
    erased: Receipt | None
    """Where nothing of it is held, and the ledger has a receipt that names it."""


class Modes(Message, frozen=True):
    """The answer to `Guest` and `DebugCapture`: what is on."""

    is_guest: bool
    guest_until_s: float | None
    """None: until it is switched off."""
    is_quiet: bool
    """It is a quiet hour, or the time is not known."""
    quiet_hours: str
    """Empty: there are none."""
    debug_left_s: float | None
    """None: debug capture is off."""


class ExportBegins(Message, tag="export_begins", frozen=True):
    """The first answer to `Export`: nothing is opened yet."""

    recordings: int
    most_bytes: int
    """The age file is not larger."""
    recipient: str
    fingerprint: str


class ExportPart(Message, tag="export_part", frozen=True):
    """The next bytes of the age file, as payload."""

    opened: int
    """So many of the recordings were opened until now."""


class ExportEnds(Message, tag="export_ends", frozen=True):
    """The age file is complete, and nothing of it was erased meanwhile."""

    recordings: tuple[str, ...]
    size_bytes: int


class RecipientRow(Part, frozen=True):
    """Somebody who may be exported to, or will be when it is confirmed."""

    name: str
    key: str
    fingerprint: str
    """32 hexadecimal digits."""
    is_confirmed: bool


class Recipients(Message, tag="recipient_list", frozen=True):
    """The answer to whatever is asked about recipients: those it is about."""

    recipients: tuple[RecipientRow, ...]


class ClockReport(Message, tag="clock_report", frozen=True):
    """The answer to `LookAtClock`: what time it is, and why that is believed. Times in Unix seconds, UTC."""

    now_s: float
    """For reading."""
    proven_s: float
    """For end dates, and for whatever cannot be undone."""
    wall_s: float
    because: Literal["first", "unknown", "steady", "synchronised", "battery", "stood", "person"]
    """`unknown`: nobody knows for how long the machine was off."""
    is_synchronised: bool
    has_battery_clock: bool
    ahead_s: float
    """A jump of the wall clock that is not confirmed; 0: none."""
    left_s: float | None
    """For how much longer it must stand; None: it must be confirmed in another way, or there is none."""
    locked: int
    """Items that are neither opened nor erased until the time is certain."""


class StatusReport(Message, tag="status_report", frozen=True):
    """The answer to `Status`."""

    version: str
    policy_hash: str
    listening: bool
    source: str
    wake_words: tuple[str, ...]
    overflows: int
    dropped: int
    ear: Literal["connected", "away"]
    reporter: Literal["connected", "away"]
    broker: str
    """In words: `connected`, `not configured`, or why not."""
    unsent_events: int
    held: int
    """Recordings held."""
    held_bytes: int
    max_size_bytes: int
    modes: Modes
    canaries: int | None
    """Dummy items that are alive, and must die on time; None: none are planted (a replay)."""
    alarms: tuple[str, ...]
    """What is wrong with forgetting: `canary`, `sweep` or `erase`, and why."""
    warnings: tuple[str, ...]
    """Limits for which fadeout is made, and which are passed."""
    overdue: int
    """Items whose end date has passed and whose key still exists."""
    next_end_s: int | None
    last_sweep_s: float | None
    last_sweep: str
    """`ok`, or the reason why the last sweep failed."""
    clock: ClockReport
    ledger_entries: int
    ledger_key: str
    """The public key that signs the ledger, 64 hex digits."""
    root_store: str
    root_protects: str
    root_does_not: str
    network: str
    memory: str


class LedgerReport(Message, tag="ledger_report", frozen=True):
    """One part of the answer to `GetLedger`; the payload is lines of JSON, as docs/format.md has them."""

    entries: int
    """How many there are in all parts."""
    public_key: str
    """64 hex digits."""
    is_last: bool
    """Whether no part follows."""


class PolicyReport(Message, tag="policy_report", frozen=True):
    """The answer to `GetPolicy`: the canonical document and its hash."""

    policy: dict[str, Any]
    policy_hash: str
    """SHA-256 of the document as JSON with sorted keys and no white space."""


class Happening(Message, omit_defaults=True, frozen=True):
    """One line of `fadeout watch`. Never says what was said."""

    what: Literal[
        "ear_away", "listening", "not_listening", "wake", "utterance", "sealed", "not_sealed",
        "erased", "erase_failed", "reported", "withdrawn", "broker", "private", "mode", "alarm",
    ]  # fmt: skip
    at_s: float
    recording: str = ""
    wake_word: str = ""
    score: float = 0.0
    outcome: str = ""
    speech_s: float = 0.0
    kept: tuple[Kept, ...] = ()
    items: int = 0
    reason: str = ""
    """For `erased`: a `Reason`; for `private`: `guest` or `quiet`; otherwise one line."""
    generation: int = 0
    """For `erased`: the keyring generation that no longer holds the keys."""


class Failure(Message, omit_defaults=True, frozen=True):
    """Any command's other answer: the error's line, its hint, and the exit code."""

    message: str
    hint: str = ""
    exit_code: int = 1


Answer = (
    Recordings | Opened | LedgerReport | Erased | ExportBegins | ExportPart | ExportEnds | Recipients
    | ClockReport | StatusReport | PolicyReport | Explanation | Modes | Happening | Failure
)  # fmt: skip
