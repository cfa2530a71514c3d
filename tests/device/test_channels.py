"""The ratchet, row by row: every command of the control socket and of MQTT, over every channel (P7)."""

from __future__ import annotations

from typing import get_args

import pytest

from fadeout_broker import contract
from fadeout_device import messages, questions
from fadeout_device.channels import _DEEDS, CHANNELS, DEEDS, Channel, Request, deed_of, is_allowed

HERE = frozenset({"control"})
AFAR = frozenset({"mqtt", "control"})
ALL = frozenset(CHANNELS)

ROWS: list[tuple[Request, frozenset[str]]] = [
    (questions.ListRecordings(), HERE),
    (questions.Show("a"), HERE),
    (questions.Play("a"), HERE),
    (questions.Explain("a"), HERE),
    (questions.Watch(), HERE),
    (questions.Export(everything=True, to="anna"), HERE),
    (questions.Erase(("a",)), AFAR | {"voice"}),
    (questions.Erase(since_s=60.0), AFAR | {"voice"}),
    (questions.Erase(everything=True), AFAR | {"voice"}),
    (questions.Erase(everything=True, now=True), AFAR | {"voice"}),
    (questions.Erase(last=1), ALL),
    (questions.Reset(), HERE),
    (questions.GetLedger(), HERE),
    (questions.ListRecipients(), HERE),
    (questions.AddRecipient("anna", "age1"), HERE),
    (questions.ConfirmRecipient("anna", "0"), HERE),
    (questions.RemoveRecipient("anna"), HERE),
    (questions.ListSubscribers(), HERE),
    (questions.Forget(), HERE),
    (questions.Forget(is_undone=True), HERE),
    (questions.LookAtClock(), HERE),
    (questions.LookAtClock(confirm=True), HERE),
    (questions.Status(), HERE),
    (questions.GetPolicy(), HERE),
    (questions.RestorePolicy(), HERE),
    (questions.Guest(is_on=True), HERE),
    (questions.Guest(is_on=False), HERE),
    (questions.Guest(is_on=None), HERE),
    (questions.DebugCapture(is_on=True, for_s=60.0), HERE),
    (questions.DebugCapture(is_on=False), HERE),
    (questions.DebugCapture(is_on=None), HERE),
    (questions.Mute(), ALL),
    (questions.Unmute(), frozenset({"control", "button"})),
    (contract.MuteRequest(), ALL),
    (contract.EraseRequest(ids=("0123456789abcdef",)), AFAR | {"voice"}),
    (contract.EraseRequest(last_minutes=10), AFAR | {"voice"}),
    (contract.EraseRequest(all=True), AFAR | {"voice"}),
    (contract.EraseRequest(last=1), ALL),
    (contract.ShortenRequest(keep_s=60), AFAR),
    (contract.ResultRequest(id="0123456789abcdef", result="done"), AFAR),
    (contract.ResultRequest(id="0123456789abcdef", result="failed"), AFAR),
    (contract.PingRequest(), AFAR),
]
FROM_AFAR = {"mute", "erase", "erase the newest", "shorten", "report done", "report failed", "ping"}
"""The two reports are heeded only where the device waits for them: `vault/test_outcomes.py`."""


def _names() -> list[str]:
    return [f"{index} {type(request).__name__}" for index, (request, _) in enumerate(ROWS)]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(("request_", "channels"), ROWS, ids=_names())
def test_a_request_is_allowed_over_these_channels_and_no_other(
    request_: Request, channels: frozenset[str], channel: Channel
) -> None:
    assert is_allowed(deed_of(request_), channel) is (channel in channels)


def test_every_command_there_is_stands_in_the_table() -> None:
    known = set(get_args(questions.Command)) | set(get_args(contract.Request))
    assert set(_DEEDS) == known, "a new command needs a row in channels.py"
    assert {type(request) for request, _ in ROWS} == known, "and one here, that says what it may"


@pytest.mark.parametrize("deed", DEEDS)
def test_every_deed_can_be_asked_for_at_the_device(deed: str) -> None:
    assert is_allowed(deed, "control")  # type: ignore[arg-type]  # of the list


def test_from_afar_one_can_mute_shorten_erase_and_report_and_nothing_else() -> None:
    assert {deed for deed in DEEDS if is_allowed(deed, "mqtt")} == FROM_AFAR


def test_a_voice_and_the_button_loosen_nothing_but_the_button_s_own_mute() -> None:
    assert {deed for deed in DEEDS if is_allowed(deed, "voice")} == {
        "mute", "erase", "erase the newest", "count",
    }  # fmt: skip
    assert {deed for deed in DEEDS if is_allowed(deed, "button")} == {"mute", "unmute", "erase the newest"}


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_the_table_does_not_know_is_refused(channel: Channel) -> None:
    class Whisper(messages.Message, frozen=True):
        pass

    assert deed_of(Whisper()) is None  # type: ignore[arg-type]  # that is the point
    assert not is_allowed(None, channel)
    assert not is_allowed("levitate", channel)  # type: ignore[arg-type]  # the same
