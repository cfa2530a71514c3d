"""The AsyncAPI 3.0.0 document of a device: its channels, messages and operations."""

from __future__ import annotations

from typing import Any

import yaml
from contract_documents.schemas import DIALECT
from contract_documents.shapes import INCOMING, OUTGOING, Shape, as_sent

from fadeout_broker import contract
from fadeout_broker.payloads import Payload

_FORMAT = "application/schema+json;version=draft-2020-12"
_PARAMETERS = {
    "node": {
        "description": "The device's name in topics: random, unless it is configured.",
        "examples": ["sp-7f3a9c"],
    },
    "consumer": {
        "description": "Who acknowledges: the subscriber's user name at the broker.",
        "examples": ["homeassistant"],
    },
}
_DESCRIPTION = (
    "What a fadeout device publishes over MQTT 5, and what it takes: it is the application that sends and"
    " receives here. What a subscriber must do is in contract.md."
)


def document() -> str:
    """Return the document as YAML."""
    whole = {
        "asyncapi": "3.0.0",
        "id": f"urn:fadeout:contract:{contract.VERSION}",
        "info": {
            "title": "fadeout",
            "version": str(contract.VERSION),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "voice"}, {"name": "privacy"}],
        },
        "defaultContentType": "application/json",
        "channels": {
            "availability": _channel("availability", "availability"),
            **{
                _camel(shape): _channel(shape.topic, _camel(shape))
                for shape in OUTGOING + INCOMING
            },
        },
        "operations": {
            "sendAvailability": _operation("send", "availability", retain=True),
            **{_verb("send", shape): _send(shape) for shape in OUTGOING if shape.tag != "reply"},
            **{_verb("receive", shape): _receive(shape) for shape in INCOMING},
        },
        "components": {
            "messages": {
                "availability": _availability(),
                **{_camel(shape): _message(shape) for shape in OUTGOING + INCOMING},
            }
        },
    }  # fmt: skip
    text: str = yaml.dump(whole, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return "# Made by scripts/make_contract; changes here are lost.\n" + text


class _Dumper(yaml.SafeDumper):
    """Writes whole values, never aliases of ones before."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - SafeDumper asks so
        """Say that nothing is written as an alias."""
        return True


def _camel(shape: Shape) -> str:
    first, *rest = shape.name.replace("_", "-").split("-")
    return first + "".join(word.title() for word in rest)


def _verb(verb: str, shape: Shape) -> str:
    name = _camel(shape)
    return verb + name[0].upper() + name[1:]


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def _channel(topic: str, message: str) -> dict[str, Any]:
    address = f"{contract.TOPIC_ROOT}/{{node}}/" + topic.replace("<consumer>", "{consumer}")
    return {
        "address": address,
        "messages": {message: _ref("components", "messages", message)},
        "parameters": {name: text for name, text in _PARAMETERS.items() if f"{{{name}}}" in address},
    }


def _operation(action: str, name: str, *, retain: bool = False) -> dict[str, Any]:
    mqtt: dict[str, Any] = {"qos": 1, "bindingVersion": "0.2.0"}
    if action == "send":
        mqtt = {"qos": 1, "retain": retain, "bindingVersion": "0.2.0"}
    return {"action": action, "channel": _ref("channels", name), "bindings": {"mqtt": mqtt}}


def _send(shape: Shape) -> dict[str, Any]:
    assert issubclass(shape.struct, Payload)  # noqa: S101 - what leaves is
    return _operation("send", _camel(shape), retain=shape.struct.is_retained)


def _receive(shape: Shape) -> dict[str, Any]:
    operation = _operation("receive", _camel(shape))
    if shape.topic.startswith("cmd/"):
        operation["reply"] = {"channel": _ref("channels", "reply")}
    return operation


def _message(shape: Shape) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": shape.name,
        "title": shape.text.partition(".")[0].partition(";")[0].partition(":")[0],
        "description": shape.text,
        "payload": {"schemaFormat": _FORMAT, "schema": {"$ref": f"./schemas/{shape.name}.json"}},
        "examples": [{"payload": as_sent(example)} for example in shape.examples],
    }
    if issubclass(shape.struct, Payload):
        message["x-padded-bytes"] = shape.struct.padded_bytes
    return message


def _availability() -> dict[str, Any]:
    return {
        "name": "availability",
        "title": "Whether the device is there",
        "description": "`stopped` is said on a clean stop; `offline` by the broker, as the will.",
        "contentType": "text/plain",
        "payload": {
            "schemaFormat": _FORMAT,
            "schema": {"$schema": DIALECT, "enum": list(contract.Availability.__args__)},  # type: ignore[attr-defined]  # a Literal has them
        },
    }
