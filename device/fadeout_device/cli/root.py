"""`fadeout root`, `root migrate`, `root erase`: where the root of all keys lives, and moving it.

All work without a running fadeout. The command itself never opens a root store: a
confined vault process moves or erases the root.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from fadeout_device import config
from fadeout_device.cli import shown
from fadeout_device.cli.places import config_file, state_folder
from fadeout_device.errors import StorageError, UsageError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser(
        "root",
        help="say where the root of all keys lives, and what erasing protects against there",
        description="Says where the root of all keys lives. Works whether or not fadeout runs.",
    )
    verb.set_defaults(run=show)
    more = verb.add_subparsers(metavar="WORD", title="what else there is")
    word = more.add_parser(
        "migrate",
        help="move the root to the store that the configuration names",
        description=(
            "Stop fadeout, write the new root_store under [vault], run this, start fadeout. Everything"
            " that is held stays readable, and nothing that was erased comes back. If it is cut off, even"
            " by a power failure, run it again."
        ),
    )
    word.set_defaults(run=migrate)
    word = more.add_parser(
        "erase",
        help="erase the root of a state folder that is gone, so that a new one can use the chip",
        description=(
            "For a chip that still holds the root of another state folder. Whatever was sealed there can"
            " never be read again, by anybody. A folder's own keys are erased by fadeout erase --all --now."
        ),
    )
    word.add_argument("--yes", action="store_true", help="yes, destroy it; needed")
    word.set_defaults(run=erase)


def show(arguments: argparse.Namespace) -> int:
    """Say where the root lives."""
    from fadeout_device.vault import root_home, roots  # noqa: PLC0415 - loads cryptography
    from fadeout_device.vault.durable import storage_errors  # noqa: PLC0415 - the same

    state = state_folder(arguments)
    configured = config.load(config_file(arguments)).vault.root_store
    with storage_errors(state):
        home, is_moving = root_home.home_of(state), root_home.is_moving(state)
    protects, does_not = roots.worth(home or configured)
    if arguments.json:
        shown.print_json(
            {
                "root_store": home,
                "configured": configured,
                "is_moving": is_moving,
                "root_protects": protects,
                "root_does_not": does_not,
            }
        )
        return 0
    lives = home or f"nowhere yet; the first start will use {configured}"
    rows = [
        ["root store", lives],
        ["protects against", protects],
        ["does not protect against", does_not],
    ]
    shown.print_table(f"the root of all keys in {state}", ["", ""], rows)
    if is_moving:
        shown.print_lines("a move was cut off: run `fadeout root migrate` again, or start fadeout")
    elif home not in (None, configured):
        shown.print_lines(f"the configuration names {configured}: move the root with `fadeout root migrate`")
    return 0


def migrate(arguments: argparse.Namespace) -> int:
    """Move the root, in a vault process of its own."""
    code, moved = _in_a_vault(arguments, "--migrate-root")
    if code != 0:
        return code  # it has said why
    if arguments.json:
        shown.print_json(moved)
    elif moved["from"] == moved["to"]:
        shown.print_lines(f"the root of all keys lives in {moved['to']}, as the configuration says")
    else:
        shown.print_lines(f"moved the root of all keys from {moved['from']} to {moved['to']}")
    return 0


def erase(arguments: argparse.Namespace) -> int:
    """Erase another folder's root, in a vault process of its own."""
    if not arguments.yes:
        raise UsageError(
            "everything that another state folder holds under this root would be lost", "if so, say --yes"
        )
    code, done = _in_a_vault(arguments, "--erase-root")
    if code != 0:
        return code
    if arguments.json:
        shown.print_json(done)
    else:
        shown.print_lines(f"the root store {done['erased']} holds no root any more")
    return 0


def _in_a_vault(arguments: argparse.Namespace, option: str) -> tuple[int, dict[str, str]]:
    """Let a vault do it, and return its exit code and its answer."""
    path, state = config_file(arguments), state_folder(arguments)
    config.load(path)
    _refuse_another_user(state)
    command = [sys.executable, "-m", "fadeout_device.vault", "--state", str(state), option]
    if path is not None:
        command += ["--config", str(path.absolute())]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 - our own
    return ended.returncode, json.loads(ended.stdout or "{}")


def _refuse_another_user(state: Path) -> None:
    """Stop root from leaving files that the vault's own user could not read."""
    try:
        owner = state.stat().st_uid
    except OSError:
        return  # the vault says what is wrong
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise StorageError(f"{state} belongs to {name}", f"run this as {name}, like fadeout itself")
