"""How Home Assistant learns of a device: one retained message, made here and looked at before it leaves.

Pure: no I/O and no clock. What may stand in it is closed, in `discovery_payload.py`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fadeout_broker import contract
from fadeout_broker.discovery_payload import (
    FORGOTTEN,
    ID_BEGINS,
    Availability,
    BinarySensor,
    Button,
    Components,
    Device,
    Discovery,
    Event,
    Origin,
    Press,
    Sensor,
    Template,
)

MAX_BYTES: Final = 8192
"""A payload is never longer: 64 actions of 40 letters fit."""

STATE_EXPIRES_S: Final = 1500
"""The state comes every 10 minutes; after two that did not come, what it said is unavailable."""


def topic_of(node: str, prefix: str) -> str:
    """Return the topic name of a device's discovery. An empty retained payload there removes the device."""
    return f"{prefix}/device/{node}/config"


def birth_topic(prefix: str) -> str:
    """Return where Home Assistant says `online` when it has started, and wants to be told again."""
    return f"{prefix}/status"


def build(node: str, info: contract.Info, prefix: str) -> tuple[str, bytes]:
    """Return the topic name and the payload, to be retained, by which Home Assistant finds a device.

    Raises:
        ContractError: it does not fit its own structs or size.
    """
    try:
        payload = msgspec.json.encode(_discovery(node, info))
    except ValueError as err:
        raise contract.ContractError("no discovery payload can be made of this") from err
    decode(payload)  # the structs' bounds are checked on decoding only
    return topic_of(node, prefix), payload


def decode(data: bytes) -> Discovery:
    """Decode a discovery payload that is to leave the device.

    Raises:
        ContractError: not JSON, too long, or anything in it that `build` does not make.
    """
    if len(data) > MAX_BYTES:
        raise contract.ContractError(f"a discovery payload of more than {MAX_BYTES} bytes")
    try:
        discovery: Discovery = msgspec.json.decode(data, type=Discovery)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise contract.ContractError(f"not a discovery payload: {err}") from err
    return discovery


def _discovery(node: str, info: contract.Info) -> Discovery:
    buttons = _buttons(node) if info.commands else (Button(), Button(), Button())
    listening, muted, forgetting = _facts(node)
    held, overdue, last_sweep, next_end = _figures(node)
    return Discovery(
        device=Device(
            identifiers=(ID_BEGINS + node,),
            name=f"fadeout {node}",
            manufacturer="fadeout",
            model="Voice recorder that forgets",
            sw_version=info.sw,
        ),
        origin=Origin(name="fadeout", sw_version=info.sw),
        qos=1,
        availability=(
            Availability(topic=contract.availability_topic(node), value_template=Template.AVAILABILITY),
        ),
        components=Components(
            action=_event(node, info),
            listening=listening,
            muted=muted,
            forgetting=forgetting,
            held=held,
            overdue=overdue,
            last_sweep=last_sweep,
            next_end=next_end,
            mute=buttons[0],
            erase_last=buttons[1],
            erase_all=buttons[2],
        ),
    )


def _event(node: str, info: contract.Info) -> Event:
    types = dict.fromkeys((*info.actions, contract.NO_ACTION, contract.OTHER_ACTION, FORGOTTEN))
    return Event(
        unique_id=f"{ID_BEGINS}{node}_action",
        name="Action",
        icon="mdi:account-voice",
        state_topic=contract.prefix_of(node) + "+/+",
        value_template=Template.EVENT,
        event_types=tuple(types),
    )


def _facts(node: str) -> tuple[BinarySensor, BinarySensor, BinarySensor]:
    """Return listening, muted and forgetting."""
    ident = f"{ID_BEGINS}{node}_"
    state = contract.prefix_of(node) + contract.DeviceState.topic
    return (
        BinarySensor(
            unique_id=ident + "listening",
            name="Listening",
            icon="mdi:ear-hearing",
            state_topic=state,
            value_template=Template.LISTENING,
            expire_after=STATE_EXPIRES_S,
        ),
        BinarySensor(
            unique_id=ident + "muted",
            name="Muted",
            icon="mdi:microphone-off",
            state_topic=state,
            value_template=Template.MUTED,
            expire_after=STATE_EXPIRES_S,
        ),
        BinarySensor(
            unique_id=ident + "forgetting",
            name="Forgetting",
            state_topic=state,
            value_template=Template.NOT_FORGETTING,
            device_class="problem",
            entity_category="diagnostic",
            expire_after=STATE_EXPIRES_S,
        ),
    )


def _figures(node: str) -> tuple[Sensor, Sensor, Sensor, Sensor]:
    """Return held, overdue, last sweep and next end date."""
    ident = f"{ID_BEGINS}{node}_"
    state = contract.prefix_of(node) + contract.DeviceState.topic
    return (
        Sensor(
            unique_id=ident + "held",
            name="Held",
            icon="mdi:tray-full",
            state_topic=state,
            value_template=Template.HELD,
            unit_of_measurement="recordings",
            expire_after=STATE_EXPIRES_S,
        ),
        Sensor(
            unique_id=ident + "overdue",
            name="Overdue",
            icon="mdi:timer-alert",
            state_topic=state,
            value_template=Template.OVERDUE,
            unit_of_measurement="items",
            entity_category="diagnostic",
            expire_after=STATE_EXPIRES_S,
        ),
        Sensor(
            unique_id=ident + "last_sweep",
            name="Last sweep",
            icon="mdi:broom",
            state_topic=state,
            value_template=Template.SWEPT,
            device_class="timestamp",
            entity_category="diagnostic",
            expire_after=STATE_EXPIRES_S,
        ),
        Sensor(
            unique_id=ident + "next_end",
            name="Next end date",
            icon="mdi:calendar-remove",
            state_topic=state,
            value_template=Template.NEXT_END,
            device_class="timestamp",
            entity_category="diagnostic",
            expire_after=STATE_EXPIRES_S,
        ),
    )


def _buttons(node: str) -> tuple[Button, Button, Button]:
    """Return mute, erase last and erase all."""
    ident = f"{ID_BEGINS}{node}_"
    commands = contract.prefix_of(node) + "cmd/"
    return (
        Button(
            unique_id=ident + "mute",
            name="Mute",
            icon="mdi:microphone-off",
            command_topic=commands + "mute",
            payload_press=Press.MUTE,
        ),
        Button(
            unique_id=ident + "erase_last",
            name="Erase last",
            icon="mdi:eraser",
            command_topic=commands + "erase",
            payload_press=Press.ERASE_LAST,
            entity_category="config",
        ),
        Button(
            unique_id=ident + "erase_all",
            name="Erase all",
            icon="mdi:delete-forever",
            command_topic=commands + "erase",
            payload_press=Press.ERASE_ALL,
            entity_category="config",
        ),
    )
