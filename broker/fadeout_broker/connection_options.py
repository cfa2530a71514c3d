"""How commands are told where a broker is: on the command line, or by a `fadeout.toml`."""

from __future__ import annotations

import argparse
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_broker import arrow
from fadeout_broker.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

TLS_PORT = 8883
"""secure-mqtt, in IANA's registry."""

SETTINGS = ("host", "port", "username", "password_file", "tls", "ca_file", "cert_file", "key_file")


def add(
    parser: argparse._ActionsContainer, *, host: str = "the broker (default: localhost)", username: str = ""
) -> None:
    """Add the options to a command, or to a group of its options.

    Args:
        parser: to which.
        host: the help of `--host`.
        username: what has to be said about the user.
    """
    parser.add_argument("--host", help=host)
    parser.add_argument("--port", type=port, help="its TCP port (default: 1883, with --tls 8883)")
    parser.add_argument("--username", help=f"log in as this user{username}")
    parser.add_argument("--password-file", help="a file with the password on its first line")
    parser.add_argument("--tls", action="store_true", default=None, help="encrypt, and check the certificate")
    parser.add_argument("--ca-file", help="the broker's CA (default: those of this system)")
    parser.add_argument("--cert-file", help="our client certificate")
    parser.add_argument("--key-file", help="its key")


def settings(arguments: argparse.Namespace, config: Path | None = None) -> arrow.BrokerSettings:
    """Return what the options say; what they leave open is as in the `[mqtt]` table of `config`.

    Raises:
        UsageError: an option that cannot be.
        SettingsError: a configuration that cannot be read.
    """
    given = {name: getattr(arguments, name) for name in SETTINGS if getattr(arguments, name) is not None}
    if arguments.tls and config is None:
        given.setdefault("port", TLS_PORT)
    try:
        return msgspec.convert(_table(config) | given, arrow.BrokerSettings)
    except msgspec.ValidationError as err:
        if config is not None:
            raise SettingsError(f"{config}: [mqtt]: {err}", "fadeout check-config names the line") from err
        raise UsageError(f"an option has no usable value: {err}", "see --help of this command") from err


def port(text: str) -> int:
    """Read a port; for argparse."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:  # noqa: PLR2004 - RFC 9293, 16 bits
        raise argparse.ArgumentTypeError(f"{text!r} is no port: allowed are 1 to 65535")
    return int(text)


def _table(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        with config.open("rb") as file:
            table = tomllib.load(file).get("mqtt", {})
    except OSError as err:
        raise SettingsError(f"{config}: {(err.strerror or '').lower()}", "check --config") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise SettingsError(f"{config}: {err}", "fadeout check-config names the line") from err
    return dict(table) if isinstance(table, dict) else {}
