"""TLS to a real Mosquitto, and the ways in which it goes wrong."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from broker.certificates import issue
from fadeout_broker.adapters.mqtt_client import MqttLink
from fadeout_broker.arrow import BrokerSettings
from fadeout_broker.gate import Gate
from fadeout_broker.local import LocalBroker
from fadeout_broker.uplink import Down, LinkInput, Up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 30.0

pytestmark = [
    pytest.mark.system,
    # When a handshake fails paho leaves the socket to the garbage collector, which closes it at once.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class TlsHouse(NamedTuple):
    broker: LocalBroker
    folder: Path


@pytest.fixture(scope="module")
def house(mosquitto: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsHouse]:  # noqa: ARG001 - it skips
    """A broker that wants client certificates, and files for everybody; `other` is a CA it does not know."""
    folder = tmp_path_factory.mktemp("tls")
    ca, other = issue(folder, "ca"), issue(folder, "other")
    served = issue(folder, "broker", ca)
    issue(folder, "speaker", ca)
    issue(folder, "stranger", other)
    extra = [
        f"cafile {ca.cert_file}",
        f"certfile {served.cert_file}",
        f"keyfile {served.key_file}",
        "require_certificate true",
        "use_identity_as_username true",
    ]
    with LocalBroker(folder, extra=extra) as broker:
        yield TlsHouse(broker, folder)


def _settings(house: TlsHouse, **changed: object) -> BrokerSettings:
    """Return what the speaker needs, with other files, another host or no TLS."""
    files = {"ca_file": "ca.crt", "cert_file": "speaker.crt", "key_file": "speaker.key"}
    given: dict[str, object] = {
        "host": house.broker.host,
        "port": house.broker.port,
        "tls": True,
        **files,
        **changed,
    }
    for name in files:
        if given[name] is not None:
            given[name] = str(house.folder / str(given[name]))
    return msgspec.convert(given, BrokerSettings)


def _first(settings: BrokerSettings) -> LinkInput:
    told: queue.Queue[LinkInput] = queue.Queue()
    link = MqttLink(settings, "sp-tls", Gate("sp-tls", {}), (), lambda _link, what: told.put(what))
    link.open()
    try:
        return told.get(timeout=WAIT_S)
    finally:
        link.close("stopped")


def test_with_the_right_files_it_comes_up(house: TlsHouse) -> None:
    assert _first(_settings(house)) == Up()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"ca_file": "other.crt"}, "[mqtt] ca_file", id="another CA"),
        pytest.param({"ca_file": None}, "[mqtt] ca_file", id="the system's CAs"),
        pytest.param({"host": "localhost"}, "for another name", id="another name"),
        pytest.param({"cert_file": None, "key_file": None}, "client certificate", id="no client certificate"),
        pytest.param(
            # Whether the broker's alert arrives before it hangs up is chance.
            {"cert_file": "stranger.crt", "key_file": "stranger.key"},
            "[mqtt] cert_file",
            id="another CA's client",
        ),
        pytest.param(
            {"cert_file": "stranger.crt"}, "cert_file or key_file", id="a key of another certificate"
        ),
        pytest.param({"ca_file": "missing.crt"}, "missing.crt: no such file", id="no such file"),
        pytest.param({"ca_file": "mosquitto.conf"}, "no usable PEM file", id="no certificate at all"),
        pytest.param({"tls": False}, "does that port want TLS", id="no TLS to a TLS port"),
    ],
)
def test_with_the_wrong_files_the_words_say_which(
    house: TlsHouse, changed: dict[str, object], words: str
) -> None:
    told = _first(_settings(house, **changed))
    assert isinstance(told, Down)
    assert words in told.detail


def test_tls_to_a_plain_port(broker: LocalBroker) -> None:
    told = _first(BrokerSettings(host=broker.host, port=broker.port, tls=True))
    assert isinstance(told, Down)
    assert "TLS port" in told.detail


def test_a_key_with_a_passphrase_is_not_waited_for(house: TlsHouse) -> None:
    key = serialization.load_pem_private_key((house.folder / "speaker.key").read_bytes(), None)
    (house.folder / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    told = _first(_settings(house, key_file="locked.key"))
    assert isinstance(told, Down)
    assert "passphrase" in told.detail
