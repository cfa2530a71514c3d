"""The commands `provision`, `add-device`, `add-subscriber`, `rotate`, `revoke` and `list`."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from fadeout_broker import contract
from fadeout_broker.errors import SettingsError, UsageError
from fadeout_broker.provision import files, handout, mosquitto_conf
from fadeout_broker.provision.certificates import SOON_DAYS, Role
from fadeout_broker.provision.folder import BROKER, Folder

if TYPE_CHECKING:
    import argparse

_PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/bin"


def provision(arguments: argparse.Namespace) -> int:
    """Make the folder, or what it lacks."""
    folder = _folder(arguments)
    node = None if arguments.node is None else _name(arguments.node, contract.Node, "node")
    with files.locked(folder.path, create=True):
        _make_broker(folder, arguments)
        says = [f"{folder.path}: ready for a broker called {', '.join(folder.hosts())}"]
        if node is not None and folder.client(node) is None:
            says.append(_add_device(folder, node, arguments.device_folder))
    _tell(*says, f"next: {folder.path}/README tells where each file goes")
    return 0


def add_device(arguments: argparse.Namespace) -> int:
    """Make a device's half."""
    folder = _folder(arguments)
    node = _name(arguments.node, contract.Node, "node")
    with files.locked(folder.path, create=False):
        says = _add_device(folder, node, arguments.device_folder)
    _tell(says, "next: copy that folder to the device; the broker needs nothing new")
    return 0


def add_subscriber(arguments: argparse.Namespace) -> int:
    """Make a subscriber's half, and the ACL anew."""
    folder = _folder(arguments)
    name = _name(arguments.name, contract.Consumer, "name")
    role = Role.SUBSCRIBER
    if arguments.read_only or arguments.home_assistant:
        role = Role.READER if arguments.read_only else Role.HOME_ASSISTANT
    with files.locked(folder.path, create=False):
        address = _address(folder)
        home = folder.add(name, role, {"README": handout.subscriber_settings(name, address)})
    _tell(f"{home}: certificate and key of {name} ({role})", _reload(folder, "acl"))
    return 0


def rotate(arguments: argparse.Namespace) -> int:
    """Make a new key and certificate for somebody, or for the broker itself."""
    folder = _folder(arguments)
    with files.locked(folder.path, create=False):
        if arguments.name == BROKER:
            folder.equip_broker(tuple(arguments.host) or folder.hosts(), renew=True)
            _tell(
                f"{folder.broker}: a new certificate for {', '.join(folder.hosts())}",
                _reload(folder, "broker.crt and broker.key"),
            )
            return 0
        if arguments.host:
            raise UsageError("--host is for the broker's certificate", "leave it out")
        home = folder.renew(arguments.name, keep_old=arguments.keep_old)
    _tell(f"{home}: a new key and certificate")
    if arguments.keep_old:
        _tell(f"next: copy them, then fadeout-broker revoke {folder.path} {arguments.name} --old")
    else:
        _tell("next: copy them; the old ones are revoked", _restart(folder))
    return 0


def revoke(arguments: argparse.Namespace) -> int:
    """Have the broker refuse somebody's certificates."""
    folder = _folder(arguments)
    with files.locked(folder.path, create=False):
        number = folder.revoke(arguments.name, only_old=arguments.old)
    what = "nothing was left to revoke" if number == 0 else f"certificates revoked: {number}"
    _tell(f"{arguments.name}: {what}", _restart(folder))
    return 0


def list_(arguments: argparse.Namespace) -> int:
    """Show every certificate and when it ends."""
    folder = _folder(arguments)
    now = dt.datetime.now(dt.UTC)
    with files.locked(folder.path, create=False):
        entries = folder.entries()
    rows = [
        {
            "name": entry.known.name,
            "role": entry.known.role.value,
            "days": (entry.known.not_after - now).days,
            "ends": entry.known.not_after.date().isoformat(),
            "revoked": entry.is_revoked,
        }
        for entry in entries
    ]
    if arguments.json:
        sys.stdout.write("".join(json.dumps(row) + "\n" for row in rows))
        return 0
    sys.stdout.write(f"{'NAME':32}  {'ROLE':14}  {'ENDS':10}  IN DAYS\n")
    for row in rows:
        mark = "  revoked" if row["revoked"] else "  rotate it" * _is_soon(row["days"])
        sys.stdout.write(f"{row['name']:32}  {row['role']:14}  {row['ends']:10}  {row['days']:7}{mark}\n")
    return 0


def _is_soon(days: object) -> bool:
    return isinstance(days, int) and days < SOON_DAYS


def _make_broker(folder: Folder, arguments: argparse.Namespace) -> None:
    choices = mosquitto_conf.Choices(
        PurePosixPath(arguments.broker_folder),
        arguments.port,
        arguments.bind,
        arguments.persistence,
        arguments.one_connection,
        _mosquitto_version(arguments.mosquitto),
    )
    if not choices.folder.is_absolute():
        raise UsageError(f"--broker-folder {choices.folder} is not absolute", "Mosquitto starts in /")
    conf = mosquitto_conf.text(choices).encode()
    conf_path = folder.broker / "fadeout.conf"
    # Refused before anything is made: what is there stays, and is not mixed with something else.
    if files.read(conf_path) not in (None, conf):
        raise SettingsError(
            f"{conf_path} is there and differs from what was asked for",
            "move it away to have it made anew; certificates are kept",
        )
    if missing := sorted(set(arguments.host) - set(folder.hosts())) if folder.hosts() else []:
        raise SettingsError(
            f"the broker's certificate is not good for {', '.join(missing)}",
            f"fadeout-broker rotate {folder.path} broker --host … makes a new one, for all names given",
        )
    folder.found_authority()
    folder.equip_broker(tuple(arguments.host) or _this_machine(), renew=False)
    files.write(conf_path, conf, files.SHARED, replace=True)
    readme = handout.readme(choices.folder, PurePosixPath(arguments.device_folder))
    files.write(folder.path / "README", readme.encode(), files.SHARED, replace=True)


def _add_device(folder: Folder, node: str, device_folder: str) -> str:
    address = _address(folder)
    settings = handout.device_settings(node, address, PurePosixPath(device_folder))
    home = folder.add(node, Role.DEVICE, {"mqtt.toml": settings})
    return f"{home}: certificate, key and settings of the device {node}"


def _address(folder: Folder) -> handout.Address:
    hosts = folder.hosts()
    conf = (files.read(folder.broker / "fadeout.conf") or b"").decode("utf-8", errors="replace")
    port = mosquitto_conf.port_of(conf)
    if not hosts or port is None:
        raise SettingsError(f"{folder.path} is not complete", f"fadeout-broker provision {folder.path}")
    return handout.Address(hosts[0], port)


def _this_machine() -> tuple[str, ...]:
    """Return the names under which this machine can be called, the one for the local network first."""
    name = socket.gethostname().partition(".")[0]
    return (f"{name}.local", name, "localhost", "127.0.0.1", "::1")


def _mosquitto_version(asked: str | None) -> tuple[int, ...]:
    if asked is not None:
        version = mosquitto_conf.parse_version(asked)
        if version is None:
            raise UsageError(f"{asked!r} is no version", "for example --mosquitto 2.0.21")
        return version
    program = shutil.which("mosquitto", path=_PATH)
    if program is None:
        return mosquitto_conf.OLDEST
    said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - no shell
    return mosquitto_conf.parse_version(said.stdout) or mosquitto_conf.OLDEST


def _name(text: str, kind: object, what: str) -> str:
    try:
        return str(msgspec.convert(text, kind))
    except msgspec.ValidationError as err:
        raise UsageError(
            f"{text!r} is no {what}",
            "at most 32 small letters, digits and -, beginning with a letter or digit",
        ) from err


def _reload(folder: Folder, what: str) -> str:
    return f"next: copy {what} of {folder.broker} to the broker, then: sudo systemctl reload mosquitto"


def _restart(folder: Folder) -> str:
    return (
        f"next: copy acl and ca.crl of {folder.broker} to the broker, then: sudo systemctl restart mosquitto"
    )


def _folder(arguments: argparse.Namespace) -> Folder:
    return Folder(Path(arguments.folder), dt.datetime.now(dt.UTC))


def _tell(*lines: str) -> None:
    sys.stdout.write("".join(line + "\n" for line in lines))
