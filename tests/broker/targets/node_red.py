"""The shipped Node-RED flow, in the folder that it is started in; it acknowledges as `node-red`."""

import json
import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from rig_node_red import FLOW, HOST, PROGRAM, SETTINGS

flow = json.loads(FLOW.read_text(encoding="utf-8"))
(tab,) = (node for node in flow if node["type"] == "tab")
(where,) = (node for node in flow if node["type"] == "mqtt-broker")
where["broker"], where["port"] = os.environ["FADEOUT_BROKER_HOST"], os.environ["FADEOUT_BROKER_PORT"]
tab["env"][0]["value"] = "node-red"
with socket.socket() as probe:
    probe.bind((HOST, 0))
    port = str(probe.getsockname()[1])
Path("flow.json").write_text(json.dumps(flow), encoding="utf-8")
Path("settings.js").write_text(SETTINGS, encoding="utf-8")
Path("context.url").write_text(f"http://{HOST}:{port}/context/flow/{tab['id']}/fadeout", encoding="utf-8")
settings = str(Path("settings.js").resolve())
os.execv(PROGRAM, [str(PROGRAM), "-s", settings, "-u", ".", "-p", port, "flow.json"])  # noqa: S606 - it becomes Node-RED
