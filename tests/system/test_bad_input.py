"""What people and disks and brokers do wrong: one clear line, a next step, and nothing lost meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import soundfile
import soxr

from broker.subscriber import Subscriber
from fadeout_broker.local import LocalBroker
from rig_disk import small_disk
from rig_fadeout import CLI, Home, Process, Run, assert_refused, vault_command
from rig_speech import RATE_HZ, Speech, silence, write_wav
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fadeout_device.answers import StatusReport
    from rig_state import SealedState

pytestmark = pytest.mark.system

# Root without its capabilities: a user whom permissions hold, and whose Python can be reached.
UNPRIVILEGED = ("setpriv", "--inh-caps=-all", "--bounding-set=-all", "--")
SOMEBODY_ELSE = 65_534
LONG_NAME = "n" * 120


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "quiet.wav", silence(300))


def as_a_user() -> tuple[str, ...]:
    return UNPRIVILEGED if os.geteuid() == 0 else ()


def somebody_elses_folder(home: Home) -> None:
    home.state.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(home.state, SOMEBODY_ELSE, SOMEBODY_ELSE)
    else:
        home.state.chmod(0)


def folder_without_write(home: Home) -> None:
    home.state.mkdir(mode=0o500)


def file_in_its_place(home: Home) -> None:
    home.state.write_text("not a folder")


def start_line(verb: str, home: Home, audio: Path) -> list[str | Path]:
    """Return how a verb starts fadeout on the home's state folder."""
    return ["run", "--replay", audio] if verb == "run" else ["replay", "--state", home.state, audio]


# ---- the state folder


@pytest.mark.parametrize("verb", ["run", "replay"])
@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        pytest.param(somebody_elses_folder, "permission denied", id="a folder of somebody else"),
        pytest.param(folder_without_write, "permission denied", id="a folder that may not be written"),
        pytest.param(file_in_its_place, "", id="a file in its place"),
    ],
)
def test_a_state_folder_that_cannot_be_used_stops_the_start(
    home: Home, quiet: Path, verb: str, prepare: Callable[[Home], None], reason: str
) -> None:
    prepare(home)
    line = start_line(verb, home, quiet)
    answer = home.verb(*line, wrapper=as_a_user())
    assert_refused(answer, os.EX_CANTCREAT, str(home.state), reason)
    home.state.chmod(0o700)


def test_a_state_folder_below_a_file_stops_the_start(home: Home, quiet: Path) -> None:
    file = home.folder / "file"
    file.write_text("not a folder")
    assert_refused(home.verb("run", "--state", file / "state", "--replay", quiet), os.EX_CANTCREAT, str(file))


def test_a_state_folder_may_lie_deeper_than_a_sockets_address_reaches(home: Home, quiet: Path) -> None:
    home.config.write_text("[mqtt]\nenabled = false\n")
    deep = Home(home.folder / LONG_NAME)
    deep.folder.mkdir()
    with Run(home, "--state", deep.state, "--replay", quiet):
        wait_for(lambda: (now := deep.status()) and now.listening, "the ear and the command reach the vault")


@pytest.mark.usefixtures("as_root")
def test_a_read_only_state_folder_stops_the_start(home: Home, quiet: Path) -> None:
    with small_disk(home.state, size_kib=1024):
        subprocess.run(["mount", "-o", "remount,ro", str(home.state)], check=True)
        answer = home.verb("run", "--replay", quiet)
        assert_refused(answer, os.EX_CANTCREAT, str(home.state), "read-only file system")


def test_verbs_say_that_nothing_runs(home: Home) -> None:
    for line in (["list"], ["show", "a"], ["play", "a"], ["erase", "--all"], ["status"], ["watch"]):
        assert_refused(home.verb(*line), os.EX_UNAVAILABLE, "no fadeout is running", str(home.state))


@pytest.mark.parametrize("verb", ["run", "replay", "the vault alone"])
def test_a_second_fadeout_on_the_same_state_is_refused_and_the_first_goes_on(
    home: Home, quiet: Path, verb: str
) -> None:
    with Process(home, vault_command(home)) as first:
        wait_for(home.status, "the first one answers")
        if verb == "the vault alone":
            answer = subprocess.run(
                vault_command(home), env=home.environment(), capture_output=True, text=True, check=False
            )
        else:
            line = start_line(verb, home, quiet)
            answer = home.verb(*line)
        assert_refused(answer, os.EX_UNAVAILABLE, "another fadeout", str(home.state))
        assert home.status() is not None
        assert first.process.poll() is None


# ---- the configuration


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        pytest.param('[wake]\nwrods = ["alexa"]\n', 2, ["wake.wrods", "no such key"], id="a misspelt key"),
        pytest.param("[mqtt]\n\nport = 70000\n", 3, ["mqtt.port", "70000"], id="a number out of range"),
        pytest.param('[vault]\nsweep = "soon"\n', 2, ["vault.sweep", "soon"], id="no period"),
        pytest.param(
            '[retention.failed]\naudio = { keep = "forever", purpose = "x" }\n', 2,
            ["retention.failed.audio", "forever"], id="forever",
        ),
        pytest.param("[mqtt\n", 1, [], id="no TOML"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_stops_everything(
    home: Home, quiet: Path, text: str, line: int, parts: list[str]
) -> None:
    home.config.write_text(text)
    for words in (["run", "--replay", quiet], ["replay", quiet], ["check-config"]):
        answer = home.verb(*words)
        assert_refused(answer, os.EX_CONFIG, f"{home.config}:{line}:", *parts)
    assert not home.state.exists()


def test_a_configuration_that_is_not_there_stops_everything(home: Home, quiet: Path) -> None:
    answer = home.verb("run", "--config", home.folder / "none.toml", "--replay", quiet)
    assert_refused(answer, os.EX_CONFIG, "none.toml", "no such file")


@pytest.mark.parametrize("device", ['"no such microphone"', "99"])
def test_a_microphone_that_is_not_there_stops_the_start(home: Home, device: str) -> None:
    home.config.write_text(f"[microphone]\ndevice = {device}\n[mqtt]\nenabled = false\n")
    answer = home.verb("run")
    assert_refused(answer, os.EX_UNAVAILABLE, "microphone")


# ---- audio


def bad_files(folder: Path, speech: Speech) -> dict[str, Path]:
    whole = speech.path.read_bytes()
    for name, data in {
        "empty.wav": b"",
        "cut.wav": whole[: len(whole) // 2],
        "header.wav": whole[:20],
        "text.wav": b"this is no audio\n" * 20,
        "noise.flac": os.urandom(5_000),
    }.items():
        (folder / name).write_bytes(data)
    write_wav(folder / "nothing.wav", b"")
    names = ("empty.wav", "cut.wav", "header.wav", "text.wav", "noise.flac", "nothing.wav", "missing.wav")
    return {name: folder / name for name in names}


def test_bad_files_get_a_line_each_and_the_others_are_still_replayed(
    home: Home, speech: Speech, tmp_path: Path
) -> None:
    bad = bad_files(tmp_path, speech)
    answer = home.verb("replay", "--json", *bad.values(), speech.path)
    assert answer.returncode == os.EX_DATAERR
    heard, *refused = [json.loads(line) for line in answer.stdout.splitlines()]
    assert (heard["file"], heard["outcome"]) == (str(speech.path), "failed")
    assert [line["file"] for line in refused] == [str(path) for path in bad.values()]
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {line['error']}" for line in refused]
    assert [line.split(":")[1].strip() for line in errors] == [str(path) for path in bad.values()]
    hints = [line for line in answer.stderr.splitlines() if line.startswith("hint: ")]
    assert len(hints) == len(errors)
    assert "Traceback" not in answer.stderr
    assert f"{len(bad) + 1} files, {len(bad)} of them bad" in answer.stderr


def test_a_bad_file_does_not_stop_the_other_rooms(home: Home, speech: Speech, tmp_path: Path) -> None:
    home.config.write_text("[mqtt]\nenabled = false\n")
    bad = bad_files(tmp_path, speech)
    with Run(home, "--once", "--replay", bad["text.wav"], bad["missing.wav"], speech.path) as run:
        assert run.finish(LONG_S) == os.EX_DATAERR
    for name in ("text.wav", "missing.wav"):
        assert "error: " in run.wait_for_line(name)
    run.wait_for_line('"sealed ')


class Form(NamedTuple):
    """How a file holds its audio."""

    rate_hz: int = RATE_HZ
    channels: int = 1
    gain: float = 1.0


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(Form(rate_hz=8_000), id="8 kHz"),
        pytest.param(Form(rate_hz=96_000, channels=6), id="96 kHz in six channels"),
        pytest.param(Form(rate_hz=44_100, channels=2), id="44.1 kHz in stereo"),
        pytest.param(Form(gain=8.0), id="clipping"),
    ],
)
def test_speech_of_another_form_is_heard_all_the_same(
    home: Home, speech: Speech, tmp_path: Path, form: Form
) -> None:
    samples = np.clip(np.frombuffer(speech.pcm, "<i2") * (form.gain / 32_768), -1, 1)
    resampled = soxr.resample(samples, RATE_HZ, form.rate_hz)
    path = tmp_path / "form.wav"
    frames = np.repeat(resampled[:, None], form.channels, axis=1)
    soundfile.write(path, np.clip(frames, -1, 1), form.rate_hz)
    (heard,) = home.ask_lines("replay", path)
    assert (heard["wake_word"], heard["outcome"]) == ("okay_nabu", "failed")


def test_silence_leaves_nothing(home: Home, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "silence.wav", silence(20))
    assert home.ask_lines("replay", "--state", home.state, path) == []
    assert list((home.state / "items").iterdir()) == []


# ---- the broker


def wait_for_refusal(home: Home) -> StatusReport:
    """Wait until the status says that a broker, or its port, refuses us."""
    return wait_for(
        lambda: status if (status := home.status()) and "refused" in status.broker else None,
        "the status says that it is refused",
    )


def wait_until_all_is_sent(home: Home) -> None:
    wait_for(lambda: (now := home.status()) and now.unsent_events == 0, "all is sent")


@pytest.mark.usefixtures("mosquitto")
def test_a_broker_that_comes_later_gets_what_happened_before(
    home: Home, sealed_state: SealedState, tmp_path: Path, quiet: Path
) -> None:
    home.config.write_text('[mqtt]\nnode = "sp-later"\n')
    sealed_state.copy_to(home)
    (tmp_path / "broker").mkdir()
    broker = LocalBroker(tmp_path / "broker")
    with broker:
        pass  # once, for a port that is free
    with Run(home, "--mqtt", f"{broker.host}:{broker.port}", "--replay", quiet) as run:
        words = wait_for_refusal(home)
        assert words.broker.startswith(f"connection refused by {broker.host}:{broker.port}")
        assert words.unsent_events == 2
        assert "refused" in home.verb("status").stdout
        with broker, Subscriber(broker) as subscriber:
            subscriber.expect("fadeout/sp-later/event/action")
            wait_until_all_is_sent(home)
        assert home.held() == [sealed_state.newest, sealed_state.oldest]
        assert run.process.poll() is None


@pytest.mark.usefixtures("mosquitto")
def test_a_broker_that_refuses_the_credentials_is_named_and_nothing_is_lost(
    home: Home, sealed_state: SealedState, tmp_path: Path, quiet: Path
) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed: sudo apt-get install mosquitto")
    sealed_state.copy_to(home)
    (tmp_path / "broker").mkdir()
    passwords, ours = tmp_path / "passwords", tmp_path / "ours"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "speaker", "right"], check=True)
    passwords.chmod(0o600)
    ours.write_text("wrong\n")
    login = f'username = "speaker"\npassword_file = "{ours}"\nnode = "sp-login"\n'
    with LocalBroker(tmp_path / "broker", password_file=passwords) as broker:
        home.config.write_text(f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n{login}')
        with Run(home, "--replay", quiet) as run:
            status = wait_for_refusal(home)
            assert "check [mqtt] username and password_file" in status.broker
            assert (status.unsent_events, status.held) == (2, 2)
            assert "wrong" not in "\n".join([*run.out, *run.err, home.verb("status").stdout])
            ours.write_text("right\n")
            wait_until_all_is_sent(home)
            assert home.held() == [sealed_state.newest, sealed_state.oldest]


def test_wrong_usage_is_64(home: Home) -> None:
    for line in (["erase"], ["erase", "--last", "0"], ["erase", "--since", "ever"], ["nosuch"], ["show"]):
        answer = subprocess.run(
            [*CLI, *line], env=home.environment(), capture_output=True, text=True, check=False
        )
        # What is wrong with the line is said before anybody is asked whether fadeout runs.
        assert answer.returncode in (os.EX_USAGE, os.EX_UNAVAILABLE), answer.stderr
        assert "Traceback" not in answer.stderr
