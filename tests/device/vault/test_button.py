"""What the vault makes of the button: it comes before every other way to mute, or to end that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest

from fadeout_device.errors import StorageError, UsageError, WireError
from fadeout_device.messages import Mute, Pressed, Ready, Unmute
from fadeout_device.vault import ratchet
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.ear_arrow import _press

if TYPE_CHECKING:
    from device.vault.conftest import Rig
    from fadeout_device.messages import MutedBy, ToEar
    from fadeout_device.vault.service import Service


@pytest.fixture
def service(rig: Rig) -> Service:
    made = rig.serve()
    made.has_button = True
    return made


def test_a_press_mutes_and_the_next_ends_it(service: Service) -> None:
    heard: list[ToEar] = []
    service.ear_is_here(heard.append, is_new=True)
    _press(Pressed(mute=True), service)
    assert service.privacy.state.muted_by == "button"
    _press(Pressed(mute=False), service)
    assert not service.privacy.is_muted
    assert heard == [Ready(), Mute("button"), Unmute()]


@pytest.mark.parametrize("earlier", ["mqtt", "control", "voice"])
def test_whoever_muted_it_before_it_is_the_button_s_mute_then(service: Service, earlier: str) -> None:
    ratchet.mute(service, cast("MutedBy", earlier))
    _press(Pressed(mute=True), service)
    ratchet.mute(service, "mqtt")
    assert service.privacy.state.muted_by == "button"


def test_what_the_button_muted_the_command_does_not_end(service: Service) -> None:
    _press(Pressed(mute=True), service)
    with pytest.raises(UsageError, match="only the button") as caught:
        Desk(service).unmute()
    assert caught.value.hint == "press the button"
    assert caught.value.exit_code == os.EX_USAGE
    assert service.privacy.is_muted


def test_where_there_is_no_button_any_more_the_command_ends_it(service: Service) -> None:
    _press(Pressed(mute=True), service)
    service.has_button = False
    Desk(service).unmute()
    assert not service.privacy.is_muted


@pytest.mark.parametrize("mute", [True, False])
def test_a_press_of_a_button_that_there_is_not_ends_the_connection(service: Service, *, mute: bool) -> None:
    service.has_button = False
    ratchet.mute(service, "control")
    with pytest.raises(WireError, match="button"):
        _press(Pressed(mute), service)
    assert service.privacy.state.muted_by == "control"


def test_a_mute_that_cannot_be_stored_holds(
    rig: Rig, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(rig.store.index, "set_meta", broken)
    _press(Pressed(mute=True), service)
    assert service.privacy.is_muted
