"""`fadeout export` and `fadeout recipients`: encrypted copies for those who were enrolled at the device.

The vault encrypts; this command has the age file and never what is in it.
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fadeout_device import answers, questions
from fadeout_device.cli import shown
from fadeout_device.cli.naming import add_naming, complete_recipients, since_s
from fadeout_device.cli.new_file import NewFile
from fadeout_device.cli.places import state_folder
from fadeout_device.cli.vault_client import ask, export_parts
from fadeout_device.errors import UsageError, WireError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

_GROUP_DIGITS = 8
_SEPARATORS = re.compile(r"[\s:]")


class Written(NamedTuple):
    """An age file that is complete and has its name."""

    file: str
    size_bytes: int
    recordings: tuple[str, ...]
    recipient: str
    fingerprint: str


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser(
        "export",
        help="write recordings to a file that only an enrolled recipient can open (age)",
        description="Name what to export in one way. The file opens with: age -d -i KEYFILE FILE | tar x."
        " fadeout cannot erase what is in it.",
    )
    add_naming(verb)
    to = verb.add_argument("--to", required=True, metavar="NAME", help="a recipient: fadeout recipients list")
    to.completer = complete_recipients
    verb.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the file to write")
    verb.add_argument("--force", action="store_true", help="replace the file if there is one")
    verb.set_defaults(run=export)

    verb = verbs.add_parser("recipients", help="list, enrol and remove those who may be exported to")
    verb.set_defaults(run=list_recipients)
    deeds = verb.add_subparsers(metavar="DEED", title="deeds")
    deed = deeds.add_parser("list", help="list the recipients")
    deed.set_defaults(run=list_recipients)
    deed = deeds.add_parser("add", help="enrol somebody; asks you to read the key's fingerprint back")
    deed.add_argument("name", metavar="NAME", help="a-z, 0-9, - and _")
    deed.add_argument("key", metavar="age1…", help="the public key: age-keygen -y KEYFILE prints it")
    deed.set_defaults(run=add)
    deed = deeds.add_parser("confirm", help="confirm a key by its fingerprint, where nobody can be asked")
    _add_name(deed)
    deed.add_argument("fingerprint", nargs="+", metavar="FINGERPRINT", help="32 digits, in groups or not")
    deed.set_defaults(run=confirm)
    deed = deeds.add_parser("remove", help="export to somebody no more")
    _add_name(deed)
    deed.set_defaults(run=remove)


def _add_name(deed: argparse.ArgumentParser) -> None:
    name = deed.add_argument("name", metavar="NAME", help="the recipient")
    name.completer = complete_recipients  # type: ignore[attr-defined]  # how argcomplete is told


# ---- exporting


def export(arguments: argparse.Namespace) -> int:
    """Write recordings to an age file."""
    command = questions.Export(
        recordings=tuple(arguments.recordings), last=arguments.last, since_s=since_s(arguments),
        everything=arguments.everything, to=arguments.to,
    )  # fmt: skip
    path = arguments.output.absolute()
    with NewFile(path, may_replace=arguments.force) as file:
        written = _receive(arguments, command, file)
        file.commit()
    if arguments.json:
        shown.print_json(written._replace(file=str(path))._asdict())
        return 0
    shown.print_lines(
        f"wrote {arguments.output}: {shown.count(len(written.recordings), 'recording')},"
        f" {written.size_bytes / 1024:.0f} KiB, for {written.recipient} only;"
        " fadeout does not erase this copy",
        f"there: age -d -i KEYFILE {arguments.output.name} | tar x",
    )
    return 0


def _receive(arguments: argparse.Namespace, command: questions.Export, file: NewFile) -> Written:
    parts = export_parts(state_folder(arguments), command)
    begins, _ = next(parts)
    assert isinstance(begins, answers.ExportBegins)  # noqa: S101 - `export_parts` sees to it
    size_bytes = 0
    with _progress(begins, quiet=arguments.json) as advance:
        for part, data in parts:
            if isinstance(part, answers.ExportEnds):
                if part.size_bytes != size_bytes:
                    raise WireError(f"{size_bytes} bytes of an export of {part.size_bytes} came")
                return Written("", size_bytes, part.recordings, begins.recipient, begins.fingerprint)
            assert isinstance(part, answers.ExportPart)  # noqa: S101 - the same
            size_bytes += len(data)
            if size_bytes > begins.most_bytes:
                raise WireError(f"an export of at most {begins.most_bytes} bytes does not end")
            file.write(data)
            advance(part.opened)
    raise AssertionError("`export_parts` ends with the end, or raises")


@contextlib.contextmanager
def _progress(begins: answers.ExportBegins, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    if quiet or not sys.stderr.isatty():
        yield lambda _opened: None
        return
    from rich.console import Console  # noqa: PLC0415 - late: most commands never need it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = TextColumn("encrypting to {task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(begins.recipient, total=begins.recordings)
        yield lambda opened: bar.update(task, completed=opened)


# ---- recipients


def list_recipients(arguments: argparse.Namespace) -> int:
    """List who may be exported to."""
    answer, _ = ask(arguments, questions.ListRecipients(), answers.Recipients)
    if arguments.json:
        shown.print_json(answer.recipients)
    elif not answer.recipients:
        shown.print_lines("nobody is enrolled: nothing can be exported")
    else:
        rows = [
            [row.name, _grouped(row.fingerprint), "" if row.is_confirmed else "not confirmed", row.key]
            for row in answer.recipients
        ]
        shown.print_table("recipients", ["name", "fingerprint", "", "key"], rows)
    return 0


def add(arguments: argparse.Namespace) -> int:
    """Enrol somebody, and have the fingerprint read back."""
    row = _ask_one(arguments, questions.AddRecipient(arguments.name, arguments.key))
    if arguments.json:
        shown.print_json(row)
        return 0
    if row.is_confirmed:
        shown.print_lines(f"{row.name} is enrolled and confirmed")
        return 0
    shown.print_lines(
        f"fingerprint of {row.name}'s key: {_grouped(row.fingerprint)}",
        "where the key was made, this prints the same 32 digits first: printf %s KEY | sha256sum",
    )
    if not sys.stdin.isatty():
        shown.print_lines(f"not confirmed yet: fadeout recipients confirm {row.name} FINGERPRINT")
        return 0
    sys.stdout.write(f"compare, then type the first {_GROUP_DIGITS} digits from there: ")
    sys.stdout.flush()
    typed = sys.stdin.readline()
    if _SEPARATORS.sub("", typed).lower() not in (row.fingerprint[:_GROUP_DIGITS], row.fingerprint):
        _ask_one(arguments, questions.RemoveRecipient(row.name))
        raise UsageError(
            f"that is not how the fingerprint begins; {row.name} is not enrolled",
            "have the key sent again, another way, and compare",
        )
    _ask_one(arguments, questions.ConfirmRecipient(row.name, row.fingerprint))
    shown.print_lines(f"{row.name} is enrolled: fadeout export … --to {row.name}")
    return 0


def confirm(arguments: argparse.Namespace) -> int:
    """Confirm a key by its fingerprint."""
    fingerprint = "".join(arguments.fingerprint)
    row = _ask_one(arguments, questions.ConfirmRecipient(arguments.name, fingerprint))
    return _said(arguments, row, f"{row.name} is enrolled: fadeout export … --to {row.name}")


def remove(arguments: argparse.Namespace) -> int:
    """Take somebody off the list."""
    row = _ask_one(arguments, questions.RemoveRecipient(arguments.name))
    return _said(arguments, row, f"{row.name} is not exported to any more; what was exported stays theirs")


def _said(arguments: argparse.Namespace, row: answers.RecipientRow, words: str) -> int:
    if arguments.json:
        shown.print_json(row)
    else:
        shown.print_lines(words)
    return 0


def _ask_one(arguments: argparse.Namespace, command: questions.Command) -> answers.RecipientRow:
    answer, _ = ask(arguments, command, answers.Recipients)
    return msgspec.convert(answer.recipients[0], answers.RecipientRow)


def _grouped(digits: str) -> str:
    return " ".join(digits[at : at + _GROUP_DIGITS] for at in range(0, len(digits), _GROUP_DIGITS))
