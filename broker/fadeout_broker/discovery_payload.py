"""What a device's discovery may say: one closed struct for each part of the payload.

Every name, icon and template below is one of a fixed list, and every topic is the device's
own, so that a payload that decodes as `Discovery` says nothing but which device there is,
which actions it may report, and what it lets itself be told: mute and erase. There is no
type for a switch, a number or a way to listen again (P7).

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

FORGOTTEN: Final = "event-forgotten"
"""The event that takes the place of one that was erased. No action can be called so."""

ID_BEGINS: Final = "fadeout-"
"""Every identifier is this and the device's name."""

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
        return self.device.identifiers[0].removeprefix(ID_BEGINS)

    def _nodes(self) -> Iterator[str]:
        yield self.node
        yield self.device.name.removeprefix("fadeout ")
        yield self.availability[0].topic.split("/")[1]
        for key in Components.__struct_fields__:
            component: Event | BinarySensor | Sensor | Button = getattr(self.components, key)
            topic = component.command_topic if isinstance(component, Button) else component.state_topic
            if topic is not None and component.unique_id is not None:
                yield topic.split("/")[1]
                yield component.unique_id.removeprefix(ID_BEGINS).removesuffix(f"_{key}")
