"""Tries, on any broker, what fadeout and its subscribers ask of one: plain MQTT 5, nothing else.

Writes below `fadeout/try-.../` and clears what it retained there. On a broker in use
the ACL must let this user read and write there, and `$share/#` for the shared
subscription. docs/fleet.md says what each line is needed for. See `scripts/try_broker`.
"""

from __future__ import annotations

import argparse
import json
import queue
import secrets
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from rich.console import Console
from rich.table import Table

from fadeout_broker import arrow, contract, failures
from fadeout_broker.adapters.mqtt_client import new_client
from fadeout_broker.errors import FadeoutBrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paho.mqtt.client import MQTTMessage

WAIT_S = 5.0
_WIDTH = 140
NOTHING_S = 1.5
"""How long nothing must come to be sure that nothing comes."""


class Found(NamedTuple):
    """What came of one try."""

    what: str
    needed: bool
    """Without it fadeout does not work; else something of its surroundings does not."""
    works: bool
    detail: str


class Mismatch(Exception):  # noqa: N818 - it is no error of ours
    """The broker did not do what was asked; the text says how."""


class Peer:
    """One MQTT 5 connection, and what it hears."""

    def __init__(self, settings: arrow.BrokerSettings, client_id: str, *, will: str = "", keep_s: int = 0,
                 clean: bool = True) -> None:  # fmt: skip
        self._told: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.heard: queue.Queue[MQTTMessage] = queue.Queue()
        self.client = new_client(settings, client_id)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self._told.put(("connect", reason))
        self.client.on_subscribe = lambda _c, _u, _m, reasons, _p: self._told.put(("subscribe", reasons[0]))
        self.client.on_publish = lambda _c, _u, _m, reason, _p: self._told.put(("publish", reason))
        self.client.on_message = lambda _c, _u, message: self.heard.put(message)
        if will:
            self.client.will_set(will, b"offline", 1, retain=True)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # because paho leaves this one untyped
        session.SessionExpiryInterval = keep_s
        self.client.connect(settings.host, settings.port, 30, clean_start=clean, properties=session)
        self.client.loop_start()
        with ExitStack() as stack:
            stack.callback(self.client.loop_stop)
            reason = self._wait("connect")
            if reason.is_failure:
                raise Mismatch(failures.of_refusal(reason.value, settings))
            stack.pop_all()

    def _wait(self, what: str) -> ReasonCode:
        deadline_s = time.monotonic() + WAIT_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                told, reason = self._told.get(timeout=left_s)
            except queue.Empty:
                break
            if told == what:
                return reason  # type: ignore[no-any-return]  # by the callbacks above
        raise Mismatch(f"no answer to {what}")

    def subscribe(self, topic_filter: str) -> None:
        """Subscribe, and wait until that is granted."""
        self.client.subscribe(topic_filter, 1)
        reason = self._wait("subscribe")
        if reason.is_failure:
            raise Mismatch(f"the subscription was refused: {reason}")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, **more: object) -> None:
        """Publish with these properties, and wait for the acknowledgement."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # because paho leaves this one untyped
        for name, value in more.items():
            setattr(properties, name, value)
        self.client.publish(topic, payload, 1, retain, properties)
        reason = self._wait("publish")
        if reason.is_failure:
            raise Mismatch(f"publishing was refused: {reason}")

    def hear(self, payload: bytes) -> MQTTMessage:
        """Return the next message, which must have this payload."""
        try:
            message = self.heard.get(timeout=WAIT_S)
        except queue.Empty:
            raise Mismatch(f"not delivered: {payload[:20].decode()}") from None
        if bytes(message.payload) != payload:
            raise Mismatch(f"{bytes(message.payload)[:20]!r} came in the place of {payload[:20]!r}")
        return message

    def hear_nothing(self, why: str) -> None:
        """Make sure that nothing comes."""
        try:
            self.heard.get(timeout=NOTHING_S)
        except queue.Empty:
            return
        raise Mismatch(why)

    def close(self, *, with_will: bool = False) -> None:
        """End the connection."""
        self.client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=4 if with_will else 0))
        self.client.loop_stop()


class Try:
    """The tries; each on topics of its own."""

    def __init__(self, settings: arrow.BrokerSettings) -> None:
        self._settings = settings
        self._name = f"try-{secrets.token_hex(4)}"
        self._retained: list[str] = []

    @contextmanager
    def _peer(self, suffix: str = "", *topic_filters: str, **how: Any) -> Iterator[Peer]:  # noqa: ANN401 - passed on
        peer = Peer(self._settings, f"{self._name}-{suffix or secrets.token_hex(3)}", **how)
        try:
            for topic_filter in topic_filters:
                peer.subscribe(topic_filter)
            yield peer
        finally:
            peer.close()

    def _topic(self, level: str) -> str:
        return contract.prefix_of(self._name) + level

    def mqtt5(self) -> None:
        """MQTT 5 is spoken."""
        with self._peer():
            pass

    def order(self) -> None:
        """QoS 1 arrives, in order."""
        with self._peer("a", self._topic("order")) as house, self._peer() as device:
            for number in range(16):
                device.publish(self._topic("order"), b"%02d" % number)
            for number in range(16):
                house.hear(b"%02d" % number)

    def size(self) -> None:
        """The largest payload passes."""
        payload = b"x" * max(kind.padded_bytes for kind in contract.OUTGOING)
        with self._peer("a", self._topic("size")) as house, self._peer() as device:
            device.publish(self._topic("size"), payload)
            house.hear(payload)

    def expiry(self) -> None:
        """Message expiry is passed on, as what is left."""
        with self._peer("a", self._topic("expiry")) as house, self._peer() as device:
            device.publish(self._topic("expiry"), b"mortal", MessageExpiryInterval=600)
            left_s = getattr(house.hear(b"mortal").properties, "MessageExpiryInterval", None)
            if left_s is None or not 590 <= left_s <= 600:  # noqa: PLR2004 - of 600
                raise Mismatch(f"of 600 s are left: {left_s}")

    def properties(self) -> None:
        """Response topic and correlation data are passed on."""
        with self._peer("a", self._topic("cmd/+")) as device, self._peer() as house:
            house.publish(
                self._topic("cmd/ping"),
                b"{}",
                ResponseTopic=self._topic("reply"),
                CorrelationData=b"\x00\xff",
            )
            told = device.hear(b"{}").properties
            if getattr(told, "ResponseTopic", "") != self._topic("reply"):
                raise Mismatch("the response topic is gone or another")
            if getattr(told, "CorrelationData", b"") != b"\x00\xff":
                raise Mismatch("the correlation data are gone or others")

    def retain(self) -> None:
        """Retained messages reach whoever subscribes by the topic's name."""
        self._retain("retain-name", self._topic("retain-name"))

    def retain_wildcard(self) -> None:
        """Retained messages reach whoever subscribes with a wildcard."""
        self._retain("wild/retain", self._topic("wild/+"))

    def _retain(self, level: str, topic_filter: str) -> None:
        topic = self._topic(level)
        self._retained.append(topic)
        with self._peer() as device:
            device.publish(topic, b"kept", retain=True)
            with self._peer("", topic_filter) as house:
                if not house.hear(b"kept").retain:
                    raise Mismatch("the retain flag is missing")
            device.publish(topic, b"", retain=True)

    def clear(self) -> None:
        """Retained messages can be cleared."""
        topic = self._topic("clear")
        self._retained.append(topic)
        with self._peer() as device:
            device.publish(topic, b"kept", retain=True)
            device.publish(topic, b"", retain=True)
        with self._peer("", topic) as house:
            house.hear_nothing("it is still there")

    def will(self) -> None:
        """A will is published, and retained, when a connection ends without a word."""
        topic = self._topic("availability")
        self._retained.append(topic)
        with self._peer("a", topic) as house:
            Peer(self._settings, f"{self._name}-will", will=topic).close(with_will=True)
            house.hear(b"offline")
        with self._peer("", topic) as latecomer:
            latecomer.hear(b"offline")

    def takeover(self) -> None:
        """A second connection with the same client id gets in, and the first one's will comes before."""
        topic = self._topic("takeover")
        self._retained.append(topic)
        with self._peer("a", topic) as house:
            first = Peer(self._settings, f"{self._name}-twin", will=topic)
            first.client.on_disconnect = lambda client, *_: client.loop_stop()
            second = Peer(self._settings, f"{self._name}-twin", will=topic)
            second.publish(topic, b"online", retain=True)
            try:
                house.hear(b"offline")
                house.hear(b"online")
            finally:
                first.client.loop_stop()
                second.close()

    def session(self) -> None:
        """A session keeps what comes while its client is away."""
        with self._session("wait") as (device, back):
            device.publish(self._topic("wait"), b"waited", MessageExpiryInterval=600)
            back().hear(b"waited")

    def dead(self) -> None:
        """What expires while it waits in a session is not delivered."""
        with self._session("dead") as (device, back):
            device.publish(self._topic("dead"), b"expired", MessageExpiryInterval=1)
            time.sleep(2.5)
            device.publish(self._topic("dead"), b"alive", MessageExpiryInterval=600)
            back().hear(b"alive")

    @contextmanager
    def _session(self, level: str) -> Iterator[tuple[Peer, Callable[[], Peer]]]:
        with ExitStack() as stack, self._peer() as device:
            with self._peer(level, self._topic(level), keep_s=60):
                pass
            yield device, lambda: stack.enter_context(self._peer(level, clean=False))

    def shared(self) -> None:
        """A shared subscription gives each message to one of its consumers."""
        topic_filter = f"$share/{self._name}/{self._topic('shared')}"
        with self._peer("", topic_filter) as one, self._peer("", topic_filter) as two, self._peer() as device:
            for number in range(20):
                device.publish(self._topic("shared"), b"%02d" % number)
            time.sleep(NOTHING_S)
            counts = one.heard.qsize(), two.heard.qsize()
            if sum(counts) != 20 or 0 in counts:  # noqa: PLR2004 - of 20
                raise Mismatch(f"of 20 came {counts[0]} and {counts[1]}")

    def clean_up(self) -> None:
        """Clear what may still be retained."""
        for topic in self._retained:
            # A broker that retains nothing has nothing to clear.
            with suppress(Mismatch), self._peer() as device:
                device.publish(topic, b"", retain=True)


NEEDED = ("mqtt5", "order", "size", "expiry", "properties", "retain", "clear", "will", "takeover")
WISHED = ("retain_wildcard", "session", "dead", "shared")


def tries(settings: arrow.BrokerSettings) -> Iterator[Found]:
    """Try everything, unless MQTT 5 is not spoken at all."""
    ours = Try(settings)
    for name in (*NEEDED, *WISHED):
        method = getattr(ours, name)
        what = method.__doc__.rstrip(".")
        try:
            method()
        except Mismatch as err:
            yield Found(what, name in NEEDED, works=False, detail=str(err))
        except (OSError, FadeoutBrokerError) as err:
            yield Found(what, name in NEEDED, works=False, detail=failures.of_connecting(err, settings))
            return
        else:
            yield Found(what, name in NEEDED, works=True, detail="")
            continue
        if name == "mqtt5":
            return
    ours.clean_up()


def main() -> int:
    """Try a broker; exit code 0: all that is needed works."""
    parser = argparse.ArgumentParser(
        prog="scripts/try_broker", description="Try what fadeout asks of a broker."
    )
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    for option in ("username", "password-file", "ca-file", "cert-file", "key-file"):
        parser.add_argument(f"--{option}")
    parser.add_argument("--json", action="store_true", help="print one JSON object per try")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    given = {key: value for key, value in arguments.items() if value is not None}
    settings = arrow.BrokerSettings(**given, tls="ca_file" in given)
    table = Table(box=None, header_style="bold")
    for column in ("what", "needed", "works", ""):
        table.add_column(column, no_wrap=True)
    code = 0
    for found in tries(settings):
        code |= found.needed and not found.works
        if as_json:
            print(json.dumps(found._asdict()), flush=True)
        table.add_row(found.what, "yes" if found.needed else "", "yes" if found.works else "NO", found.detail)
    if not as_json:
        Console(highlight=False, soft_wrap=True, width=_WIDTH).print(table)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
