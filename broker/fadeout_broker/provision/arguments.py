"""The command lines of provisioning; what they do is loaded when one of them is run."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from fadeout_broker import connection_options

if TYPE_CHECKING:
    from collections.abc import Callable

BROKER_FOLDER = "/etc/mosquitto/fadeout"
DEVICE_FOLDER = "/etc/fadeout/mqtt"
ROLES = ("device", "subscriber", "reader", "home-assistant")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the command's parser."""
    _provision(commands)

    device = _verb(commands, "add-device", "make certificate, key and settings for one more device")
    device.add_argument(
        "node", metavar="NODE", help="its name in topics: small letters, digits and -; no host name"
    )
    _device_folder(device)

    subscriber = _verb(commands, "add-subscriber", "make certificate and key for a program that listens")
    subscriber.add_argument("name", metavar="NAME", help="its name; it acknowledges erasures under it")
    kind = subscriber.add_mutually_exclusive_group()
    kind.add_argument("--read-only", action="store_true", help="it may give no commands")
    kind.add_argument(
        "--home-assistant", action="store_true", help="it is Home Assistant, which finds devices"
    )

    rotate = _verb(commands, "rotate", "make a new key and certificate, and revoke the old one")
    named = rotate.add_argument("name", metavar="NAME", help='a device, a subscriber, or "broker"')
    named.completer = _complete_names  # type: ignore[attr-defined]  # how argcomplete is told
    rotate.add_argument("--keep-old", action="store_true", help="do not revoke the old one yet")
    rotate.add_argument("--host", action="append", default=[], help="of the broker: its names from now on")

    revoke = _verb(commands, "revoke", "have the broker refuse somebody's certificates")
    named = revoke.add_argument("name", metavar="NAME", help="a device or a subscriber")
    named.completer = _complete_names  # type: ignore[attr-defined]  # how argcomplete is told
    revoke.add_argument("--old", action="store_true", help="only those from before the last rotate")

    list_ = _verb(commands, "list", "show every certificate, and in how many days it ends")
    list_.add_argument("--json", action="store_true", help="one JSON object per line")

    _check(commands)


def _provision(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _verb(
        commands,
        "provision",
        "write a complete Mosquitto setup: TLS 1.3, certificates, who may do what",
        """
        examples:
          fadeout-broker provision house --host broker.local --host 192.168.1.5 --node sp-7f3a9c
          fadeout-broker add-subscriber house homeassistant --home-assistant
        then see house/README. Run again, it makes what is missing and overwrites nothing.
        """,
    )
    parser.add_argument(
        "--host", action="append", default=[], metavar="NAME",
        help="a name or address by which clients call the broker; may be repeated (default: this machine's)",
    )  # fmt: skip
    parser.add_argument("--node", help="the first device, as with add-device")
    parser.add_argument(
        "--port",
        type=connection_options.port,
        default=connection_options.TLS_PORT,
        help=f"the broker's TCP port (default: {connection_options.TLS_PORT})",
    )
    parser.add_argument("--bind", metavar="ADDRESS", help="listen on this address only (default: all)")
    parser.add_argument(
        "--one-connection",
        action="store_true",
        help="one connection for each certificate, so that nobody can push a device out with its client id",
    )
    parser.add_argument(
        "--persistence", action="store_true", help="keep retained and queued messages on the disk"
    )
    parser.add_argument(
        "--mosquitto",
        metavar="VERSION",
        help="the broker's version (default: that of this machine, else 2.0.11)",
    )
    parser.add_argument(
        "--broker-folder", default=BROKER_FOLDER, metavar="PATH",
        help=f"where the files will be on the broker's machine (default: {BROKER_FOLDER})",
    )  # fmt: skip
    _device_folder(parser)


def _check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="try out a broker: what must work, and what must be refused",
        description="Connect, publish, try what must be refused, and say in plain words what is wrong.",
        epilog=textwrap.dedent("""
        examples:
          fadeout-broker check --config /etc/fadeout/fadeout.toml       as the device does
          fadeout-broker check --host broker.local --tls --ca-file ca.crt \\
            --cert-file client.crt --key-file client.key                as a subscriber does
        What it sends is harmless. The exit code is 0 if nothing failed, else 1.
        """),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    connection_options.add(parser)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="take the rest from a fadeout.toml's [mqtt]"
    )
    parser.add_argument("--node", help="the device's name in topics, or the subscriber's user name")
    parser.add_argument(
        "--role",
        choices=ROLES,
        help="what to try things out as (default: what our certificate says, else a device)",
    )
    parser.add_argument(
        "--with-own-id",
        action="store_true",
        help="connect as the device itself does, to see whether another has its name; stop fadeout before",
    )
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for each answer (10)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=_run_check)


def _run_check(arguments: argparse.Namespace) -> int:
    from fadeout_broker.provision import check  # noqa: PLC0415 - each command loads only what it needs

    return check.run(arguments)


def _verb(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, says: str, more: str = ""
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=says, description=f"{says[0].upper()}{says[1:]}.", epilog=textwrap.dedent(more),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", metavar="DIR", help="the folder that provision makes")
    parser.set_defaults(run=_later(name.replace("-", "_")))
    return parser


def _later(verb: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        from fadeout_broker.provision import verbs  # noqa: PLC0415 - each command loads only what it needs

        function: Callable[[argparse.Namespace], int] = getattr(verbs, "list_" if verb == "list" else verb)
        return function(arguments)

    return run


def _complete_names(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return who is in the folder, for the shell."""
    return [path.parent.name for path in Path(parsed_args.folder).glob("*/*/client.crt")]


def _device_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device-folder", default=DEVICE_FOLDER, metavar="PATH",
        help=f"where the files will be on the device (default: {DEVICE_FOLDER})",
    )  # fmt: skip
