"""One MQTT 5 connection through paho, from CONNECT to its end; never used twice.

A paho client that reconnects sends again what it still holds, with the expiry it
had an hour ago, and knows no better. So a lost connection is thrown away with
everything in it, and the vault hands over anew what still lives. Callbacks run
in paho's thread and only tell: decisions are `uplink.py`'s.

Sources: MQTT 5.0, sections 3.1 "CONNECT" and 3.14.2.1 "Disconnect Reason Code"; paho issues #223, #634.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import MQTT_LOG_ERR, Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fadeout_broker import arrow, contract, failures
from fadeout_broker.errors import SettingsError
from fadeout_broker.gate import Leaving, UnfitError
from fadeout_broker.uplink import Acknowledged, Arrived, Down, LinkInput, Refused, Up, client_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fadeout_broker.gate import Gate
    from fadeout_broker.incoming import Subscription
    from fadeout_broker.uplink import LastWord

_QOS = 1
_KEEPALIVE_S = 30  # the broker says `offline` for us one and a half times this after the power fails
_CONNECT_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 2.0
_DISCONNECT_WITH_WILL = 0x04
_MAX_IN_FLIGHT = 20
_MAX_QUEUED = 64  # what the vault hands over, and what we say ourselves at a connection: never reached
_MAX_INCOMING_BYTES = 4096  # the broker keeps what is larger: a request has 1024 bytes, and its properties
_PACKET_OVERHEAD_BYTES = 16  # fixed header, two lengths, packet id


class MqttLink:
    """One connection.

    Args:
        settings: where and how.
        node: this device's name in topics.
        gate: what every message passes, last of all.
        subscriptions: what comes in.
        tell: called from other threads with what happens; must not block.
    """

    def __init__(
        self,
        settings: arrow.BrokerSettings,
        node: str,
        gate: Gate,
        subscriptions: Sequence[Subscription],
        tell: Callable[[MqttLink, LinkInput], None],
    ) -> None:
        self._settings = settings
        self._availability = contract.availability_topic(node)
        self._node = node
        self._gate = gate
        self._subscriptions = subscriptions
        self._tell = tell
        self._client: Client | None = None
        self._lock = threading.Lock()  # between the connecting thread and close()
        self._is_closed = False
        self._is_accepted = False
        self._awaited: set[str] = set()  # what the broker has still to answer before we are up
        self._is_deaf = False
        self._online_id: int | None = None
        self._max_packet_bytes: int | None = None
        self._logged = ""

    def open(self) -> None:
        """Start connecting; `Up` or `Down` is told later."""
        # Names are resolved and TLS is spoken in a thread: both can take longer than a SIGTERM may wait.
        threading.Thread(target=self._connect, name="mqtt-connect", daemon=True).start()

    def publish(self, message: Leaving) -> int:
        """Hand one message to the broker and return its id; call it only while the link is up.

        Whether it arrived is told as `Acknowledged`, `Refused` or `Down`, not by this call.

        Raises:
            UnfitError: it does not pass the gate, or the broker takes nothing so large.
        """
        assert self._client is not None  # noqa: S101 - it is up
        info = self._publish(self._client, message)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._tell(self, Down(failures.of_no_acknowledgement(self._settings)))
        return info.mid

    def close(self, last: LastWord) -> None:
        """End the connection; closing twice is harmless.

        Args:
            last: `stopped` is said by us, waiting up to 2 s for the broker; `offline` by the broker.
        """
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
            # Let go of it, or client and link hold each other, with open sockets, until the next collection.
            client, self._client = self._client, None
        if client is None or not is_first:
            return
        if last == "stopped" and client.is_connected():
            stopped = self._publish(client, Leaving(self._availability, b"stopped", is_retained=True))
            try:
                stopped.wait_for_publish(_STOP_TIMEOUT_S)
            except (RuntimeError, ValueError):
                # The connection was lost at this moment: the broker sends the will.
                last = "offline"
        reason = _DISCONNECT_WITH_WILL if last == "offline" else 0
        client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=reason))
        client.loop_stop()

    def _connect(self) -> None:
        try:
            client = new_client(self._settings, client_id(self._node))
            client.max_inflight_messages_set(_MAX_IN_FLIGHT)
            client.max_queued_messages_set(_MAX_QUEUED)
            will = Leaving(self._availability, b"offline", is_retained=True)
            self._gate.check(will)
            client.will_set(will.topic, will.payload, qos=_QOS, retain=will.is_retained)
            client.on_connect = self._on_connect
            client.on_disconnect = self._on_disconnect
            client.on_publish = self._on_publish
            client.on_subscribe = self._on_subscribe
            client.on_message = self._on_message
            client.on_log = self._on_log
            with self._lock:
                self._client = None if self._is_closed else client
            connect(client, self._settings, _MAX_INCOMING_BYTES)
        except Exception as err:  # noqa: BLE001 - whatever it is, it becomes words for the operator
            self._tell(self, Down(failures.of_connecting(err, self._settings)))
            return
        with self._lock:
            if self._is_closed:
                client.disconnect()
            else:
                client.loop_start()

    def _on_connect(
        self,
        client: Client,
        _userdata: object,
        _flags: object,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._tell(self, Down(failures.of_refusal(reason.value, self._settings)))
            return
        self._is_accepted = True
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        # paho does not heed it, and takes no other number on an open connection; nothing is in flight yet.
        client._max_inflight_messages = min(  # noqa: SLF001 - said above
            _MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", _MAX_IN_FLIGHT)
        )
        self._awaited = {"online"}
        if self._subscriptions:
            self._awaited.add("subscribed")
            client.subscribe([(each.topic_filter, _options(each)) for each in self._subscriptions])
        online = Leaving(self._availability, b"online", is_retained=True)
        self._online_id = self._publish(client, online).mid

    def _on_subscribe(
        self, _client: Client, _userdata: object, _mid: int, reasons: list[ReasonCode], _: object
    ) -> None:
        answered = zip(self._subscriptions, reasons, strict=False)
        self._is_deaf = any(reason.is_failure for each, reason in answered if each.is_needed)
        self._answered("subscribed")

    def _on_publish(self, _client: Client, _userdata: Any, mid: int, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        if reason.is_failure:
            ours = f"{contract.TOPIC_ROOT}/{self._node}/#"
            detail = failures.of_refused_publish(reason.value, ours)
            self._tell(self, Down(detail) if mid == self._online_id else Refused(mid, detail))
        elif mid == self._online_id:
            self._answered("online")
        else:
            self._tell(self, Acknowledged(mid))

    def _answered(self, what: str) -> None:
        if what in self._awaited:
            self._awaited.remove(what)
            if not self._awaited:
                self._tell(self, Up(self._is_deaf))

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's signature
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # a broker must not deliver it
        payload = bytes(message.payload[: contract.MAX_REQUEST_BYTES + 1])
        reply_to = getattr(message.properties, "ResponseTopic", None)
        correlation = getattr(message.properties, "CorrelationData", None)
        self._tell(self, Arrived(topic, payload, bool(message.retain), reply_to, correlation))

    def _on_disconnect(self, _client: Client, _userdata: Any, flags: Any, reason: ReasonCode, _: Any) -> None:  # noqa: ANN401 - paho's signature
        from_broker = flags.is_disconnect_packet_from_server
        detail = failures.of_lost_connection(
            reason.value, self._logged, self._settings, from_broker=from_broker, accepted=self._is_accepted
        )
        self._tell(self, Down(detail, is_unexplained=self._is_accepted and not from_broker))

    def _on_log(self, _client: Client, _userdata: Any, level: int, text: str) -> None:  # noqa: ANN401 - paho's signature
        # A TLS 1.3 alert comes after the handshake; paho says it here and nowhere else.
        if level == MQTT_LOG_ERR:
            self._logged = text

    def _publish(self, client: Client, message: Leaving) -> MQTTMessageInfo:
        self._gate.check(message)
        largest = self._max_packet_bytes
        if largest is not None and message.slot_bytes + _PACKET_OVERHEAD_BYTES > largest:
            # The broker would end the connection, and again after every new one.
            raise UnfitError("the broker's maximum packet size")
        properties = _properties(PacketTypes.PUBLISH)
        if message.expiry_s is not None:
            properties.MessageExpiryInterval = message.expiry_s
        if message.correlation is not None:
            properties.CorrelationData = message.correlation
        return client.publish(message.topic, message.payload, _QOS, message.is_retained, properties)


def _options(subscription: Subscription) -> SubscribeOptions:
    return SubscribeOptions(
        qos=0, noLocal=subscription.no_local, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
    )


def new_client(settings: arrow.BrokerSettings, mqtt_client_id: str) -> Client:
    """Make a paho client that is not connected yet and will not reconnect by itself.

    Raises:
        SettingsError: a file that the settings name cannot be used.
    """
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=mqtt_client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = _CONNECT_TIMEOUT_S
    if settings.username is not None:
        client.username_pw_set(settings.username, _password(settings.password_file))
    elif settings.password_file is not None:
        raise SettingsError("password_file without a username", "set [mqtt] username")
    if settings.tls:
        client.tls_set_context(tls_context(settings))
    return client


def connect(client: Client, settings: arrow.BrokerSettings, max_incoming_bytes: int | None = None) -> None:
    """Connect and send CONNECT: clean start, no session, no topic aliases.

    Aliases made by the broker reach us as empty topics, so TopicAliasMaximum is left at 0. A session
    would keep what is to be forgotten.

    Raises:
        OSError: name, network or TLS; `failures.of_connecting` has the words.
    """
    session = _properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 0
    if max_incoming_bytes is not None:
        session.MaximumPacketSize = max_incoming_bytes
    client.connect(settings.host, settings.port, _KEEPALIVE_S, clean_start=True, properties=session)


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # because paho leaves this one untyped


def _password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as err:
        raise _unusable("password_file", path, err) from err


def tls_context(settings: arrow.BrokerSettings) -> ssl.SSLContext:
    """Return what TLS is spoken with: the broker's certificate is always checked.

    Raises:
        SettingsError: a file that the settings name cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as err:
        raise _unusable("ca_file", settings.ca_file, err) from err
    if settings.cert_file is not None:
        try:
            # Without a password OpenSSL would ask for one on the terminal and wait.
            context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_passphrase)
        except (OSError, ssl.SSLError) as err:
            raise _unusable("cert_file or key_file", settings.cert_file, err) from err
    return context


def _no_passphrase() -> str:
    raise SettingsError("key_file is protected by a passphrase", "use a key without one, readable only by us")


def _unusable(key: str, path: str | None, err: Exception) -> SettingsError:
    match err:
        case ssl.SSLError():  # before OSError, of which it is one
            why = "no usable PEM file"
        case OSError(strerror=str(text)):
            why = text.lower()
        case _:
            why = "no UTF-8 text"
    return SettingsError(f"{path}: {why}", f"check [mqtt] {key}")
