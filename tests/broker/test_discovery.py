"""What Home Assistant is told of a device, and that nothing else fits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_broker import contract, discovery, discovery_payload
from fadeout_broker.contract import ContractError, Info

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = "sp-7f3a9c"
INFO = Info(v=1, sw="0.1.0", mode="prompt", actions=("light.on", "light.off"), commands=True, result_s=0)
DEAF = msgspec.structs.replace(INFO, commands=False)
UNHEARD = "unmute", "shorten", "cmd/listen", "switch", "number", "select", "policy"


def _payload(info: Info = INFO) -> dict[str, Any]:
    _topic, data = discovery.build(NODE, info, "homeassistant")
    decoded: dict[str, Any] = json.loads(data)
    return decoded


def _changed(path: str, value: object) -> bytes:
    """Return the payload with one field set, or removed where the value is `...`."""
    payload = _payload()
    *way, last = path.split(".")
    at: Any = payload
    for step in way:
        at = at[int(step)] if step.isdecimal() else at[step]
    if value is ...:
        del at[last]
    else:
        at[int(last) if last.isdecimal() else last] = value
    return json.dumps(payload).encode()


def _values(part: object) -> Iterator[str]:
    """Yield every key and text there is."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from _values(value)
    elif isinstance(part, list):
        for value in part:
            yield from _values(value)
    else:
        yield str(part)


def test_the_topic_is_the_nodes_own() -> None:
    topic, _data = discovery.build(NODE, INFO, "ha")
    assert topic == discovery.topic_of(NODE, "ha") == "ha/device/sp-7f3a9c/config"
    assert discovery.birth_topic("ha") == "ha/status"


def test_the_entities_are_these() -> None:
    found = {key: part["platform"] for key, part in _payload()["components"].items()}
    assert found == {
        "action": "event",
        "listening": "binary_sensor",
        "muted": "binary_sensor",
        "forgetting": "binary_sensor",
        "held": "sensor",
        "overdue": "sensor",
        "last_sweep": "sensor",
        "next_end": "sensor",
        "mute": "button",
        "erase_last": "button",
        "erase_all": "button",
    }


def test_the_event_types_are_the_configured_actions_and_three_more() -> None:
    assert _payload()["components"]["action"]["event_types"] == [
        "light.on",
        "light.off",
        "none",
        "other",
        "event-forgotten",
    ]


def test_an_action_called_like_ours_is_named_once() -> None:
    info = msgspec.structs.replace(INFO, actions=("other", "none"))
    assert _payload(info)["components"]["action"]["event_types"] == ["other", "none", "event-forgotten"]


def test_no_action_can_be_called_like_a_forgotten_event() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(discovery_payload.FORGOTTEN, contract.Action)


@pytest.mark.parametrize(
    ("button", "topic", "sent"),
    [
        pytest.param("mute", "cmd/mute", contract.MuteRequest(), id="mute"),
        pytest.param("erase_last", "cmd/erase", contract.EraseRequest(last=1), id="erase last"),
        pytest.param("erase_all", "cmd/erase", contract.EraseRequest(all=True), id="erase all"),
    ],
)
def test_a_button_sends_a_command_of_the_contract(button: str, topic: str, sent: contract.Request) -> None:
    part = _payload()["components"][button]
    assert part["command_topic"] == contract.prefix_of(NODE) + topic
    name = topic.removeprefix("cmd/")
    assert contract.decode_request(name, part["payload_press"].encode()) == sent


def test_a_device_that_takes_no_commands_has_no_buttons() -> None:
    # A platform and nothing else: so Home Assistant removes a component that was there before.
    components = _payload(DEAF)["components"]
    assert {key for key, part in components.items() if part == {"platform": "button"}} == {
        "mute",
        "erase_last",
        "erase_all",
    }


def test_there_is_no_way_to_listen_again() -> None:
    said = " ".join(_values(_payload())).lower()
    assert not [word for word in UNHEARD if word in said]


def test_no_statistics_are_kept_for_ever() -> None:
    assert "state_class" not in set(_values(_payload()))


def test_what_the_device_says_of_itself_is_its_node_and_version() -> None:
    payload = _payload()
    assert payload["device"] == {
        "identifiers": ["fadeout-sp-7f3a9c"],
        "name": "fadeout sp-7f3a9c",
        "manufacturer": "fadeout",
        "model": "Voice recorder that forgets",
        "sw_version": "0.1.0",
    }
    assert payload["origin"] == {"name": "fadeout", "sw_version": "0.1.0"}


def test_the_longest_device_fits() -> None:
    actions = tuple(
        f"{chr(97 + n // 26)}{chr(97 + n % 26)}".ljust(40, "x") for n in range(contract.MAX_ACTIONS)
    )
    info = msgspec.structs.replace(INFO, sw="0" * 32, actions=actions)
    _topic, data = discovery.build("a" * 32, info, "h" * 64)
    assert len(data) <= discovery.MAX_BYTES
    assert discovery.decode(data).node == "a" * 32


@given(
    node=st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True),
    actions=st.lists(st.from_regex(r"[a-z][a-z0-9_.]{0,39}", fullmatch=True), max_size=contract.MAX_ACTIONS),
    commands=st.booleans(),
)
def test_what_is_built_is_let_through(node: str, actions: list[str], commands: bool) -> None:  # noqa: FBT001 - hypothesis names its arguments
    info = msgspec.structs.replace(INFO, actions=tuple(actions), commands=commands)
    _topic, data = discovery.build(node, info, "homeassistant")
    assert discovery.decode(data).node == node


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_changed("device.serial_number", "10000000abcdef"), id="a serial number"),
        pytest.param(_changed("device.connections", [["mac", "02:00:00:00:00:01"]]), id="an address"),
        pytest.param(_changed("device.suggested_area", "Bedroom"), id="a room"),
        pytest.param(_changed("device.name", "Anna's speaker"), id="a name of somebody"),
        pytest.param(_changed("device.name", "fadeout sp-000000"), id="the name of another device"),
        pytest.param(_changed("device.identifiers", []), id="no identifier"),
        pytest.param(_changed("device.identifiers", ["fadeout-a", "fadeout-b"]), id="two identifiers"),
        pytest.param(_changed("device.identifiers", ["fadeout-sp-000000"]), id="the identifier of another"),
        pytest.param(_changed("origin.support_url", "https://example.org/"), id="an address on the web"),
        pytest.param(_changed("qos", 2), id="another quality of service"),
        pytest.param(_changed("availability.0.topic", "fadeout/sp-000000/availability"), id="another's word"),
        pytest.param(
            _changed("components.unmute", {"platform": "button", "unique_id": "fadeout-sp-7f3a9c_unmute"}),
            id="one button more",
        ),
        pytest.param(_changed("components.mute.platform", "switch"), id="a switch"),
        pytest.param(
            _changed("components.mute.command_topic", "fadeout/sp-7f3a9c/cmd/unmute"), id="a way to unmute"
        ),
        pytest.param(
            _changed("components.mute.command_topic", "fadeout/sp-000000/cmd/mute"), id="another's command"
        ),
        pytest.param(_changed("components.mute.payload_press", '{"muted":false}'), id="another press"),
        pytest.param(_changed("components.mute.command_topic", ...), id="half a button"),
        pytest.param(_changed("components.mute", ...), id="a button left out"),
        pytest.param(
            _changed("components.held.state_topic", "fadeout/sp-000000/state"), id="another's state"
        ),
        pytest.param(_changed("components.held.state_topic", "#"), id="everybody's state"),
        pytest.param(_changed("components.held.state_class", "measurement"), id="statistics"),
        pytest.param(
            _changed("components.held.unique_id", "fadeout-sp-7f3a9c_overdue"), id="another part's id"
        ),
        pytest.param(_changed("components.held.value_template", "{{ states }}"), id="another template"),
        pytest.param(_changed("components.held.icon", "mdi:home"), id="another icon"),
        pytest.param(_changed("components.action.event_types.0", "turn on the light"), id="free text"),
        pytest.param(_changed("components.action.event_types.0", "light.on\n"), id="a line break"),
        pytest.param(_changed("components.action.state_topic", "fadeout/+/+/+"), id="everybody's events"),
        pytest.param(json.dumps(_payload()).encode() + b"{}", id="something after it"),
        pytest.param(b" " * (discovery.MAX_BYTES + 1), id="too long"),
        pytest.param(b"[" * 5000, id="too deep"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_build_would_not_make_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        discovery.decode(data)


@pytest.mark.parametrize("node", ["", "Kitchen", "a/b", "+", "a" * 33, "a\n"])
def test_a_node_that_is_none_is_refused(node: str) -> None:
    with pytest.raises(ContractError):
        discovery.build(node, INFO, "homeassistant")
