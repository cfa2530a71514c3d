"""What Home Assistant would make of it: its own schemas as recorded, and as installed where it is.

The real thing is tried by scripts/try_home_assistant.
"""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from home_assistant import installation, scenario
from jinja2.sandbox import SandboxedEnvironment

from fadeout_broker import contract, discovery, discovery_payload

ROOT = Path(__file__).parents[2]
BLUEPRINTS = sorted((ROOT / "config/home-assistant").glob("*.yaml"))
FACTS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("home_assistant_facts.json").read_text()
)
TRIED = ROOT / ".fadeout-try/home-assistant"
NODE, INFO = scenario.NODE, scenario.INFO
DEAF = contract.Info(v=1, sw="0.1.0", mode="batched", actions=(), commands=False, result_s=0)


def _payload(info: contract.Info = INFO) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(discovery.build(NODE, info, "homeassistant")[1])
    return decoded


def _complaints(payload: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """Return what a Home Assistant with these schemas would not take, or not understand."""
    found: list[str] = []

    def look(part: dict[str, Any], keys: dict[str, list[str]], where: str) -> None:
        found.extend(f"{where}: no {key}" for key in keys["required"] if key not in part)
        allowed = {*keys["required"], *keys["optional"]}
        found.extend(f"{where}: unknown {key}" for key in part if key not in allowed)
        found.extend(f"{where}: {key} is short for another" for key in part if key in facts["abbreviations"])

    look(payload, facts["discovery"], "discovery")
    look(payload["device"], facts["device"], "device")
    look(payload["origin"], facts["origin"], "origin")
    for each in payload["availability"]:
        look(each, facts["availability"], "availability")
    for name, component in payload["components"].items():
        fields = dict(component)
        platform = fields.pop("platform")
        if platform not in facts["platforms"]:
            found.append(f"{name}: unknown platform")
            continue
        if not fields:
            continue  # that is how a component is removed
        look(fields, facts["platforms"][platform], name)
        if "unique_id" not in fields:
            found.append(f"{name}: no unique_id")
        if fields.get("device_class") not in (None, *facts["device_classes"][platform]):
            found.append(f"{name}: unknown device class")
        if fields.get("entity_category") not in (None, *facts["entity_categories"][platform]):
            found.append(f"{name}: not an entity category of this platform")
    return found


@pytest.mark.parametrize("version", FACTS)
@pytest.mark.parametrize("info", [pytest.param(INFO, id="with commands"), pytest.param(DEAF, id="without")])
def test_the_recorded_schemas_take_it(info: contract.Info, version: str) -> None:
    assert _complaints(_payload(info), FACTS[version]) == []


@pytest.mark.parametrize(
    ("component", "fields", "complaint"),
    [
        pytest.param(
            "mute", {"command_topic": ...}, "mute: no command_topic", id="a button that sends nowhere"
        ),
        pytest.param("held", {"unique_id": ...}, "held: no unique_id", id="no unique id"),
        pytest.param(
            "held", {"payload_press": "{}"}, "held: unknown payload_press", id="another platform's field"
        ),
        pytest.param("held", {"stat_t": "a"}, "held: stat_t is short for another", id="an abbreviation"),
        pytest.param("held", {"entity_category": "config"}, "entity category", id="a sensor that configures"),
        pytest.param("muted", {"device_class": "timestamp"}, "device class", id="a device class of sensors"),
        pytest.param("mute", {"platform": "unmute"}, "unknown platform", id="a platform that is none"),
    ],
)
def test_the_recorded_schemas_complain(component: str, fields: dict[str, Any], complaint: str) -> None:
    payload = _payload()
    part = payload["components"][component]
    for key, value in fields.items():
        part[key] = value
    payload["components"][component] = {key: value for key, value in part.items() if value is not ...}
    assert complaint in " ".join(_complaints(payload, FACTS["2026.11.0"]))


@pytest.mark.system
def test_an_installed_home_assistant_takes_it() -> None:
    found = installation.found_in(TRIED)
    if not found:
        pytest.skip("no Home Assistant is installed here: scripts/try_home_assistant would install one")
    inside = ROOT / "scripts/home_assistant/inside.py"
    for each in found:
        for info in (INFO, DEAF):
            given = json.dumps(_payload(info)).encode()
            each.run_inside(inside, "validate", given=given)
        worse = _payload()
        worse["components"]["held"]["expire_after"] = -1
        with pytest.raises(installation.InstallationError):
            each.run_inside(inside, "validate", given=json.dumps(worse).encode())


# ---- the templates


def _render(template: str, payload: str, shown: dict[str, Any] | None = None) -> str:
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters["to_json"] = json.dumps
    environment.filters["timestamp_utc"] = lambda value: f"at {value}"
    known: dict[str, Any] = {"value": payload, "this": {"attributes": shown or {}}}
    try:
        known["value_json"] = json.loads(payload)
    except ValueError:
        environment.undefined = jinja2.Undefined  # what Home Assistant does where there is no JSON
    return environment.from_string(template).render(known).strip()


ACTION = scenario.event(1)
SHOWN = {"id": ACTION.id, "outcome": "served", "event_type": "light.on"}


def _text(payload: contract.Outgoing) -> str:
    return contract.encode(payload).decode()


@pytest.mark.parametrize(
    ("payload", "shown", "becomes"),
    [
        pytest.param(_text(ACTION), {}, SHOWN, id="the first event"),
        pytest.param(_text(ACTION), {"id": scenario.event(2).id}, SHOWN, id="another event"),
        pytest.param(_text(ACTION), SHOWN, None, id="the same event again"),
        pytest.param(
            _text(scenario.notice(1, scenario.event(2), ACTION)),
            SHOWN,
            {"event_type": discovery_payload.FORGOTTEN},
            id="a notice that names the one that is shown",
        ),
        pytest.param(
            _text(scenario.watermark(1, ACTION)),
            SHOWN,
            {"event_type": discovery_payload.FORGOTTEN},
            id="a watermark that names it",
        ),
        pytest.param(_text(scenario.notice(1, scenario.event(2))), SHOWN, None, id="a notice of another"),
        pytest.param(_text(scenario.notice(1, ACTION)), {}, None, id="a notice when nothing is shown"),
        pytest.param(_text(contract.AlarmEvent(v=1, alarm="sweep", on=True)), SHOWN, None, id="an alarm"),
        pytest.param(_text(contract.Cover(v=1)), SHOWN, None, id="nothing, sent to hide when something is"),
        pytest.param("", SHOWN, None, id="a command without a payload"),
        pytest.param('{"last":1}', SHOWN, None, id="a command"),
        pytest.param("[1]", SHOWN, None, id="a list"),
        pytest.param("online", SHOWN, None, id="no JSON"),
    ],
)
def test_the_event_shows(payload: str, shown: dict[str, Any], becomes: dict[str, Any] | None) -> None:
    rendered = _render(discovery_payload.Template.EVENT, payload, shown)
    assert (json.loads(rendered) if rendered else None) == becomes


@pytest.mark.parametrize(
    ("template", "state", "says"),
    [
        pytest.param(discovery_payload.Template.LISTENING, {"listening": True}, "ON", id="listening"),
        pytest.param(discovery_payload.Template.MUTED, {"muted": False}, "OFF", id="not muted"),
        pytest.param(discovery_payload.Template.NOT_FORGETTING, {"forgetting": True}, "OFF", id="no problem"),
        pytest.param(discovery_payload.Template.NOT_FORGETTING, {"forgetting": False}, "ON", id="a problem"),
        pytest.param(discovery_payload.Template.HELD, {"held": 7}, "7", id="seven held"),
        pytest.param(discovery_payload.Template.OVERDUE, {"overdue": 0}, "0", id="none overdue"),
        pytest.param(discovery_payload.Template.SWEPT, {"swept": 900}, "at 900", id="swept"),
        pytest.param(discovery_payload.Template.SWEPT, {"swept": None}, "None", id="not swept yet"),
        pytest.param(discovery_payload.Template.NEXT_END, {"next_end": None}, "None", id="nothing held"),
    ],
)
def test_the_state_says(template: str, state: dict[str, Any], says: str) -> None:
    fields = {name: getattr(scenario.STATE, name) for name in scenario.STATE.__struct_fields__}
    assert _render(template, _text(contract.DeviceState(**{**fields, **state}))) == says


@pytest.mark.parametrize(
    ("word", "becomes"),
    [("online", "online"), ("stopped", "offline"), ("offline", "offline"), ("", "offline")],
)
def test_only_online_is_available(word: str, becomes: str) -> None:
    assert _render(discovery_payload.Template.AVAILABILITY, word) == becomes


# ---- the blueprints


class _Input(str):
    """`!input NAME`."""

    __slots__ = ()


class _Loader(yaml.SafeLoader):
    """Knows Home Assistant's `!input`."""


_Loader.add_constructor("!input", lambda _loader, node: _Input(node.value))


def _blueprint(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506 - a SafeLoader with one tag more
    return loaded


def _inputs(part: object) -> set[str]:
    if isinstance(part, _Input):
        return {str(part)}
    if isinstance(part, dict):
        return set().union(*(_inputs(value) for value in part.values()))
    if isinstance(part, list):
        return set().union(*(_inputs(value) for value in part))
    return set()


def test_there_are_two() -> None:
    assert [path.name for path in BLUEPRINTS] == ["forget.yaml", "on-action.yaml"]


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_is_one(path: Path) -> None:
    blueprint = _blueprint(path)
    head = blueprint.pop("blueprint")
    assert head["domain"] == "automation"
    assert set(head) == {"name", "description", "domain", "author", "homeassistant", "input"}
    assert _inputs(blueprint) == set(head["input"])
    assert all("selector" in given for given in head["input"].values())
    assert {"triggers", "conditions", "actions", "mode", "trace"} <= set(blueprint)


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_leaves_no_traces(path: Path) -> None:
    assert _blueprint(path)["trace"] == {"stored_traces": 0}


def test_forgetting_listens_where_the_device_speaks() -> None:
    blueprint = _blueprint(ROOT / "config/home-assistant/forget.yaml")
    topic = blueprint["triggers"][0]["topic"]
    assert _render_with(topic, node=NODE) == contract.topic_of(NODE, scenario.watermark(1))
    assert blueprint["trigger_variables"] == {"node": "node"}


def test_forgetting_purges_what_the_device_shows() -> None:
    (action,) = _blueprint(ROOT / "config/home-assistant/forget.yaml")["actions"]
    assert action["action"] == "recorder.purge_entities"
    assert action["data"]["keep_days"] == 0
    (glob,) = action["data"]["entity_globs"]
    pattern = _render_with(glob, node=NODE)
    assert all(fnmatch.fnmatchcase(entity, pattern) for entity in scenario.ENTITIES)
    assert not fnmatch.fnmatchcase("sensor.fadeout_sp_7f3a9c0_held", pattern)


def test_the_entities_are_called_by_their_names() -> None:
    payload = _payload()
    expected = {
        f"{part['platform']}.{_slug(payload['device']['name'] + ' ' + part['name'])}"
        for part in payload["components"].values()
    }
    assert expected == scenario.ENTITIES


def test_the_tried_automations_give_every_input() -> None:
    for automation in [*scenario.automations(), scenario.forgetting("a device")]:
        used = automation["use_blueprint"]
        head = _blueprint(ROOT / "config/home-assistant" / Path(used["path"]).name)["blueprint"]
        wanted = {name for name, given in head["input"].items() if "default" not in given}
        assert wanted <= set(used["input"]) <= set(head["input"])


def _render_with(template: str, **known: str) -> str:
    return SandboxedEnvironment(undefined=jinja2.StrictUndefined).from_string(template).render(known)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
