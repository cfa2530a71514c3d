"""What a household would see: the device appears, acts, forgets, goes away. One function, one promise."""

from __future__ import annotations

import queue
import sqlite3
import time
import urllib.error
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from home_assistant.instance import NotSeenError, wait_for
from home_assistant.whole import speaks

from fadeout_broker import contract, discovery, discovery_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from home_assistant.instance import HomeAssistant
    from home_assistant.speaker import Speaker

    from fadeout_broker.local import LocalBroker

NODE = "sp-7f3a9c"
SLUG = "fadeout_sp_7f3a9c"
INFO = contract.Info(
    v=1, sw="0.1.0", mode="prompt", actions=("light.on", "light.off"), commands=True, result_s=0
)
STATE = contract.DeviceState(
    v=1,
    listening=True,
    muted=False,
    held=3,
    overdue=0,
    sweep="ok",
    swept=1_790_000_100,
    next_end=1_790_002_800,
    forgetting=True,
)
ERA = "0123abcd"
ENTITIES = {
    f"event.{SLUG}_action",
    f"binary_sensor.{SLUG}_listening",
    f"binary_sensor.{SLUG}_muted",
    f"binary_sensor.{SLUG}_forgetting",
    f"sensor.{SLUG}_held",
    f"sensor.{SLUG}_overdue",
    f"sensor.{SLUG}_last_sweep",
    f"sensor.{SLUG}_next_end_date",
    f"button.{SLUG}_mute",
    f"button.{SLUG}_erase_last",
    f"button.{SLUG}_erase_all",
}
BUTTONS = {entity for entity in ENTITIES if entity.startswith("button.")}
ACTION = f"event.{SLUG}_action"
DATABASE = "home-assistant_v2.db"


class Outcome(NamedTuple):
    """What became of one check."""

    what: str
    ok: bool
    detail: str
    took_s: float


class Room(NamedTuple):
    """What a check can use."""

    home: HomeAssistant
    speaker: Speaker
    broker: LocalBroker


def automations() -> list[dict[str, Any]]:
    """Return automations made of the shipped blueprints, with every input given."""
    return [
        {
            "id": "try_on_action",
            "alias": "try on action",
            "use_blueprint": {
                "path": "fadeout/on-action.yaml",
                "input": {
                    "event_entity": ACTION,
                    "event_type": "light.on",
                    "actions": [
                        {
                            "action": "mqtt.publish",
                            "data": {"topic": "try/acted", "payload": "light.on", "qos": 1},
                        }
                    ],
                },
            },
        }
    ]


def forgetting(device: str) -> dict[str, Any]:
    """Return an automation made of the forgetting blueprint, for a device that is there already."""
    return {
        "id": "try_forget",
        "alias": "try forget",
        "use_blueprint": {"path": "fadeout/forget.yaml", "input": {"speaker": device, "node": NODE}},
    }


def event(number: int, action: str = "light.on") -> contract.ActionEvent:
    """Return an event of its own."""
    return contract.ActionEvent(v=1, id=f"{number:016d}", action=action, outcome="served", ttl=3600)


def notice(number: int, *events: contract.ActionEvent) -> contract.EraseNotice:
    """Return the word to forget these."""
    return contract.EraseNotice(v=1, era=ERA, n=number, ids=tuple(each.id for each in events))


def watermark(number: int, *events: contract.ActionEvent) -> contract.EraseBefore:
    """Return the retained word to forget these."""
    ids = tuple(each.id for each in events)
    return contract.EraseBefore(v=1, era=ERA, n=number, since=number, ids=ids)


def is_found(room: Room) -> str:
    """The device appears by itself, with these entities and what they say."""
    room.speaker.discover(INFO)
    room.speaker.say("online")
    room.speaker.report(STATE)
    wait_for(lambda: room.home.entities(SLUG) == ENTITIES, f"these entities: {sorted(ENTITIES)}")
    said = {
        f"binary_sensor.{SLUG}_listening": "on",
        f"binary_sensor.{SLUG}_muted": "off",
        f"binary_sensor.{SLUG}_forgetting": "off",
        f"sensor.{SLUG}_held": "3",
        f"sensor.{SLUG}_overdue": "0",
        f"sensor.{SLUG}_last_sweep": "2026-09-21T14:15:00+00:00",
        f"sensor.{SLUG}_next_end_date": "2026-09-21T15:00:00+00:00",
    }
    for entity, value in said.items():
        wait_for(lambda e=entity, v=value: _is(room, e, v), f"{entity} says {value}")  # type: ignore[misc]  # because mypy infers no default's type
    wait_for(lambda: _is(room, ACTION, "unknown"), "the event is there, and nothing happened yet")
    return f"{len(ENTITIES)} entities"


def says_when_nothing_is_held(room: Room) -> str:
    """A time that is not there is unknown, and a failure of forgetting is a problem."""
    worse = {"held": 0, "next_end": None, "swept": None, "sweep": "none", "overdue": 2, "forgetting": False}
    room.speaker.report(contract.DeviceState(**{**_fields(STATE), **worse}))
    wait_for(lambda: _is(room, f"binary_sensor.{SLUG}_forgetting", "on"), "forgetting is a problem")
    for entity in ("last_sweep", "next_end_date"):
        wait_for(lambda e=entity: _is(room, f"sensor.{SLUG}_{e}", "unknown"), f"{entity} is unknown")  # type: ignore[misc]  # because mypy infers no default's type
    room.speaker.report(STATE)
    wait_for(lambda: _is(room, f"binary_sensor.{SLUG}_forgetting", "off"), "forgetting works again")
    return ""


def shows_an_action(room: Room) -> str:
    """An action arrives as an event with its type, and the blueprint acts on it."""
    room.speaker.report(event(1))
    wait_for(lambda: _shows(room, event(1)), "the event is light.on")
    _topic, payload = room.speaker.hear("try/acted")
    return payload.decode()


def counts_once(room: Room) -> str:
    """What is sent twice counts once."""
    room.speaker.report(event(1))
    room.speaker.report(event(2, "none"))  # in order: when this one is seen, the other was
    wait_for(lambda: _shows(room, event(2, "none")), "the next event")
    _never(room, "try/acted")
    return ""


def ignores_another_action(room: Room) -> str:
    """The blueprint does nothing on another action, and something on its own again."""
    room.speaker.report(event(3, "light.off"))
    wait_for(lambda: _shows(room, event(3, "light.off")), "the event is light.off")
    _never(room, "try/acted")
    room.speaker.report(event(4))
    room.speaker.hear("try/acted")
    return ""


def takes_an_event_back(room: Room) -> str:
    """When the event that is shown is erased, it is not shown any longer."""
    room.speaker.report(notice(1, event(3)))  # not the one that is shown
    room.speaker.report(notice(2, event(4)))
    wait_for(lambda: _type(room) == discovery_payload.FORGOTTEN, "the event was forgotten")
    state = room.home.state(ACTION)
    if state is None or "id" in state["attributes"]:
        raise NotSeenError("the id is still there")
    return ""


def presses(room: Room) -> str:
    """Each button sends its command."""
    expected: dict[str, contract.Request] = {
        "mute": contract.MuteRequest(),
        "erase_last": contract.EraseRequest(last=1),
        "erase_all": contract.EraseRequest(all=True),
    }
    for button, request in expected.items():
        room.home.call("button", "press", entity_id=f"button.{SLUG}_{button}")
        heard = room.speaker.command()
        if heard != request:
            raise NotSeenError(f"{button} sent something else")
    return ""


def is_unavailable_when_stopped(room: Room) -> str:
    """`stopped` and `offline` make all of it unavailable; `online` brings it back, and nothing acts on it."""
    room.speaker.report(event(5))
    room.speaker.hear("try/acted")
    for word in ("stopped", "offline"):
        room.speaker.say(word)
        for entity in ENTITIES:
            wait_for(lambda e=entity: _is(room, e, "unavailable"), f"{entity} is unavailable")  # type: ignore[misc]  # because mypy infers no default's type
        room.speaker.say("online")
        wait_for(lambda: _shows(room, event(5)), "the last event is back")
        wait_for(lambda: _is(room, f"sensor.{SLUG}_held", "3"), "the state is back")
    _never(room, "try/acted")
    return ""


def loses_its_buttons(room: Room) -> str:
    """A device that takes no commands any more loses its buttons."""
    room.speaker.discover(contract.Info(**{**_fields(INFO), "commands": False}))
    wait_for(lambda: room.home.entities(SLUG) == ENTITIES - BUTTONS, "the buttons are gone")
    room.speaker.discover(INFO)
    wait_for(lambda: room.home.entities(SLUG) == ENTITIES, "the buttons are back")
    return ""


def restarts(room: Room) -> str:
    """After a restart it says so, the retained device is back, and nothing acts on what happened before."""
    room.home.stop()
    while not room.speaker.heard.empty():
        room.speaker.heard.get()
    room.home.start()
    _topic, word = room.speaker.hear(discovery.birth_topic("homeassistant"))
    wait_for(lambda: _is(room, f"sensor.{SLUG}_held", "3"), "the state is back")
    _never(room, "try/acted")
    room.speaker.report(event(6))
    room.speaker.hear("try/acted")
    return f"it says {word.decode()}"


def purges(room: Room) -> str:
    """On erase/before the second blueprint purges the recorder's rows of the device."""
    device = room.home.render("{{ device_id('" + ACTION + "') }}")
    room.home.ask("/api/config/automation/config/try_forget", forgetting(device))
    room.speaker.report(event(7))
    room.speaker.hear("try/acted")
    wait_for(lambda: event(7).id in _recorded(room), "the recorder has the event")
    before = _files_with(room.home.folder, event(7).id)
    room.speaker.report(notice(3, event(7)))
    room.speaker.report(watermark(3, event(7)))
    wait_for(lambda: not _recorded(room), "no row of the recorder has any event")
    after = _files_with(room.home.folder, event(7).id)
    return f"the id was in {_names(before)}, and while it runs on is in {_names(after)}"


def leaves(room: Room) -> str:
    """What `fadeout forget` clears removes the device, and with the second blueprint its history."""
    room.speaker.report(event(8))
    room.speaker.hear("try/acted")
    wait_for(lambda: event(8).id in _recorded(room), "the recorder has the event")
    room.speaker.withdraw()
    wait_for(lambda: not room.home.entities(SLUG), "no entity is left")
    wait_for(lambda: not _recorded(room), "no row of the recorder has any event")
    return ""


def complains_of_nothing(room: Room) -> str:
    """Home Assistant's log has no warning about any of this."""
    found = [
        line for line in room.home.log() if any(word in line for word in ("mqtt", "template", "fadeout"))
    ]
    if found:
        raise NotSeenError(f"{len(found)} warnings, such as: {found[0]}")
    return ""


CHECKS: tuple[Callable[[Room], str], ...] = (
    is_found,
    says_when_nothing_is_held,
    shows_an_action,
    counts_once,
    ignores_another_action,
    takes_an_event_back,
    presses,
    is_unavailable_when_stopped,
    loses_its_buttons,
    restarts,
    purges,
    leaves,
    speaks,
    complains_of_nothing,
)


def run(room: Room, checks: tuple[Callable[[Room], str], ...] = CHECKS) -> Iterator[Outcome]:
    """Make the checks, one after the other; a failed one does not keep the next from being made."""
    for check in checks:
        what = (check.__doc__ or check.__name__).strip().rstrip(".")
        begun_mono_s = time.monotonic()
        try:
            detail, ok = check(room), True
        except (
            NotSeenError,
            queue.Empty,
            urllib.error.URLError,
            sqlite3.Error,
            contract.ContractError,
        ) as err:
            detail, ok = str(err) or type(err).__name__, False
        yield Outcome(what, ok, detail, time.monotonic() - begun_mono_s)


def left_behind(folder: Path, ident: str) -> str:
    """Return the names of the files that have this id somewhere in their bytes."""
    return _names(_files_with(folder, ident))


def rows_of(folder: Path, slug: str) -> int:
    """Return of how many entities, whose names after the dot begin so, the recorder knows anything."""
    query = "SELECT count(*) FROM states_meta WHERE entity_id LIKE ? ESCAPE '!'"
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True)) as database:
        (found,) = database.execute(query, (f"%.{slug.replace('_', '!_')}!_%",)).fetchone()
    return int(found)


def _names(files: list[Path]) -> str:
    return ", ".join(sorted(path.name for path in files)) or "no file"


def _files_with(folder: Path, text: str) -> list[Path]:
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
        except OSError:
            continue  # replaced while we looked
    return found


def _recorded(room: Room) -> set[str]:
    """Return the ids of the events that rows of the recorder have."""
    query = "SELECT shared_attrs FROM state_attributes"
    with closing(sqlite3.connect(f"file:{room.home.folder / DATABASE}?mode=ro", uri=True)) as database:
        rows = [row[0] for row in database.execute(query)]
    return {event(number).id for number in range(20) if any(event(number).id in row for row in rows)}


def _is(room: Room, entity: str, value: str) -> bool:
    state = room.home.state(entity)
    return state is not None and state["state"] == value


def _type(room: Room) -> str | None:
    state = room.home.state(ACTION)
    found: str | None = None if state is None else state["attributes"].get("event_type")
    return found


def _shows(room: Room, shown: contract.ActionEvent) -> bool:
    state = room.home.state(ACTION)
    if state is None:
        return False
    told = [state["attributes"].get(key) for key in ("event_type", "outcome", "id")]
    return told == [shown.action, shown.outcome, shown.id]


def _never(room: Room, begins: str) -> None:
    """Fail if such a message has come by the time that one of our own is through."""
    room.home.call("mqtt", "publish", topic="try/now", payload="now", qos=1)
    while True:
        topic, _payload = room.speaker.hear("try/")
        if topic == "try/now":
            return
        if topic.startswith(begins):
            raise NotSeenError(f"{topic} came, and should not have")


def _fields(struct: contract.DeviceState | contract.Info) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
