"""Who may read and write which topics, as Mosquitto's `acl_file`.

Devices share patterns: Mosquitto puts the user name, which is the certificate's
name, where `%u` stands, so a new device needs no new line. Subscribers have a block
each, and are denied the topics of a device of their own name, which the patterns
would give them. What nothing allows is refused.

Source: mosquitto.conf(5), "acl_file"; a `deny` in a user's block is looked at before the patterns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fadeout_broker import contract
from fadeout_broker.provision.certificates import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = contract.TOPIC_ROOT
DISCOVERY = "homeassistant"
OWN_LINES = "# ---- Your own lines go below this one; they are kept."

_HEAD = """\
# Who may read and write what. Made by fadeout-broker provision, and made anew when a subscriber is added
# or anybody revoked. Names are those in the certificates. What is not allowed here is refused.
#
# Mosquitto reads it again on SIGHUP: sudo systemctl reload mosquitto
"""


class Client(NamedTuple):
    """Somebody with a certificate."""

    name: str
    role: Role
    is_revoked: bool
    """None of their certificates is good any more."""


def device_writes() -> tuple[str, ...]:
    """Return the topics that a device writes; `%u` stands for its name."""
    ours = f"{ROOT}/%u/"
    return (
        f"{ours}availability",
        *(ours + kind.topic for kind in contract.OUTGOING),
        f"{ours}reply/#",
        # It asks itself whether commands and acknowledgements arrive.
        f"{ours}cmd/ping",
        f"{ours}erase/ack/%u",
        f"{DISCOVERY}/device/%u/config",
    )


def device_reads() -> tuple[str, ...]:
    """Return the topic filters that a device reads; `%u` stands for its name."""
    return (f"{ROOT}/%u/cmd/+", f"{ROOT}/%u/erase/ack/+", f"{DISCOVERY}/status")


def text(clients: Iterable[Client], own_lines: str = "") -> str:
    """Return the file.

    Args:
        clients: everybody with a certificate.
        own_lines: what the operator has added.
    """
    parts = [_HEAD, "# Every device: its own topics, and nobody else's."]
    parts += [f"pattern write {topic}" for topic in device_writes()]
    parts += [f"pattern read {topic}" for topic in device_reads()]
    for client in sorted(clients):
        parts += _block(client)
    return "\n".join([*parts, "", OWN_LINES]) + "\n" + own_lines


def own_lines_of(old: str) -> str:
    """Return what the operator has added to a file that `text` has made."""
    return old.partition(OWN_LINES + "\n")[2]


def _block(client: Client) -> list[str]:
    name = client.name
    if client.is_revoked:
        # The certificate is refused already; this silences a connection that is still open.
        return ["", "# Revoked.", f"user {name}", "topic deny #"]
    if client.role is Role.DEVICE:
        return []
    reads = [f"topic read {ROOT}/#"]
    acknowledges = [f"topic write {ROOT}/+/erase/ack/{name}"]
    commands = [f"topic write {ROOT}/+/cmd/+"]
    not_a_device = [f"topic deny {ROOT}/{name}/#"]
    no_discovery = f"topic deny {DISCOVERY}/device/{name}/config"
    match client.role:
        case Role.READER:
            lines = [*not_a_device, no_discovery, *reads, *acknowledges]
            says = "Reads and acknowledges; gives no commands."
        case Role.HOME_ASSISTANT:
            lines = [*not_a_device, *reads, *acknowledges, *commands, f"topic readwrite {DISCOVERY}/#"]
            says = "Home Assistant."
        case _:
            lines = [*not_a_device, no_discovery, *reads, *acknowledges, *commands]
            says = "Reads, acknowledges, and may mute, erase, shorten and report results."
    return ["", f"# {says}", f"user {name}", *lines]
