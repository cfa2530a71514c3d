"""What a subscriber shows to the program that uses it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from fadeout_broker import contract


class Event(NamedTuple):
    """Something happened at a device."""

    node: str
    """Which device, by its name in topics."""
    id: str
    """Names the event in erasures, and means nothing else."""
    action: str
    """An action of the device's list; `other`; or `none`: the utterance led to nothing."""
    outcome: str
    """`served` or `failed`."""
    expires_at_s: float
    """When it is forgotten, in Unix seconds: the end of whatever is derived from it, too."""


class Gone(NamedTuple):
    """An event that is to be forgotten, with all that was derived from it."""

    node: str
    id: str


class Device(msgspec.Struct, frozen=True):
    """How a device is, as far as it and the broker have said since we are connected."""

    availability: contract.Availability | None = None
    """`stopped`: on purpose; `offline`: lost; None: unknown, as while we have no broker ourselves."""
    state: contract.DeviceState | None = None
    """What it last said of itself; it may be old while `availability` is not `online`."""
    alarms: frozenset[str] = frozenset()
    """Alarms that are on: forgetting does not work there, or cannot be watched."""

    @property
    def is_forgetting(self) -> bool:
        """Whether it is proven, as of now, that the device forgets."""
        return (
            self.availability == "online"
            and self.state is not None
            and self.state.forgetting
            and not self.alarms
        )


class Counts(msgspec.Struct):
    """What became of the messages, since the start."""

    kept: int = 0
    """Events that were stored."""
    duplicates: int = 0
    """Events that were held already."""
    forgotten: int = 0
    """Events that went because the device erased, or could have erased, their items."""
    expired: int = 0
    """Events that went at their end."""
    acknowledged: int = 0
    """Acknowledgements that were handed to the broker."""
    ignored: int = 0
    """Messages of a type or a topic that is not known here."""
    malformed: int = 0
    """Messages that could not be read, or are of another version; nothing was done about them."""
