"""Runs in Home Assistant's own Python, and imports it: its schemas, and what they allow.

    python inside.py facts                 prints what tests/broker/home_assistant_facts.json has
    python inside.py validate < payload    exit code 0 if Home Assistant takes the discovery payload

Knows nothing of fadeout: no module of it is there.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
import tempfile
from importlib import import_module
from typing import Any

PLATFORMS = ("binary_sensor", "button", "event", "sensor")


def facts() -> dict[str, Any]:
    """Return the version, and what its schemas for device discovery allow."""
    mqtt = "homeassistant.components.mqtt"
    schemas, abbreviations = import_module(f"{mqtt}.schemas"), import_module(f"{mqtt}.abbreviations")
    platforms = {name: _keys(import_module(f"{mqtt}.{name}").DISCOVERY_SCHEMA) for name in PLATFORMS}
    classes = {
        name: sorted(
            str(member.value) for member in getattr(import_module(f"homeassistant.components.{name}"), enum)
        )
        for name, enum in (
            ("binary_sensor", "BinarySensorDeviceClass"),
            ("button", "ButtonDeviceClass"),
            ("event", "EventDeviceClass"),
            ("sensor", "SensorDeviceClass"),
        )
    }
    return {
        "version": import_module("homeassistant.const").__version__,
        "discovery": _keys(schemas.DEVICE_DISCOVERY_SCHEMA),
        "device": _keys(getattr(schemas, "MQTT_DEVICE_INFO_SCHEMA", schemas.MQTT_ENTITY_DEVICE_INFO_SCHEMA)),
        "origin": _keys(schemas.MQTT_ORIGIN_INFO_SCHEMA),
        "availability": {"required": ["topic"], "optional": _availability(schemas)},
        "platforms": platforms,
        "device_classes": classes,
        "entity_categories": {name: _categories(name) for name in PLATFORMS},
        "abbreviations": sorted(
            short for short, name in abbreviations.ABBREVIATIONS.items() if short != name
        ),
    }


async def validate(payload: dict[str, Any]) -> None:
    """Hand a device discovery payload to Home Assistant's schemas; whatever they raise is raised."""
    with tempfile.TemporaryDirectory() as folder:
        home = import_module("homeassistant.core").HomeAssistant(folder)  # templates are checked against one
        _validate(payload)
        await home.async_stop(force=True)


def _validate(payload: dict[str, Any]) -> None:
    mqtt = "homeassistant.components.mqtt"
    discovery, schemas = import_module(f"{mqtt}.discovery"), import_module(f"{mqtt}.schemas")
    discovery._replace_all_abbreviations(payload)  # noqa: SLF001 - what it does first, too
    schemas.DEVICE_DISCOVERY_SCHEMA(copy.deepcopy(payload))
    for component in payload["components"].values():
        platform = component.pop("platform")
        if not component:
            continue  # a component that is removed
        shared = {key: payload[key] for key in schemas.SHARED_OPTIONS if key in payload}
        schema = import_module(f"{mqtt}.{platform}").DISCOVERY_SCHEMA
        schema({"device": payload["device"], "origin": payload["origin"], **shared, **component})


def _keys(schema: Any) -> dict[str, list[str]]:  # noqa: ANN401 - of a library that is not there
    """Return which keys a schema wants, and which it allows."""
    while not isinstance(getattr(schema, "schema", None), dict):
        (schema,) = [part for part in schema.validators if isinstance(getattr(part, "schema", None), dict)][
            :1
        ]
    required = sorted(str(key) for key in schema.schema if type(key).__name__ == "Required")
    return {"required": required, "optional": sorted({str(key) for key in schema.schema} - set(required))}


def _availability(schemas: Any) -> list[str]:  # noqa: ANN401 - the same
    listed_schema = schemas._MQTT_AVAILABILITY_LIST_SCHEMA  # noqa: SLF001 - it stands nowhere else
    (listed,) = [value for key, value in listed_schema.schema.items() if str(key) == "availability"]
    (fields,) = [part[0] for part in listed.validators if isinstance(part, list)]
    return sorted(str(key) for key in fields if str(key) != "topic")


def _categories(platform: str) -> list[str]:
    """Return which entity categories a platform takes, by asking its schema."""
    schema = import_module(f"homeassistant.components.mqtt.{platform}").DISCOVERY_SCHEMA
    least: dict[str, dict[str, object]] = {
        "event": {"state_topic": "a", "event_types": ["a"]},
        "button": {"command_topic": "a"},
    }
    taken = []
    for category in ("config", "diagnostic"):
        try:
            schema(least.get(platform, {"state_topic": "a"}) | {"entity_category": category})
        except Exception:  # noqa: BLE001, S112 - its library's errors have another name in each version
            continue
        taken.append(category)
    return taken


if __name__ == "__main__":
    if sys.argv[1:] == ["facts"]:
        json.dump(facts(), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        asyncio.run(validate(json.load(sys.stdin)))
