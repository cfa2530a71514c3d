"""The command line of the conformance kit; what it does is loaded when it is run."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from fadeout_broker import connection_options, contract
from fadeout_broker.errors import UsageError

_EPILOG = """\
The target finds the broker in $FADEOUT_BROKER_HOST and $FADEOUT_BROKER_PORT, and the device's name in
$FADEOUT_NODE. Exit code 0: it forgot everything that it had to; 1: it did not, or we cannot tell.

  fadeout-broker conformance --target ./lights.py --database lights.db
  fadeout-broker conformance --host broker.lan --username sp-1 --password-file pw --node sp-1 \\
      --query 'influx query "from(bucket: \\"home\\") |> range(start: -1d)"' --consumer influx
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command's parser."""
    verb = commands.add_parser(
        "conformance",
        help="try whether a subscriber forgets what it must",
        description="Play a device to a subscriber, erase, and look whether it forgot what it says it did.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    target = verb.add_argument_group("the subscriber")
    target.add_argument(
        "--target",
        "--start",
        metavar="CMD",
        help="run it with sh, and stop it; also in between, to have it away",
    )
    target.add_argument("--pause", metavar="CMD", help="stops a subscriber that runs already")
    target.add_argument("--resume", metavar="CMD", help="starts it again")
    target.add_argument(
        "--consumer", help="its user name: only its acknowledgements count, and it must give them"
    )
    look = verb.add_argument_group("where it keeps events; each may be given several times")
    look.add_argument(
        "--file", type=Path, action="append", default=[], help="the bytes of a file, or of a folder's"
    )
    look.add_argument("--database", type=Path, action="append", default=[], help="a SQLite database")
    look.add_argument(
        "--query", metavar="CMD", action="append", default=[], help="what this prints; fails: cannot tell"
    )
    broker = verb.add_argument_group("the broker (default: one of our own, on loopback)")
    connection_options.add(broker, host="its name", username=", who must be allowed what a device is")
    broker.add_argument("--node", help="the played device's name in topics (default: a random one)")
    verb.add_argument(
        "--patience",
        type=_seconds,
        default=15.0,
        metavar="SECONDS",
        help="the longest wait (default: %(default)g)",
    )
    verb.add_argument(
        "--ttl", type=_whole_seconds, default=8, metavar="SECONDS",
        help="the life of the event that must end by itself (default: %(default)s)",
    )  # fmt: skip
    verb.add_argument("--json", action="store_true", help="one JSON object in the place of the table")
    verb.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML there, too")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from fadeout_broker.conformance import run  # noqa: PLC0415 - each command loads only what it needs

    is_given = any(getattr(arguments, name) is not None for name in connection_options.SETTINGS)
    settings = connection_options.settings(arguments) if is_given else None
    try:
        node = msgspec.convert(arguments.node, contract.Node | None)
        consumer = msgspec.convert(arguments.consumer, contract.Consumer | None)
    except msgspec.ValidationError as err:
        raise UsageError(
            f"an option has no usable value: {err}", "see fadeout-broker conformance --help"
        ) from err
    order = run.Order(
        broker=settings,
        node=node,
        target=arguments.target,
        pause=arguments.pause,
        resume=arguments.resume,
        files=arguments.file,
        databases=arguments.database,
        queries=arguments.query,
        consumer=consumer,
        patience_s=arguments.patience,
        ttl_s=arguments.ttl,
        as_json=arguments.json,
        junit=arguments.junit,
    )
    return run.run(order)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86400:  # noqa: PLR2004 - a day
        raise argparse.ArgumentTypeError(f"{text!r}: more than 0 and less than 86400 seconds")
    return seconds


def _whole_seconds(text: str) -> int:
    seconds = _seconds(text)
    if seconds < 2 or seconds != int(seconds):  # noqa: PLR2004 - with less nobody could look in time
        raise argparse.ArgumentTypeError(f"{text!r}: whole seconds, 2 or more")
    return int(seconds)
