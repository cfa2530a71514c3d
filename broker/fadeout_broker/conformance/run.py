"""`fadeout-broker conformance`: tries anybody's subscriber, with a device that is only played."""

from __future__ import annotations

import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fadeout_broker.arrow import BrokerSettings
from fadeout_broker.conformance import report
from fadeout_broker.conformance.checks import all_checks
from fadeout_broker.conformance.places import Database, Files, Query
from fadeout_broker.conformance.played import PlayedDevice
from fadeout_broker.conformance.target import Child, Commands
from fadeout_broker.conformance.trial import Trial
from fadeout_broker.conformance.verdict import conforms
from fadeout_broker.errors import UsageError
from fadeout_broker.local import LocalBroker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fadeout_broker.conformance.places import Place
    from fadeout_broker.conformance.target import Absence
    from fadeout_broker.conformance.verdict import Result


class Order(NamedTuple):
    """What the command line asks for."""

    broker: BrokerSettings | None
    """None: one of our own."""
    node: str | None
    target: str | None
    pause: str | None
    resume: str | None
    files: Sequence[Path]
    databases: Sequence[Path]
    queries: Sequence[str]
    consumer: str | None
    patience_s: float
    ttl_s: int
    as_json: bool
    junit: Path | None


def run(order: Order) -> int:
    """Try a subscriber; return 0 if it forgot everything, else 1.

    Raises:
        UsageError: nothing to look at, or options that do not go together.
        UnavailableError: no broker, or it was lost.
    """
    _refuse(order)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = _results(order)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    is_conforming = conforms(results, must_acknowledge=order.consumer is not None)
    if order.as_json:
        print(report.as_json(results, is_conforming=is_conforming))  # noqa: T201 - the report
    else:
        print(report.summary(results, is_conforming=is_conforming))  # noqa: T201 - the report
    if order.junit is not None:
        try:
            order.junit.write_bytes(report.as_junit(results))
        except OSError as err:
            raise UsageError(
                f"{order.junit}: {str(err.strerror).lower()}", "name another --junit file"
            ) from err
    return 0 if is_conforming else 1


def _refuse(order: Order) -> None:
    if not (order.files or order.databases or order.queries):
        raise UsageError("nowhere to look", "name what it keeps: --file, --database or --query")
    if (order.pause is None) != (order.resume is None):
        raise UsageError("--pause and --resume go together", "give both, or neither")
    if order.target is not None and order.pause is not None:
        raise UsageError("--target is paused by stopping it", "leave --pause and --resume out")
    if order.target is None and order.broker is None:
        raise UsageError(
            "nobody would find a broker of our own", "give --target CMD, or the --host of a broker"
        )


def _results(order: Order) -> list[Result]:
    with ExitStack() as stack:
        settings = order.broker or _own_broker(stack)
        played = stack.enter_context(PlayedDevice(settings, order.node))
        environment = {
            "FADEOUT_BROKER_HOST": settings.host,
            "FADEOUT_BROKER_PORT": str(settings.port),
            "FADEOUT_NODE": played.node,
        }
        absence: Absence | None = None
        if order.target is not None:
            absence = stack.enter_context(Child(order.target, environment))
        elif order.pause is not None and order.resume is not None:
            absence = Commands(order.pause, order.resume, environment)
        places: list[Place] = [
            *(Files(path) for path in order.files),
            *(Database(path) for path in order.databases),
            *(Query(command, environment, order.patience_s) for command in order.queries),
        ]
        trial = Trial(
            played,
            places,
            absence,
            patience_s=order.patience_s,
            consumer=order.consumer,
            is_alone=order.broker is None,
        )
        if not order.as_json:
            print(report.HEADING.rstrip())  # noqa: T201 - the report
        results = []
        for result in all_checks(trial, order.ttl_s):
            results.append(result)
            if not order.as_json:
                print(report.row(result), flush=True)  # noqa: T201 - the report
        return results


def _own_broker(stack: ExitStack) -> BrokerSettings:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fadeout-conformance-")))
    broker = stack.enter_context(LocalBroker(folder))
    return BrokerSettings(host=broker.host, port=broker.port)
