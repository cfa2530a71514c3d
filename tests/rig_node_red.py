"""The real Node-RED, fetched by scripts/fetch_node_red, with the shipped flow in it; on loopback only.

As a program it is what `fadeout-broker conformance` asks for:

    rig_node_red.py run FOLDER PORT     becomes Node-RED, at the broker that the environment names
    rig_node_red.py ask PORT            prints what it holds
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from rig_waiting import wait_for

if TYPE_CHECKING:
    from fadeout_broker.local import LocalBroker

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / ".node-red/node-red"
FLOW = ROOT / "config/node-red/fadeout-flow.json"
HOST = "127.0.0.1"
START_S = 120.0

SETTINGS = """module.exports = {
    uiHost: "127.0.0.1",
    disableEditor: true,
    telemetry: { enabled: false, updateNotification: false },
    diagnostics: { enabled: false, ui: false },
    externalModules: { autoInstall: false, palette: { allowInstall: false } },
    credentialSecret: false,
    logging: { console: { level: "info", metrics: false, audit: false } },
};
"""


def program() -> str:
    """Return how Node-RED is started, or skip."""
    if not PROGRAM.exists():
        pytest.skip("Node-RED is not there: scripts/fetch_node_red")
    return str(PROGRAM)


def node_program() -> str:
    """Return the node that it runs on, or skip."""
    return Path(program()).read_text().split("'")[1]


def prepared(folder: Path, broker: tuple[str, int], port: int, consumer: str) -> list[str]:
    """Put flow and settings into a folder, and return the command that starts Node-RED with them."""
    flow = json.loads(FLOW.read_text())
    (tab,) = (node for node in flow if node["type"] == "tab")
    (where,) = (node for node in flow if node["type"] == "mqtt-broker")
    where["broker"], where["port"] = broker[0], str(broker[1])
    tab["env"][0]["value"] = consumer
    (folder / "flow.json").write_text(json.dumps(flow))
    (folder / "settings.js").write_text(SETTINGS)
    settings = str(folder / "settings.js")
    return [program(), "-s", settings, "-u", str(folder), "-p", str(port), str(folder / "flow.json")]


def asked(port: int) -> dict[str, Any] | None:
    """Return what its context has, asked through its own web interface; None: nothing."""
    (tab,) = (node for node in json.loads(FLOW.read_text()) if node["type"] == "tab")
    url = f"http://{HOST}:{port}/context/flow/{tab['id']}/fadeout"
    with urllib.request.urlopen(url, timeout=30) as answer:
        kept = json.loads(answer.read())
    return None if kept["format"] == "undefined" else json.loads(kept["msg"])


class NodeRed:
    """A running Node-RED with fadeout's flow.

    Args:
        folder: its user folder; must exist.
        broker: where the flow connects to.
        consumer: as whom it acknowledges.
    """

    def __init__(self, folder: Path, broker: LocalBroker, consumer: str) -> None:
        self._log = folder / "node-red.log"
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self._port = probe.getsockname()[1]
        self._command = prepared(folder, (broker.host, broker.port), self._port, consumer)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: "Connected to broker" in self.log(), "Node-RED is at the broker", START_S)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def log(self) -> str:
        """Return what it said."""
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        said = self._log.read_text()
        assert "[error]" not in said, said
        return said

    def device(self, node: str) -> dict[str, Any]:
        """Return what its context has of a device; ask it through its own web interface."""
        self.log()  # fails when it has said that something is wrong
        kept = asked(self._port)
        found: dict[str, Any] = kept["devices"].get(node, {}) if kept else {}
        return found

    def held(self, node: str) -> list[str]:
        """Return the ids of the events that it holds, in the order of their arrival."""
        return list(self.device(node).get("events", {}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", folder, port]:
            environment = os.environ
            where = environment["FADEOUT_BROKER_HOST"], int(environment["FADEOUT_BROKER_PORT"])
            command = prepared(Path(folder), where, int(port), "node-red")
            os.execv(command[0], command)  # noqa: S606 - ours
        case ["ask", port]:
            sys.stdout.write(json.dumps(asked(int(port))) + "\n")
