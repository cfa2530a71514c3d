"""The words that the contract is written in: ids, numbers, times and their bounds.

Integrators and the rest of fadeout take them from `contract`. The documents made by
`scripts/make_contract` show what stands under each name.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

VERSION: Final = 1
MAX_TTL_S = 30 * 86400
TOPIC_ROOT = "fadeout"

# `$` alone would let a line feed follow.
EventId = Annotated[str, Meta(pattern=r"^[0-9a-v]{16}$(?!\n)")]
"""Truncated HMAC under the item's own key, base32hex: cannot be derived once the key is gone."""
Action = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.]{0,39}$(?!\n)")]
"""A name of the configured list, such as `light.on`."""
Node = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$(?!\n)")]
"""The device's name in topics: random unless it is configured; never a host name or an address."""
Consumer = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$(?!\n)")]
"""Who acknowledges erasures: the subscriber's user name at the broker."""
Era = Annotated[str, Meta(pattern=r"^[0-9a-v]{8}$(?!\n)")]
"""Random; another one means that the numbers of erasures were begun anew."""
Transaction = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]
"""Chosen by whoever asks, and echoed in the reply."""
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
"""32 bytes in hex."""
Signature = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]
"""64 bytes in hex."""
Version = Annotated[str, Meta(pattern=r"^[0-9][0-9a-z.+]{0,31}$(?!\n)")]
"""As PEP 440 writes it."""
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""How many; what every JSON parser holds exactly."""
Number = Annotated[int, Meta(ge=1, le=2**53 - 1)]
"""The place in a sequence without gaps, from 1."""
Time = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""Unix seconds, UTC."""
Ttl = Annotated[int, Meta(ge=1, le=MAX_TTL_S)]
"""Seconds from the moment of sending, after which whoever received it must forget it."""
Outcome = Literal["served", "failed", "false_wake"]
"""`served`: the device did what it was asked; `failed`: somebody spoke, and no action followed;
`false_wake`: nobody spoke to it."""
Kind = Literal["audio", "words", "action"]
"""Which part of what was recorded: the sound, what was understood, or the event of it."""
Purpose = Annotated[str, Meta(max_length=80, pattern=r"^[^\x00-\x1f]*$(?!\n)")]
"""What an item is kept for, in the words of whoever wrote the configuration."""
MAX_ACTIONS = 64
MAX_IDS = 16
"""Ids in one notice."""

NO_ACTION: Final = "none"
"""The action of an utterance that failed."""
OTHER_ACTION: Final = "other"
"""Stands for an action that is not of the configured list."""


class ContractError(Exception):
    """A payload does not fit the contract; it must not leave the device, and what comes in is not obeyed."""
