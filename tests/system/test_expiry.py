"""P2: readable before its end date and not after, by the audio's time and by a clock that a test moves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fadeout_device import config, messages
from fadeout_device.confine import Confinement
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.errors import KeyErasedError, NoSuchRecordingError
from fadeout_device.vault.roots.file import FileRootStore
from fadeout_device.vault.service import Service
from fadeout_device.vault.store import Store
from fakes import FakeClock
from rig_fadeout import CANARIES, Home, Process, Run, vault_command
from rig_speech import Speech, silence, write_wav
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path

AUDIO_S, ACTION_S, SWEEP_S = 3_600, 7_200, 60
POLICY = """
[retention.failed]
audio = {{ keep = "{audio}", purpose = "test" }}
words = {{ keep = "none" }}
action = {{ keep = "{action}", purpose = "test" }}
[vault]
sweep = "{sweep}"
[mqtt]
enabled = false
"""
START_S = 1_700_000_000.0
REPLAY_START_S = 1_577_836_800.0
PCM = bytes(range(256)) * 250


def open_service(folder: Path, clock: FakeClock) -> Service:
    """Open a vault in this process, whose time a test moves."""
    folder.mkdir(exist_ok=True)
    loaded = config.parse(POLICY.format(audio="1h", action="2h", sweep="1m"), "test")
    store = Store(folder, FileRootStore(folder), loaded.policy, SWEEP_S, clock)
    service = Service(store, clock, Confinement("", ""), SWEEP_S)
    service.start()
    return service


def seal(service: Service) -> tuple[str, dict[str, int]]:
    """Seal an utterance that began at this moment; return its id and its items' end dates."""
    utterance = messages.Utterance(
        delivery="0" * 16, wake_word="okay_nabu", score=0.9, age_s=0.0, duration_s=2.0, speech_s=1.0,
        outcome="failed", action="none",
    )  # fmt: skip
    sealed = service.seal(utterance, PCM)
    assert isinstance(sealed, messages.Sealed)
    return sealed.recording, {kept.kind: kept.expires_at_s for kept in sealed.kept}


@pytest.mark.parametrize("has_restarted", [False, True])
def test_audio_is_readable_before_its_end_date_and_not_after(tmp_path: Path, *, has_restarted: bool) -> None:
    clock = FakeClock(START_S)
    service = open_service(tmp_path / "state", clock)
    recording, ends = seal(service)
    assert START_S + AUDIO_S - SWEEP_S < ends["audio"] <= START_S + AUDIO_S
    assert START_S + ACTION_S - SWEEP_S < ends["action"] <= START_S + ACTION_S

    clock.now_s = ends["audio"] - 0.001
    assert Desk(service).play(recording)[1] == PCM
    (item,) = [item for item in service.store.index.live() if item.item_class.kind == "audio"]
    clock.now_s = float(ends["audio"])
    # No sweep has come yet: what is due is refused all the same.
    with pytest.raises(KeyErasedError):
        service.store.content(item)
    with pytest.raises(NoSuchRecordingError):
        Desk(service).play(recording)
    assert Desk(service).status().overdue == 1

    if has_restarted:
        service.store.close()
        service = open_service(tmp_path / "state", clock)
    else:
        service.sweep()
    assert Desk(service).status().overdue == 0
    assert not (tmp_path / "state" / "items" / item.id).exists()
    with pytest.raises(KeyErasedError):
        service.store.keyring.leaf_key(item.item_class, item.leaf)
    assert Desk(service).show(recording).captured_at_s == START_S, "the action lives longer than the audio"
    clock.now_s = float(ends["action"])
    service.sweep()
    assert Desk(service).recordings().recordings == ()
    service.store.close()


def test_a_clock_that_goes_back_brings_nothing_back(tmp_path: Path) -> None:
    clock = FakeClock(START_S)
    service = open_service(tmp_path / "state", clock)
    recording, ends = seal(service)
    clock.now_s = float(ends["audio"])
    service.sweep()
    service.store.close()
    # A start at an earlier time goes on where the time had been.
    early = FakeClock(START_S)
    service = open_service(tmp_path / "state", early)
    assert early.now() >= ends["audio"]
    with pytest.raises(NoSuchRecordingError):
        Desk(service).play(recording)
    service.store.close()


@pytest.mark.system
@pytest.mark.parametrize(
    ("silence_s", "kinds"),
    [
        pytest.param(20, ["audio", "action"], id="nothing has ended"),
        pytest.param(70, ["action"], id="the audio has ended"),
        pytest.param(130, [], id="everything has ended"),
    ],
)
def test_in_a_replay_the_time_of_the_audio_is_what_ends_items(
    home: Home, speech: Speech, tmp_path: Path, silence_s: int, kinds: list[str]
) -> None:
    home.config.write_text(POLICY.format(audio="1m", action="2m", sweep="5s"))
    later = write_wav(tmp_path / "later.wav", silence(silence_s))
    (heard,) = home.ask_lines("replay", "--state", home.state, speech.path, later)
    assert [kept["kind"] for kept in heard["kept"]] == ["audio", "action"]
    assert len(list((home.state / "items").iterdir())) == len(kinds)
    with Process(home, vault_command(home)):
        wait_for(home.status, "the vault answers")
        assert [item["kind"] for row in home.ask("list") for item in row["items"]] == kinds
        if not kinds:
            assert home.status().overdue == 0  # type: ignore[union-attr]  # it has answered


@pytest.mark.system
def test_end_dates_in_a_replay_count_from_the_first_sample(home: Home, speech: Speech) -> None:
    home.config.write_text(POLICY.format(audio="1m", action="2m", sweep="5s"))
    (heard,) = home.ask_lines("replay", speech.path)
    for kept, period_s in zip(heard["kept"], (60, 120), strict=True):
        lives_s = kept["expires_at_s"] - (REPLAY_START_S + heard["start_s"])
        assert period_s - 5 <= lives_s <= period_s


@pytest.mark.system
def test_in_real_time_a_key_is_destroyed_when_its_time_is_over(home: Home, speech: Speech) -> None:
    # The audio is older than five seconds when it is sealed, and lives for two more.
    home.config.write_text(POLICY.format(audio="8s", action="8s", sweep="1s"))
    with Run(home, "--replay", speech.path) as run:
        run.wait_for_line('"sealed ')
        recording = home.held()[0]
        assert home.verb("play", recording, "-o", home.folder / "before.wav").returncode == 0
        run.wait_for_line("2 keys destroyed: their time was over")
        assert home.held() == []
        after = home.verb("play", recording, "-o", home.folder / "after.wav")
        assert after.returncode == os.EX_NOINPUT
        assert len(list((home.state / "items").iterdir())) == CANARIES
    assert run.finish(LONG_S) == 0
