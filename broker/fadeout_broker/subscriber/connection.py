"""A subscriber's connection to the broker: one after the other, for as long as it is wanted.

A message is acknowledged to the broker only after it was taken in. Every connection is a
paho client of its own, with backoff in between; what was missed meanwhile, the retained
watermark tells. Decides nothing about what is heard.

Sources: MQTT 5.0, sections 3.1 "CONNECT" and 4.4 "Message delivery retry".
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
from paho.mqtt.client import MQTT_LOG_ERR, Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fadeout_broker import failures
from fadeout_broker.errors import FadeoutBrokerError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from fadeout_broker.backoff import Backoff

_log = logging.getLogger("fadeout_broker.subscriber")

_QOS = 1
_KEEPALIVE_S = 30
_CONNECT_TIMEOUT_S = 10.0
_STEADY_S = 60.0
"""A connection that lasted so long has worked: the next failure starts the backoff anew."""
_JOIN_S = 2.0


class Broker(msgspec.Struct, frozen=True):
    """Where the broker is and how to log in."""

    host: str = "localhost"
    port: int | None = None
    """None: 1883, with TLS 8883."""
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ca_file: str | None = None
    """None: the CAs of this system."""
    cert_file: str | None = None
    key_file: str | None = None

    def __repr__(self) -> str:
        return f"Broker({self.host!r}, {self.port!r})"  # no password in a traceback


class _Endpoint(msgspec.Struct, frozen=True):
    """The same, as `failures` reads it."""

    host: str
    port: int
    username: str | None
    tls: bool
    cert_file: str | None


class Connection:
    """Keeps one connection up, in a thread of its own.

    Args:
        broker: where.
        client_id: empty: the broker chooses, which only a connection without a session may leave to it.
        keep_session_s: how long the broker queues for us while we are away; 0: not at all.
        filters: what to subscribe to.
        hear: called in our thread with topic name, payload and expiry of each message; if it raises, the
            message is not acknowledged and the connection ends.
        changed: called in our thread when `trouble` or `is_up` changed.
        died: called in our thread when it ends by an exception that nobody expected.
        backoff: how long to wait between connections.

    Raises:
        SettingsError: a file cannot be used.
    """

    def __init__(  # noqa: PLR0913 - what a connection is made of
        self,
        broker: Broker,
        *,
        client_id: str,
        keep_session_s: int,
        filters: Sequence[str],
        hear: Callable[[str, bytes, int | None], None],
        changed: Callable[[], None],
        died: Callable[[Exception], None],
        backoff: Backoff,
    ) -> None:
        port = broker.port or (8883 if broker.tls else 1883)  # secure-mqtt and mqtt, in IANA's registry
        self._endpoint = _Endpoint(broker.host, port, broker.username, broker.tls, broker.cert_file)
        self._broker = broker
        self._client_id = client_id
        self._keep_session_s = keep_session_s
        self._filters = filters
        self._hear = hear
        self._changed = changed
        self._died = died
        self._backoff = backoff
        self._tls = tls_context(broker) if broker.tls else None
        self._client: Client | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run_until_stopped, name="fadeout-subscriber-mqtt", daemon=True
        )
        self._logged = ""
        self._ending = ""
        self.is_up = False
        self.trouble: str | None = "connecting"

    def start(self) -> None:
        """Start connecting."""
        self._thread.start()

    def stop(self) -> None:
        """End the connection and make no other one."""
        self._stopping.set()
        client = self._client
        if client is not None:
            client.disconnect()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            # A name service that does not answer can hold it up for longer; it dies with the process.
            self._thread.join(_JOIN_S)

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand one message to the broker; without a connection it is dropped."""
        client = self._client
        if client is not None and self.is_up:
            client.publish(topic, payload, _QOS)

    def _run_until_stopped(self) -> None:
        try:
            self._run()
        except Exception as err:
            self.is_up, self.trouble = False, f"its thread has died: {type(err).__name__}"
            self._died(err)
            raise

    def _run(self) -> None:
        while not self._stopping.is_set():
            began_s = time.monotonic()
            self._logged = self._ending = ""
            try:
                self._once()
            except FadeoutBrokerError as err:
                self._ending = str(err)
            except (OSError, ValueError) as err:  # ValueError: a host that no name service can take
                self._ending = failures.of_connecting(err, self._endpoint)
            finally:
                self._client = None
            if time.monotonic() - began_s >= _STEADY_S:
                self._backoff.reset()
            self._say(is_up=False, trouble=self._ending or "disconnected")
            self._stopping.wait(self._backoff.next_s())

    def _once(self) -> None:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_log = self._on_log
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # because paho leaves this one untyped
        session.SessionExpiryInterval = self._keep_session_s
        client.connect(
            self._endpoint.host,
            self._endpoint.port,
            _KEEPALIVE_S,
            clean_start=not self._keep_session_s,
            properties=session,
        )
        self._client = client
        if not self._stopping.is_set():
            client.loop_forever()

    def _on_connect(self, client: Client, _userdata: Any, _flags: Any, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        if reason.is_failure:
            self._end(client, failures.of_refusal(reason.value, self._endpoint))
        else:
            # Up before the subscription is granted: the retained watermark, and with it an acknowledgement,
            # may come first.
            self.is_up = True
            client.subscribe([(topic_filter, _QOS) for topic_filter in self._filters])

    def _on_subscribe(
        self,
        client: Client,
        _userdata: Any,  # noqa: ANN401 - paho's signature
        _mid: int,
        reasons: list[ReasonCode],
        _: Any,  # noqa: ANN401 - paho's signature
    ) -> None:
        refused = [wanted for wanted, reason in zip(self._filters, reasons, strict=True) if reason.is_failure]
        if refused:
            self._end(client, f"not authorised to read {refused[0]}; allow it in the broker's ACL")
        else:
            self._say(is_up=True, trouble=None)

    def _on_message(self, client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        if self._ending:
            return  # one could not be taken in: what follows it must not be acknowledged either
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # not one of ours
        try:
            self._hear(
                topic, bytes(message.payload), getattr(message.properties, "MessageExpiryInterval", None)
            )
        except FadeoutBrokerError as err:
            self._end(client, str(err))
            return
        client.ack(message.mid, message.qos)

    def _on_disconnect(self, _client: Client, _userdata: Any, flags: Any, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        self._ending = self._ending or failures.of_lost_connection(
            reason.value,
            self._logged,
            self._endpoint,
            from_broker=flags.is_disconnect_packet_from_server,
            accepted=self.is_up,
        )

    def _on_log(self, _client: Client, _userdata: Any, level: int, text: str) -> None:  # noqa: ANN401 - paho's signature
        if level == MQTT_LOG_ERR:
            self._logged = text

    def _end(self, client: Client, why: str) -> None:
        self._ending = why
        client.disconnect()

    def _say(self, *, is_up: bool, trouble: str | None) -> None:
        trouble = None if trouble is None else failures.as_names(trouble)
        is_news = (is_up, trouble) != (self.is_up, self.trouble)
        self.is_up, self.trouble = is_up, trouble
        if is_news and trouble is not None and not self._stopping.is_set():
            _log.warning("not connected: %s", trouble)
        self._changed()


def tls_context(broker: Broker) -> ssl.SSLContext:
    """Make the TLS settings.

    Raises:
        SettingsError: a file cannot be used; names it.
    """
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
    except OSError as err:  # ssl.SSLError is one
        raise SettingsError(f"{broker.ca_file}: no usable PEM file", "check ca_file") from err
    if broker.cert_file is not None:
        try:
            # Without a password OpenSSL would ask for one on the terminal and wait.
            context.load_cert_chain(broker.cert_file, broker.key_file, password=_no_passphrase)
        except OSError as err:
            raise SettingsError(
                f"{broker.cert_file}: no usable PEM file", "check cert_file and key_file"
            ) from err
    return context


def _no_passphrase() -> str:
    raise SettingsError("key_file is protected by a passphrase", "use a key without one, readable only by us")
