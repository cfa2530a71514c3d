"""The TPM client and store before a TPM that misbehaves; `system/test_swtpm.py` has one that does not."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from fadeout_device.vault.errors import RootStoreError
from fadeout_device.vault.roots.tpm import TpmRootStore
from fadeout_device.vault.roots.tpm_client import TpmClient, TpmError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INDEX = 0x0180FADE
DEFINE, WRITE, READ, READ_PUBLIC = 0x12A, 0x137, 0x14E, 0x169
NV_RATE, RETRY, NOT_WRITTEN = 0x920, 0x922, 0x14A

Answer = bytes


def refusal(code: int) -> Answer:
    return struct.pack(">HII", 0x8001, 10, code)


def success(body: bytes = b"", *, is_authorised: bool = True) -> Answer:
    return struct.pack(">HII", 0x8002 if is_authorised else 0x8001, 10 + len(body), 0) + body


class FakeTpm:
    """A TPM with two indices, behind a Unix socket. `before` may answer first, or cut the talk short."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.indices: dict[int, tuple[int, int, bytes | None]] = {}
        """Attributes, size, and what was written."""
        self.before: Callable[[int], Answer | None] = lambda _code: None
        self.commands: list[int] = []
        self.slept: list[float] = []
        self.connections = 0
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._clients: list[TpmClient] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()

    def client(self) -> TpmClient:
        self._clients.append(TpmClient(self.path, self.slept.append))
        return self._clients[-1]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                with connection, contextlib.suppress(OSError):
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        while header := connection.recv(10, socket.MSG_WAITALL):
            _tag, size, code = struct.unpack(">HII", header)
            body = connection.recv(size - 10, socket.MSG_WAITALL)
            self.commands.append(code)
            answer = self.before(code)
            if answer is None:
                answer = self._run(code, body)
            connection.sendall(answer)
            if len(answer) < 10 or struct.unpack(">I", answer[2:6]) != (len(answer),):
                return  # a torn answer: it hangs up

    def _run(self, code: int, body: bytes) -> Answer:
        if code == DEFINE:
            _auth, _size, index, _algorithm, attributes, _policy, size = struct.unpack_from(
                ">HHIHIHH", body, 17
            )
            self.indices[index] = (attributes, size, None)
            return success(struct.pack(">I", 0) + bytes(5))
        (index,) = struct.unpack_from(">I", body)
        if index not in self.indices:
            return refusal(0x18B)  # TPM_RC_HANDLE, first handle
        attributes, size, data = self.indices[index]
        if code == READ_PUBLIC:
            public = struct.pack(">IHIHH", index, 0xB, attributes, 0, size)
            return success(struct.pack(">H", len(public)) + public + bytes(2), is_authorised=False)
        if code == WRITE:
            assert body[8:21] == struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
            (length,) = struct.unpack_from(">H", body, 21)
            self.indices[index] = (attributes | 1 << 29, size, body[23 : 23 + length])
            return success(struct.pack(">I", 0) + bytes(5))
        if data is None:
            return refusal(NOT_WRITTEN)
        return success(struct.pack(">IH", 2 + len(data), len(data)) + data + bytes(5))


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[FakeTpm]:
    made = FakeTpm(tmp_path / "tpm")
    yield made
    made.close()


def test_two_indices_are_made_once_whole_and_kept_at_once(tpm: FakeTpm) -> None:
    client = tpm.client()
    store = TpmRootStore(client, INDEX)
    assert store.read(0) == bytes(48), "never written is empty"
    store.write(0, b"r" * 48)
    store.erase(1)
    client.close()  # one at a time, as an emulator has it
    assert TpmRootStore(tpm.client(), INDEX).read(0) == b"r" * 48
    assert tpm.commands.count(DEFINE) == 2
    # TPMA_NV: AUTHWRITE, WRITEALL, AUTHREAD, NO_DA, and WRITTEN by the TPM itself. Not ORDERLY.
    bits = {bit for bit in range(32) if tpm.indices[INDEX][0] >> bit & 1}
    assert bits == {2, 12, 18, 25, 29}
    assert tpm.indices[INDEX][1] == tpm.indices[INDEX + 1][1] == 48


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        pytest.param(1 << 2 | 1 << 12 | 1 << 18 | 1 << 25, 32, id="another size"),
        pytest.param(1 << 2 | 1 << 12 | 1 << 18 | 1 << 25 | 1 << 26, 48, id="lost unless shut down in order"),
        pytest.param(1 << 2 | 1 << 12 | 1 << 18 | 1 << 25 | 1 << 4, 48, id="a counter"),
        pytest.param(1 << 1 | 1 << 17, 48, id="the owner's"),
    ],
)
def test_an_index_of_somebody_else_is_refused_and_left_alone(
    tpm: FakeTpm, attributes: int, size: int
) -> None:
    tpm.indices[INDEX + 1] = (attributes, size, b"precious")
    with pytest.raises(RootStoreError, match="0x0180fadf of the TPM is used by something else") as caught:
        TpmRootStore(tpm.client(), INDEX)
    assert caught.value.exit_code == 78
    assert WRITE not in tpm.commands
    assert tpm.indices[INDEX + 1][2] == b"precious"


@pytest.mark.parametrize(
    "code", [0x908, 0x90A, NV_RATE, RETRY], ids=["yielded", "testing", "nv rate", "retry"]
)
def test_a_tpm_that_asks_for_patience_gets_it(tpm: FakeTpm, code: int) -> None:
    store = TpmRootStore(tpm.client(), INDEX)
    left = [refusal(code)] * 7
    tpm.before = lambda command: left.pop() if command == WRITE and left else None
    store.write(0, b"r" * 48)
    assert store.read(0) == b"r" * 48
    assert len(tpm.slept) == 7
    assert tpm.slept == sorted(tpm.slept), "longer each time"
    assert max(tpm.slept) <= 1.0


def test_patience_ends(tpm: FakeTpm) -> None:
    store = TpmRootStore(tpm.client(), INDEX)
    tpm.before = lambda _command: refusal(NV_RATE)
    with pytest.raises(TpmError, match=r"limits how often it is written \(TPM_RC 0x920\)"):
        store.erase(0)
    assert 5 < sum(tpm.slept) < 15


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0x100, "was not started up"),
        (0x14B, "no room for another index"),
        (0x148, "the index is locked"),
        (0x921, "locked out"),
        (0x923, "cannot be written now"),
        (0x9A2, "the owner of the TPM has a password"),
        (0x98E, "the owner of the TPM has a password"),
        (0x101, "refused a command"),
    ],
)
def test_a_refusal_is_told_in_words_and_not_repeated(tpm: FakeTpm, code: int, told: str) -> None:
    tpm.before = lambda command: refusal(code) if command == DEFINE else None
    with pytest.raises(TpmError, match=told) as caught:
        TpmRootStore(tpm.client(), INDEX)
    assert caught.value.errno == errno.EIO, "an OSError, as every root store's"
    assert tpm.slept == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x80\x02\0\0", id="half a header"),
        pytest.param(struct.pack(">HII", 0x8002, 67, 0) + bytes(20), id="half an answer"),
        pytest.param(struct.pack(">HII", 0x8002, 1 << 30, 0), id="a gigabyte"),
        pytest.param(struct.pack(">HII", 0x8002, 4, 0), id="less than a header"),
    ],
)
def test_a_torn_answer_is_an_error_and_the_next_command_works(tpm: FakeTpm, answer: bytes) -> None:
    store = TpmRootStore(tpm.client(), INDEX)
    store.write(0, b"r" * 48)
    tpm.before = lambda _command: answer
    with pytest.raises(OSError, match=r"hung up|impossible size|reset"):
        store.read(0)
    tpm.before = lambda _command: None
    assert store.read(0) == b"r" * 48
    assert tpm.connections == 2


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(struct.pack(">IH", 34, 32) + bytes(32 + 5), id="fewer bytes than asked for"),
        pytest.param(struct.pack(">IH", 50, 48) + bytes(20), id="cut"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(tpm: FakeTpm, body: bytes) -> None:
    store = TpmRootStore(tpm.client(), INDEX)
    tpm.before = lambda _command: success(body)
    with pytest.raises(TpmError, match=r"cut short|gave 32 bytes"):
        store.read(0)


def test_a_write_that_did_not_last_is_found_out(tpm: FakeTpm) -> None:
    store = TpmRootStore(tpm.client(), INDEX)
    store.write(0, b"r" * 48)
    tpm.before = lambda command: success(bytes(9)) if command == WRITE else None
    with pytest.raises(OSError, match="reads back different"):
        store.erase(0)


def test_an_answer_about_another_index_is_an_error(tpm: FakeTpm) -> None:
    public = struct.pack(">HIHIHH", 14, INDEX + 7, 0xB, 0, 0, 48)
    tpm.before = lambda _command: success(public, is_authorised=False)
    with pytest.raises(TpmError, match="another index"):
        tpm.client().look_at(INDEX)


def test_nothing_is_written_to_a_file_that_is_no_device(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_bytes(b"dear")
    with pytest.raises(TpmError, match="neither a device nor a socket"):
        TpmRootStore(TpmClient(path), INDEX)
    assert path.read_bytes() == b"dear"
