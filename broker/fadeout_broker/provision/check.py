"""The command `check`: asks a broker everything in `questions`, and shows the answers."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fadeout_broker import connection_options, failures
from fadeout_broker.errors import SettingsError, UsageError
from fadeout_broker.provision import certificates
from fadeout_broker.provision.certificates import SOON_DAYS, Known, Role
from fadeout_broker.provision.questions import Examiner, Finding

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from fadeout_broker.arrow import BrokerSettings


def run(arguments: argparse.Namespace) -> int:
    """Ask everything and show it; return 0 if nothing failed.

    Raises:
        FadeoutBrokerError: the options or the files that they name cannot be used.
    """
    settings = connection_options.settings(arguments, arguments.config)
    known = _certificate(settings)
    name = arguments.node or settings.node or (known.name if known else None) or settings.username
    if name is None:
        raise UsageError(
            "who are we to this broker?", "name it with --node, or with --cert-file or --username"
        )
    role = Role(arguments.role) if arguments.role else (known.role if known else Role.DEVICE)
    findings: list[Finding] = []
    for each in _ask(settings, name, role, known, arguments):
        finding = each if arguments.config else _of_options(each)
        findings.append(finding)
        if arguments.json:
            sys.stdout.write(msgspec.json.encode(finding).decode() + "\n")
            sys.stdout.flush()
    if not arguments.json:
        _show(findings)
    return int(any(finding.status == "failed" for finding in findings))


def _ask(
    settings: BrokerSettings, name: str, role: Role, known: Known | None, arguments: argparse.Namespace
) -> Iterator[Finding]:
    if known is not None:
        yield _of_certificate(known, name, dt.datetime.now(dt.UTC))
    examiner = Examiner(settings, name, role, arguments.timeout)
    yield from examiner.ask(with_own_id=arguments.with_own_id)


def _of_options(finding: Finding) -> Finding:
    """Name the options of this command where the words name a file that nobody gave."""
    next_step = None if finding.next is None else failures.as_options(finding.next)
    return msgspec.structs.replace(finding, detail=failures.as_options(finding.detail), next=next_step)


def _certificate(settings: BrokerSettings) -> Known | None:
    """Return what our certificate says; None: we have none, or one from elsewhere."""
    if settings.cert_file is None:
        return None
    try:
        return certificates.read(Path(settings.cert_file).read_bytes())
    except (OSError, SettingsError):
        return None  # connecting says what is wrong with it, if anything is


def _of_certificate(known: Known, name: str, now: dt.datetime) -> Finding:
    check = "is who it says"
    days = (known.not_after - now).days
    if known.name != name:
        return Finding(
            check,
            "failed",
            f"we say {name}, our certificate says {known.name}: the broker goes by that",
            f"set [mqtt] node to {known.name}, or use the files of {name}",
        )
    if days < 0:
        return Finding(check, "failed", "our certificate has expired", "fadeout-broker rotate")
    soon = "fadeout-broker rotate" if days < SOON_DAYS else None
    return Finding(check, "ok", f"{known.name}, {known.role}; the certificate ends in {days} days", soon)


def _show(findings: list[Finding]) -> None:
    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "check", "found"):
        table.add_column(heading, overflow="fold")
    styles = {"ok": "green", "failed": "bold red", "skipped": "dim"}
    for finding in findings:
        found = finding.detail if finding.next is None else f"{finding.detail}\nnext: {finding.next}"
        # Text: what a broker says is not to be taken for markup.
        table.add_row(Text(finding.status, style=styles[finding.status]), finding.check, Text(found))
    Console().print(table)
