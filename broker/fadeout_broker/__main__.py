# PYTHON_ARGCOMPLETE_OK
"""The `fadeout-broker` command: a broker to try out, and a look at what leaves the device."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import argcomplete
import msgspec

from fadeout_broker import connection_options, contract
from fadeout_broker.conformance import arguments as conformance_arguments
from fadeout_broker.errors import FadeoutBrokerError, UsageError
from fadeout_broker.provision import arguments as provision_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = _parser()
    argcomplete.autocomplete(parser)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:
        # argparse says 2 where sysexits.h, and everything else here, says 64.
        return os.EX_USAGE if stop.code == 2 else int(stop.code or 0)  # noqa: PLR2004 - argparse's number
    try:
        code: int = arguments.run(arguments)
    except FadeoutBrokerError as err:
        from fadeout_broker import failures  # noqa: PLC0415 - each command loads only what it needs

        shown = "\n".join(err.lines()) + "\n"
        sys.stderr.write(shown if getattr(arguments, "config", None) else failures.as_options(shown))
        return err.exit_code
    return code


def _local(arguments: argparse.Namespace) -> int:
    from fadeout_broker import local  # noqa: PLC0415 - each command loads only what it needs

    return local.run(arguments.folder, arguments.port, as_json=arguments.json)


def _listen(arguments: argparse.Namespace) -> int:
    settings = connection_options.settings(arguments)
    try:
        node = msgspec.convert(arguments.node, contract.Node | None)
    except msgspec.ValidationError as err:
        raise UsageError(f"an option has no usable value: {err}", "see fadeout-broker listen --help") from err
    from fadeout_broker import listen  # noqa: PLC0415 - each command loads only what it needs

    return listen.run(settings, node, as_json=arguments.json, is_quiet=arguments.quiet)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fadeout-broker", description="The broker side of fadeout.")
    parser.add_argument("--version", action="version", version=f"fadeout-broker {version('fadeout')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    local = commands.add_parser("local", help="run a throw-away Mosquitto on this machine's loopback")
    local.add_argument("--folder", type=Path, help="where its configuration and log go (default: temporary)")
    local.add_argument("--port", type=connection_options.port, help="the TCP port (default: a free one)")
    local.add_argument("--json", action="store_true", help='print {"host": …, "port": …} when it is ready')
    local.set_defaults(run=_local)

    listen = commands.add_parser("listen", help="show every fadeout message that a broker passes on")
    connection_options.add(listen)
    listen.add_argument("--node", help="only this device's messages (default: all)")
    listen.add_argument("--json", action="store_true", help="one JSON object per line")
    listen.add_argument("--quiet", action="store_true", help="do not say on standard error that it listens")
    listen.set_defaults(run=_listen)

    conformance_arguments.add(commands)
    provision_arguments.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
