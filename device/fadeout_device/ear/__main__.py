"""`python -m fadeout_device.ear`: the ear's command line and exit code."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import fadeout_device.ear.lean  # noqa: F401 - before anything else
from fadeout_device.confine import STARTED_AGAIN_VARIABLE, confine
from fadeout_device.errors import FadeoutError


def main() -> int:
    """Run the ear until it is told to stop."""
    try:
        # First of all: what is imported below must not have the network either.
        confine()
        from fadeout_device import config  # noqa: PLC0415 - after confine
        from fadeout_device.ear import app  # noqa: PLC0415
        from fadeout_device.logs import start_logging  # noqa: PLC0415
        from fadeout_device.policy import PolicyError  # noqa: PLC0415

        start_logging("ear")
        arguments = _parser().parse_args()
        loaded = config.load(arguments.config)
        if arguments.microphone is not None:
            loaded = config.with_microphone(loaded, arguments.microphone)
        settings = app.Settings(
            arguments.state, loaded, tuple(arguments.replay), arguments.speed, arguments.start_at,
            waits=STARTED_AGAIN_VARIABLE in os.environ, reports=arguments.report,
        )  # fmt: skip
        try:
            return app.run(settings)
        except PolicyError as err:
            # A model of [wake] that is not there, or cannot be run.
            raise config.located(err, arguments.config) from err
    except FadeoutError as err:
        print(*err.lines(), sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - this is a command
        if err.exit_code == os.EX_OSERR:
            # A thread is stuck in the sound system: nothing may wait for it, nor for what it holds.
            os._exit(err.exit_code)
        return err.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fadeout_device.ear", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the state folder")
    parser.add_argument("--config", type=Path, help="the configuration file; none for the defaults")
    parser.add_argument(
        "--replay", type=Path, nargs="+", default=(), metavar="PATH", help="files and folders"
    )
    parser.add_argument("--speed", choices=("max", "real"), default="max", help="of the replay")
    parser.add_argument(
        "--start-at", type=float, default=time.time(), metavar="UNIX_S",
        help="when the first file begins; now if not given",
    )  # fmt: skip
    parser.add_argument("--microphone", metavar="NAME", help="instead of the configuration's")
    parser.add_argument(
        "--report", action="store_true", help="print a line of JSON for what is heard at the microphone"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
