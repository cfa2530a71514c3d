"""The real Node-RED, fetched by scripts/fetch_node_red, with the shipped flow in it; on loopback only."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
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


class NodeRed:
    """A running Node-RED with fadeout's flow.

    Args:
        folder: its user folder; must exist.
        broker: where the flow connects to.
        consumer: as whom it acknowledges.
    """

    def __init__(self, folder: Path, broker: LocalBroker, consumer: str) -> None:
        self._folder = folder
        flow = json.loads(FLOW.read_text())
        (tab,) = (node for node in flow if node["type"] == "tab")
        (where,) = (node for node in flow if node["type"] == "mqtt-broker")
        where["broker"], where["port"] = broker.host, str(broker.port)
        tab["env"][0]["value"] = consumer
        self._tab = tab["id"]
        (folder / "flow.json").write_text(json.dumps(flow))
        (folder / "settings.js").write_text(SETTINGS)
        self._log = folder / "node-red.log"
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        settings, port = str(self._folder / "settings.js"), str(self._port)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "--"),
                    *(program(), "-s", settings, "-u", str(self._folder), "-p", port, "flow.json"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
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
        try:
            with urllib.request.urlopen(self._url("context"), timeout=30) as answer:  # noqa: S310 - http, on loopback
                kept = json.loads(answer.read())
        except urllib.error.HTTPError:
            return {}
        if kept["format"] == "undefined":
            return {}
        found: dict[str, Any] = json.loads(kept["msg"])["devices"].get(node, {})
        return found

    def held(self, node: str) -> list[str]:
        """Return the ids of the events that it holds, in the order of their arrival."""
        return list(self.device(node).get("events", {}))

    def _url(self, what: str) -> str:
        return f"http://{HOST}:{self._port}/{what}/flow/{self._tab}/fadeout"
