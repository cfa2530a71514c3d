"""What is forgotten is not in the file: not in its free pages, not in its journal, not after a kill."""

from __future__ import annotations

import random
import shutil
import sqlite3
import stat
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.model_device import NODE, Device
from fadeout_broker.errors import StoreError
from fadeout_broker.subscriber.held import Event
from fadeout_broker.subscriber.memory import Memory
from fadeout_broker.subscriber.passing import Believed, Reading
from fadeout_broker.subscriber.rules import Mark
from fadeout_broker.subscriber.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fadeout_broker import contract
    from fadeout_broker.subscriber.held import Gone

NOW = Believed(1000.0, 10.0, "boot")
READING = Reading(1000.0, 10.0, "boot")


def event(name: str, end_s: float = 2000.0, node: str = NODE) -> Event:
    return Event(node, name, "light.on", "served", end_s)


def raw(path: Path) -> bytes:
    """Return every byte of the database's files: itself, journal, write-ahead log."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))


def names(count: int, seed: int) -> list[str]:
    source = random.Random(seed)  # noqa: S311 - names for a test
    return ["".join(source.choices("0123456789abcdefghijklmnopqrstuv", k=16)) for _ in range(count)]


def let_go(derived: list[str], gone: Sequence[Gone]) -> None:
    for one in gone:
        if one.id in derived:
            derived.remove(one.id)


def note(said: list[int], _node: str, ack: contract.Ack) -> None:
    said.append(ack.n)


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """Give a folder in memory, where there is one: it is synced thousands of times."""
    memory = Path("/dev/shm")  # noqa: S108 - what is in it is made up
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def test_what_is_forgotten_is_nowhere_in_the_file(fast_folder: Path) -> None:
    path = fast_folder / "memory.db"
    store = Store(path)
    source = random.Random(1)  # noqa: S311 - an order for a test
    everything = names(1200, seed=2)
    for at, name in enumerate(everything):
        store.keep(event(name, node=f"sp-{at % 7}"), NOW)
        if at % 3 == 0:
            store.handled(event(name, node=f"sp-{at % 7}"))
    # Many pages, emptied in every order: by name, at their end, a device at once.
    source.shuffle(order := list(enumerate(everything)))
    kept = {name for _, name in order[:100]}
    for at, name in order[100:600]:
        store.begin_erased(f"sp-{at % 7}", (name,), Mark("a" * 8, at), NOW)
        if at % 5 == 0:
            store.end(store.going())
    for at, name in order[600:]:
        store.keep(event(name, 1001.0, node=f"sp-{at % 7}"), NOW)
    store.begin_expired(NOW._replace(time_s=1001.0))
    store.end(store.going())
    held = {one.id for one in store.events(0.0)}
    assert held == kept
    found = raw(path)
    assert all(name.encode() in found for name in kept)
    assert not [name for name in everything if name not in kept and name.encode() in found]
    store.begin_erased("sp-3", None, Mark("b" * 8, 0), NOW)
    store.end(store.going())
    gone = {name for at, name in enumerate(everything) if at % 7 == 3}
    assert not [name for name in gone if name.encode() in raw(path)]
    store.close()
    assert not [name for name in gone if name.encode() in raw(path)]


def test_without_overwriting_it_would_still_be_there(tmp_path: Path) -> None:
    """What the test above rests on: a search that finds what was only deleted."""
    path = tmp_path / "memory.db"
    store = Store(path)
    store._database.execute("PRAGMA secure_delete = OFF").fetchall()
    store.keep(event("0123456789abcdef"), NOW)
    store.begin_erased(NODE, None, Mark("a" * 8, 1), NOW)
    store.end(store.going())
    assert store.events(0.0) == []
    assert b"0123456789abcdef" in raw(path)
    store.close()


def test_the_contents_go_first_and_the_id_when_all_is_done(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = Store(path)
    store.keep(event("0123456789abcdef"), NOW)
    assert b"light.on" in raw(path)
    assert store.begin_erased(NODE, ("0123456789abcdef", "000000000000000f"), Mark("a" * 8, 1), NOW) == 1
    assert b"light.on" not in raw(path)
    assert store.events(0.0) == []
    assert store.next_unhandled(0.0) is None
    assert [one.id for one in store.going()] == ["0123456789abcdef"]
    store.end(store.going())
    assert b"0123456789abcdef" not in raw(path)
    store.close()


def test_killed_between_any_two_steps_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A copy of the files before each of SQLite's statements is what a kill -9 there would leave."""
    path = tmp_path / "memory.db"
    copies: list[tuple[Path, list[int], list[str]]] = []
    acknowledged: list[int] = []
    derived: list[str] = []

    def copy(_statement: str) -> None:
        folder = tmp_path / f"at-{len(copies)}"
        folder.mkdir()
        for file in path.parent.glob("memory.db*"):
            shutil.copy(file, folder)
        copies.append((folder / "memory.db", list(acknowledged), list(derived)))

    def acknowledge(_node: str, ack: contract.Ack) -> None:
        acknowledged.append(ack.n)
        copy("")

    device = Device()
    store = Store(path)
    memory = Memory(store, partial(let_go, derived), acknowledge)
    store._database.set_trace_callback(copy)
    memory.take(*device.watermark(), None, READING)
    for _ in range(4):
        name, sent = device.event(2000.0, 1000.0)
        memory.take(*sent, None, READING)
        derived.append(name)
    first, second, third, fourth = device.live
    memory.take(*device.erase((first, third)), None, READING)
    memory.take(*device.watermark(), None, READING)
    device.erase((second,))
    skipped = device.erase((fourth,))
    memory.take(*skipped, None, READING)
    store._database.set_trace_callback(None)
    store.close()

    assert acknowledged == [0, 1, 1, 3]
    assert len(copies) > 40
    for at, acks, still_derived in copies:
        gone = device.gone_by(device.era, acks[-1]) if acks else set()
        assert not [name for name in gone if name.encode() in at.read_bytes()]
        again: list[int] = []
        reopened = Store(at)
        after = Memory(reopened, partial(let_go, still_derived), partial(note, again))
        after.tick(READING)
        after.take(*device.watermark(), None, READING)
        assert reopened.events(0.0) == []
        assert again == [3]
        reopened.close()
        assert not [name for name in (first, second, third, fourth) if name.encode() in raw(at)]


def test_handed_out_until_it_is_handled_and_held_until_its_end() -> None:
    store = Store(None)
    for name in ("000000000000000a", "000000000000000b"):
        assert store.keep(event(name), NOW)
    assert not store.keep(event("000000000000000a", 5000.0), NOW)
    first = store.next_unhandled(1000.0)
    assert first == store.next_unhandled(1000.0) == event("000000000000000a")
    store.handled(first)
    assert not store.keep(event("000000000000000a", 1500.0), NOW)
    assert store.next_unhandled(1000.0) == event("000000000000000b")
    assert [one.expires_at_s for one in store.events(1000.0)] == [1500.0, 2000.0]
    assert store.next_end_s() == 1500.0
    assert store.next_unhandled(2000.0) is None
    assert store.events(2000.0) == []
    store.close()


def test_the_file_is_its_owners_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = Store(path)
    store.keep(event("0123456789abcdef"), NOW)
    store.begin_erased(NODE, ("000000000000000f",), Mark("a" * 8, 7), NOW)
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store = Store(path)
    assert store.events(0.0) == [event("0123456789abcdef")]
    assert store.mark(NODE) == Mark("a" * 8, 7)
    assert store.mark("sp-other") is None
    assert store.believed() == NOW
    store.close()


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "diary.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE diary (day TEXT)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="no memory of a subscriber"):
        Store(path)
    assert path.read_bytes() == before
    path.write_bytes(b"no database, but long enough to be read as one" * 10)
    with pytest.raises(StoreError, match="not a database"):
        Store(path)
    with pytest.raises(StoreError, match="no such file"):
        Store(tmp_path / "nowhere" / "memory.db")


def test_what_cannot_be_written_is_said_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = Store(path)
    store.keep(event("0123456789abcdef"), NOW)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store._database.execute("PRAGMA busy_timeout = 1")
    with pytest.raises(StoreError, match="locked"):
        store.begin_erased(NODE, None, Mark("a" * 8, 1), NOW)
    other.execute("ROLLBACK")
    other.close()
    assert store.mark(NODE) is None
    assert len(store.events(0.0)) == 1
    store.close()
    assert path.stat().st_size
