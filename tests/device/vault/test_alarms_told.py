"""Which alarms the broker knows of: one event at a time, and no alarm told twice."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from fadeout_broker import arrow, contract
from fadeout_device.errors import WireError
from fadeout_device.vault.alarms import Alarms
from fadeout_device.vault.alarms_told import AlarmsTold

if TYPE_CHECKING:
    from device.vault.conftest import Rig


class Told:
    """The alarms of one process, and what it tells of them."""

    def __init__(self, rig: Rig, on: str = "") -> None:
        self.alarms = Alarms(lambda _line: None)
        self.alarms.restore(on)
        self.told = AlarmsTold(self.alarms, rig.store.index)
        self.sent: list[arrow.Publish] = []
        self._numbers = itertools.count(1)

    def tell(self) -> list[contract.Outgoing]:
        """Tell what can be told; return all that was sent so far."""
        self.told.tell(self._numbers, self.sent.append)
        return [each.payload for each in self.sent]


@pytest.fixture
def told(rig: Rig) -> Told:
    return Told(rig)


def _event(alarm: contract.Alarm, *, on: bool) -> contract.AlarmEvent:
    return contract.AlarmEvent(v=contract.VERSION, alarm=alarm, on=on)


def test_an_alarm_is_told_once_and_so_is_its_end(rig: Rig, told: Told) -> None:
    told.alarms.set("canary", "it lives")
    told.tell()
    told.alarms.set("canary", "it lives on")
    assert told.tell() == [_event("canary", on=True)]
    assert told.told.arrived(1)
    told.tell()
    assert rig.store.index.get_meta("alarms_told") == "canary"
    told.alarms.set("canary", "")
    assert told.tell()[1:] == [_event("canary", on=False)]
    assert told.told.arrived(2)
    assert rig.store.index.get_meta("alarms_told") == ""
    assert len(told.tell()) == 2


def test_one_event_is_on_its_way_at_a_time(told: Told) -> None:
    told.alarms.set("sweep", "it stands still")
    told.alarms.set("erase", "input/output error")
    assert told.tell() == told.tell() == [_event("erase", on=True)]
    assert not told.told.arrived(7), "a number of something else"
    assert told.told.arrived(1)
    assert told.tell()[1:] == [_event("sweep", on=True)]


def test_the_end_of_an_alarm_is_told_by_the_process_after_this_one(rig: Rig) -> None:
    with rig.store.index.transaction():
        rig.store.index.set_meta("alarms_told", "canary sweep")
    assert Told(rig, on="canary").tell() == [_event("sweep", on=False)]


def test_what_the_broker_has_not_acknowledged_is_told_again(told: Told) -> None:
    told.alarms.set("canary", "it lives")
    told.tell()
    told.told.in_flight = None  # the connection was lost
    assert told.tell() == [_event("canary", on=True)] * 2


def test_what_cannot_be_stored_is_not_told_again_by_this_process(rig: Rig, told: Told) -> None:
    told.alarms.set("canary", "it lives")
    told.tell()
    rig.store.close()
    assert told.told.arrived(1)
    assert len(told.tell()) == 1


def test_a_reporter_that_is_gone_leaves_the_event_to_the_next_connection(told: Told) -> None:
    def broken(_: arrow.Publish) -> None:
        raise WireError("gone")

    told.alarms.set("canary", "it lives")
    with pytest.raises(WireError):
        told.told.tell(itertools.count(1), broken)
    assert told.tell() == [], "it may have left; the end of the connection says so"
