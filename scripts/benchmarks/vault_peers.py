"""What others do for the same: forget one key of many, and seal ten seconds of sound.

Each peer is a few lines with the same discipline as ours: what it says is erased is
on the disk (fsync, and of the folder too: SQLite's `EXTRA`) when it returns. Those that
are missing say why. SQLite's rollback journal is only unlinked, and held the old pages:
that the peers leave no trace behind is not measured here.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fadeout_device.vault.durable import sync_folder, write_new
from fadeout_device.vault.roots.file import FileRootStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY_BYTES = 32
CHUNK_BYTES = 16 * 1024


class MissingPeerError(Exception):
    """A peer is not installed; the text says what to do."""


# ---- forgetting one of many


def wrapped_table(folder: Path, count: int) -> Callable[[], None]:
    """One sealed blob of all keys, rewritten whole under a new root, with the same root store."""
    folder.mkdir()
    roots = FileRootStore(folder)
    keys = {number: os.urandom(KEY_BYTES) for number in range(count)}
    generation = 0

    def erase() -> None:
        nonlocal generation
        keys.popitem()
        generation += 1
        root = os.urandom(KEY_BYTES)
        plain = b"".join(number.to_bytes(4, "big") + key for number, key in keys.items())
        path = folder / f"table-{generation}"
        write_new(path, ChaCha20Poly1305(root).encrypt(bytes(12), plain, b""))
        sync_folder(folder)
        roots.write(generation % 2, root + bytes(16))
        roots.erase((generation + 1) % 2)
        (folder / f"table-{generation - 1}").unlink(missing_ok=True)

    return erase


def sqlite_vacuum(folder: Path, count: int) -> Callable[[], None]:
    """SQLite with secure_delete, and VACUUM after each deletion."""
    folder.mkdir()
    connection = sqlite3.connect(folder / "keys.db", isolation_level=None)
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA synchronous=EXTRA")
    _fill(connection, count)

    def erase() -> None:
        connection.execute("DELETE FROM key WHERE id = (SELECT max(id) FROM key)")
        connection.execute("VACUUM")

    return erase


def sqlcipher_rekey(folder: Path, count: int) -> Callable[[], None]:
    """SQLCipher: delete, and encrypt the database anew under another key."""
    try:
        from sqlcipher3 import dbapi2  # noqa: PLC0415 - a peer, not needed otherwise
    except ImportError as err:
        raise MissingPeerError("pip install sqlcipher3") from err
    folder.mkdir()
    connection = dbapi2.connect(str(folder / "keys.db"), isolation_level=None)
    connection.execute(f"PRAGMA key=\"x'{os.urandom(KEY_BYTES).hex()}'\"")
    connection.execute("PRAGMA synchronous=EXTRA")
    _fill(connection, count)

    def erase() -> None:
        connection.execute("DELETE FROM key WHERE id = (SELECT max(id) FROM key)")
        connection.execute(f"PRAGMA rekey=\"x'{os.urandom(KEY_BYTES).hex()}'\"")

    return erase


def _fill(connection: sqlite3.Connection, count: int) -> None:
    connection.execute("CREATE TABLE key (id INTEGER PRIMARY KEY, key BLOB)")
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO key (key) VALUES (?)", ((os.urandom(KEY_BYTES),) for _ in range(count))
    )
    connection.execute("COMMIT")


def shred_file(folder: Path, size_bytes: int) -> Callable[[], None]:
    """`shred -u` of a file of this size."""
    folder.mkdir(exist_ok=True)
    path = folder / "file"
    data = os.urandom(size_bytes)

    def prepare() -> None:
        with path.open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())

    def erase() -> None:
        subprocess.run(["shred", "-u", path], check=True)

    erase.prepare = prepare  # type: ignore[attr-defined]  # what must not be timed
    return erase


def shred_bytes(folder: Path, size_bytes: int) -> int:
    """Return how many bytes `shred -u` writes for a file of this size, as strace sees it."""
    shred = shred_file(folder, size_bytes)
    shred.prepare()  # type: ignore[attr-defined]  # see above
    if shutil.which("strace") is None:
        raise MissingPeerError("apt-get install strace")
    traced = subprocess.run(
        ["strace", "-e", "trace=write,pwrite64", "shred", "-u", folder / "file"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sum(int(number) for number in re.findall(r" = (\d+)$", traced.stderr, re.MULTILINE))


# ---- sealing


def age_command(folder: Path, content: bytes) -> Callable[[], None]:
    """The `age` command: a file in, a file out."""
    if shutil.which("age") is None:
        raise MissingPeerError("apt-get install age")
    folder.mkdir(exist_ok=True)
    plain = folder / "plain"
    plain.write_bytes(content)
    made = subprocess.run(["age-keygen", "-o", folder / "key"], capture_output=True, text=True, check=True)
    recipient = made.stderr.split()[-1]

    def seal() -> None:
        subprocess.run(["age", "-r", recipient, "-o", folder / "sealed", plain], check=True)

    return seal


def age_library(content: bytes) -> Callable[[], bytes]:
    """The `pyrage` library, in memory."""
    try:
        import pyrage  # noqa: PLC0415 - a peer here
    except ImportError as err:
        raise MissingPeerError("pip install pyrage") from err
    recipient = pyrage.x25519.Identity.generate().to_public()

    def seal() -> bytes:
        sealed: bytes = pyrage.encrypt(content, [recipient])
        return sealed

    return seal


def secretstream(content: bytes) -> Callable[[], bytes]:
    """Use libsodium's secretstream, in memory, in chunks of the same size as ours."""
    try:
        from nacl import bindings  # noqa: PLC0415 - a peer
    except ImportError as err:
        raise MissingPeerError("pip install pynacl") from err
    prefix = "crypto_secretstream_xchacha20poly1305_"
    keygen, init, push, make_state, more, final = (
        getattr(bindings, prefix + name)
        for name in ("keygen", "init_push", "push", "state", "TAG_MESSAGE", "TAG_FINAL")
    )

    def seal() -> bytes:
        state = make_state()
        sealed = [init(state, keygen())]
        for start in range(0, len(content), CHUNK_BYTES):
            end = start + CHUNK_BYTES
            sealed.append(push(state, content[start:end], tag=final if end >= len(content) else more))
        return b"".join(sealed)

    return seal


def written_bytes() -> int:
    """Return how many bytes this process has handed to write calls so far: proc(5), wchar."""
    with contextlib.closing(open("/proc/self/io", encoding="ascii")) as file:  # noqa: PTH123 - one line
        return next(int(line.split()[1]) for line in file if line.startswith("wchar"))
