"""What comes in: commands and acknowledgements, bounded, and handed to the vault unread.

Anybody whom the broker lets publish may send anything, at any rate. So a message is
admitted or dropped before it costs memory, one bucket for each kind of topic: a flood
of commands must not keep acknowledgements out. Whether a command is obeyed is the
vault's to say; here only topics are read. Retained messages are ignored: a retained
`cmd/erase` would fire at each connection. Reads no clock: times are arguments, in
seconds of a monotonic clock.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_broker import arrow, contract, discovery
from fadeout_broker.gate import own_ack_topic, ping_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_broker.uplink import Arrived

_log = logging.getLogger(__name__)

MAX_WAITING = 64
"""Messages of one kind that wait for the vault."""
_COMPLAIN_EVERY_S = 60.0
_NAME_CHARACTERS = 32  # arrow.Asked; no command's name is so long
_REPLY_TOPIC_CHARACTERS = 300  # arrow.Asked


class Subscription(NamedTuple):
    """One topic filter, at QoS 0; what is retained is not sent on subscribing.

    On a connection without a session QoS 1 would add nothing but a trap: of the messages of QoS 1 that we
    may be sent at once, Mosquitto (2.0.11, 2.0.21 and 2.1.2 were tried) forgets one place for each that is
    larger than we allow, for good; after 20 of them it delivers nothing more.
    """

    topic_filter: str
    is_needed: bool = True
    """Without it we are deaf."""
    no_local: bool = False
    """Our own messages do not come back."""


def subscriptions(configure: arrow.Configure) -> list[Subscription]:
    """Return what this node wants to hear."""
    settings, node = configure.settings, configure.node
    found = [Subscription(contract.ack_filter(node))]
    if settings.commands:
        found.append(Subscription(contract.command_filter(node)))
    if settings.discovery:
        found.append(Subscription(discovery.birth_topic(settings.discovery_prefix), is_needed=False))
    if settings.mode == "batched":
        # Where nobody subscribes to cover, the broker's acknowledgement of it is a byte longer than that of
        # an event: reason 16, "no matching subscribers". So there is always one, who is sent nothing.
        silent = ("event/+", "erase/notice", "erase/before", "state", "reply/#")
        prefix = contract.prefix_of(node)
        found += [Subscription(prefix + end, is_needed=False, no_local=True) for end in silent]
    return found


class Born(NamedTuple):
    """Home Assistant says that it has started."""


class CameBack(NamedTuple):
    """Perhaps what the reporter asked itself."""

    payload: bytes


class Bucket:
    """Admits so many at once, and so many a second from then on."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._level = float(burst)
        self._at_s = 0.0

    def admits(self, now_s: float) -> bool:
        """Take one out, if there is one."""
        self._level = min(self._burst, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._level < 1:
            return False
        self._level -= 1
        return True


class Door:
    """Admits what arrives, or drops and counts it. One thread admits, another takes.

    Args:
        configure: which node, and what is subscribed to.
        awaits: says whether a payload is one that the reporter sent to itself. Those are always
            admitted, or a flood would look like a broker that delivers nothing.
    """

    def __init__(self, configure: arrow.Configure, awaits: Callable[[bytes], bool]) -> None:
        self._node = configure.node
        self._commands = contract.command_filter(configure.node).removesuffix("+")
        self._acks = contract.ack_filter(configure.node).removesuffix("+")
        self._own = (ping_topic(configure.node), own_ack_topic(configure.node))
        self._birth = discovery.birth_topic(configure.settings.discovery_prefix)
        # A person does not press so fast; 32 subscribers acknowledge a full window of notices at once.
        self._buckets = {
            "command": Bucket(5, 20),
            "mute": Bucket(5, 20),
            "ack": Bucket(20, 500),
            "birth": Bucket(0.2, 2),
        }
        self._lock = threading.Lock()
        self._awaits = awaits
        self._waiting = dict.fromkeys(self._buckets, 0)
        self._complained_at_s = -_COMPLAIN_EVERY_S
        self.dropped = 0
        """Messages that were not taken in: too many, or of no shape."""

    def admits(self, arrived: Arrived, now_s: float) -> bool:
        """Say whether a message may wait for the vault; must be followed by `take` if so."""
        with self._lock:
            if self._is_own(arrived):
                return True
            kind = self._kind(arrived)
            bucket = self._buckets.get(kind)
            if bucket is None or self._waiting[kind] >= MAX_WAITING or not bucket.admits(now_s):
                self._drop(now_s)
                return False
            self._waiting[kind] += 1
            return True

    def take(
        self, arrived: Arrived, now_s: float
    ) -> arrow.Asked | arrow.Acknowledged | Born | CameBack | None:
        """Return what an admitted message says; None: of no shape."""
        with self._lock:
            if self._is_own(arrived):
                return CameBack(arrived.payload)
            kind = self._kind(arrived)
            self._waiting[kind] = max(0, self._waiting[kind] - 1)  # 0: ours, and awaited no longer
            said = self._read(arrived)
            if said is None:
                self._drop(now_s)
            return said

    def _is_own(self, arrived: Arrived) -> bool:
        return arrived.topic in self._own and self._awaits(arrived.payload)

    def _kind(self, arrived: Arrived) -> str:
        if arrived.is_retained:
            return "retained"
        if arrived.topic == self._birth:
            return "birth" if arrived.payload == b"online" else "death"
        if arrived.topic.startswith(self._commands):
            # With a bucket of its own: no flood of others must keep a mute out.
            return "mute" if arrived.topic == f"{self._commands}mute" else "command"
        return "ack" if arrived.topic.startswith(self._acks) else "other"

    def _read(self, arrived: Arrived) -> arrow.Asked | arrow.Acknowledged | Born | None:
        match self._kind(arrived):
            case "birth":
                return Born()
            case "command" | "mute":
                return self._asked(arrived)
            case "ack":
                return self._acknowledged(arrived)
            case _:
                return None

    def _asked(self, arrived: Arrived) -> arrow.Asked:
        reply_to, correlation = arrived.reply_to, arrived.correlation
        if reply_to is not None and (
            len(reply_to) > _REPLY_TOPIC_CHARACTERS or not contract.is_reply_topic(self._node, reply_to)
        ):
            reply_to = None  # then the answer goes to `reply`
        if correlation is not None and len(correlation) > arrow.CORRELATION_BYTES:
            correlation = None
        name = arrived.topic.removeprefix(self._commands)[:_NAME_CHARACTERS]
        # One byte more than allowed: the vault answers that it is malformed.
        payload = arrived.payload[: contract.MAX_REQUEST_BYTES + 1]
        return arrow.Asked(name, payload, reply_to, correlation)

    def _acknowledged(self, arrived: Arrived) -> arrow.Acknowledged | None:
        consumer = arrived.topic.removeprefix(self._acks)
        if consumer == self._node:
            return None  # ourselves, too late
        try:
            ack = contract.decode_ack(arrived.payload)
            return msgspec.convert(
                {"say": "acknowledged", "consumer": consumer, "ack": ack}, arrow.Acknowledged
            )
        except (contract.ContractError, msgspec.ValidationError):
            return None

    def _drop(self, now_s: float) -> None:
        self.dropped += 1
        if now_s - self._complained_at_s >= _COMPLAIN_EVERY_S:
            self._complained_at_s = now_s
            _log.warning("messages that were too many or of no shape: dropped=%d", self.dropped)
