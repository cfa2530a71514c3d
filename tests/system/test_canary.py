"""P1: a known phrase goes through everything, and then every byte written anywhere is searched for it.

One long scenario with the real processes at DEBUG, with what can go wrong going
wrong; then the searches. A second scenario, with a vault that leaks on purpose,
shows that the searches find what there is to find.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from typing import TYPE_CHECKING, NamedTuple

import pytest

import rig_capture
import rig_keys
import rig_leaks
from broker.subscriber import Message, Subscriber
from fadeout_broker.arrow import BrokerSettings
from fadeout_device import questions
from fadeout_device.vault.keyring import Keyring
from fadeout_device.vault.roots.file import FileRootStore
from rig_canary import Secrets
from rig_disk import SmallDisk, small_disk
from rig_fadeout import CANARIES, Home, Run, hear, new_home
from rig_speech import PHRASE, RARE_WORDS, Speech
from rig_waiting import LONG_S, wait_for

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from fadeout_device.wire import Connection

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("strace", "mosquitto")]

LOG = {"FADEOUT_LOG": "debug"}


class Evidence(NamedTuple):
    """What one scenario has left."""

    home: Home
    capture: rig_capture.Capture
    heard: list[Message]
    """Everything that a subscriber got."""
    shown: list[str]
    """Every line that any process printed."""
    codes: dict[str, int]
    """The exit codes of the verbs."""
    keys: rig_keys.Keys

    def __repr__(self) -> str:
        """Say nothing of what was found: pytest shows arguments of tests that fail."""
        return f"Evidence({len(self.capture.writes)} writes)"

    @property
    def export(self) -> Path:
        """Return the one file that holds audio in clear, because somebody at the device asked for it."""
        return self.home.folder / "export.wav"

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield what is on the disk in the end: also what no write was seen of."""
        for path in self.home.folder.rglob("*"):
            if path.is_file() and path.parent.name not in ("traces", "copy"):
                yield str(path), path.read_bytes()

    def everything(self) -> dict[str, bytes]:
        """Return all that was written, by target."""
        found: dict[str, list[bytes]] = {}
        for write in self.capture.writes:
            found.setdefault(write.target, []).append(write.data)
        for path, data in self.files():
            found.setdefault(path, []).append(data)
        for message in self.heard:
            found.setdefault("a subscriber", []).append(message.topic.encode() + b"\n" + message.payload)
        found["printed lines"] = [line.encode() for line in self.shown]
        return {target: b"\n".join(data) for target, data in found.items()}


# ---- what goes wrong


def hostile_frames(home: Home, speech: Speech, *sockets: str) -> None:
    """Send sockets what they must refuse, with the phrase and its audio in it."""
    audio = speech.pcm[40_000:60_000]
    words = PHRASE.encode()
    utterance = b'{"type":"utterance","delivery":"' + words + b'","payload_length":%d}\n' % len(audio) + audio
    for name, data in (
        ("control", words + b"\n"),
        ("control", b'{"type":"show","recording":1,"words":"' + words + b'"}\n'),
        ("control", b'{"payload_length":99999999,"words":"' + words + b'"}\n'),
        ("ear", utterance),
        ("ear", audio),
        ("reporter", b'{"say":"' + words + b'"}\n' + audio),
    ):
        if name in sockets:
            send_until_closed(home.connect(name), data)


def send_until_closed(connection: Connection, data: bytes) -> None:
    """Send bytes that are no message, and wait until the vault has closed the connection."""
    with contextlib.closing(connection), contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sock.sendall(data)
        while connection.sock.recv(65_536):
            pass


def full_disk(run: Run, disk: SmallDisk) -> None:
    """Have the first utterance sealed onto a disk that is full after a part of it."""
    run.wait_for_line("wake word")
    disk.fill(leave_bytes=64 * 1024)
    run.wait_for_line("NOT sealed")
    disk.empty()


def dying_client(home: Home, recording: str) -> None:
    """Ask for the audio, and die before it comes."""
    connection = home.connect("control")
    connection.send(questions.Play(recording))
    connection.sock.close()
    connection.close()


def corrupted(home: Home, wrapper: list[str], recording: str) -> dict[str, int]:
    """Open an item whose file was changed."""
    path = max((home.state / "items").iterdir(), key=lambda item: item.stat().st_size)
    good = path.read_bytes()
    path.write_bytes(good[:5_000] + bytes([good[5_000] ^ 1]) + good[5_001:])
    codes = {
        f"{verb} of a changed file": home.verb(verb, recording, wrapper=wrapper, **LOG).returncode
        for verb in ("show", "play")
    }
    path.write_bytes(good)
    return codes


# ---- the scenario


def ask_everything(home: Home, wrapper: list[str], recording: str) -> dict[str, int]:
    """Run every verb that looks at what is held; return their exit codes."""
    export = str(home.folder / "export.wav")
    return {
        name: home.verb(*line, wrapper=wrapper, **LOG).returncode
        for name, line in {
            "list": ("list",),
            "show": ("show", recording, "--json"),
            "play": ("play", recording, "-o", export),
            "status": ("status",),
            "policy": ("policy",),
            "no such id": ("show", "ffff"),
        }.items()
    }


def everyday(
    home: Home, disk: SmallDisk, wrapper: list[str], speech: Speech
) -> tuple[Run, list[Message], dict[str, int]]:
    """Hear, fail to seal, seal, ask, corrupt, erase, crash, stop."""
    with Run(home, "--local-broker", "--replay", speech.path, speech.path, wrapper=wrapper, **LOG) as run:
        run.wait_until_up()
        host, port = run.broker()
        with Subscriber(BrokerSettings(host=host, port=port)) as subscriber:
            hostile_frames(home, speech, "control")
            full_disk(run, disk)
            run.wait_for_line('"sealed ')
            recording = home.held()[0]
            codes = ask_everything(home, wrapper, recording)
            dying_client(home, recording)
            codes |= corrupted(home, wrapper, recording)
            run.wait_for_line("the audio is through")
            hostile_frames(home, speech, "ear")
            hear(home, speech.path, wrapper=wrapper, **LOG)
            newest = home.held()[0]
            codes["erase"] = home.verb("erase", "--last", "1", wrapper=wrapper, **LOG).returncode
            codes["play of what is erased"] = home.verb("play", newest, wrapper=wrapper, **LOG).returncode
            run.wait_for_line("notice to forget")
            hostile_frames(home, speech, "reporter")
            os.kill(run.rooms()["vault"], signal.SIGABRT)
            run.wait_for_line("killed by SIGABRT")
            wait_for(home.status, "the vault answers again")
            os.kill(run.pid, signal.SIGINT)
            codes["run"] = run.finish()
            return run, subscriber.rest(), codes


def stopped_while_speaking(home: Home, wrapper: list[str], speech: Speech) -> Run:
    """Stop everything in the middle of an utterance."""
    with Run(home, "--local-broker", "--replay", speech.path, wrapper=wrapper, **LOG) as run:
        run.wait_for_line("wake word")
        os.kill(run.pid, signal.SIGTERM)
        run.finish()
        return run


@pytest.fixture(scope="module")
def evidence(speech: Speech) -> Iterator[Evidence]:
    with new_home() as home, small_disk(home.state, size_kib=4096) as disk:
        traces = home.folder / "traces"
        wrapper = rig_capture.command(traces)
        first, heard, codes = everyday(home, disk, wrapper, speech)
        second = stopped_while_speaking(home, wrapper, speech)
        shown = [*first.out, *first.err, *second.out, *second.err]
        yield collect(home, traces, heard, shown, codes)


@pytest.fixture(scope="module")
def leaky(speech: Speech, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """Run once with a vault that leaks on purpose."""
    with new_home() as home:
        traces = home.folder / "traces"
        planted = rig_leaks.environment(tmp_path_factory.mktemp("planted"), " ".join(RARE_WORDS))
        arguments = ("--local-broker", "--once", "--replay", speech.path)
        with Run(home, *arguments, wrapper=rig_capture.command(traces), **LOG, **planted) as run:
            host, port = run.broker()
            with Subscriber(BrokerSettings(host=host, port=port)) as subscriber:
                code = run.finish(LONG_S)
                yield collect(home, traces, subscriber.rest(), [*run.out, *run.err], {"run": code})


def collect(
    home: Home, traces: Path, heard: list[Message], shown: list[str], codes: dict[str, int]
) -> Evidence:
    capture = rig_capture.read(traces)
    keys = rig_keys.recover(capture, home.state)
    return Evidence(home, capture, heard, shown, codes, keys)


# ---- the searches


def secrets_of(evidence: Evidence, speech: Speech) -> Secrets:
    secrets = Secrets()
    secrets.add_words(RARE_WORDS)
    secrets.add_audio(speech.pcm)
    secrets.add_keys("roots", evidence.keys.roots)
    secrets.add_keys("key tree", evidence.keys.nodes)
    secrets.add_keys("leaf keys", (item.leaf_key for item in evidence.keys.items))
    secrets.add_keys("item keys", (item.key for item in evidence.keys.items))
    return secrets


def found_in(evidence: Evidence, speech: Speech) -> dict[str, Counter[str]]:
    """Return what was found, by target; a target whose own name leaks is not shown."""
    secrets = secrets_of(evidence, speech)
    found = {target: secrets.found(data) for target, data in evidence.everything().items()}
    return {
        "a name that leaks" if secrets.found(target.encode()) else target: counts
        for target, counts in found.items()
        if counts
    }


@pytest.fixture(scope="module")
def findings(evidence: Evidence, speech: Speech) -> dict[str, Counter[str]]:
    return found_in(evidence, speech)


@pytest.fixture(scope="module")
def planted(leaky: Evidence, speech: Speech) -> dict[str, Counter[str]]:
    return found_in(leaky, speech)


def in_clear_by_design(evidence: Evidence) -> set[str]:
    """Return where audio may be: in RAM between our own processes, and where somebody wanted it."""
    run = evidence.home.state / "run"
    return {f"to {run}/ear.sock", f"from {run}/control.sock", str(evidence.export)}


def is_to_the_decoder(target: str) -> bool:
    """Say whether it is a socket without a name: only a process that inherited its other end reads it."""
    return re.fullmatch(r"UNIX-STREAM:\[\d+->\d+\]", target) is not None


def test_the_scenario_went_as_it_was_meant(evidence: Evidence) -> None:
    assert evidence.codes == {
        "list": 0, "show": 0, "play": 0, "status": 0, "policy": 0, "no such id": os.EX_NOINPUT,
        "show of a changed file": os.EX_DATAERR, "play of a changed file": os.EX_DATAERR,
        "erase": 0, "play of what is erased": os.EX_NOINPUT, "run": 0,
    }  # fmt: skip
    text = "\n".join(evidence.shown)
    for part in (
        "connection closed",
        "NOT sealed",
        "killed by SIGABRT",
        "notice to forget",
        "keys destroyed",
    ):
        assert part in text, f"not in the output: {part}"
    assert not list(evidence.home.folder.rglob("core*")), "a core was dumped"


def test_nothing_was_written_past_the_harness(evidence: Evidence) -> None:
    assert evidence.capture.blind == []
    sizes = evidence.capture.sizes()
    assert sizes[f"{evidence.home.state}/index.db-wal"] > 0
    assert any(target.startswith("TCP:") for target in sizes), "no MQTT was captured"
    assert evidence.heard, "the subscriber heard nothing"


def test_the_keys_to_search_for_are_the_vaults_own(evidence: Evidence) -> None:
    folder = evidence.home.folder / "copy"
    shutil.copytree(evidence.home.state, folder, ignore=shutil.ignore_patterns("*.sock"))
    trees = Keyring(folder, FileRootStore(folder))._body.trees
    stored = {node for tree in trees.values() for node in tree._nodes.values()}
    assert stored <= evidence.keys.nodes
    # Two items of each of two recordings, and what of a third one went onto a disk that was full. On a busy
    # machine the one that is stopped while speaking can be through.
    recovered = {item.path.rpartition("/")[2] for item in evidence.keys.items}
    held = {path.name for path in (folder / "items").iterdir()}
    assert held <= recovered
    assert len(held) >= 2 + CANARIES
    assert len(recovered) >= 5 + CANARIES
    assert len(evidence.keys.roots) >= 2


def test_audio_is_found_where_it_may_be(findings: dict[str, Counter[str]], evidence: Evidence) -> None:
    for target in in_clear_by_design(evidence):
        assert findings[target]["audio, raw"] > 1_000, f"the search does not know its own audio in {target}"


def test_no_audio_reached_storage_a_log_or_the_wire(
    findings: dict[str, Counter[str]], evidence: Evidence
) -> None:
    allowed = in_clear_by_design(evidence)
    assert not {
        target: kinds
        for target, counts in findings.items()
        if not is_to_the_decoder(target)
        and (kinds := [kind for kind in counts if kind.startswith("audio") and target not in allowed])
    }


@pytest.mark.parametrize("secret", ["words", "roots", "key tree", "leaf keys", "item keys"])
def test_nothing_secret_was_written_anywhere(findings: dict[str, Counter[str]], secret: str) -> None:
    assert not {
        target: kinds
        for target, counts in findings.items()
        if (kinds := [kind for kind in counts if kind.startswith(secret)])
    }


def test_what_was_erased_opens_for_nobody(evidence: Evidence) -> None:
    live = {path.name for path in (evidence.home.state / "items").iterdir()}
    items = evidence.keys.items
    openable = {
        name.rpartition("/")[2]
        for name in rig_keys.openable_afterwards(evidence.capture, evidence.home.state, items)
    }
    assert openable == live
    assert len(items) > len(live)


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        pytest.param("audio, raw", "state/plaintext", id="audio in a temporary file"),
        pytest.param("audio, escaped", "printed lines", id="audio in a log line"),
        pytest.param("audio, numbers", "printed lines", id="samples in a log line"),
        pytest.param("words, raw", "printed lines", id="words in a log line"),
        pytest.param("words, raw", "names given to openat", id="words in a file's name"),
        pytest.param("words, raw", "a subscriber", id="words in an event"),
        pytest.param("words, raw", "TCP:", id="words on the wire"),
        pytest.param("leaf keys, raw", "index.db-wal", id="a key in the index"),
        pytest.param("leaf keys, hex", "index.db-wal", id="a key in the index, in hex"),
        pytest.param("key tree, base64", "printed lines", id="a key tree's node in a log line"),
        pytest.param("roots, raw", "state/root-backup", id="a root outside its slot"),
    ],
)
def test_a_planted_leak_is_found(planted: dict[str, Counter[str]], kind: str, where: str) -> None:
    assert any(where in target and counts[kind] for target, counts in planted.items())


def test_bytes_that_leave_unseen_are_objected_to(leaky: Evidence) -> None:
    assert any(
        "shared mapping of" in complaint and "mapping" in complaint for complaint in leaky.capture.blind
    )
