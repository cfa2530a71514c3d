"""What the reporter sends: the vault's payloads, in order, until the broker has each of them.

And what the reporter says of itself: its questions to itself, the discovery, what stands
at the broker once more when Home Assistant has started. Keeps at most
`arrow.MAX_IN_FLIGHT` payloads that are on their way; what the broker has not acknowledged
when a connection ends is the vault's to hand over again. Reads no clock: times are
arguments, in seconds of a clock that runs while the machine sleeps.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fadeout_broker import arrow, contract, discovery, selfping
from fadeout_broker.errors import ArrowError
from fadeout_broker.gate import Gate, Leaving, UnfitError, own_ack_topic, ping_topic
from fadeout_broker.selfping import SelfPing
from fadeout_broker.standing import Standing
from fadeout_broker.train import Train, aged, in_slot, leaving

if TYPE_CHECKING:
    from collections.abc import Callable

    from fadeout_broker.uplink import Uplink

_log = logging.getLogger(__name__)


_CLEARINGS = 3
"""So often is it tried to clear a discovery of before: a broker may hang up on who may not write there."""


class Chance(NamedTuple):
    """Where randomness comes from."""

    number: Callable[[], float]
    """In [0, 1)."""
    token: Callable[[], str]
    """16 hexadecimal digits."""


class _Sent(NamedTuple):
    message: Leaving
    seqs: tuple[int, ...] = ()
    is_vaults: bool = False
    """Takes a place among those that the vault may have in flight; its vault may be gone."""


class Outgoing:
    """What one configuration's node sends.

    Args:
        configure: as whom, and how.
        uplink: where it goes.
        tell_vault: told what became of each payload.
        chance: random numbers and words.
        ping_wait_s: how long a question to ourselves may take.
    """

    def __init__(
        self,
        configure: arrow.Configure,
        uplink: Uplink,
        tell_vault: Callable[[arrow.FromReporter], None],
        chance: Chance,
        ping_wait_s: float = selfping.WAIT_S,
    ) -> None:
        node, settings = configure.node, configure.settings
        self._node, self._settings = node, settings
        self._uplink = uplink
        self._tell_vault = tell_vault
        self._discovery_topic = discovery.topic_of(node, settings.discovery_prefix)
        self._questions = (ping_topic(node), own_ack_topic(node))
        self._sent: dict[int, _Sent] = {}  # by message id
        self._withdraw_seq: int | None = None
        self._is_withdrawing = False
        self._dropped = 0
        self._incoming_told: arrow.Incoming | None = None
        self._is_discovered = False
        self._clearings_left = 0 if settings.discovery else _CLEARINGS
        self._standing = Standing(chance.number)
        self._train = Train(configure) if settings.mode == "batched" else None
        self.selfping = SelfPing(configure, chance.token, ping_wait_s)
        self.gate = Gate(node, {self._discovery_topic: self._read_discovery})

    @property
    def next_at_s(self) -> float | None:
        """When `tick` has something to do; None: not before something happens."""
        if not self._uplink.state.connected or self._is_withdrawing:
            return None
        due = [self.selfping.next_at_s, self._standing.next_at_s]
        if self._train is not None:
            due.append(self._train.next_at_s)
        return min((at_s for at_s in due if at_s is not None), default=None)

    def came_up(self, now_s: float, *, is_deaf: bool) -> None:
        """Begin: there is a connection."""
        self.selfping.came_up(now_s, is_deaf=is_deaf)
        if self._train is not None:
            self._train.came_up(now_s)

    def went_down(self) -> None:
        """Forget what is on its way: a new connection knows nothing of it."""
        self._sent.clear()
        self._is_withdrawing, self._withdraw_seq = False, None
        self._is_discovered = False
        self._incoming_told = None
        self.selfping.went_down()
        self._standing.went_down()
        if self._train is not None:
            self._train.went_down()

    def lose_vault(self, now_s: float) -> None:
        """Forget whose payloads are on their way: whoever connects next may use their numbers for others."""
        self._sent = {mid: sent._replace(seqs=()) for mid, sent in self._sent.items()}
        if self._train is not None:
            self._train.lose_vault()
        if self._is_withdrawing:
            # Half of it is cleared, and nobody waits for the rest: begin anew, whole.
            self._uplink.give_up("the vault went away while its topics were cleared", now_s)

    def greet_vault(self) -> None:
        """Tell a vault that came anew what the last one was told."""
        if self._incoming_told is not None:
            self._tell_vault(self._incoming_told)

    def tick(self, now_s: float) -> None:
        """Send what is due."""
        if not self._uplink.state.connected or self._is_withdrawing:
            return
        for question in self.selfping.tick(now_s):
            self._say(question, now_s)
        self._judge_incoming(now_s)
        if not self._uplink.state.connected:
            return  # it was given up just now
        said_again = self._standing.tick(now_s)
        if said_again:
            self._discover(now_s)
        for payload in said_again:
            self._say(self._message(arrow.Publish(0, payload)), now_s)
        departure = self._train.tick(now_s) if self._train is not None else None
        if departure is not None:
            for car in departure.cars:
                self._say(car.message, now_s, car.seqs)
            for seq in departure.dead:
                self._tell_vault(arrow.Published(seq))
            for seq in departure.unfit:
                self.drop(seq, "$.payload")

    # ---- the vault's

    def publish(self, publish: arrow.Publish, now_s: float) -> None:
        """Hand one payload to the broker, if there is one, at once or with its train.

        Raises:
            ArrowError: the vault did not wait for acknowledgements.
        """
        if not self._uplink.state.connected or self._is_withdrawing:
            return  # the vault hands it over again
        waiting = self._train.seqs if self._train is not None else []
        window = [sent for sent in self._sent.values() if sent.is_vaults]
        if publish.seq in waiting or any(publish.seq in sent.seqs for sent in window):
            return  # the vault has just handed it over
        if len(waiting) + len(window) >= arrow.MAX_IN_FLIGHT:
            if all(sent.seqs for sent in window):
                raise ArrowError(f"the vault handed over more than {arrow.MAX_IN_FLIGHT} events at once")
            # Events of a vault that is gone fill the window, so the broker has not acknowledged
            # anything since. A new connection drops them, and the vault hands over its own again.
            self._uplink.give_up("the broker does not acknowledge events; its log may say why", now_s)
            return
        alive = aged(publish, 0)
        if alive is None:
            self._tell_vault(arrow.Published(publish.seq))  # its life is over: nothing may leave
            return
        self._standing.keep(publish.payload)
        if self._train is not None:
            self._train.add(alive, now_s)
        else:
            self._publish_now(alive, now_s)
        if isinstance(publish.payload, contract.Info) and not self._is_discovered:
            self._discover(now_s)

    def _publish_now(self, publish: arrow.Publish, now_s: float) -> None:
        try:
            message = leaving(self._node, publish)
        except contract.ContractError:
            self.drop(publish.seq, "$.payload")
        else:
            self._say(message, now_s, (publish.seq,))

    def drop(self, seq: int, where: str) -> None:
        """Count and tell what will never leave."""
        self._dropped += 1
        _log.error("a payload does not fit the contract: seq=%d at=%s dropped=%d", seq, where, self._dropped)
        self._tell_vault(arrow.Dropped(seq, where))

    def recall(self, seqs: tuple[int, ...]) -> None:
        """Take back what waits for its train; what has left is not ours any more."""
        for seq in self._train.recall(seqs) if self._train is not None else []:
            self._tell_vault(arrow.Published(seq))

    def withdraw(self, seq: int, now_s: float) -> None:
        """Clear every retained topic, then leave without a word."""
        if not self._uplink.state.connected:
            return  # the vault asks again
        self._withdraw_seq = seq
        self._is_withdrawing = True
        for topic in (self._discovery_topic, *contract.retained_topics(self._node)):
            self._say(Leaving(topic, b"", is_retained=True), now_s)

    # ---- the broker's

    def acknowledged(self, message_id: int) -> None:
        """Take in that the broker has a message."""
        sent = self._sent.pop(message_id, None)
        if sent is not None and sent.message.topic == self._discovery_topic:
            self._clearings_left = 0
        for seq in () if sent is None else sent.seqs:
            self._tell_vault(arrow.Published(seq))
        self._end_withdrawing()

    def refused(self, message_id: int, detail: str, now_s: float) -> None:
        """Take in that the broker does not take a message."""
        sent = self._sent.pop(message_id, None)
        if sent is None:
            return
        if sent.message.topic in self._questions:
            self.selfping.was_refused(sent.message, now_s)
            self._judge_incoming(now_s)
        elif sent.message.topic == self._discovery_topic:
            self._clearings_left = 0  # where we may not write, nothing of ours is retained
            if self._settings.discovery:
                _log.warning("Home Assistant is not told of this device: %s", detail)
        elif not self._is_withdrawing:  # where we may not write, nothing of ours is retained
            self._uplink.give_up(detail, now_s)
        self._end_withdrawing()

    def _end_withdrawing(self) -> None:
        if self._is_withdrawing and not any(_is_clearing(sent.message) for sent in self._sent.values()):
            self._is_withdrawing = False
            self._uplink.withdraw(self._tell_withdrawn)

    def _tell_withdrawn(self) -> None:
        if self._withdraw_seq is not None:
            self._tell_vault(arrow.Published(self._withdraw_seq))

    def came_back(self, payload: bytes, now_s: float) -> None:
        """Take in that a question to ourselves has come back."""
        self.selfping.came_back(payload, now_s)
        self._judge_incoming(now_s)

    def somebody_was_born(self, now_s: float) -> None:
        """Take in that Home Assistant has started."""
        self._standing.somebody_was_born(now_s)

    # ---- saying it

    def _say(self, message: Leaving, now_s: float, seqs: tuple[int, ...] = ()) -> None:
        try:
            message_id = self._uplink.publish(message, now_s)
        except UnfitError as err:
            for seq in seqs:
                self.drop(seq, str(err))
            if not seqs:
                self._dropped += 1
                _log.error("a message does not fit: at=%s dropped=%d", err, self._dropped)
        else:
            self._sent[message_id] = _Sent(message, seqs, is_vaults=bool(seqs))

    def _message(self, publish: arrow.Publish) -> Leaving:
        """Make a message of a payload that has left before."""
        is_small = publish.payload.padded_bytes < contract.Info.padded_bytes
        return (in_slot if self._train is not None and is_small else leaving)(self._node, publish)

    def _discover(self, now_s: float) -> None:
        info = self._standing.info
        if info is None:
            return
        self._is_discovered = True
        if not self._settings.discovery:
            self._clear_discovery(now_s)
            return
        try:
            topic, payload = discovery.build(self._node, info, self._settings.discovery_prefix)
        except contract.ContractError:
            self._dropped += 1
            _log.error("no discovery can be made of this configuration: dropped=%d", self._dropped)
        else:
            self._say(Leaving(topic, payload, is_retained=True), now_s)

    def _clear_discovery(self, now_s: float) -> None:
        """Have Home Assistant forget a device that it was told of when `discovery` was on."""
        if self._clearings_left > 0:
            self._clearings_left -= 1
            self._say(Leaving(self._discovery_topic, b"", is_retained=True), now_s)

    def _read_discovery(self, data: bytes) -> None:
        found = discovery.decode(data)
        if found.node != self._node or msgspec.json.encode(found) != data:
            raise contract.ContractError("another device's discovery, or not as it is made")

    def _judge_incoming(self, now_s: float) -> None:
        verdict = self.selfping.verdict
        if verdict is None or verdict == self._incoming_told:
            return
        did_work = self._incoming_told is not None and self._incoming_told.works
        self._incoming_told = verdict
        if not verdict.works:
            _log.warning("nothing comes in: %s", verdict.detail)
        self._tell_vault(verdict)
        if did_work:
            self._uplink.give_up("what we sent to ourselves does not come back any more", now_s)


def _is_clearing(message: Leaving) -> bool:
    return message.is_retained and not message.payload
