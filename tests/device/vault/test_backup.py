"""What copies of the state folder give back, and what they do not: docs/backup.md, line by line."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import pytest
from cryptography.exceptions import InvalidTag

from device.vault.conftest import utterance
from fadeout_device.config import Config, parse
from fadeout_device.errors import FadeoutError
from fadeout_device.vault import rootslot
from fadeout_device.vault.errors import FormatError, KeysLostError, NoSuchRecordingError
from fadeout_device.vault.keyring_blob import open_blob
from fadeout_device.vault.recipients import Recipients
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.roots.file import FileRootStore
from fadeout_device.vault.store import Store
from fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"


class House:
    """One state folder with the real `file` root store, and copies of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "state"
        self.folder.mkdir()
        self.old = folder / "old"
        self.config = Config()
        self.clock = FakeClock()
        self.audio: dict[str, bytes] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[Store]:
        store = Store(
            self.folder, FileRootStore(self.folder), self.config.policy, self.config.sweep_s, self.clock
        )
        try:
            # As the service does before it serves anything.
            store.eraser.erase_due()
            yield store
        finally:
            store.close()

    def seal(self, store: Store) -> str:
        content = bytes([len(self.audio) + 1, 2]) * 16000
        recording, _ = store.seal(utterance(), content)
        self.audio[recording] = content
        return recording

    def readable(self) -> set[str]:
        """Start a vault on what is there; return the recordings whose audio it gives out."""
        with self.open() as store:
            return {name for name, content in self.audio.items() if _audio(store, name) == content}

    def copy(self, *, with_roots: bool = False) -> None:
        ignored = shutil.ignore_patterns() if with_roots else shutil.ignore_patterns("root-*")
        shutil.copytree(self.folder, self.old, ignore=ignored)

    def put_back(self, *, keeping: str) -> None:
        """Replace the folder by the copy, but for the files of a pattern."""
        kept = {path.name: path.read_bytes() for path in self.folder.glob(keeping)}
        shutil.rmtree(self.folder)
        shutil.copytree(self.old, self.folder)
        for name, data in kept.items():
            (self.folder / name).write_bytes(data)

    def blobs_that_open(self) -> set[str]:
        """As somebody with every copy and the roots of today: return the keyrings that open."""
        roots = FileRootStore(self.folder)
        slots = [rootslot.parse(roots.read(slot)) for slot in range(SLOTS)]
        opened = set()
        for path in [*self.folder.glob("keyring-*"), *self.old.glob("keyring-*")]:
            for root in slots:
                if isinstance(root, rootslot.Root):
                    with contextlib.suppress(FormatError, InvalidTag, FadeoutError):
                        open_blob(path.read_bytes(), root)
                        opened.add(path.name)
        return opened


def _audio(store: Store, recording: str) -> bytes | None:
    try:
        items = store.find(recording)
    except NoSuchRecordingError:
        return None
    contents = [store.content(item) for item in items if item.item_class.kind == "audio"]
    return contents[0] if contents else None


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


class Story:
    """`gone` and `both` were sealed, a copy was made, `gone` was erased, `newer` was sealed."""

    def __init__(self, house: House, *, with_roots: bool = False, panics: bool = False) -> None:
        with house.open() as store:
            self.gone, self.both = house.seal(store), house.seal(store)
            Recipients(store.index).add("anna", KEY)
        house.copy(with_roots=with_roots)
        with house.open() as store:
            if panics:
                store.eraser.panic()
                store.eraser.finish_panic()
            store.eraser.erase(store.index.live_of(self.gone))
            self.newer = house.seal(store)
            Recipients(store.index).remove("anna")


def test_nothing_is_wrong_with_the_story(house: House) -> None:
    story = Story(house)
    assert house.readable() == {story.both, story.newer}


def test_an_older_copy_with_the_roots_of_today_opens_nothing_and_says_why(house: House) -> None:
    Story(house)
    house.put_back(keeping="root-*")
    assert house.blobs_that_open() == set()
    with pytest.raises(KeysLostError, match="an older copy") as lost:
        house.readable()
    assert lost.value.hint is not None
    assert "docs/backup.md" in lost.value.hint


def test_what_the_error_asks_for_brings_the_present_back(house: House) -> None:
    story = Story(house)
    shutil.copytree(house.folder, house.folder.with_name("today"))
    house.put_back(keeping="root-*")
    with pytest.raises(KeysLostError):
        house.readable()
    shutil.copytree(house.folder.with_name("today"), house.folder, dirs_exist_ok=True)
    assert house.readable() == {story.both, story.newer}


def test_an_older_copy_without_any_root_opens_nothing(house: House) -> None:
    Story(house)
    house.put_back(keeping="nothing")
    with pytest.raises(KeysLostError, match="no root slot opens the keyring"):
        house.readable()
    # Nor does a copy that was robbed of the mark which tells a loss from a first start.
    (house.folder / "initialised").unlink()
    assert house.readable() == set()


def test_an_older_copy_over_what_is_there_brings_nothing_back_and_loses_what_is_newer(house: House) -> None:
    story = Story(house)
    shutil.copytree(house.old, house.folder, dirs_exist_ok=True)
    (house.folder / "index.db-wal").unlink(missing_ok=True)
    assert house.readable() == {story.both}
    with house.open() as store:
        assert not [path for path in store.files.folder.iterdir() if path.name not in
                    {item.id for item in store.index.live()}]  # fmt: skip


def test_an_older_index_alone_brings_nothing_back_and_loses_what_is_newer(house: House) -> None:
    story = Story(house)
    for name in ("index.db", "index.db-wal"):
        (house.folder / name).unlink(missing_ok=True)
        if (house.old / name).exists():
            shutil.copy(house.old / name, house.folder / name)
    assert house.readable() == {story.both}
    with house.open() as store:
        # Somebody was taken off the list since: that is undone, and docs/backup.md says so.
        assert [recipient.name for recipient in Recipients(store.index).all()] == ["anna"]


def test_older_sealed_files_alone_bring_nothing_back(house: House) -> None:
    story = Story(house)
    shutil.copytree(house.old / "items", house.folder / "items", dirs_exist_ok=True)
    assert house.readable() == {story.both, story.newer}


def test_a_copy_from_before_a_panic_opens_nothing(house: House) -> None:
    with house.open() as store:
        house.seal(store)
    house.copy()
    with house.open() as store:
        store.eraser.panic()
    house.put_back(keeping="root-*")
    assert house.blobs_that_open() == set()
    assert house.readable() == set()


def test_a_copy_of_now_is_whole_with_the_roots_of_now(house: House) -> None:
    with house.open() as store:
        recordings = {house.seal(store), house.seal(store)}
    house.copy()
    house.put_back(keeping="root-*")
    assert house.readable() == recordings


def test_a_copy_with_its_roots_is_what_must_not_be_made(house: House) -> None:
    """The positive control: this is why `root-*` stays out of backups."""
    story = Story(house, with_roots=True)
    house.put_back(keeping="nothing")
    assert house.readable() == {story.gone, story.both}


def test_end_dates_hold_for_what_is_put_back(house: House) -> None:
    with house.open() as store:
        recording = house.seal(store)
        ends_at_s = max(item.ends_at_s for item in store.index.live_of(recording))
    house.copy()
    house.clock.now_s = ends_at_s
    house.put_back(keeping="root-*")
    assert house.readable() == set()


def test_a_shorter_policy_holds_for_what_is_put_back(house: House) -> None:
    with house.open() as store:
        house.seal(store)
    house.copy()
    house.config = parse('[retention.failed]\naudio = { keep = "1h", purpose = "test" }', "x")
    house.clock.now_s += 2 * 3600
    house.put_back(keeping="root-*")
    assert house.readable() == set()
