"""Exports as people make them: enrolled with age-keygen's key, opened with age and tar."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import rig_capture
from rig_canary import Secrets
from rig_disk import small_disk
from rig_fadeout import CLI, Home, Process, assert_refused, vault_command
from rig_processes import children
from rig_speech import read_wav
from rig_state import start_vault
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rig_speech import Speech
    from rig_state import SealedState

pytestmark = pytest.mark.system


class Person(NamedTuple):
    """Somebody with an age key."""

    identity: Path
    key: str

    @property
    def fingerprint(self) -> str:
        """Compute it as people do who have no fadeout."""
        return subprocess.run(
            ["sha256sum"], input=self.key.encode(), capture_output=True, check=True
        ).stdout.decode()[:32]

    def unpack(self, file: Path, folder: Path) -> list[str]:
        """Decrypt and unpack; return the names of the files."""
        folder.mkdir()
        decrypted = subprocess.run(
            ["age", "-d", "-i", self.identity, file], capture_output=True, check=True
        ).stdout
        subprocess.run(["tar", "x", "-C", folder], input=decrypted, check=True)
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def new_person(folder: Path, name: str) -> Person:
    if shutil.which("age") is None:
        pytest.skip("age is not installed: sudo apt-get install age")
    identity = folder / f"{name}.key"
    subprocess.run(["age-keygen", "-o", identity], capture_output=True, check=True)
    key = subprocess.run(["age-keygen", "-y", identity], capture_output=True, text=True, check=True)
    return Person(identity, key.stdout.strip())


class Desktop(NamedTuple):
    """A running vault with two recordings, and who may have them."""

    home: Home
    process: Process
    sealed: SealedState
    anna: Person
    """Enrolled."""
    bea: Person
    """Not confirmed."""

    @property
    def target(self) -> Path:
        """Return the folder for what is exported: nothing else is in it."""
        return self.home.folder / "target"

    def vault_maps(self) -> str:
        """Return what the vault has in its memory, by name."""
        return Path(f"/proc/{self.process.process.pid}/maps").read_text()


def enrol(home: Home, name: str, person: Person) -> None:
    home.ask("recipients", "add", name, person.key)
    home.ask("recipients", "confirm", name, person.fingerprint)


@pytest.fixture
def desktop(home: Home, sealed_state: SealedState) -> Iterator[Desktop]:
    sealed_state.copy_to(home)
    anna, bea = (new_person(home.folder, name) for name in ("anna", "bea"))
    with start_vault(home) as process:
        enrol(home, "anna", anna)
        home.ask("recipients", "add", "bea", bea.key)
        (home.folder / "target").mkdir()
        yield Desktop(home, process, sealed_state, anna, bea)


def test_age_and_tar_open_it(desktop: Desktop) -> None:
    home, file = desktop.home, desktop.target / "said.age"
    said = home.ask("export", "--all", "--to", "anna", "-o", file)
    assert said["file"] == str(file)
    assert said["recordings"] == [desktop.sealed.oldest, desktop.sealed.newest]
    assert (said["recipient"], said["fingerprint"]) == ("anna", desktop.anna.fingerprint)
    assert (said["size_bytes"], file.stat().st_mode & 0o777) == (file.stat().st_size, 0o600)
    unpacked = home.folder / "unpacked"
    names = desktop.anna.unpack(file, unpacked)
    assert names == sorted(
        [f"fadeout-export/{recording}/{name}" for recording in said["recordings"]
         for name in ("audio.wav", "metadata.json")] + ["fadeout-export/manifest.json"]
    )  # fmt: skip
    home.verb("play", desktop.sealed.newest, "-o", home.folder / "played.wav")
    exported = unpacked / "fadeout-export" / desktop.sealed.newest
    assert read_wav(exported / "audio.wav") == read_wav(home.folder / "played.wav")
    shown = home.ask("show", desktop.sealed.newest)
    known = json.loads((exported / "metadata.json").read_text())
    assert (known["captured_at_s"], known["score"]) == (shown["captured_at_s"], shown["score"])


def test_another_key_reads_nothing(desktop: Desktop) -> None:
    file = desktop.target / "said.age"
    desktop.home.ask("export", "--last", "1", "--to", "anna", "-o", file)
    tried = subprocess.run(["age", "-d", "-i", desktop.bea.identity, file], capture_output=True, check=False)
    assert tried.returncode != 0
    assert tried.stdout == b""


def test_a_file_that_was_cut_or_changed_does_not_open_to_its_end(desktop: Desktop) -> None:
    file = desktop.target / "said.age"
    desktop.home.ask("export", "--last", "1", "--to", "anna", "-o", file)
    whole = file.read_bytes()
    for broken in (whole[:-1], whole[:-4096], whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(broken)
        tried = subprocess.run(
            ["age", "-d", "-i", desktop.anna.identity, file], capture_output=True, check=False
        )
        assert tried.returncode != 0


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        pytest.param(["--all", "--to", "carl"], 67, "no recipient carl", id="an unknown recipient"),
        pytest.param(["--all", "--to", "bea"], 67, "not confirmed", id="an unconfirmed recipient"),
        pytest.param(["--to", "anna"], 64, "in one way", id="nothing named"),
        pytest.param(["--all", "--last", "1", "--to", "anna"], 64, "in one way", id="two ways"),
        pytest.param(["--last", "0", "--to", "anna"], 64, "--last", id="the newest none"),
        pytest.param(["--since", "soon", "--to", "anna"], 64, "--since", id="no period"),
        pytest.param(["ffff", "--to", "anna"], 66, "no recording ffff", id="an unknown recording"),
    ],
)
def test_refused_without_a_file(desktop: Desktop, words: list[str], code: int, part: str) -> None:
    answer = desktop.home.verb("export", *words, "-o", desktop.target / "said.age")
    assert_refused(answer, code, part)
    assert list(desktop.target.iterdir()) == []


def test_no_export_is_in_clear(desktop: Desktop) -> None:
    answer = desktop.home.verb("export", "--all", "-o", desktop.target / "said.age")
    assert answer.returncode == os.EX_USAGE
    assert "--to" in answer.stderr
    assert list(desktop.target.iterdir()) == []


def test_a_file_that_is_there_is_replaced_only_when_that_is_asked_for(desktop: Desktop) -> None:
    file = desktop.target / "said.age"
    file.write_text("mine")
    words = ("export", "--last", "1", "--to", "anna", "-o", file)
    assert_refused(desktop.home.verb(*words), os.EX_USAGE, "is there already")
    assert file.read_text() == "mine"
    assert desktop.home.verb(*words, "--force").returncode == 0
    assert file.read_bytes().startswith(b"age-encryption.org/v1\n")
    assert list(desktop.target.iterdir()) == [file]


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("missing/said.age", id="a folder that is not there"),
        pytest.param(".", id="a folder"),
        pytest.param("said.age/x", id="a file as a folder"),
    ],
)
def test_a_file_that_cannot_be(desktop: Desktop, where: str) -> None:
    (desktop.target / "said.age").touch()
    answer = desktop.home.verb("export", "--all", "--to", "anna", "--force", "-o", desktop.target / where)
    assert_refused(answer, os.EX_CANTCREAT)
    assert [path.name for path in desktop.target.iterdir()] == ["said.age"]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("leave_bytes", [0, 64 * 1024])
def test_a_full_target_disk_keeps_no_half_file(desktop: Desktop, leave_bytes: int) -> None:
    with small_disk(desktop.target, size_kib=256) as disk:
        disk.fill(leave_bytes)
        answer = desktop.home.verb("export", "--all", "--to", "anna", "-o", desktop.target / "said.age")
        assert_refused(answer, os.EX_CANTCREAT, "no space left")
        assert [path.name for path in desktop.target.iterdir()] == ["filler"]
        disk.empty()
        assert disk.free_bytes() == 256 * 1024
    assert desktop.home.held()


def test_the_vault_is_as_small_afterwards_as_before(desktop: Desktop) -> None:
    assert "pyrage" not in desktop.vault_maps()
    desktop.home.ask("export", "--all", "--to", "anna", "-o", desktop.target / "said.age")
    wait_for(lambda: "pyrage" not in desktop.vault_maps(), "the vault has become a new process")
    assert desktop.home.held() == [desktop.sealed.newest, desktop.sealed.oldest]


# ---- enrolling


def test_recipients_are_listed_and_removed(desktop: Desktop) -> None:
    rows = desktop.home.ask("recipients")
    assert [(row["name"], row["key"], row["is_confirmed"]) for row in rows] == [
        ("anna", desktop.anna.key, True), ("bea", desktop.bea.key, False),
    ]  # fmt: skip
    desktop.home.ask("recipients", "remove", "anna")
    assert [row["name"] for row in desktop.home.ask("recipients", "list")] == ["bea"]
    answer = desktop.home.verb("export", "--all", "--to", "anna", "-o", desktop.target / "said.age")
    assert_refused(answer, os.EX_NOUSER, "no recipient anna")


def test_where_nobody_can_be_asked_adding_says_what_comes_next(desktop: Desktop) -> None:
    carl = new_person(desktop.home.folder, "carl")
    answer = desktop.home.verb("recipients", "add", "carl", carl.key)
    assert answer.returncode == 0
    assert "fadeout recipients confirm carl" in answer.stdout
    assert carl.fingerprint in answer.stdout.replace(" ", "")
    assert_refused(
        desktop.home.verb("recipients", "confirm", "carl", desktop.anna.fingerprint),
        os.EX_NOUSER,
        "unconfirmed",
    )
    assert desktop.home.verb("recipients", "confirm", "carl", *_groups(carl.fingerprint)).returncode == 0


@pytest.mark.parametrize(
    ("typed", "code", "is_enrolled"),
    [
        pytest.param(lambda person: person.fingerprint[:8], 0, True, id="as it is"),
        pytest.param(lambda person: person.fingerprint.upper(), 0, True, id="all of it, in capitals"),
        pytest.param(lambda _: "00000000", os.EX_USAGE, False, id="another"),
        pytest.param(lambda person: person.fingerprint[:7], os.EX_USAGE, False, id="one digit short"),
        pytest.param(lambda _: "", os.EX_USAGE, False, id="nothing"),
        pytest.param(lambda _: "y", os.EX_USAGE, False, id="yes"),
    ],
)
def test_a_person_reads_the_fingerprint_back(
    desktop: Desktop, typed: object, code: int, *, is_enrolled: bool
) -> None:
    carl = new_person(desktop.home.folder, "carl")
    assert callable(typed)
    assert at_a_terminal(desktop.home, ["recipients", "add", "carl", carl.key], typed(carl)) == code
    found = [row["is_confirmed"] for row in desktop.home.ask("recipients") if row["name"] == "carl"]
    assert found == [True] * is_enrolled


def at_a_terminal(home: Home, words: Sequence[str], typed: str) -> int:
    """Run a verb at a terminal, type one line, and return its exit code."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode() + b"\n")
    try:
        return subprocess.run(
            [*CLI, *words], env=home.environment(), stdin=theirs, capture_output=True, timeout=60, check=False
        ).returncode
    finally:
        os.close(ours)
        os.close(theirs)


def _groups(digits: str) -> list[str]:
    return [digits[at : at + 8] for at in range(0, len(digits), 8)]


# ---- nothing in clear, anywhere


@pytest.fixture
def captured(home: Home, sealed_state: SealedState) -> Iterator[tuple[Home, Path, list[str]]]:
    """A vault whose every write is seen; the recordings were sealed before."""
    sealed_state.copy_to(home)
    wrapper = rig_capture.command(home.folder / "traces")
    with Process(home, [*wrapper, *vault_command(home)]) as strace:
        wait_for(home.status, "the vault answers")
        yield home, home.folder / "traces", wrapper
        with contextlib.suppress(IndexError):
            os.kill(children(strace.process.pid)[0], 15)
        strace.finish()


@pytest.mark.usefixtures("strace")
def test_what_is_exported_is_in_clear_nowhere(captured: tuple[Home, Path, list[str]], speech: Speech) -> None:
    home, traces, wrapper = captured
    anna = new_person(home.folder, "anna")
    enrol(home, "anna", anna)
    file = home.folder / "said.age"
    made = home.verb("export", "--all", "--to", "anna", "-o", file, wrapper=wrapper)
    assert made.returncode == 0, made.stderr
    secrets = Secrets()
    secrets.add_audio(speech.pcm)
    secrets.add_words(["okay_nabu"])
    capture = rig_capture.read(traces)
    assert capture.blind == []
    found = {write.target: secrets.found(write.data) for write in capture.writes}
    assert {target: counts for target, counts in found.items() if counts} == {}
    size_bytes = file.stat().st_size
    sizes = capture.sizes()
    assert sizes[f"from {home.state}/run/control.sock"] > size_bytes, "the export was not seen to leave"
    assert size_bytes in sizes.values(), "the file was not seen to be written"
    on_disk = {path: secrets.found(path.read_bytes()) for path in home.folder.rglob("*")
               if path.is_file() and path.parent != traces}  # fmt: skip
    assert {path: counts for path, counts in on_disk.items() if counts} == {}
    # The same search finds what is in clear: once it is unpacked, and when it is played.
    anna.unpack(file, home.folder / "unpacked")
    (wav, *_) = (home.folder / "unpacked").rglob("audio.wav")
    assert secrets.found(wav.read_bytes())["audio, raw"] > 1000


def test_at_a_terminal_a_bar_shows_how_far_it_is(desktop: Desktop) -> None:
    ours, theirs = pty.openpty()
    file = desktop.target / "said.age"
    try:
        made = subprocess.run(
            [*CLI, "export", "--all", "--to", "anna", "-o", file], stderr=theirs, stdout=subprocess.PIPE,
            env=desktop.home.environment(TERM="xterm"), timeout=60, check=False,
        )  # fmt: skip
        drawn = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert made.returncode == 0
    assert "encrypting to anna" in drawn
    assert "/2" in drawn
    assert f"wrote {file}: 2 recordings" in made.stdout.decode()
