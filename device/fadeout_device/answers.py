"""What the vault answers to the `fadeout` command's questions, as closed structs.

`Opened` and the parts of an export and of the ledger travel with a payload, to a
person at the device; nothing else does. Shapes only: `vault/control_arrow.py` sends
them.
"""

from __future__ import annotations

from typing import Any, Literal

from fadeout_device.messages import (
    Kept,
    Kind,
    Message,
    MutedBy,
    Outcome,
    Part,
    Reason,
    Reported,
    WordsOf,
)


class ItemRow(Part, frozen=True):
    """What may be said of a sealed item without opening it."""

    kind: Kind
    expires_at_s: int
    size_bytes: int
    """Padded: says little about the length."""
    ends_on_update: bool
    """Erased early when a new version of fadeout starts."""
    part: WordsOf = ""
    """Whose words they are, where that was looked up."""


class RecordingRow(Part, frozen=True):
    """One recording: its random id, and its items in the order audio, words, action."""

    recording: str
    outcome: Outcome
    items: tuple[ItemRow, ...]
    reported: Reported = ""
    """How somebody has said from afar that its action ended."""


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
    note: str = ""
    """What else there is to know, in words."""


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
    muted_by: MutedBy


class Muting(Message, frozen=True):
    """The answer to `Mute` and `Unmute`."""

    muted_by: MutedBy
    microphone: Literal["open", "closed", "away"]
    """`away`: no ear is running. After `Mute` the vault waits a moment for it to be closed."""


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
    problem: str
    """Why it does not listen, in words; empty: it does, or was told not to."""
    overflows: int
    """Times samples were lost in the sound card's buffer."""
    behind: int
    """Buffers of audio lost because the ear had fallen behind."""
    reopened: int
    """Times the microphone was lost, and opened again."""
    clipped: int
    """Samples that were cut off, because they were too loud."""
    level_dbfs: int | None
    """How loud the loudest moment of the last ten seconds was; None: not known."""
    spared_percent: int | None
    """Share of what was heard in which the room was quiet; None: not known, or the engine is always asked."""
    dropped: int
    """Utterances that were lost, because the vault did not take them."""
    recogniser: str
    """Why utterances are not recognised just now, in words; empty: they are, or nothing should."""
    voice: str
    """Why answers to voice commands are not spoken, in words; empty: they are, or nothing should."""
    light: str
    """What the light is and shows, in words."""
    ear: Literal["connected", "away"]
    reporter: Literal["connected", "away"]
    broker: str
    """In words: `connected`, `not configured`, or why not."""
    commands: str
    """Whether commands and acknowledgements reach us, in words; empty: not known."""
    departure: Literal["", "asked", "done"]
    """Whether this device has left the broker; `asked`: it is cleared there when the broker is back."""
    result_s: int
    """So long an action's audio and words wait for its result from afar, in seconds; 0: not at all."""
    dropped_payloads: int
    """What was not let out, because it does not fit the contract or the broker: a fault."""
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
    shortened_from: dict[str, int]
    """What a command has shortened: by the name of the rule, the configured seconds."""


class SubscriberRow(Part, frozen=True):
    """What one subscriber has acknowledged."""

    consumer: str
    """Its name at the broker."""
    is_expected: bool
    """Whether the configuration names it."""
    acknowledged: int | None
    """Up to which erasure it says that it has forgotten; None: it has said nothing."""
    behind: int
    """How many erasures it has not acknowledged."""
    hour_s: int | None
    """In which hour it said so; Unix seconds, UTC."""


class Subscribers(Message, tag="subscriber_list", frozen=True):
    """The answer to `ListSubscribers`."""

    erasures: int
    """The number of the last erasure that subscribers are told of."""
    subscribers: tuple[SubscriberRow, ...]


class Departed(Message, frozen=True):
    """The answer to `Forget`."""

    departure: Literal["", "asked", "done"]
    """Empty: it reports again. `asked`: the broker is away, and is cleared when it comes back."""
    broker: str
    """In words, as in `StatusReport`."""


class Happening(Message, omit_defaults=True, frozen=True):
    """One line of `fadeout watch`. Never says what was said."""

    what: Literal[
        "ear_away", "listening", "not_listening", "wake", "utterance", "sealed", "not_sealed",
        "result", "erased", "erase_failed", "reported", "withdrawn", "broker", "private", "mode", "alarm",
        "light",
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
    """For `erased`: a `Reason`; for `private`: `guest`, `quiet` or `muted`; otherwise one line."""
    generation: int = 0
    """For `erased`: the keyring generation that no longer holds the keys."""


class Failure(Message, omit_defaults=True, frozen=True):
    """Any command's other answer: the error's line, its hint, and the exit code."""

    message: str
    hint: str = ""
    exit_code: int = 1


Answer = (
    Recordings | Opened | LedgerReport | Erased | ExportBegins | ExportPart | ExportEnds | Recipients
    | ClockReport | StatusReport | PolicyReport | Explanation | Modes | Muting | Subscribers
    | Departed | Happening | Failure
)  # fmt: skip
