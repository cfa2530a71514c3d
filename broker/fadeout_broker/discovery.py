"""How Home Assistant learns of a device: one retained message, closed like the contract's payloads.

Pure: no I/O and no clock. Every name, icon and template below is one of a fixed list,
and every topic is the device's own, so that a payload that decodes here says nothing but
which device there is, which actions it may report, and what it lets itself be told:
mute and erase. There is no type for a switch, a number or a way to listen again (P7).

Nothing here has a `state_class`. Home Assistant would make statistics of the number of
recordings held, and keeps those for ever.

Source: developers.home-assistant.io, "MQTT discovery", device discovery; tried with the versions that
docs/home-assistant.md names.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from fadeout_broker import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES: Final = 8192
"""A payload is never longer: 32 actions of 40 letters fit."""

STATE_EXPIRES_S: Final = 1500
"""The state comes every 10 minutes; after two that did not come, what it said is unavailable."""

FORGOTTEN: Final = "event-forgotten"
"""The event that takes the place of one that was erased. No action can be called so."""

Prefix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")]
_DeviceId = Annotated[str, Meta(pattern=r"^fadeout-[a-z0-9][a-z0-9-]{0,31}$(?!\n)")]
_UniqueId = Annotated[str, Meta(pattern=r"^fadeout-[a-z0-9][a-z0-9-]{0,31}_[a-z_]{1,16}$(?!\n)")]
_DeviceName = Annotated[str, Meta(pattern=r"^fadeout [a-z0-9][a-z0-9-]{0,31}$(?!\n)")]
_AvailabilityTopic = Annotated[str, Meta(pattern=r"^fadeout/[a-z0-9][a-z0-9-]{0,31}/availability$(?!\n)")]
_StateTopic = Annotated[str, Meta(pattern=r"^fadeout/[a-z0-9][a-z0-9-]{0,31}/state$(?!\n)")]
_EventFilter = Annotated[str, Meta(pattern=r"^fadeout/[a-z0-9][a-z0-9-]{0,31}/\+/\+$(?!\n)")]
_CommandTopic = Annotated[str, Meta(pattern=r"^fadeout/[a-z0-9][a-z0-9-]{0,31}/cmd/(mute|erase)$(?!\n)")]
_EventType = Annotated[str, Meta(pattern=r"^([a-z][a-z0-9_.]{0,39}|event-forgotten)$(?!\n)")]


class Template(enum.StrEnum):
    """Every template that Home Assistant is handed."""

    AVAILABILITY = "{{ 'online' if value == 'online' else 'offline' }}"
    # `this` is the event entity. What is sent twice counts once; and when the event that the entity still
    # shows is erased, the entity must not show it any longer.
    EVENT = (
        "{% set last = this.attributes.get('id') %}"
        "{% set told = value_json if value_json is mapping else {} %}"
        "{% if told.get('type') == 'action' and told.get('id') != last %}"
        "{{ {'event_type': told.action, 'outcome': told.outcome, 'id': told.id} | to_json }}"
        "{% elif told.get('type') in ('erase', 'erase_before') and last in told.get('ids', []) %}"
        "{{ {'event_type': 'event-forgotten'} | to_json }}"
        "{% endif %}"
    )
    LISTENING = "{{ 'ON' if value_json.listening else 'OFF' }}"
    MUTED = "{{ 'ON' if value_json.muted else 'OFF' }}"
    NOT_FORGETTING = "{{ 'OFF' if value_json.forgetting else 'ON' }}"
    HELD = "{{ value_json.held }}"
    OVERDUE = "{{ value_json.overdue }}"
    SWEPT = "{{ none if value_json.swept is none else value_json.swept | timestamp_utc }}"
    NEXT_END = "{{ none if value_json.next_end is none else value_json.next_end | timestamp_utc }}"


class Press(enum.StrEnum):
    """Every payload that a button sends."""

    MUTE = "{}"
    ERASE_LAST = '{"last":1}'
    ERASE_ALL = '{"all":true}'


class _Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A part of the payload; fields in the order in which they are published."""


class Event(_Closed, frozen=True, kw_only=True, tag_field="platform", tag="event"):
    """What happened."""

    unique_id: _UniqueId
    name: Literal["Action"]
    icon: Literal["mdi:account-voice"]
    state_topic: _EventFilter
    """A filter: `event/action` and, to take an event back, `erase/notice` and `erase/before`."""
    value_template: Template
    event_types: Annotated[tuple[_EventType, ...], Meta(max_length=contract.MAX_ACTIONS + 3)]


class BinarySensor(_Closed, frozen=True, kw_only=True, tag_field="platform", tag="binary_sensor"):
    """A fact of the state."""

    unique_id: _UniqueId
    name: Literal["Listening", "Muted", "Forgetting"]
    icon: Literal["mdi:ear-hearing", "mdi:microphone-off"] | None = None
    state_topic: _StateTopic
    value_template: Template
    device_class: Literal["problem"] | None = None
    """`problem`: on means that something is wrong, and Home Assistant shows it so."""
    entity_category: Literal["diagnostic"] | None = None
    expire_after: Literal[1500]


class Sensor(_Closed, frozen=True, kw_only=True, tag_field="platform", tag="sensor"):
    """A number or a time of the state."""

    unique_id: _UniqueId
    name: Literal["Held", "Overdue", "Last sweep", "Next end date"]
    icon: Literal["mdi:tray-full", "mdi:timer-alert", "mdi:broom", "mdi:calendar-remove"]
    state_topic: _StateTopic
    value_template: Template
    device_class: Literal["timestamp"] | None = None
    unit_of_measurement: Literal["recordings", "items"] | None = None
    entity_category: Literal["diagnostic"] | None = None
    expire_after: Literal[1500]


class Button(_Closed, frozen=True, kw_only=True, tag_field="platform", tag="button"):
    """A command; without any field, the word to Home Assistant that there is no such button any more."""

    unique_id: _UniqueId | None = None
    name: Literal["Mute", "Erase last", "Erase all"] | None = None
    icon: Literal["mdi:microphone-off", "mdi:eraser", "mdi:delete-forever"] | None = None
    command_topic: _CommandTopic | None = None
    payload_press: Press | None = None
    entity_category: Literal["config"] | None = None
    """`config`: not pressed by an action for a whole room, and not shown to voice assistants."""

    def __post_init__(self) -> None:
        """Refuse half a button."""
        given = [self.unique_id, self.name, self.icon, self.command_topic, self.payload_press]
        if any(given) and not all(given):
            raise ValueError("half a button")


class Components(_Closed, frozen=True, kw_only=True):
    """The entities: these and no others."""

    action: Event
    listening: BinarySensor
    muted: BinarySensor
    forgetting: BinarySensor
    held: Sensor
    overdue: Sensor
    last_sweep: Sensor
    next_end: Sensor
    mute: Button
    erase_last: Button
    erase_all: Button


class Availability(_Closed, frozen=True, kw_only=True):
    """Where the device says whether it is there. `stopped` and `offline` are both: no."""

    topic: _AvailabilityTopic
    value_template: Template


class Device(_Closed, frozen=True, kw_only=True):
    """The device's page. No serial number, no address, no host name."""

    identifiers: Annotated[tuple[_DeviceId, ...], Meta(min_length=1, max_length=1)]
    name: _DeviceName
    manufacturer: Literal["fadeout"]
    model: Literal["Voice recorder that forgets"]
    sw_version: contract.Version


class Origin(_Closed, frozen=True, kw_only=True):
    """Which program sent this."""

    name: Literal["fadeout"]
    sw_version: contract.Version


class Discovery(_Closed, frozen=True, kw_only=True):
    """The payload of `<prefix>/device/<node>/config`."""

    device: Device
    origin: Origin
    qos: Literal[1]
    availability: Annotated[tuple[Availability, ...], Meta(min_length=1, max_length=1)]
    components: Components

    def __post_init__(self) -> None:
        """Refuse a payload that speaks of two devices."""
        if len(set(self._nodes())) != 1:
            raise ValueError("topics and identifiers of more than one device")

    @property
    def node(self) -> str:
        """Whose payload it is."""
        return self.device.identifiers[0].removeprefix(_ID_BEGINS)

    def _nodes(self) -> Iterator[str]:
        yield self.node
        yield self.device.name.removeprefix("fadeout ")
        yield self.availability[0].topic.split("/")[1]
        for key in Components.__struct_fields__:
            component: Event | BinarySensor | Sensor | Button = getattr(self.components, key)
            topic = component.command_topic if isinstance(component, Button) else component.state_topic
            if topic is not None and component.unique_id is not None:
                yield topic.split("/")[1]
                yield component.unique_id.removeprefix(_ID_BEGINS).removesuffix(f"_{key}")


_ID_BEGINS: Final = "fadeout-"


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
            identifiers=(_ID_BEGINS + node,),
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
        unique_id=f"{_ID_BEGINS}{node}_action",
        name="Action",
        icon="mdi:account-voice",
        state_topic=contract.prefix_of(node) + "+/+",
        value_template=Template.EVENT,
        event_types=tuple(types),
    )


def _facts(node: str) -> tuple[BinarySensor, BinarySensor, BinarySensor]:
    """Return listening, muted and forgetting."""
    ident = f"{_ID_BEGINS}{node}_"
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
    ident = f"{_ID_BEGINS}{node}_"
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
    ident = f"{_ID_BEGINS}{node}_"
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
