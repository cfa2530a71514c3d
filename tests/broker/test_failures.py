"""What goes wrong, and what the operator reads."""

from __future__ import annotations

import ast
import errno
import inspect
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from fadeout_broker import failures
from fadeout_broker.adapters import mqtt_client
from fadeout_broker.arrow import BrokerSettings
from fadeout_broker.errors import SettingsError
from fadeout_broker.provision import check

if TYPE_CHECKING:
    from types import ModuleType

PLAIN = BrokerSettings(host="mqtt.home", port=1883)
TLS = BrokerSettings(host="mqtt.home", port=8883, tls=True)
KNOWN = BrokerSettings(host="mqtt.home", username="speaker")


def _bad_certificate(verify_code: int) -> ssl.SSLCertVerificationError:
    err = ssl.SSLCertVerificationError("certificate verify failed")
    err.verify_code = verify_code
    err.verify_message = "Missing Authority Key Identifier"  # OpenSSL's words for 85
    return err


def _alert(name: str) -> ssl.SSLError:
    return ssl.SSLError(1, f"[SSL: {name}] {name.lower()} (_ssl.c:1006)")


@pytest.mark.parametrize(
    ("err", "words", "next_step"),
    [
        pytest.param(
            ConnectionRefusedError(),
            "connection refused by mqtt.home:8883",
            "host and port",
            id="nobody listens",
        ),
        pytest.param(
            socket.gaierror(-2, "Name or service not known"),
            "host not found: mqtt.home",
            "name service",
            id="no such name",
        ),
        pytest.param(
            UnicodeError("label too long"),
            "host not found",
            "check host in [mqtt]",
            id="a name that cannot be",
        ),
        pytest.param(
            TimeoutError(), "no answer from mqtt.home:8883", "firewalls", id="a firewall that drops"
        ),
        pytest.param(
            OSError(errno.ENETUNREACH, "unreachable"),
            "no way to mqtt.home:8883",
            "network up",
            id="no network",
        ),
        pytest.param(
            ConnectionResetError(), "closed the connection during the TLS", "8883", id="a plain port hangs up"
        ),
        pytest.param(_bad_certificate(20), "from an unknown CA", "ca_file", id="another CA"),
        pytest.param(_bad_certificate(85), "missing authority key", "new one", id="one not as RFC 5280 says"),
        pytest.param(_bad_certificate(62), "for another name", "[mqtt] host", id="another name"),
        pytest.param(_bad_certificate(64), "for another name", "[mqtt] host", id="another address"),
        pytest.param(_bad_certificate(10), "has expired", "clock", id="expired"),
        pytest.param(_bad_certificate(9), "not valid yet", "clock", id="a clock that is behind"),
        pytest.param(
            _alert("WRONG_VERSION_NUMBER"), "no TLS at mqtt.home:8883", "tls = false", id="no TLS there"
        ),
        pytest.param(
            _alert("SSLV3_ALERT_HANDSHAKE_FAILURE"),
            "refused the TLS handshake",
            "cert_file",
            id="TLS 1.2, no certificate",
        ),
        pytest.param(_alert("TLSV1_ALERT_PROTOCOL_VERSION"), "only old TLS", "TLS 1.2", id="TLS 1.0"),
        pytest.param(
            SettingsError("/x: no such file or directory", "check [mqtt] ca_file"),
            "/x: no such",
            "ca_file",
            id="no such file",
        ),
        pytest.param(RuntimeError("?"), "cannot connect to mqtt.home:8883", "log", id="something unheard of"),
    ],
)
def test_what_connecting_raises_is_said_in_words(err: Exception, words: str, next_step: str) -> None:
    line = failures.of_connecting(err, TLS)
    assert words in line
    assert next_step in line


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        pytest.param(PLAIN, 0x84, "does not speak MQTT 5", id="a broker of 3.1.1"),
        pytest.param(KNOWN, 0x86, "user name or password", id="a bad password, says the standard"),
        pytest.param(KNOWN, 0x87, "username and password_file", id="a bad password, says Mosquitto"),
        pytest.param(PLAIN, 0x87, "wants a user name and password", id="no password"),
        pytest.param(PLAIN, 0x89, "busy", id="a busy broker"),
        pytest.param(PLAIN, 0xEE, "reason code 238", id="a code of the future"),
    ],
)
def test_what_a_refusal_means_is_said_in_words(settings: BrokerSettings, code: int, words: str) -> None:
    assert words in failures.of_refusal(code, settings)


@pytest.mark.parametrize(
    ("logged", "code", "from_broker", "accepted", "words"),
    [
        pytest.param("", 0x8E, True, True, "another client with our client id", id="the same node twice"),
        pytest.param("", 0x8B, True, True, "shutting down", id="a broker that says goodbye"),
        pytest.param("", 0x00, True, True, "reason code 0", id="a goodbye without a reason"),
        pytest.param(
            "", 0x8D, False, True, "no answer from mqtt.home:8883 any more", id="a cable was pulled"
        ),
        pytest.param("", 0x80, False, True, "was lost", id="a broker that crashed"),
        pytest.param(
            "", 0x80, False, False, "does it want a client certificate", id="a broker that hangs up"
        ),
        pytest.param(
            "failed to receive on socket: [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert",
            0x80,
            False,
            False,
            "wants a client certificate",
            id="TLS 1.3, no certificate",
        ),
        pytest.param(
            "failed to receive on socket: [SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca",
            0x80,
            False,
            False,
            "does not know the CA of our client certificate",
            id="a certificate of another CA",
        ),
    ],
)
def test_why_a_connection_ended_is_said_in_words(
    logged: str, code: int, words: str, *, from_broker: bool, accepted: bool
) -> None:
    line = failures.of_lost_connection(code, logged, TLS, from_broker=from_broker, accepted=accepted)
    assert words in line


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(0x87, "not authorised to publish fadeout/sp-1/#", id="the ACL forbids it"),
        pytest.param(0x97, "quota", id="too much"),
        pytest.param(0x83, "reason code 131", id="for reasons of its own"),
    ],
)
def test_why_an_event_was_refused_is_said_in_words(code: int, words: str) -> None:
    assert words in failures.of_refused_publish(code, "fadeout/sp-1/#")


def test_a_broker_that_hangs_up_on_a_certificate_may_refuse_it() -> None:
    settings = BrokerSettings(host="mqtt.home", tls=True, cert_file="/etc/fadeout/mqtt/client.crt")

    line = failures.of_lost_connection(0x80, "", settings, from_broker=False, accepted=False)

    assert "may be revoked" in line


def test_a_line_fits_the_contract_even_for_the_longest_host() -> None:
    settings = BrokerSettings(host="a" * 253, port=65535, tls=True)
    for err in (ConnectionRefusedError(), TimeoutError(), _bad_certificate(20), SettingsError("x" * 400)):
        assert len(failures.of_connecting(err, settings)) <= failures.MAX_DETAIL
    assert len(failures.of_flapping(f"fadeout-{'n' * 32}", settings)) <= failures.MAX_DETAIL


@pytest.mark.parametrize(
    ("words", "options", "names"),
    [
        pytest.param(
            "check host and port in [mqtt]", "check --host and --port", "check host and port", id="two keys"
        ),
        pytest.param(
            "see [mqtt] ca_file, key_file", "see --ca-file, --key-file", "see ca_file, key_file", id="a list"
        ),
        pytest.param(
            "check [mqtt] username, and the host", "check --username, and the host",
            "check username, and the host", id="a word that is no key there",
        ),
        pytest.param("is that its TLS port?", "is that its TLS port?", "is that its TLS port?", id="no key"),
        pytest.param("set tls = false", "leave out --tls", "set tls = false", id="a value"),
    ],
)  # fmt: skip
def test_who_has_no_file_is_told_of_options_or_names(words: str, options: str, names: str) -> None:
    assert (failures.as_options(words), failures.as_names(words)) == (options, names)


@pytest.mark.parametrize("module", [failures, mqtt_client, check], ids=lambda module: module.__name__)
def test_no_word_of_the_file_is_left_for_who_gave_options(module: ModuleType) -> None:
    words = [
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "[mqtt] " in node.value
    ]
    assert words
    for each in words:
        # Where the key is put in at run time, it is one of these.
        whole = f"{each}ca_file" if each.endswith("[mqtt] ") else each
        assert "[mqtt]" not in failures.as_options(whole)
