"""The shipped Node-RED flow: as its parts make it, and by the same rules as the library."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from fadeout_broker import contract
from fadeout_broker.subscriber.rules import Mark, obey
from rig_node_red import FLOW, ROOT, node_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE = "sp-7f3a9c"
# Runs the function as Node-RED does, with what it gives to a function, for lines of [topic, text].
HARNESS = """
const fs = require("fs"), kept = new Map();
const flow = { get: (key) => kept.get(key), set: (key, value) => kept.set(key, value) };
const env = { get: (name) => ({ CONSUMER: "kitchen" })[name] };
const names = ["msg", "node", "context", "flow", "global", "env", "RED", "Buffer", "Date"];
const run = new Function(...names, fs.readFileSync(process.argv[2], "utf8"));
for (const line of fs.readFileSync(0, "utf8").split("\\n").filter(Boolean)) {
    const [topic, payload] = JSON.parse(line);
    const sent = run({ topic, payload }, {}, {}, flow, {}, env, {}, Buffer, Date);
    const devices = (kept.get("fadeout") || { devices: {} }).devices;
    const ids = ([name, device]) => [name, Object.keys(device.events)];
    const held = Object.fromEntries(Object.entries(devices).map(ids));
    console.log(JSON.stringify({ sent, held }));
}
"""


def _nodes(kind: str) -> list[dict[str, Any]]:
    flow: list[dict[str, Any]] = json.loads(FLOW.read_text())
    return [node for node in flow if node["type"] == kind]


def test_the_flow_is_what_its_parts_make() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/make_node_red_flow"), "--check"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_it_subscribes_to_the_watermark_before_the_events() -> None:
    assert [node["topic"] for node in _nodes("mqtt in")] == [
        contract.prefix_of("+") + kind.topic
        for kind in (contract.EraseBefore, contract.EraseNotice, contract.ActionEvent)
    ]


def test_it_speaks_mqtt_5_and_leaves_no_session() -> None:
    (broker,) = _nodes("mqtt-broker")
    assert (broker["protocolVersion"], broker["cleansession"], broker["sessionExpiry"]) == ("5", True, "")


def test_it_shows_nothing_in_the_editor() -> None:
    assert _nodes("debug") == []


def test_every_wire_leads_somewhere() -> None:
    flow = json.loads(FLOW.read_text())
    idents = [node["id"] for node in flow]
    assert len(idents) == len(set(idents))
    assert {to for node in flow for wires in node.get("wires", []) for to in wires} <= set(idents)


def _play(messages: list[tuple[str, bytes]], tmp_path: Path) -> list[dict[str, Any]]:
    harness = tmp_path / "harness.js"
    harness.write_text(HARNESS)
    lines = "".join(json.dumps([topic, payload.decode()]) + "\n" for topic, payload in messages)
    done = subprocess.run(
        [node_program(), str(harness), str(ROOT / "config/node-red/remember.js")],
        input=lines.encode(),
        capture_output=True,
        check=True,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _random_messages(seed: int) -> Iterator[contract.Outgoing]:
    """Yield events, notices and watermarks as they could come: doubled, missing, of two eras."""
    dice = random.Random(seed)  # noqa: S311 - a seed makes it come again
    for _ in range(400):
        ids = tuple(f"{number:016d}" for number in dice.sample(range(12), dice.randint(1, 4)))
        era, n = dice.choice(("0123abcd", "0123abcd", "0123abcd", "00000001")), dice.randint(1, 9)
        match dice.randint(0, 5):
            case 0:
                yield contract.EraseNotice(v=1, era=era, n=n, ids=ids)
            case 1:
                yield contract.EraseBefore(
                    v=1, era=era, n=n, since=n + 1 - dice.randint(1, min(n, len(ids))), ids=ids
                )
            case _:
                yield contract.ActionEvent(v=1, id=ids[0], action="light.on", outcome="served", ttl=60)


@pytest.mark.system
@pytest.mark.parametrize("seed", range(5))
def test_it_obeys_the_rules_of_the_library(seed: int, tmp_path: Path) -> None:
    messages = list(_random_messages(seed))
    told = _play([(contract.topic_of(NODE, each), contract.encode(each)) for each in messages], tmp_path)
    held: set[str] = set()
    mark: Mark | None = None
    for message, seen in zip(messages, told, strict=True):
        if isinstance(message, contract.ActionEvent):
            is_new = message.id not in held
            held.add(message.id)
            assert (seen["sent"][0] is not None) == is_new
        else:
            assert isinstance(message, contract.EraseNotice | contract.EraseBefore)
            asked = obey(mark, message)
            gone = held if asked.ids is None else held & set(asked.ids)
            held, mark = held - gone, asked.mark
            _event, forgotten, ack = seen["sent"]
            assert set(forgotten["payload"]["ids"] if forgotten else ()) == gone
            assert ack["topic"] == f"fadeout/{NODE}/erase/ack/kitchen"
            assert msgspec.convert(ack["payload"], contract.Ack) == contract.Ack(v=1, era=mark.era, n=mark.n)
        assert set(seen["held"][NODE]) == held


@pytest.mark.system
def test_it_holds_no_more_than_a_thousand_events(tmp_path: Path) -> None:
    events = [
        contract.ActionEvent(v=1, id=f"{number:016d}", action="light.on", outcome="served", ttl=60)
        for number in range(1005)
    ]
    told = _play([(contract.topic_of(NODE, each), contract.encode(each)) for each in events], tmp_path)
    assert told[-1]["held"][NODE] == [each.id for each in events[5:]]
