"""`python -m fadeout_device.vault`: the vault's command line and exit code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import fadeout_device.vault.lean  # noqa: F401 - before anything else
from fadeout_device.confine import confine
from fadeout_device.errors import FadeoutError

_HANDOVER = "--handover"
"""Given by the vault to itself when it becomes a new process: see `handover.py`."""


def main() -> int:
    """Run the vault until it is told to stop."""
    try:
        # First of all: what is imported below must not have the network either.
        confinement = confine(is_confined=_HANDOVER in sys.argv)
        from fadeout_device import config  # noqa: PLC0415 - after confine
        from fadeout_device.actions_file import with_reported_actions  # noqa: PLC0415
        from fadeout_device.logs import start_logging  # noqa: PLC0415
        from fadeout_device.vault import app  # noqa: PLC0415

        start_logging("vault")
        parser = argparse.ArgumentParser(prog="python -m fadeout_device.vault", description=__doc__)
        parser.add_argument("--state", type=Path, required=True, help="the state folder")
        parser.add_argument("--config", type=Path, help="the configuration file; none for the defaults")
        parser.add_argument("--replay-clock", type=float, metavar="UNIX_S", help="let the audio be the clock")
        parser.add_argument("--mqtt", metavar="HOST:PORT", help="this broker, not the configuration's")
        words = "move the root to the store that the configuration names, and stop"
        parser.add_argument("--migrate-root", action="store_true", help=words)
        words = "erase another state folder's root from the configured store, and stop"
        parser.add_argument("--erase-root", action="store_true", help=words)
        parser.add_argument(_HANDOVER, type=int, help=argparse.SUPPRESS)
        arguments = parser.parse_args()
        loaded = with_reported_actions(config.load(arguments.config))
        if arguments.mqtt is not None:
            loaded = config.with_broker(loaded, arguments.mqtt)
        settings = app.Settings(arguments.state, loaded, arguments.replay_clock, arguments.handover)
        if arguments.migrate_root:
            moved = app.move_root(settings)
            print(json.dumps({"from": moved.source, "to": moved.target}))  # noqa: T201 - for `fadeout root`
        elif arguments.erase_root:
            print(json.dumps({"erased": app.erase_root(settings)}))  # noqa: T201 - the same
        else:
            app.run(settings, confinement)
    except FadeoutError as err:
        print(*err.lines(), sep="\n", file=sys.stderr)  # noqa: T201 - this is a command
        return err.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
