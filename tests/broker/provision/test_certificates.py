"""Certificates that the strictest of TLS libraries accept, and that say what they are for."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING

import pytest

from fadeout_broker.errors import SettingsError, UsageError
from fadeout_broker.provision import certificates
from fadeout_broker.provision.certificates import Issued, Role

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)  # TLS looks at the real clock
HOSTS = ("broker.local", "192.0.2.7", "2001:db8::7")
_authority = certificates.new_authority(NOW)
_broker = certificates.new_broker(_authority, HOSTS, NOW)
_client = certificates.new_client(_authority, "sp-1", Role.DEVICE, NOW)


class Ends:
    """Both ends of a TLS connection without a network."""

    def __init__(self, folder: Path, server: Issued, client: Issued | None, crl: bytes | None = None) -> None:
        (folder / "ca.crt").write_bytes(_authority.cert + (crl or b""))
        self._server = self._context(folder, ssl.PROTOCOL_TLS_SERVER, server)
        self._server.verify_mode = ssl.CERT_REQUIRED
        if crl is not None:
            self._server.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        self._client = self._context(folder, ssl.PROTOCOL_TLS_CLIENT, client)

    def _context(self, folder: Path, protocol: int, own: Issued | None) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.load_verify_locations(folder / "ca.crt")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Python's default from 3.13 on.
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        if own is not None:
            (folder / "own.pem").write_bytes(own.cert + own.key)
            context.load_cert_chain(folder / "own.pem")
        return context

    def shake_hands(self, host: str) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self._client.wrap_bio(to_client, to_server, server_hostname=host)
        server = self._server.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(4):
            for end in (client, server):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        assert server.version() == "TLSv1.3"
        assert server.getpeercert() is not None


@pytest.mark.parametrize("host", HOSTS)
def test_strict_verification_accepts_both_ends(tmp_path: Path, host: str) -> None:
    crl = certificates.new_revocations(_authority, {}, NOW)

    Ends(tmp_path, _broker, _client, crl).shake_hands(host)


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        Ends(tmp_path, _broker, _client).shake_hands("elsewhere.local")


def test_a_device_cannot_pose_as_the_broker(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        Ends(tmp_path, _client, _client).shake_hands("sp-1")


def test_the_broker_cannot_pose_as_a_device(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        Ends(tmp_path, _broker, _broker).shake_hands("broker.local")


def test_a_certificate_that_a_client_signed_is_refused(tmp_path: Path) -> None:
    forged = certificates.new_client(_client, "sp-2", Role.DEVICE, NOW)

    with pytest.raises(ssl.SSLCertVerificationError):
        Ends(tmp_path, _broker, Issued(forged.cert + _client.cert, forged.key)).shake_hands("broker.local")


def test_a_revoked_certificate_is_refused_and_another_is_not(tmp_path: Path) -> None:
    other = certificates.new_client(_authority, "sp-1", Role.DEVICE, NOW)
    crl = certificates.new_revocations(_authority, {certificates.read(_client.cert).serial: NOW}, NOW)

    Ends(tmp_path, _broker, other, crl).shake_hands("broker.local")
    with pytest.raises(ssl.SSLCertVerificationError, match="revoked"):
        Ends(tmp_path, _broker, _client, crl).shake_hands("broker.local")


def test_a_certificate_says_who_it_is_for_and_until_when() -> None:
    known = certificates.read(_client.cert)

    assert known[:2] == ("sp-1", Role.DEVICE)
    assert known.not_after == NOW + certificates.CLIENT_LASTS
    assert certificates.read(_broker.cert).hosts == HOSTS


def test_serial_numbers_are_random() -> None:
    serials = {
        certificates.read(certificates.new_client(_authority, "x", Role.READER, NOW).cert).serial
        for _ in range(20)
    }

    assert len(serials) == 20
    assert min(serials).bit_length() > 100  # one in 2^59 is shorter


def test_nothing_outlives_the_authority() -> None:
    late = NOW + certificates.AUTHORITY_LASTS - dt.timedelta(days=3)

    cert = certificates.new_client(_authority, "sp-1", Role.DEVICE, late).cert

    assert certificates.read(cert).not_after == certificates.read(_authority.cert).not_after


def test_the_list_of_the_revoked_is_read_back() -> None:
    revoked = {2**150 + 1: NOW, 17: NOW - dt.timedelta(days=400)}

    assert certificates.read_revocations(certificates.new_revocations(_authority, revoked, NOW)) == revoked


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("", id="empty"),
        pytest.param("a b", id="a space"),
        pytest.param("-a.local", id="a hyphen first"),
        pytest.param("a..local", id="an empty part"),
        pytest.param("*.local", id="a wildcard"),
        pytest.param("brök.local", id="not ASCII"),
        pytest.param("a." * 130, id="too long"),
        pytest.param("mqtt://broker", id="a URL"),
        pytest.param("broker:8883", id="with a port"),
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(UsageError):
        certificates.new_broker(_authority, [host], NOW)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_said_to_be_none(pem: bytes) -> None:
    with pytest.raises(SettingsError):
        certificates.read(pem)
    with pytest.raises(SettingsError):
        certificates.read_revocations(pem)
    with pytest.raises(SettingsError):
        certificates.new_client(Issued(pem, pem), "sp-1", Role.DEVICE, NOW)


def test_a_key_of_another_authority_is_refused() -> None:
    other = certificates.new_authority(NOW)

    with pytest.raises(SettingsError, match="belong together"):
        certificates.new_client(Issued(_authority.cert, other.key), "sp-1", Role.DEVICE, NOW)
