"""What paho, ssl and the broker say when MQTT does not work, in words an operator can act on.

Every function returns one line: what happened, then the next step. The next step names
the device's file, `[mqtt] username`; `as_options` and `as_names` say the same to somebody
who has no such file. Knows no connection and keeps no state; never sees a password or a payload.

Sources: MQTT 5.0, section 2.4 "Reason Code"; RFC 8446, section 6 "Alert Protocol"; OpenSSL,
X509_verify_cert_error_string(3).
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Protocol

from fadeout_broker.errors import SettingsError


class BrokerSettings(Protocol):
    """Where a connection goes, and with what: the reporter's settings, or a subscriber's."""

    @property
    def host(self) -> str: ...  # noqa: D102 - as in arrow.BrokerSettings, here and below
    @property
    def port(self) -> int: ...  # noqa: D102
    @property
    def username(self) -> str | None: ...  # noqa: D102
    @property
    def tls(self) -> bool: ...  # noqa: D102
    @property
    def cert_file(self) -> str | None: ...  # noqa: D102


_MAX_HOST = 60

MAX_DETAIL = 300
"""Characters in a `BrokerLink.detail`: contract.py."""

_LOGIN = "check [mqtt] username and password_file, and the broker's password and ACL files"

# Reason codes that are said at connection, in DISCONNECT, or in PUBACK.
_REASONS = {
    0x84: "the broker does not speak MQTT 5; use one that does, such as Mosquitto 2",
    0x85: "the broker does not take our client id; choose a shorter [mqtt] node",
    0x86: f"the broker refused the user name or password; {_LOGIN}",
    0x87: f"the broker refused us as not authorised; {_LOGIN}",
    0x88: "the broker is up but not available; its log says why",
    0x89: "the broker is busy; it will be asked again",
    0x8A: "the broker has banned this client; its log says why",
    0x8B: "the broker is shutting down; is it being restarted?",
    0x8C: "the broker wants another way to log in; allow user name and password, or client certificates",
    0x8D: "the broker did not hear from us in time; check the network",
    0x8E: "another client with our client id took the connection over; give each device its own [mqtt] node",
    0x90: "the broker does not allow our topics; allow fadeout/<node>/# in its ACL",
    0x93: "the broker takes fewer messages at once than we sent; its log may say why",
    0x95: "the broker takes no packets of our size; allow at least 10 kB (Mosquitto: max_packet_size)",
    0x97: "the broker's quota for this client is used up; its log says which",
    0x98: "an administrator of the broker closed the connection; its log says why",
    0x99: "the broker refused the form of a payload; turn off payload checks for fadeout/#",
    0x9A: "the broker has retained messages switched off; switch them on (Mosquitto: retain_available)",
    0x9B: "the broker does not support QoS 1; use one that does, such as Mosquitto 2",
    0x9C: "the broker asks us to use another server; change [mqtt] host",
    0x9D: "the broker has moved to another server; change [mqtt] host",
    0x9F: "the broker limits how often we may connect; it will be asked again",
}

_ALERTS = (
    ("CERTIFICATE_REQUIRED", "the broker wants a client certificate; set [mqtt] cert_file and key_file"),
    (
        "UNKNOWN_CA",
        "the broker does not know the CA of our client certificate; have [mqtt] cert_file issued by its CA",
    ),
    ("CERTIFICATE_EXPIRED", "our client certificate has expired; renew [mqtt] cert_file"),
    ("CERTIFICATE_REVOKED", "our client certificate is revoked; renew [mqtt] cert_file"),
    ("BAD_CERTIFICATE", "the broker refused our client certificate; check [mqtt] cert_file"),
    ("CERTIFICATE_UNKNOWN", "the broker refused our client certificate; check [mqtt] cert_file"),
    ("PROTOCOL_VERSION", "the broker speaks only old TLS; allow TLS 1.2 or 1.3 there"),
    ("UNSUPPORTED_PROTOCOL", "the broker speaks only old TLS; allow TLS 1.2 or 1.3 there"),
    (
        "HANDSHAKE_FAILURE",
        "the broker refused the TLS handshake; it may want a client certificate ([mqtt] cert_file, key_file)",
    ),
)

# OpenSSL's X509_V_ERR_* numbers; Python gives them as SSLCertVerificationError.verify_code.
_NOT_YET_VALID, _EXPIRED, _WRONG_NAME, _WRONG_ADDRESS = 9, 10, 62, 64
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21, 27})

_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


_NAME = r"(?:host|port|node|username|password_file|tls|ca_file|cert_file|key_file)\b"
_NAMES = rf"{_NAME}(?:(?:, | and | or ){_NAME})*"
_IN_FILE = re.compile(rf"\[mqtt\] ({_NAMES})|({_NAMES}) in \[mqtt\]")


def as_options(words: str) -> str:
    """Name the options of a command in the place of a file's keys."""
    words = words.replace("set tls = false", "leave out --tls")
    return _IN_FILE.sub(lambda found: re.sub(_NAME, _as_option, found[1] or found[2]), words)


def _as_option(name: re.Match[str]) -> str:
    return "--" + name[0].replace("_", "-")


def as_names(words: str) -> str:
    """Name the same keys without the file: those of the program that connects."""
    return _IN_FILE.sub(lambda found: found[1] or found[2], words)


def where(settings: BrokerSettings) -> str:
    """Return `host:port`, short enough to fit into a line."""
    host = settings.host if len(settings.host) <= _MAX_HOST else f"{settings.host[:_MAX_HOST]}..."
    return f"{host}:{settings.port}"


def of_connecting(err: Exception, settings: BrokerSettings) -> str:
    """Say why no connection was made: what opening it raised."""
    return _of_connecting(err, settings, where(settings))[:MAX_DETAIL]


def _of_connecting(err: Exception, settings: BrokerSettings, place: str) -> str:  # noqa: PLR0911 - a table of types
    match err:
        case SettingsError():
            return f"{err}; {err.hint}" if err.hint else str(err)
        case ssl.SSLCertVerificationError():
            return _of_certificate(err, place)
        case ssl.SSLError():
            return (
                _of_tls(str(err))
                or f"no TLS at {place}; is that its TLS port, often 8883? or set tls = false"
            )
        case ConnectionRefusedError():
            return f"connection refused by {place}; is the broker running? check host and port in [mqtt]"
        case socket.gaierror() | UnicodeError():  # UnicodeError: a host that IDNA cannot encode
            return f"host not found: {place}; check host in [mqtt] and the name service of this network"
        case TimeoutError():
            return f"no answer from {place} in time; check the network and firewalls on the way"
        case ConnectionResetError() | BrokenPipeError() | EOFError():
            return _closed_at_once(place, tls=settings.tls)
        case OSError(errno=number) if number in _NO_ROUTE:
            return f"no way to {place}; is this device's network up?"
        case _:
            return f"cannot connect to {place}: {type(err).__name__}; the broker's log may say more"


def of_refusal(code: int, settings: BrokerSettings) -> str:
    """Say why the broker refused the connection: its CONNACK's reason code, 128 or more."""
    if code == 0x87 and settings.username is None and settings.cert_file is None:  # noqa: PLR2004 - MQTT 5.0, 2.4
        return f"{where(settings)} wants a user name and password; set [mqtt] username and password_file"
    return _reason(code) or f"the broker refused the connection (reason code {code}); its log says why"


def of_lost_connection(
    code: int, logged: str, settings: BrokerSettings, *, from_broker: bool, accepted: bool
) -> str:
    """Say why a connection ended.

    Args:
        code: of the broker's DISCONNECT if `from_broker`, else what paho made up.
        logged: the last error that paho logged; some causes are said nowhere else.
        settings: where the connection went.
        from_broker: the broker sent a DISCONNECT.
        accepted: the broker had accepted the connection before.
    """
    if from_broker:
        return _reason(code) or f"the broker closed the connection (reason code {code}); its log says why"
    if code == 0x8D:  # noqa: PLR2004 - MQTT 5.0, 2.4: keep alive timeout
        return f"no answer from {where(settings)} any more; check the network"
    alert = _of_tls(logged)
    if alert is not None:
        return alert
    if accepted:
        return f"the connection to {where(settings)} was lost; is the broker running?"
    return _hung_up(settings)


def of_refused_publish(code: int, topic_filter: str) -> str:
    """Say why the broker refused a message: its PUBACK's reason code, 128 or more."""
    if code == 0x87:  # noqa: PLR2004 - MQTT 5.0, 2.4
        return f"not authorised to publish {topic_filter}; allow our user to write there in the broker's ACL"
    return _reason(code) or f"the broker refused an event (reason code {code}); its log says why"


def of_no_answer(settings: BrokerSettings) -> str:
    """Say that the broker took a connection and then said nothing."""
    return f"no MQTT answer from {where(settings)}; is that the broker? check host, port and tls in [mqtt]"


def of_no_acknowledgement(settings: BrokerSettings) -> str:
    """Say that the broker holds a connection and acknowledges nothing."""
    return f"{where(settings)} does not acknowledge what we publish; its log may say why"


def of_flapping(client_id: str, settings: BrokerSettings) -> str:
    """Say that connections keep being made and lost, for no reason that anybody tells."""
    twin = f"does another device use our client id {client_id}? see [mqtt] node"
    return f"{where(settings)} keeps closing our connections; {twin}"


def _reason(code: int) -> str | None:
    return _REASONS.get(code)


def _hung_up(settings: BrokerSettings) -> str:
    place = where(settings)
    if not settings.tls:
        return _closed_at_once(place, tls=False)
    # Our side of the handshake was done. In TLS 1.3 the broker judges our certificate only then, and
    # its alert is lost when it closes before it has read our CONNECT.
    if settings.cert_file is None:
        return f"{place} closed the connection; does it want a client certificate? see [mqtt] cert_file"
    why = "it may be revoked, expired or from another CA; renew [mqtt] cert_file"
    return f"{place} closed the connection; does it refuse our certificate? {why}"


def _closed_at_once(place: str, *, tls: bool) -> str:
    if tls:
        return f"{place} closed the connection during the TLS handshake; is that its TLS port, often 8883?"
    return f"{place} closed the connection without an answer; does that port want TLS? see [mqtt] tls"


def _of_tls(text: str) -> str | None:
    """Find the TLS alert that OpenSSL names in an error's text."""
    named = re.search(r"\[SSL: (\w+)\]", text)
    if named is None:
        return None
    return next((words for alert, words in _ALERTS if alert in named[1]), None)


def _of_certificate(err: ssl.SSLCertVerificationError, place: str) -> str:
    match err.verify_code:
        case code if code in (_WRONG_NAME, _WRONG_ADDRESS):
            return f"the certificate of {place} is for another name; set [mqtt] host to the name in it"
        case code if code == _EXPIRED:
            return f"the certificate of {place} has expired; renew it, or check this device's clock"
        case code if code == _NOT_YET_VALID:
            return f"the certificate of {place} is not valid yet; check this device's clock"
        case code if code in _UNKNOWN_ISSUER:
            return f"the certificate of {place} is from an unknown CA; set [mqtt] ca_file to the broker's CA"
        case _:
            # From Python 3.13 on certificates are held to RFC 5280, as home-made ones often are not.
            return (
                f"the certificate of {place} is not accepted ({err.verify_message.lower()}); make a new one"
            )
