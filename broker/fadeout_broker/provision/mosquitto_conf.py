"""The lines of mosquitto.conf(5) that make a Mosquitto fit for fadeout; docs/broker.md explains them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import PurePosixPath

RETAIN_EXPIRY_SINCE = (2, 0, 21)
OLDEST = (2, 0, 11)
"""Debian 12's; what is assumed where no Mosquitto is installed."""


class Choices(NamedTuple):
    """What the operator chose."""

    folder: PurePosixPath
    """Where the broker's files will be on its machine."""
    port: int
    bind: str | None
    """The address to listen on; None: all."""
    is_persistent: bool
    one_connection: bool
    """Per certificate, whatever client ids are claimed."""
    version: tuple[int, ...]
    """The Mosquitto that will read this."""


def text(choices: Choices) -> str:
    """Return the file. It fits below Debian's own mosquitto.conf, which includes it."""
    folder = choices.folder
    where = f"{choices.port}" if choices.bind is None else f"{choices.port} {choices.bind}"
    return "\n".join(
        [
            "# Mosquitto for fadeout. Made by fadeout-broker provision; docs/broker.md explains each line.",
            "",
            "# true is broken in 2.0.21, Debian 13's: queues stay empty and wills unsent. 2.1 warns: let it.",
            "per_listener_settings false",
            "",
            f"listener {where}",
            f"certfile {folder}/broker.crt",
            f"keyfile {folder}/broker.key",
            f"cafile {folder}/ca.crt",
            f"crlfile {folder}/ca.crl",
            "tls_version tlsv1.3",
            "# Who somebody is stands in the certificate; there are no passwords.",
            "require_certificate true",
            "use_identity_as_username true",
            "max_connections 256",
            *_client_ids(choices),
            "",
            "allow_anonymous false",
            f"acl_file {folder}/acl",
            "# A retained message goes to nobody any more when whoever wrote it lost the right to.",
            "check_retain_source true",
            "",
            *_persistence(choices),
            "",
            "# fadeout's largest message has 3 kB. Raise this one if others share the broker.",
            "max_packet_size 65536",
            "# Per client that is away or slow; what is more is dropped, and nobody is told.",
            "max_queued_messages 1000",
            "max_inflight_messages 20",
            "",
            '# Never "all", "debug" or "subscribe": they log topics, which say what happened when.',
            "log_type error",
            "log_type warning",
            "log_type notice",
            "",
        ]
    )


def _client_ids(choices: Choices) -> list[str]:
    if not choices.one_connection:
        return []
    return [
        "# One connection for each certificate: nobody can push a device out with its client id.",
        "use_username_as_clientid true",
    ]


def _persistence(choices: Choices) -> list[str]:
    if not choices.is_persistent:
        lines = [
            "# Nothing on the disk: each device publishes anew what it retains.",
            "persistence false",
        ]
    else:
        lines = [
            "# What was cleared is gone from mosquitto.db at once; the default is after half an hour.",
            "persistence true",
            "autosave_on_changes true",
            "autosave_interval 1",
        ]
    lines.append("persistent_client_expiration 30d")
    if choices.version >= RETAIN_EXPIRY_SINCE:
        lines.append("retain_expiry_interval 1")
    else:
        lines.append("# From Mosquitto 2.0.21 on also: retain_expiry_interval 1")
    return lines


def port_of(conf: str) -> int | None:
    """Return the port that the file has the broker listen on."""
    found = re.search(r"^listener[ \t]+(\d{1,5})\b", conf, re.MULTILINE)
    return int(found[1]) if found else None


def parse_version(text: str) -> tuple[int, ...] | None:
    """Find a version in what `mosquitto -h` says, or in an argument."""
    found = re.search(r"(?:^|version )(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else None
