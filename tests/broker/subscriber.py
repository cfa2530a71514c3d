"""A subscriber that queues what it hears, with the MQTT properties: what the house learns."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties

    from fadeout_broker.arrow import BrokerSettings
    from fadeout_broker.local import LocalBroker

WAIT_S = 30.0


class Message(NamedTuple):
    topic: str
    payload: bytes
    retain: bool
    expiry_s: int | None
    correlation: bytes | None


class Subscriber:
    """Listens to everything on a broker; comes back by itself when the broker does."""

    def __init__(self, broker: LocalBroker | BrokerSettings) -> None:
        self.heard: queue.Queue[Message] = queue.Queue()
        self._ready: queue.Queue[None] = queue.Queue()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.put(None)
        self._client.on_message = self._on_message
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self.wait_until_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_until_ready(self) -> None:
        """Wait for the next subscription to be granted."""
        self._ready.get(timeout=WAIT_S)

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        expiry_s = getattr(message.properties, "MessageExpiryInterval", None)
        correlation = getattr(message.properties, "CorrelationData", None)
        self.heard.put(
            Message(message.topic, bytes(message.payload), bool(message.retain), expiry_s, correlation)
        )

    def publish(
        self, topic: str, payload: bytes, properties: Properties | None = None, *, retain: bool = False
    ) -> None:
        """Publish something, and go on at once."""
        self._client.publish(topic, payload, 1, retain, properties)

    def expect(self, topic: str) -> Message:
        """Return the next message on a topic; others in between are dropped."""
        while True:
            message = self.heard.get(timeout=WAIT_S)
            if message.topic == topic:
                return message

    def rest(self) -> list[Message]:
        """Return what was heard and not asked for yet."""
        heard = []
        while not self.heard.empty():
            heard.append(self.heard.get())
        return heard
