"""A device that is only played: real payloads of the contract, about nothing that happened."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from fadeout_broker import contract, failures
from fadeout_broker.adapters.mqtt_client import connect, new_client
from fadeout_broker.errors import UnavailableError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from fadeout_broker.arrow import BrokerSettings

_CONNECT_S = 15.0
_PUBLISH_S = 15.0
_LETTERS = "0123456789abcdefghijklmnopqrstuv"


class Acknowledged(NamedTuple):
    """Somebody says that it has forgotten."""

    consumer: str
    era: str
    n: int


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


class PlayedDevice:
    """One device, connected to a broker; its retained payloads are cleared at the end.

    Args:
        settings: the broker; whoever we log in as must be allowed what a device is.
        node: its name in topics; None: a random one.
    """

    def __init__(self, settings: BrokerSettings, node: str | None = None) -> None:
        self.node = node or f"sp-{secrets.token_hex(3)}"
        self.era = _random(8)
        self.n = 0
        self._settings = settings
        self._acks: list[Acknowledged] = []
        self._is_ready = threading.Event()
        self._trouble = ""
        self._client: Client = new_client(settings, "")
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._is_ready.set()
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        try:
            connect(self._client, self._settings)
        except (OSError, UnicodeError) as err:
            raise UnavailableError(failures.of_connecting(err, self._settings)) from err
        self._client.loop_start()
        if not self._is_ready.wait(_CONNECT_S) or self._trouble:
            why = self._trouble or failures.of_no_answer(self._settings)
            self._client.loop_stop()
            raise UnavailableError(why)
        self._publish("availability", b"online", retain=True)
        self.say(
            contract.Info(v=1, sw="0.0.0", mode="prompt", actions=("light.on",), commands=False, result_s=0)
        )
        self.watermark(1)
        self.say(
            contract.DeviceState(
                v=1, listening=False, muted=False, held=0, overdue=0, sweep="ok", swept=0, next_end=None,
                forgetting=True,
            )
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(UnavailableError):  # the broker may be what is gone
            for topic in contract.retained_topics(self.node):
                self._publish(topic.removeprefix(contract.prefix_of(self.node)), b"", retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    # ---- what it says

    def event(self, name: str, ttl: int, **unknown: object) -> None:
        """Say that something happened; again, if it was said before."""
        event = contract.ActionEvent(v=1, id=name, action="light.on", outcome="served", ttl=ttl)
        self.say(event, **unknown)

    def notice(self, ids: tuple[str, ...], **unknown: object) -> None:
        """Erase, and say so to whoever listens."""
        self.n += 1
        self.say(contract.EraseNotice(v=1, era=self.era, n=self.n, ids=ids), **unknown)

    def watermark(self, since: int, ids: tuple[str, ...] = ()) -> None:
        """Retain the watermark."""
        self.say(contract.EraseBefore(v=1, era=self.era, n=self.n, since=since, ids=ids))

    def begin_era(self) -> None:
        """Become another owner's."""
        self.era, self.n = _random(8), 0

    def garble(self) -> None:
        """Say what no subscriber can read, and what a later device may say."""
        self._publish("event/action", b'{"type":"action","v":1,"id":', retain=False)
        self._publish("erase/notice", b"\xff\xfe", retain=False)
        self._publish("event/action", b'{"type":"gesture","v":1,"hand":"left"}', retain=False)
        self._publish("event/mood", b'{"type":"mood","v":1}', retain=False)

    def say(self, payload: contract.Outgoing, **unknown: object) -> None:
        """Publish a payload, as it is in the contract or with fields of a later version."""
        data = contract.encode(payload)
        if unknown:
            data = json.dumps({**json.loads(data), **unknown}).encode()
        self._publish(payload.topic, data, retain=payload.is_retained)

    def new_id(self) -> str:
        """Return an id that was never used."""
        return _random(16)

    # ---- what it hears

    def acknowledged(self, era: str, n: int, consumer: str | None) -> bool:
        """Say whether somebody, or this consumer, has acknowledged this number."""
        return any(
            ack.era == era and ack.n >= n and consumer in (None, ack.consumer) for ack in tuple(self._acks)
        )

    def _publish(self, end: str, data: bytes, *, retain: bool) -> None:
        sent = self._client.publish(contract.prefix_of(self.node) + end, data, 1, retain)
        try:
            sent.wait_for_publish(_PUBLISH_S)
        except (RuntimeError, ValueError) as err:
            raise UnavailableError(f"the connection to {failures.where(self._settings)} was lost") from err
        if not sent.is_published():
            raise UnavailableError(
                f"{failures.where(self._settings)} does not take our messages", "see its log"
            )

    def _on_connect(self, client: Client, _userdata: Any, _flags: Any, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        if reason.is_failure:
            self._trouble = failures.of_refusal(reason.value, self._settings)
            self._is_ready.set()
        else:
            client.subscribe(contract.ack_filter(self.node), qos=1)

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        try:
            ack = contract.decode_ack(bytes(message.payload))
        except contract.ContractError:
            return  # no acknowledgement, and so it counts as none
        self._acks.append(Acknowledged(message.topic.rpartition("/")[2], ack.era, ack.n))
