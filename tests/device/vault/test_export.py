"""An export through the control socket: what is in it, for whom, and everything that breaks it off."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import socket
import tarfile
import threading
import wave
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import pyrage
import pytest

from device.vault.conftest import utterance
from fadeout_device import answers, questions, wire
from fadeout_device.errors import FadeoutError, StorageError, WireError
from fadeout_device.policy import ItemClass
from fadeout_device.vault import bundle, container, control_arrow, export, ledger
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.index import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device.vault.conftest import Rig
    from fadeout_device.vault.bundle import OpenRecording
    from fadeout_device.vault.service import Service

AUDIO = b"\x01\x02" * 16000
WORDS = "grüner tee"


class Desktop(NamedTuple):
    """A vault, its command's end of the control socket, and a recipient's key."""

    rig: Rig
    service: Service
    connection: wire.Connection
    identity: pyrage.x25519.Identity

    def ask(self, **naming: Any) -> Iterator[tuple[Any, bytes]]:  # noqa: ANN401 - any field, any answer
        """Ask for an export; yield what comes, the last answer included."""
        self.connection.send(questions.Export(to=naming.pop("to", "anna"), **naming))
        while frame := self.connection.receive():
            answer = frame.message(answers.Answer)
            yield answer, frame.payload
            if isinstance(answer, answers.ExportEnds | answers.Failure):
                return

    def export(self, **naming: Any) -> bytes:  # noqa: ANN401 - any field
        """Return the age file of an export that must succeed."""
        said, payloads = zip(*self.ask(**naming), strict=True)
        assert isinstance(said[0], answers.ExportBegins)
        assert isinstance(said[-1], answers.ExportEnds), said[-1]
        data = b"".join(payloads)
        assert len(data) == said[-1].size_bytes <= said[0].most_bytes
        return data

    def open(self, data: bytes) -> dict[str, bytes]:
        """Return the files of an age file, by their names."""
        with tarfile.open(fileobj=io.BytesIO(pyrage.decrypt(data, [self.identity]))) as tar:
            members = tar.getmembers()
            assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
            files = {member.name: tar.extractfile(member) for member in members if member.isfile()}
            return {name: file.read() for name, file in files.items() if file is not None}


@pytest.fixture
def desktop(rig: Rig) -> Iterator[Desktop]:
    service = rig.serve()
    service.start()
    identity = pyrage.x25519.Identity.generate()
    desk = Desk(service)
    row = desk.add_recipient("anna", str(identity.to_public()))
    desk.confirm_recipient("anna", row.fingerprint)
    desk.add_recipient("bea", str(pyrage.x25519.Identity.generate().to_public()))
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with contextlib.closing(theirs), contextlib.suppress(WireError):
            control_arrow.serve(wire.Connection(theirs), service)

    thread = threading.Thread(target=serve)
    thread.start()
    ours.settimeout(60)
    yield Desktop(rig, service, wire.Connection(ours), identity)
    ours.close()
    thread.join(60)
    assert not thread.is_alive()


def add_words(rig: Rig, recording: str) -> None:
    """Seal words to a recording, as a recogniser will."""
    (audio, *_) = rig.store.index.live_of(recording)
    item_class = ItemClass("failed", "words")
    with rig.store.index.transaction():
        item = Item(secrets.token_hex(16), recording, item_class, rig.store.index.take_leaf(item_class),
                    "live", audio.ends_at_s, audio.period_s, False, 16448)  # fmt: skip
        rig.store.index.add(item)
    rig.store.files.write(item, container.Body(rig_metadata(rig, audio), WORDS.encode()))


def rig_metadata(rig: Rig, item: Item) -> bytes:
    leaf_key, data = rig.store.files.read(item)
    return container.open_metadata(leaf_key, data)


# ---- what is in it


def test_a_recording_is_a_folder_with_its_audio_its_words_and_what_is_known_of_it(desktop: Desktop) -> None:
    recording = desktop.rig.seal(AUDIO)
    add_words(desktop.rig, recording)
    files = desktop.open(desktop.export(recordings=(recording[:6],)))
    folder = f"fadeout-export/{recording}"
    assert list(files) == [
        f"{folder}/audio.wav", f"{folder}/words.txt", f"{folder}/metadata.json",
        "fadeout-export/manifest.json",
    ]  # fmt: skip
    with wave.open(io.BytesIO(files[f"{folder}/audio.wav"])) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (16000, 1, 2)
        assert wav.readframes(wav.getnframes()) == AUDIO
    assert files[f"{folder}/words.txt"].decode() == WORDS
    known = json.loads(files[f"{folder}/metadata.json"])
    assert (known["recording"], known["outcome"], known["wake_word"], known["captured_at"]) == (
        recording, "failed", "okay_nabu", "2020-09-13T12:26:38Z",
    )  # fmt: skip
    assert [kept["kind"] for kept in known["kept"]] == ["audio", "words", "action"]


def test_words_of_the_request_and_of_the_response_are_two_files(desktop: Desktop) -> None:
    store, said = desktop.rig.store, utterance()
    recording, _ = store.seal(said, AUDIO, b"how much is it\n")
    store.add(recording, said, {"words": b"it is much\n"}, words_of="response")
    files = desktop.open(desktop.export(recordings=(recording,)))
    folder = f"fadeout-export/{recording}"
    assert files[f"{folder}/words.txt"] == b"how much is it\n"
    assert files[f"{folder}/response.txt"] == b"it is much\n"
    known = json.loads(files[f"{folder}/metadata.json"])
    assert [(kept["kind"], kept["file"]) for kept in known["kept"]] == [
        ("audio", "audio.wav"), ("words", "words.txt"), ("words", "response.txt"),
        ("action", "metadata.json"),
    ]  # fmt: skip


def test_what_was_reported_to_have_failed_is_one_recording(desktop: Desktop) -> None:
    store, said = desktop.rig.store, utterance(outcome="served", action="light.on")
    recording, _ = store.seal(said, AUDIO, b"", is_action_only=True)
    failed = utterance(outcome="failed", action="light.on")
    store.add(recording, failed, {"audio": AUDIO, "words": b"turn it on\n"}, reported="failed")
    files = desktop.open(desktop.export(recordings=(recording,)))
    names = {name.rpartition("/")[2] for name in files}
    assert names == {"audio.wav", "words.txt", "metadata.json", "manifest.json"}


def test_the_manifest_names_every_file_with_its_hash_and_for_whom_it_is(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)
    files = desktop.open(desktop.export(everything=True))
    manifest = json.loads(files.pop("fadeout-export/manifest.json"))
    listed = {
        f"fadeout-export/{recording['recording']}/{file['name']}": (file["size_bytes"], file["sha256"])
        for recording in manifest["recordings"]
        for file in recording["files"]
    }
    assert listed == {name: (len(data), sha256(data).hexdigest()) for name, data in files.items()}
    assert (manifest["recipient"], manifest["v"]) == ("anna", 1)
    assert manifest["policy_hash"] == desktop.rig.config.policy.hash


@pytest.mark.parametrize(
    ("naming", "chosen"),
    [
        pytest.param({"everything": True}, [0, 1, 2], id="everything"),
        pytest.param({"last": 1}, [2], id="the newest"),
        pytest.param({"last": 9}, [0, 1, 2], id="more than there are"),
        pytest.param({"since_s": 9000.0}, [1, 2], id="since a time"),
    ],
)
def test_what_is_named_is_exported(desktop: Desktop, naming: dict[str, Any], chosen: list[int]) -> None:
    recordings = []
    for _ in range(3):
        recordings.append(desktop.rig.seal(AUDIO))
        desktop.rig.clock.now_s += 3600
    files = desktop.open(desktop.export(**naming))
    manifest = json.loads(files["fadeout-export/manifest.json"])
    assert [row["recording"] for row in manifest["recordings"]] == [recordings[each] for each in chosen]


def test_of_a_recording_whose_audio_has_ended_the_rest_is_exported(desktop: Desktop) -> None:
    recording = desktop.rig.seal(AUDIO)
    audio = next(i for i in desktop.rig.store.index.live_of(recording) if i.item_class.kind == "audio")
    desktop.service.erase_items([audio])
    files = desktop.open(desktop.export(recordings=(recording,)))
    assert f"fadeout-export/{recording}/audio.wav" not in files
    assert f"fadeout-export/{recording}/metadata.json" in files


def test_the_files_size_says_little(desktop: Desktop) -> None:
    sizes = set()
    for tenths in range(60, 64):
        recording = desktop.rig.seal(b"\x01\x02" * (1600 * tenths))
        sizes.add(len(desktop.export(recordings=(recording,))))
    # age puts a line of random length into its header.
    assert max(sizes) - min(sizes) < 512


@pytest.mark.parametrize(
    ("size_bytes", "padded"),
    [(1, 65536), (65536, 65536), (65537, 73728), (73728, 73728), (131072, 131072), (131073, 147456)],
)
def test_padding(size_bytes: int, padded: int) -> None:
    assert bundle.padded_size(size_bytes) == padded


def test_padding_adds_an_eighth_at_most() -> None:
    for size_bytes in range(65536, 4_000_000, 4097):
        assert size_bytes <= bundle.padded_size(size_bytes) <= size_bytes * 9 // 8


def test_another_key_opens_nothing(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)
    data = desktop.export(everything=True)
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(data, [pyrage.x25519.Identity.generate()])
    assert AUDIO[:64] not in data
    assert b"okay_nabu" not in data


def test_two_exports_of_the_same_have_nothing_in_common(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)
    first, second = (desktop.export(everything=True) for _ in range(2))
    blocks = {first[at : at + 32] for at in range(256, len(first) - 32, 32)}
    assert not any(second[at : at + 32] in blocks for at in range(256, len(second) - 32))


def test_the_vault_becomes_a_new_process_afterwards(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)
    assert not desktop.service.wants_renewal
    desktop.export(everything=True)
    assert desktop.service.wants_renewal


# ---- what is refused


def opened(rig: Rig) -> list[str]:
    """Note every opening from now on."""
    noted: list[str] = []
    original = rig.store.files.read

    def read(item: Item) -> Any:  # noqa: ANN401 - what it returns
        noted.append(item.id)
        return original(item)

    rig.store.files.read = read  # type: ignore[method-assign]  # a test looks on
    return noted


@pytest.mark.parametrize(
    ("naming", "code", "why"),
    [
        pytest.param({"everything": True, "to": "carl"}, 67, "no recipient carl", id="an unknown recipient"),
        pytest.param({"everything": True, "to": "bea"}, 67, "not confirmed", id="an unconfirmed recipient"),
        pytest.param({"everything": True, "to": ""}, 67, "no recipient", id="no recipient"),
        pytest.param({"to": "carl"}, 67, "no recipient carl", id="an unknown recipient, and nothing named"),
        pytest.param({}, 64, "in one way", id="nothing named"),
        pytest.param({"last": 1, "everything": True}, 64, "in one way", id="two ways"),
        pytest.param({"recordings": ("ffff",)}, 66, "no recording ffff", id="an unknown recording"),
        pytest.param({"recordings": ("",)}, 66, "no recording", id="an empty id"),
    ],
)
def test_refused_before_anything_is_opened(
    desktop: Desktop, naming: dict[str, Any], code: int, why: str
) -> None:
    desktop.rig.seal(AUDIO)
    noted = opened(desktop.rig)
    ((failure, payload),) = list(desktop.ask(**naming))
    assert isinstance(failure, answers.Failure)
    assert why in failure.message
    assert (failure.exit_code, bool(failure.hint), payload, noted) == (code, True, b"", [])


def test_nothing_held_is_nothing_to_export(desktop: Desktop) -> None:
    ((failure, _),) = list(desktop.ask(everything=True))
    assert (failure.message, failure.exit_code) == ("nothing to export", 64)


def test_what_is_due_is_not_chosen(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)
    desktop.rig.clock.now_s += 8 * 86400
    noted = opened(desktop.rig)
    ((failure, _),) = list(desktop.ask(everything=True))
    assert (failure.message, noted) == ("nothing to export", [])


@pytest.mark.parametrize(
    ("count", "size_bytes", "why"),
    [
        pytest.param(export.MOST_RECORDINGS + 1, 1, "at most 500", id="one recording too many"),
        pytest.param(2, export.MOST_BYTES // 2 + 1, "at most 256 MiB", id="some bytes too many"),
    ],
)
def test_an_export_is_limited(desktop: Desktop, count: int, size_bytes: int, why: str) -> None:
    desktop.rig.seal(AUDIO)
    (item, *_) = desktop.rig.store.index.live()
    with desktop.rig.store.index.transaction():
        desktop.rig.store.index.remove([item.id for item in desktop.rig.store.index.items()])
        for _ in range(count):
            desktop.rig.store.index.add(
                item._replace(id=secrets.token_hex(16), recording=secrets.token_hex(8), size_bytes=size_bytes)
            )
    noted = opened(desktop.rig)
    ((failure, _),) = list(desktop.ask(everything=True))
    assert isinstance(failure, answers.Failure)
    assert why in failure.message
    assert (failure.exit_code, noted) == (64, [])
    assert "--last" in failure.hint


# ---- what breaks it off


def chosen_for(desktop: Desktop) -> export.Chosen:
    return Desk(desktop.service).export(questions.Export(everything=True, to="anna"))


def run_until(desktop: Desktop, deed: Callable[[], object], *, before_opening: int) -> bytes:
    """Run an export in which something happens just before the nth recording is opened, or after the last."""
    running = export.Export(desktop.service, chosen_for(desktop))
    parts: list[bytes] = []
    original = running._open

    def open_one(row: answers.RecordingRow) -> OpenRecording:
        if running.opened == before_opening:
            deed()
        return original(row)

    running._open = open_one  # type: ignore[method-assign]  # something happens meanwhile
    end = running._refuse_what_has_gone

    def at_the_end() -> None:
        if before_opening == running.opened:
            deed()
        end()

    running._refuse_what_has_gone = at_the_end  # type: ignore[method-assign]  # the same
    try:
        running.write(parts.append)
    finally:
        with pytest.raises((pyrage.DecryptError, tarfile.ReadError)):
            desktop.open(b"".join(parts))
    return b"".join(parts)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(0, id="before the first is opened"),
        pytest.param(1, id="before the second is opened"),
        pytest.param(2, id="before the last is opened"),
        pytest.param(3, id="after all were opened and sent"),
    ],
)
@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda d, items: d.service.erase_items(items), id="one is erased"),
        pytest.param(
            lambda d, items: d.rig.store.eraser.intend(items, "user"),
            id="one is to be erased, and its key still exists",
        ),
        pytest.param(lambda d, _: d.service.erase_everything(), id="everything is erased"),
        pytest.param(lambda d, _: d.service.panic(), id="a panic"),
        pytest.param(
            lambda d, items: setattr(d.rig.clock, "now_s", float(max(i.ends_at_s for i in items))),
            id="its time is over",
        ),
    ],
)  # fmt: skip
def test_what_goes_meanwhile_breaks_the_export_off(
    desktop: Desktop, at: int, happens: Callable[[Desktop, list[Item]], object]
) -> None:
    for _ in range(3):
        desktop.rig.seal(AUDIO)
    last = desktop.rig.store.index.live_of(Desk(desktop.service).recordings().recordings[0].recording)
    with pytest.raises(export.ExportError, match="broken off") as broken:
        run_until(desktop, lambda: happens(desktop, last), before_opening=at)
    assert broken.value.exit_code == os.EX_NOINPUT
    assert broken.value.hint
    was_opened = any(last[0].recording in recordings for _, _, recordings in openings(desktop))
    assert was_opened == (at > 2), "what had gone was opened all the same"


def test_what_is_sealed_meanwhile_is_not_in_it_and_breaks_nothing(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)
    running = export.Export(desktop.service, chosen_for(desktop))
    newer: list[str] = []
    parts: list[bytes] = []

    def put(data: bytes) -> None:
        if not newer:
            newer.append(desktop.rig.seal(AUDIO))
        parts.append(data)

    running.write(put)
    assert not [name for name in desktop.open(b"".join(parts)) if newer[0] in name]


def test_a_changed_file_breaks_the_export_off_with_its_own_reason(desktop: Desktop) -> None:
    for _ in range(2):
        desktop.rig.seal(AUDIO)
    item = desktop.rig.store.index.live()[-2]
    path = desktop.rig.folder / "items" / item.id
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    *_, (failure, _) = desktop.ask(everything=True)
    assert isinstance(failure, answers.Failure)
    assert failure.exit_code == os.EX_DATAERR
    assert "changed" in failure.message


def test_after_a_failure_the_connection_is_as_before(desktop: Desktop) -> None:
    recording = desktop.rig.seal(AUDIO)
    list(desktop.ask(to="carl", everything=True))
    assert desktop.open(desktop.export(recordings=(recording,)))


def test_erasing_does_not_wait_for_a_reader_who_takes_nothing(desktop: Desktop) -> None:
    for _ in range(20):
        desktop.rig.seal(AUDIO)
    begun = desktop.ask(everything=True)
    assert isinstance(next(begun)[0], answers.ExportBegins)
    # The kernel's buffers are full long before the export is: it stands still, on this reader.
    erased = threading.Event()

    def erase() -> None:
        desktop.service.erase_items(desktop.rig.store.index.live()[-1:])
        erased.set()

    thread = threading.Thread(target=erase)
    thread.start()
    assert erased.wait(60)
    thread.join(60)
    *_, (failure, _) = begun
    assert isinstance(failure, answers.Failure)
    assert "broken off" in failure.message


def test_a_reader_who_dies_ends_the_export(desktop: Desktop) -> None:
    for _ in range(20):
        desktop.rig.seal(AUDIO)
    begun = desktop.ask(everything=True)
    next(begun)
    desktop.connection.close()
    # That the vault's thread ends is asserted where it was started.
    with desktop.service.lock:
        assert len(desktop.rig.store.index.live()) == 40


def test_a_reader_who_stalls_is_sent_away(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_arrow, "PATIENCE_S", 0.05)
    for _ in range(20):
        desktop.rig.seal(AUDIO)
    next(desktop.ask(everything=True))
    threading.Event().wait(0.5)  # takes nothing, for ten times the vault's patience
    said = []
    with contextlib.suppress(WireError):  # it may be cut off within a frame
        while frame := desktop.connection.receive():
            said.append(frame.message(answers.Answer))
    assert {type(answer) for answer in said} <= {answers.ExportPart}


def test_an_error_never_quotes_what_age_said(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)
    running = export.Export(desktop.service, chosen_for(desktop))

    def put(_: bytes) -> None:
        raise WireError("the other side is gone")

    with pytest.raises(FadeoutError, match=r"^the other side is gone$") as failed:
        running.write(put)
    assert failed.value.__cause__ is None


def openings(desktop: Desktop) -> list[tuple[str, int, tuple[str, ...]]]:
    """Return what the ledger says was opened: for what, how many items, of which recordings."""
    entries = [signed.decode() for signed in desktop.rig.store.ledger.entries()]
    return [(e.purpose, e.items, e.recordings) for e in entries if isinstance(e, ledger.OpenedEntry)]


def test_every_recording_is_in_the_ledger_before_its_first_byte_leaves(desktop: Desktop) -> None:
    recordings = [desktop.rig.seal(AUDIO * 4) for _ in range(3)]
    running = export.Export(desktop.service, chosen_for(desktop))
    assert openings(desktop) == []
    noted: list[int] = []

    def put(_: bytes) -> None:
        noted.append(len(openings(desktop)) - running.opened)

    running.write(put)
    assert openings(desktop) == [("export", 2, (recording,)) for recording in recordings]
    assert min(noted) >= 0


def test_choosing_by_time_is_in_the_ledger_as_an_export(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)
    desktop.export(since_s=60.0)
    assert {purpose for purpose, _, _ in openings(desktop)} == {"export"}


def test_what_cannot_be_written_down_is_not_opened(desktop: Desktop) -> None:
    desktop.rig.seal(AUDIO)

    def opened(*_: object) -> None:
        raise StorageError("the ledger cannot be written")

    desktop.rig.store.ledger.opened = opened  # type: ignore[method-assign,assignment]  # the disk fails
    *parts, (failure, _) = desktop.ask(everything=True)
    assert isinstance(failure, answers.Failure)
    assert failure.message == "the ledger cannot be written"
    assert sum(len(payload) for _, payload in parts) < 512, "more than age's header was sent"
