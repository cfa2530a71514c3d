"""A speaker for Home Assistant to find: the contract's own payloads, and ears for what comes back."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from fadeout_broker import contract, discovery

if TYPE_CHECKING:
    from fadeout_broker.local import LocalBroker

PREFIX = "homeassistant"
_ASK_S = 30.0


class Speaker:
    """What a device publishes, by hand."""

    def __init__(self, broker: LocalBroker, node: str) -> None:
        self.node = node
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._on_message
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        for topic in (contract.command_filter(node), discovery.birth_topic(PREFIX), "try/#"):
            self._client.subscribe(topic, qos=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def discover(self, info: contract.Info) -> int:
        """Let itself be found; return the size of the payload."""
        topic, payload = discovery.build(self.node, info, PREFIX)
        self._publish(topic, payload, retain=True)
        return len(payload)

    def withdraw(self) -> None:
        """Have itself removed: clear all it has retained, first of all its discovery."""
        for topic in (discovery.topic_of(self.node, PREFIX), *contract.retained_topics(self.node)):
            self._publish(topic, b"", retain=True)

    def say(self, word: contract.Availability) -> None:
        """Say that it is there, or not."""
        self._publish(contract.availability_topic(self.node), word.encode(), retain=True)

    def report(self, payload: contract.Outgoing) -> None:
        """Publish a payload of the contract."""
        topic = contract.topic_of(self.node, payload)
        self._publish(topic, contract.encode(payload), retain=payload.is_retained)

    def command(self) -> contract.Request:
        """Return the next command that comes in."""
        topic, payload = self.hear(contract.prefix_of(self.node) + "cmd/")
        return contract.decode_request(topic.rsplit("/", 1)[1], payload)

    def hear(self, begins: str) -> tuple[str, bytes]:
        """Return the next message whose topic begins so; others in between are dropped."""
        while True:
            topic, payload = self.heard.get(timeout=_ASK_S)
            if topic.startswith(begins):
                return topic, payload

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(_ASK_S)

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        self.heard.put((message.topic, bytes(message.payload)))
