"""Makes the certificates of one house: authority, broker, clients, and the list of revoked ones.

Bytes in, bytes out: touches no file, and is told the time. EC P-256 keys, because every
TLS library takes them, and signing with one costs a Pi a millisecond. What a
certificate is for stands in it (`Role`, as its organisational unit), so that no
other file has to be believed.

Sources: RFC 5280, sections 4.1 and 4.2, 5.1 and 5.2; X509_verify_cert_error_string(3)
for what OpenSSL's strict mode, Python's default from 3.13 on, demands.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fadeout_broker.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

AUTHORITY_LASTS = dt.timedelta(days=3653)
"""Ten years: replacing it means a new file on every device at once."""
BROKER_LASTS = dt.timedelta(days=825)
"""The longest that Apple's systems accept of an authority of one's own; they may be subscribers."""
CLIENT_LASTS = dt.timedelta(days=730)
"""Two years: a device that was forgotten in a drawer, or stolen unnoticed, is locked out some day."""
SOON_DAYS = 30
"""So many days before its end a certificate should be renewed."""
BACKDATED = dt.timedelta(days=1)
"""A Pi has no clock of its own, and starts a little in the past."""


class Role(StrEnum):
    """What a certificate is for."""

    AUTHORITY = "authority"
    BROKER = "broker"
    DEVICE = "device"
    SUBSCRIBER = "subscriber"
    READER = "reader"
    HOME_ASSISTANT = "home-assistant"


class Issued(NamedTuple):
    """A new certificate and its key, PEM."""

    cert: bytes
    key: bytes


class Known(NamedTuple):
    """What a certificate says."""

    name: str
    role: Role
    serial: int
    not_after: dt.datetime
    hosts: tuple[str, ...]
    """The broker's names and addresses; of others: none."""


def new_authority(now: dt.datetime) -> Issued:
    """Make an authority that can sign nothing but certificates and lists of revoked ones."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("fadeout authority", Role.AUTHORITY)
    builder = _builder(name, name, key.public_key(), key.public_key(), now, AUTHORITY_LASTS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(is_authority=True), critical=True)
    return _signed(builder, key, key)


def new_broker(authority: Issued, hosts: Sequence[str], now: dt.datetime) -> Issued:
    """Make the broker's certificate.

    Args:
        authority: who signs.
        hosts: names and addresses by which clients will call it; at least one.
        now: the present time.

    Raises:
        UsageError: a host that is neither a name nor an address.
    """
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _leaf(authority, _name("broker", Role.BROKER), Role.BROKER, BROKER_LASTS, now, names)


def new_client(authority: Issued, name: str, role: Role, now: dt.datetime) -> Issued:
    """Make a client's certificate; `name` becomes its user name at the broker."""
    return _leaf(authority, _name(name, role), role, CLIENT_LASTS, now, None)


def new_revocations(authority: Issued, revoked: dict[int, dt.datetime], now: dt.datetime) -> bytes:
    """Make the list of revoked certificates, PEM.

    Valid as long as the authority: a broker refuses everybody once it has run out, and nobody would renew it.

    Args:
        authority: who signs.
        revoked: since when, by serial number.
        now: the present time.
    """
    certificate, key = _load(authority)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(now - BACKDATED)
        .next_update(certificate.not_valid_after_utc)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(certificate.public_key()),  # type: ignore[arg-type] # because ours is EC
            critical=False,
        )
        # It only ever grows, so its length counts its editions.
        .add_extension(x509.CRLNumber(len(revoked) + 1), critical=False)
    )
    for serial, since in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_revocations(pem: bytes) -> dict[int, dt.datetime]:
    """Return what a list of revoked certificates says: since when, by serial number.

    Raises:
        SettingsError: not such a list.
    """
    try:
        revocations = x509.load_pem_x509_crl(pem)
        return {entry.serial_number: entry.revocation_date_utc for entry in revocations}
    except ValueError as err:
        raise SettingsError("the list of revoked certificates cannot be read") from err


def read(pem: bytes) -> Known:
    """Return what a certificate of ours says.

    Raises:
        SettingsError: no certificate, or none that was made here.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        (unit,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        role = Role(str(unit.value))
    except ValueError as err:
        raise SettingsError("not a certificate that fadeout-broker provision has made") from err
    return Known(
        str(name.value), role, certificate.serial_number, certificate.not_valid_after_utc, _hosts(certificate)
    )


def days_left(der: bytes | None, now: dt.datetime) -> int:
    """Return how long a certificate, in DER, still lasts; 0: there is none."""
    if der is None:
        return 0
    return (x509.load_der_x509_certificate(der).not_valid_after_utc - now).days


def _leaf(  # noqa: PLR0913, PLR0917 - what a certificate consists of
    authority: Issued,
    subject: x509.Name,
    role: Role,
    lasts: dt.timedelta,
    now: dt.datetime,
    hosts: x509.SubjectAlternativeName | None,
) -> Issued:
    certificate, signing_key = _load(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    # Never longer than the authority, or the end would come unannounced.
    lasts = min(lasts, certificate.not_valid_after_utc - now)
    builder = _builder(subject, certificate.subject, key.public_key(), signing_key.public_key(), now, lasts)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(is_authority=False), critical=True)
    # A device cannot pose as the broker with its certificate, nor the other way round.
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if role is Role.BROKER else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if hosts is not None:
        builder = builder.add_extension(hosts, critical=False)
    return _signed(builder, key, signing_key)


def _builder(  # noqa: PLR0913, PLR0917 - what a certificate consists of
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    lasts: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signing_key: ec.EllipticCurvePrivateKey
) -> Issued:
    cert = builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    # Without a passphrase: brokers and devices start with nobody there to type one.
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Issued(cert, pem)


def _load(authority: Issued) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(authority.cert)
        key = serialization.load_pem_private_key(authority.key, password=None)
    except (ValueError, TypeError) as err:
        raise SettingsError("the authority's certificate or key cannot be read") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise SettingsError("the authority's certificate and key do not belong together")
    return certificate, key


def _name(name: str, role: Role) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role.value),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=is_authority, crl_sign=is_authority,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if len(host) <= 253 and _HOST.fullmatch(host):  # noqa: PLR2004 - RFC 1035, section 2.3.4
            return x509.DNSName(host)
        raise UsageError(
            f"{host!r} is no host name and no IP address",
            "for example --host broker.local --host 192.168.1.5",
        ) from None


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)
