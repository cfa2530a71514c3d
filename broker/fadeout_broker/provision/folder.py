"""The folder of one house: which file is where, and what follows when somebody is added, renewed or revoked.

`ca/` holds the authority: its certificate, its key (the one secret that matters), and old
certificates. `broker/` is what goes to the broker's machine; `devices/` and `subscribers/` hold a
folder for each client, with what goes to its machine. There is no other record: certificates tell
what they are for, and the list of revoked ones the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fadeout_broker.errors import SettingsError, UsageError
from fadeout_broker.provision import acl, certificates, files
from fadeout_broker.provision.certificates import Issued, Known, Role

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

BROKER = "broker"
"""Its name for `rotate`; nobody else can have it."""


class Entry(NamedTuple):
    """One certificate, as `list` shows it."""

    known: Known
    is_revoked: bool


class Folder:
    """The files below `path`.

    Args:
        path: the folder.
        now: the present time.
    """

    def __init__(self, path: Path, now: dt.datetime) -> None:
        self.path = path
        self.broker = path / "broker"
        self._ca = path / "ca"
        self._now = now

    # ---- what is there

    def client(self, name: str) -> Path | None:
        """Return a client's folder; None: there is no such client."""
        homes = [self.path / kind / name for kind in ("devices", "subscribers")]
        return next((home for home in homes if (home / "client.crt").exists()), None)

    def entries(self) -> list[Entry]:
        """Return every certificate in use, and whether it is revoked."""
        revoked = self._revoked()
        known = [_read(path) for path in self._certs() if path.exists()]
        return [Entry(each, each.serial in revoked) for each in known]

    def hosts(self) -> tuple[str, ...]:
        """Return the names and addresses that the broker's certificate is good for."""
        path = self.broker / "broker.crt"
        return _read(path).hosts if path.exists() else ()

    def authority(self) -> Issued:
        """Return the authority.

        Raises:
            SettingsError: the folder has none, or its key was moved away.
        """
        cert, key = files.read(self._ca / "ca.crt"), files.read(self._ca / "ca.key")
        if cert is None:
            raise SettingsError(f"{self.path} holds no authority", f"fadeout-broker provision {self.path}")
        if key is None:
            raise SettingsError(
                f"{self._ca / 'ca.key'} is not there", "put it back from where it is kept, for this command"
            )
        return Issued(cert, key)

    # ---- what changes

    def found_authority(self) -> bool:
        """Make an authority where there is none; say whether one was made."""
        if files.read(self._ca / "ca.crt") is not None:
            return False
        if any(path.exists() for path in self._certs()):
            raise SettingsError(
                f"{self._ca / 'ca.crt'} is gone", f"put it back; {self.broker / 'ca.crt'} is a copy of it"
            )
        made = certificates.new_authority(self._now)
        # The key first: without it the certificate is good for nothing, and this can be done again.
        files.write(self._ca / "ca.key", made.key, files.PRIVATE, replace=True)
        files.write(self._ca / "ca.crt", made.cert, files.SHARED, replace=False)
        return True

    def equip_broker(self, hosts: Sequence[str], *, renew: bool) -> None:
        """Give the broker a certificate, if it has none or is to have a new one, and what else it reads."""
        authority = self.authority()
        if renew or files.read(self.broker / "broker.crt") is None:
            self._put(self.broker, "broker", certificates.new_broker(authority, hosts, self._now))
        files.write(self.broker / "ca.crt", authority.cert, files.SHARED, replace=True)
        if files.read(self.broker / "ca.crl") is None:
            self._write_revocations(authority, {})
        self.write_acl()

    def add(self, name: str, role: Role, texts: Mapping[str, str]) -> Path:
        """Make a client's certificate and return its folder.

        Args:
            name: its user name at the broker.
            role: what it may do there.
            texts: files that go with it, by name.

        Raises:
            SettingsError: somebody of that name is there and not revoked.
        """
        if name == BROKER:
            raise UsageError("broker is the broker's own name", "choose another one")
        authority = self.authority()
        # All that can be refused comes before the first write: a damaged file, a key that does not fit.
        self.entries()
        issued = certificates.new_client(authority, name, role, self._now)
        home = self.client(name)
        if home is not None and not self._is_revoked(home):
            raise SettingsError(
                f"{name} has a certificate already",
                f"fadeout-broker rotate {self.path} {name} makes a new one",
            )
        if home is not None:
            self._retire(home)
            files.remove(home / "client.crt")  # it may come back in another role
        home = self.path / ("devices" if role is Role.DEVICE else "subscribers") / name
        for file, text in texts.items():
            files.write(home / file, text.encode(), files.SHARED, replace=True)
        files.write(home / "ca.crt", authority.cert, files.SHARED, replace=True)
        # The certificate last: without it there is no such client, and this can be done again.
        self._put(home, "client", issued)
        self.write_acl()
        return home

    def renew(self, name: str, *, keep_old: bool) -> Path:
        """Give a client a new key and certificate, and revoke the old ones unless they are kept for now."""
        home = self._client(name)
        role = self._known(home).role
        authority = self.authority()
        self.entries()
        issued = certificates.new_client(authority, name, role, self._now)
        self._retire(home)
        self._put(home, "client", issued)
        files.write(home / "ca.crt", authority.cert, files.SHARED, replace=True)
        if not keep_old:
            self._revoke(authority, [each.serial for each in self._old(name)])
        self.write_acl()
        return home

    def revoke(self, name: str, *, only_old: bool) -> int:
        """Revoke a client's certificates, all or all but the newest, and return how many that were."""
        home = self._client(name)
        revoked = self._revoked()
        serials = [each.serial for each in self._old(name) if each.serial not in revoked]
        if not only_old and self._known(home).serial not in revoked:
            serials.append(self._known(home).serial)
        self._revoke(self.authority(), serials)
        if not only_old:
            files.remove(home / "client.key")
        self.write_acl()
        return len(serials)

    def write_acl(self) -> None:
        """Make the ACL anew from the certificates; the operator's own lines are kept."""
        path = self.broker / "acl"
        old = (files.read(path) or b"").decode("utf-8", errors="surrogateescape")
        if old and acl.OWN_LINES not in old:
            raise SettingsError(
                f"{path} was not made here", f"move it away, or put the line {acl.OWN_LINES!r} above your own"
            )
        clients = [
            acl.Client(entry.known.name, entry.known.role, entry.is_revoked)
            for entry in self.entries()
            if entry.known.role not in (Role.AUTHORITY, Role.BROKER)
        ]
        made = acl.text(clients, acl.own_lines_of(old)).encode("utf-8", errors="surrogateescape")
        files.write(path, made, files.SHARED, replace=True)

    # ---- the parts

    def _certs(self) -> Iterator[Path]:
        yield self._ca / "ca.crt"
        yield self.broker / "broker.crt"
        for kind in ("devices", "subscribers"):
            yield from sorted((self.path / kind).glob("*/client.crt"))

    def _put(self, home: Path, stem: str, issued: Issued) -> None:
        # Should this be cut short between the two, `rotate` mends it.
        files.write(home / f"{stem}.key", issued.key, files.PRIVATE, replace=True)
        files.write(home / f"{stem}.crt", issued.cert, files.SHARED, replace=True)

    def _client(self, name: str) -> Path:
        home = self.client(name)
        if home is None:
            raise UsageError(
                f"nobody in {self.path} is called {name}",
                f"fadeout-broker list {self.path} shows who is there",
            )
        return home

    def _known(self, home: Path) -> Known:
        return _read(home / "client.crt")

    def _retire(self, home: Path) -> None:
        """Keep a copy of a certificate, so that it can still be revoked."""
        known = self._known(home)
        old = self._ca / "old" / known.name / f"{known.serial:x}.crt"
        files.write(old, files.read(home / "client.crt") or b"", files.SHARED, replace=True)

    def _old(self, name: str) -> list[Known]:
        return [_read(path) for path in sorted((self._ca / "old" / name).glob("*.crt"))]

    def _revoked(self) -> dict[int, dt.datetime]:
        path = self.broker / "ca.crl"
        pem = files.read(path)
        if pem is None:
            return {}
        try:
            return certificates.read_revocations(pem)
        except SettingsError as err:
            raise SettingsError(f"{path}: {err}", "copy it back from the broker") from err

    def _is_revoked(self, home: Path) -> bool:
        return self._known(home).serial in self._revoked()

    def _revoke(self, authority: Issued, serials: Sequence[int]) -> None:
        revoked = self._revoked()
        self._write_revocations(authority, dict.fromkeys(serials, self._now) | revoked)

    def _write_revocations(self, authority: Issued, revoked: dict[int, dt.datetime]) -> None:
        made = certificates.new_revocations(authority, revoked, self._now)
        files.write(self.broker / "ca.crl", made, files.SHARED, replace=True)


def _read(path: Path) -> Known:
    try:
        return certificates.read(files.read(path) or b"")
    except SettingsError as err:
        raise SettingsError(f"{path}: {err}", "put it back, or move it away") from err
