"""What ear and vault say to each other, as closed structs.

Each message is one JSON object with a `type`; unknown types and unknown fields
are refused, and every string and number is bounded, because the vault believes
the ear about nothing. No message but `Utterance` travels with audio and words.

Shapes only: `wire.py` carries them, `vault/ear_arrow.py` acts on them. What the
`fadeout` command asks is in `questions.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Outcome = Literal["served", "failed", "false_wake"]
Kind = Literal["audio", "words", "action"]
Reason = Literal["expired", "user", "update", "size", "panic", "recovered"]
"""Why an item is erased. `recovered`: it was cut off while it was sealed, or the index was lost."""
Purpose = Literal["show", "play", "event", "export", "erase_since"]
"""What an item is opened for."""
Reported = Literal["", "done", "failed"]
"""How somebody has said from afar that an action ended; empty: nobody did."""
WordsOf = Literal["", "request", "response"]
"""Whose words: what was asked of fadeout, or what it answered; empty: that was not told apart."""
Visitor = Literal["person", "reporter"]
"""For whom an item is opened: somebody at the device, or the reporter, which tells subscribers."""

# In these patterns `$` alone would let a line feed follow.
WakeWordId = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,40}$(?!\n)")]
ActionId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.]{0,39}$(?!\n)")]
Token = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$(?!\n)")]
MutedBy = Literal["", "mqtt", "control", "button", "voice", "unknown"]
"""Over which channel the microphone was muted; empty: it is not."""
Score = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=900.0)]
Line = Annotated[str, Meta(max_length=300)]
MAX_WORDS_BYTES = 4096
WordsLength = Annotated[int, Meta(ge=0, le=MAX_WORDS_BYTES)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Level = Annotated[int, Meta(ge=-120, le=0)]
"""Of one moment of sound, in whole decibels below full scale; nothing at all is -120."""

LightKind = Literal["gpio", "ring", "terminal"]
"""A lamp on a pin; a chain of coloured LEDs; or only a line for whoever watches."""
LitFor = Literal["recording", "opening"]

LEVEL_EVERY_S = 10.0
"""How often the ear says how loud it is; no more often, as nobody is to learn from it when somebody spoke."""


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
    problem: Line = ""
    """Why it does not listen, in words; empty: it does, or was told not to."""
    overflows: Count = 0
    """Times the sound card's buffer ran over since the ear started: samples were lost."""
    behind: Count = 0
    """Buffers of audio dropped since the ear started, because it had fallen behind: samples were lost."""
    reopened: Count = 0
    """Times the microphone was opened again since the ear started, because it was lost."""
    clipped: Count = 0
    """Samples cut off since the ear started, because they were too loud; told every `LEVEL_EVERY_S`."""
    level_dbfs: Level | None = None
    """The loudest moment of the last `LEVEL_EVERY_S`: 0 is full scale; None: not known yet."""
    spared_percent: Percent | None = None
    """Share of all audio since the ear started in which it was too quiet for the wake-word engine to be
    asked; told every `LEVEL_EVERY_S`; None: not known, or it is always asked."""
    dropped: Count = 0
    """Utterances given up since the ear started, because the vault did not take them in time."""
    recogniser: Line = ""
    """Why utterances are not recognised just now, in words; empty: they are, or nothing should."""
    voice: Line = ""
    """Why answers to voice commands are not spoken, in words; empty: they are, or nothing should."""


class Wake(Message, frozen=True):
    """A wake word was heard; an utterance is being recorded in RAM."""

    wake_word: WakeWordId
    score: Score


class Lit(Message, omit_defaults=True, frozen=True):
    """What the light shows; sent once it does: on every change, and as the answer to every `Opening`."""

    kind: LightKind
    shows: Annotated[tuple[LitFor, ...], Meta(max_length=2)] = ()
    """Why it is on; empty: it is off."""
    answers: Count = 0
    """The number of the last `Opening`."""


class Pressed(Message, frozen=True):
    """Somebody pressed the button. The ear has closed the microphone before, if that mutes."""

    mute: bool
    """Mute; or end a mute."""


class Tick(Message, frozen=True):
    """Replay only: the audio's time has reached this point."""

    time_s: float


class Utterance(Message, frozen=True):
    """One finished utterance.

    The payload is its audio, 16 kHz mono s16le, at most 60 s, and then the words of the request in
    UTF-8. What fadeout answers to them is the vault's to know.
    """

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
    request_bytes: WordsLength = 0
    """How much of the payload is the words of the request; 0: they are not known."""


# ---- vault -> ear


class Ready(Message, omit_defaults=True, frozen=True):
    """Whatever was overdue is erased; the microphone may open, unless it is muted (P11)."""

    is_muted: bool = False


class Mute(Message, omit_defaults=True, frozen=True):
    """Close the microphone, and drop what is being recorded. Comes at any time after `Ready`."""

    by: MutedBy = ""
    """Over which channel it is muted; from `button` the ear knows that its press has come."""


class Unmute(Message, frozen=True):
    """Somebody at the device says that the microphone may open again."""


class Opening(Message, frozen=True):
    """Something is about to be opened: the light is to be on for so long. Needs a `Lit` before."""

    n: Count
    for_ms: Annotated[int, Meta(ge=0, le=10_000)]


class Kept(Part, frozen=True):
    """One item that was sealed for an utterance, and its end date."""

    kind: Kind
    expires_at_s: int
    """Unix seconds, UTC."""


ToldWhat = Literal["erased", "not_erased", "asked", "muted", "muted_until_restart", "held"]


class Told(Part, frozen=True):
    """The answer to a voice command, of which the ear makes a sentence: numbers and dates, no content."""

    what: ToldWhat
    """`asked`: it must be confirmed. `not_erased`: the keys may still exist."""
    erased: Count = 0
    """Recordings whose keys are gone, that of the command among them if there was one."""
    held: Count = 0
    """Recordings that are held now."""
    next_end_s: int | None = None
    """When the first of them ends; Unix seconds, UTC."""
    receipt: Count | None = None
    """The number of the receipt in the ledger; of several, the one that names the newest recording."""


class Sealed(Message, frozen=True):
    """The answer to an `Utterance`: what the policy keeps of it is sealed and durable."""

    delivery: Token
    recording: str
    """The recording's id; empty when nothing is kept."""
    kept: tuple[Kept, ...]
    told: Told | None = None
    """What became of the command; None: it was none."""


class NotSealed(Message, tag="not_sealed", frozen=True):
    """The answer to an `Utterance` that could not be sealed: it is gone, and nothing of it is stored."""

    delivery: Token
    reason: Line
    told: Told | None = None
    """As in `Sealed`: a command is obeyed also where it cannot be sealed."""


FromEar = EarState | Wake | Lit | Pressed | Tick | Utterance
ToEar = Ready | Mute | Unmute | Opening | Sealed | NotSealed
