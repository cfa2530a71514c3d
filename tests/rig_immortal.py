"""The disk that forgets nothing: what somebody can do who has every byte ever written, and the last root.

A story is told in a child while an strace takes down every byte that it hands to the
kernel. Then two attackers try. The first takes every 32 bytes of the final root slots,
masked and not, for a root, and tries it on every keyring that was ever written, under
whatever name. The second searches all bytes, as they are and in hex, base64 and numbers, for
every key that was ever made or derived, for what was said and for its metadata; it
is told the keys by the child itself, which notes them where no search looks.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import rig_capture
import rig_plants
import rig_workload
from fadeout_device.vault import container, keyring_blob, keytree, rootslot
from fadeout_device.vault.errors import AuthenticationError, FormatError
from fadeout_device.vault.roots import SLOTS
from fadeout_device.vault.roots import file as root_file
from fadeout_device.vault.roots import nvmem as _nvmem
from rig_canary import Secrets
from rig_waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


NOBODY = 65534
_LAZY = (_nvmem, tomllib)
"""What is only loaded when it is used must be there before the child becomes nobody."""
_PR_SET_DUMPABLE, _PR_SET_PTRACER = 4, 0x59616D61


class Findings(NamedTuple):
    """What the attackers got."""

    written_bytes: int
    live: int
    live_open: int
    """How many of the kept items the first attacker opens: he has the root, so all."""
    erased: int
    erased_open: int
    before_open: int
    """How many of those he opens with the root as it was before their erasure: the control, so all."""
    keyrings: int
    tries: int
    secrets: int
    hits: Counter[str]
    """What the second attacker found, by kind and way of writing."""
    blind: list[str]
    """What the capture may have missed."""

    @property
    def is_clean(self) -> bool:
        """Whether the erasures held, and the attackers were as strong as they must be."""
        return self.is_strong and not self.erased_open and not self.hits

    @property
    def is_strong(self) -> bool:
        """Whether the attackers saw all and could have won."""
        return (
            not self.blind
            and self.erased > 0
            and self.live_open == self.live > 0
            and self.before_open == self.erased
        )


def attack(folder: Path, story: str, plant: str = "", *, as_nobody: bool = False) -> Findings:
    """Tell a story in a new folder, and attack what is left."""
    rig_workload.prepare(folder)
    (folder / "copies").mkdir()
    capture = _tell(folder, story, plant, as_nobody=as_nobody)
    told = rig_workload.told((folder / "told").read_bytes())
    sealed = {path.name: path.read_bytes() for path in (folder / "copies").iterdir()}
    blobs = _keyrings(capture)
    final = _Slots({path.name: path.read_bytes() for path in (folder / "state").glob("root-*")})
    opened, tries = _opened(final, blobs, sealed)
    secrets, count = _secrets(folder, sealed, len(told.live) + len(told.erased))
    hidden = (f"{folder}/told", f"{folder}/copies", f"{folder}/secrets")
    writes = [write.data for write in capture.writes if not write.target.startswith(hidden)]
    left = [path.read_bytes() for path in sorted((folder / "state").rglob("*")) if path.is_file()]
    hits: Counter[str] = Counter()
    for data in (*writes, *left):
        hits.update(secrets.found(data))
    return Findings(
        sum(map(len, writes)), len(told.live), len(opened & set(told.live)), len(told.erased),
        len(opened & told.erased), _open_before(capture, folder, blobs, sealed), len(blobs), tries, count,
        hits, capture.blind,
    )  # fmt: skip


# ---- telling it


def _tell(folder: Path, story: str, plant: str, *, as_nobody: bool) -> rig_capture.Capture:
    traces = folder / "traces"
    command = [word for word in rig_capture.command(traces) if word != "--seccomp-bpf"]
    if as_nobody:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = os.EX_SOFTWARE
        try:
            os.close(writing)
            if as_nobody:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            kernel = ctypes.CDLL(None)
            kernel.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
            kernel.prctl(_PR_SET_PTRACER, -1, 0, 0, 0)
            os.read(reading, 1)
            _note_secrets(folder / "secrets")
            rig_plants.plant(plant)
            code = rig_workload.tell_story(folder, story)
        finally:
            os._exit(code)
    os.close(reading)
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_nobody else {}
    tracer = subprocess.Popen([*command, "-p", str(child)], stdin=subprocess.DEVNULL, **user)
    status = Path(f"/proc/{child}/status")
    wait_for(lambda: "TracerPid:\t0\n" not in status.read_text(), "strace has attached")
    os.write(writing, b"\n")
    os.close(writing)
    _, ended = os.waitpid(child, 0)
    tracer.wait()
    if os.waitstatus_to_exitcode(ended) != 0:
        raise RuntimeError("the story did not come to its end")
    return rig_capture.read(traces)


def _note_secrets(path: Path) -> None:
    """Have this process note every key that it makes or derives."""
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(secret: bytes) -> None:
        os.writev(notes, [secret.hex().encode(), b"\n"])

    random = os.urandom

    def noted_random(size: int) -> bytes:
        made = random(size)
        if size in (16, 32):
            note(made)
        return made

    def noted(function: Any) -> Any:  # noqa: ANN401 - the product's own
        def call(*arguments: Any) -> Any:  # noqa: ANN401 - the product's own
            secret = function(*arguments)
            note(secret)
            return secret

        return call

    os.urandom = noted_random
    tree: Any = keytree
    tree._child = noted(tree._child)
    items: Any = container
    items.item_key = noted(items.item_key)


def _secrets(folder: Path, sealed: dict[str, bytes], items: int) -> tuple[Secrets, int]:
    noted = {bytes.fromhex(line) for line in (folder / "secrets").read_text().split()}
    # An item's salt is random, too, and public.
    noted -= {container.parse_header(data).salt for data in sealed.values()}
    secrets = Secrets()
    secrets.add_keys("a key", noted)
    secrets.add_keys("audio", [rig_workload.content(number) for number in range(1, items + 1)])
    secrets.add_words(["okay_nabu", "captured_at_s"])
    return secrets, len(noted)


# ---- the first attacker


class _Slots(NamedTuple):
    """The root store at some moment, file by file."""

    files: dict[str, bytes]

    def candidates(self) -> set[bytes]:
        """Return every 32 bytes of it, and of what the masks hide."""
        found: set[bytes] = set()
        for stored in self.files.values():
            masked = root_file._mask(stored[root_file.PAD_BYTES :], stored[: root_file.PAD_BYTES])
            for data in (masked, stored):
                found |= {data[at : at + 32] for at in range(len(data) - 31)}
        return found


def _keyrings(capture: rig_capture.Capture) -> list[bytes]:
    """Return every keyring that was ever written, whatever to."""
    found = set()
    for write in capture.writes:
        at = write.data.find(keyring_blob._MAGIC)
        while at >= 0:
            found.add(write.data[at:])
            at = write.data.find(keyring_blob._MAGIC, at + 1)
    return sorted(found)


def _opened(slots: _Slots, blobs: Iterable[bytes], sealed: dict[str, bytes]) -> tuple[set[str], int]:
    """Return the items that some keyring opens which some candidate opens; and how often that was tried."""
    opened: set[str] = set()
    tries = 0
    candidates = slots.candidates()
    for blob in blobs:
        generation = int.from_bytes(blob[len(keyring_blob._MAGIC) :][:8], "big")
        for candidate in candidates:
            tries += 1
            try:
                trees = keyring_blob.open_blob(blob, rootslot.Root(generation, candidate)).trees
            except (FormatError, AuthenticationError):
                continue
            opened |= {name for name, data in sealed.items() if rig_workload.opens(trees, data)}
    return opened, tries


def _open_before(
    capture: rig_capture.Capture, folder: Path, blobs: list[bytes], sealed: dict[str, bytes]
) -> int:
    """Return how many of the erased items open with the root store as it was when their erasure began."""
    return sum(len(_opened(slots, blobs, sealed)[0] & names) for slots, names in _erasures(capture, folder))


def _erasures(capture: rig_capture.Capture, folder: Path) -> Iterator[tuple[_Slots, set[str]]]:
    slots: dict[str, bytes] = {}
    paths = [f"{folder}/state/root-{slot}" for slot in range(SLOTS)]
    for write in capture.writes:
        if write.target in paths:
            # An erasure writes the whole file, a commit its end.
            before = slots.get(write.target, bytes(root_file._FILE_BYTES))
            slots[write.target] = before[: -len(write.data)] + write.data
        elif write.target == f"{folder}/told" and write.data.startswith(b"erasing "):
            yield _Slots(dict(slots)), set(write.data.decode().split()[1:])
