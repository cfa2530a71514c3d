"""One MQTT connection that is asked questions and waits for each answer, for `check` and for tests."""

from __future__ import annotations

import queue
import socket
import ssl
import time
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from paho.mqtt.client import MQTT_LOG_ERR, Client, MQTTMessage

from fadeout_broker import failures
from fadeout_broker.adapters.mqtt_client import connect, new_client, tls_context

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from fadeout_broker.arrow import BrokerSettings

_QOS = 1
_FAILURE = 0x80  # MQTT 5.0, section 2.4: this and above


class ProbeError(Exception):
    """The connection could not be made, or was lost: in words for the operator."""


class Message(NamedTuple):
    """One message that was heard."""

    topic: str
    payload: bytes
    retain: bool


class Probe:
    """A connection with which one thing is done at a time.

    Args:
        settings: where and how.
        client_id: at the broker.
        patience_s: how long to wait for each answer.
    """

    def __init__(self, settings: BrokerSettings, client_id: str, patience_s: float) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._client = new_client(settings, client_id)
        self._answers: queue.Queue[int | ProbeError] = queue.Queue()
        self.heard: queue.Queue[Message] = queue.Queue()
        self._logged = ""
        self._is_accepted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect.

        Raises:
            ProbeError: why the broker cannot be reached or does not let us in.
            SettingsError: a file that the settings name cannot be used.
        """
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect
        self._client.on_log = self._on_log
        try:
            connect(self._client, self._settings)
        except (OSError, UnicodeError) as err:
            raise ProbeError(failures.of_connecting(err, self._settings)) from err
        self._client.loop_start()
        try:
            self._answer()
        except ProbeError:
            self.close()
            raise

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Publish, and return whether the broker took it; raises ProbeError."""
        self._client.publish(topic, payload, _QOS, retain)
        return self._answer() < _FAILURE

    def subscribe(self, topic_filter: str) -> bool:
        """Subscribe, and return whether the broker says it did. It says so too where nothing will come."""
        self._client.subscribe(topic_filter, _QOS)
        return self._answer() < _FAILURE

    def unsubscribe(self, topic_filter: str) -> None:
        """Take a subscription back."""
        self._client.unsubscribe(topic_filter)

    def hear(self, topic: str, payload: bytes) -> tuple[bool, list[Message]]:
        """Wait for a message, and return whether it came and what came before it."""
        deadline_s = time.monotonic() + self._patience_s
        before: list[Message] = []
        while True:
            try:
                message = self.heard.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                return False, before
            if (message.topic, message.payload) == (topic, payload):
                return True, before
            before.append(message)

    def lost_within(self, seconds: float) -> str | None:
        """Wait whether the connection is lost, and return why; None: it is not."""
        try:
            told = self._answers.get(timeout=seconds)
        except queue.Empty:
            return None
        return str(told)

    def peer_certificate_der(self) -> bytes | None:
        """Return the broker's certificate; None: the connection is not encrypted."""
        sock = self._client.socket()
        return sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None

    def tls_version(self) -> str | None:
        """Return the version of TLS that is spoken."""
        sock = self._client.socket()
        return sock.version() if isinstance(sock, ssl.SSLSocket) else None

    def close(self) -> None:
        """End the connection; closing twice is harmless."""
        self._client.disconnect()
        self._client.loop_stop()

    def _answer(self) -> int:
        try:
            answer = self._answers.get(timeout=self._patience_s)
        except queue.Empty:
            raise ProbeError(failures.of_no_answer(self._settings)) from None
        if isinstance(answer, ProbeError):
            self._answers.put(answer)  # whatever is asked next has the same answer
            raise answer
        return answer

    def _on_connect(self, _client: Client, _userdata: Any, _flags: Any, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        if reason.is_failure:
            self._answers.put(ProbeError(failures.of_refusal(reason.value, self._settings)))
            return
        self._is_accepted = True
        self._answers.put(reason.value)

    def _on_publish(self, _client: Client, _userdata: Any, _mid: int, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        self._answers.put(reason.value)

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: Any,  # noqa: ANN401 - paho's signature
        _mid: int,
        reasons: list[ReasonCode],
        _: Any,  # noqa: ANN401 - paho's signature
    ) -> None:
        self._answers.put(reasons[0].value)

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        self.heard.put(Message(message.topic, bytes(message.payload), message.retain))

    def _on_disconnect(self, _client: Client, _userdata: Any, flags: Any, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        words = failures.of_lost_connection(
            reason.value,
            self._logged,
            self._settings,
            from_broker=flags.is_disconnect_packet_from_server,
            accepted=self._is_accepted,
        )
        self._answers.put(ProbeError(words))

    def _on_log(self, _client: Client, _userdata: Any, level: int, text: str) -> None:  # noqa: ANN401 - paho's signature
        if level == MQTT_LOG_ERR:
            self._logged = text


def refuses_old_tls(settings: BrokerSettings, patience_s: float) -> bool:
    """Say whether the broker refuses to speak anything older than TLS 1.3 with us."""
    context = tls_context(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what this is about
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        with socket.create_connection((settings.host, settings.port), timeout=patience_s) as plain:
            context.wrap_socket(plain, server_hostname=settings.host).close()
    except OSError:  # an alert, or the connection is closed
        return True
    return False
