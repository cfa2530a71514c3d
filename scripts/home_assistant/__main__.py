"""Try the Home Assistant integration on a real Home Assistant; scripts/try_home_assistant starts this."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

from home_assistant import installation, recorded, scenario, whole
from home_assistant.installation import Installation, InstallationError
from home_assistant.instance import HOST, HomeAssistant, Household, NotSeenError
from home_assistant.speaker import Speaker

from fadeout_broker.local import LocalBroker

ROOT = Path(__file__).resolve().parents[2]
FACTS = ROOT / "tests/broker/home_assistant_facts.json"


def main() -> int:
    """Try it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/try_home_assistant",
        description="install a Home Assistant, start it on loopback, and look what it makes of a device",
    )
    parser.add_argument("--python", metavar="PATH", help="what it runs on (default: this machine's newest)")
    parser.add_argument("--forky", action="store_true", help="in a Debian forky made by debootstrap; as root")
    parser.add_argument("--version", help="which one (default: the newest that this Python can run)")
    parser.add_argument("--record", action="store_true", help="only write into tests/ what its schemas allow")
    parser.add_argument("--folder", type=Path, default=ROOT / ".fadeout-try/home-assistant")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if arguments.forky:
            installed = installation.with_forky(folder, arguments.version)
        else:
            python = arguments.python or installation.newest_python()
            installed = installation.with_python(python, folder, arguments.version)
        return _record(installed) if arguments.record else _try(installed, folder)
    except (InstallationError, NotSeenError) as err:
        sys.stderr.write(f"error: {err}\n")
        return os.EX_UNAVAILABLE


def _record(installed: Installation) -> int:
    facts = json.loads(FACTS.read_text(encoding="utf-8")) if FACTS.exists() else {}
    told = json.loads(installed.run_inside(ROOT / "scripts/home_assistant/inside.py", "facts"))
    facts[told.pop("version")] = told
    FACTS.write_text(recorded.formatted(dict(sorted(facts.items()))), encoding="utf-8")
    return os.EX_OK


def _try(installed: Installation, folder: Path) -> int:
    print(f"Home Assistant {installed.version()}", flush=True)
    inside = installed.root / "tmp/fadeout-try" if installed.prefix else folder.absolute() / "config"
    household = Household(ROOT / "config/home-assistant", scenario.automations(), whole.UNRECORDED)
    home = HomeAssistant(installed, inside, _free_port(), household)
    seen = 0
    with (
        tempfile.TemporaryDirectory() as broker_folder,
        LocalBroker(Path(broker_folder)) as broker,
        home,
        Speaker(broker, scenario.NODE) as speaker,
    ):
        home.connect_mqtt(broker.host, broker.port)
        for outcome in scenario.run(scenario.Room(home, speaker, broker)):
            seen += outcome.ok
            detail = f" ({outcome.detail})" if outcome.detail else ""
            print(
                f"{'ok  ' if outcome.ok else 'FAIL'} {outcome.took_s:5.1f} s  {outcome.what}{detail}",
                flush=True,
            )
    for number in range(1, 9):
        files = scenario.left_behind(inside, scenario.event(number).id)
        print(f"after the stop, the id of event {number} is in {files}")
    rows = scenario.rows_of(inside, whole.SLUG)
    print(f"after the stop, the recorder has {rows} entities of the device that is excluded from it")
    print(f"{seen} of {len(scenario.CHECKS)} seen")
    return os.EX_OK if seen == len(scenario.CHECKS) and rows == 0 else os.EX_SOFTWARE


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
