"""The ledger: receipts if and only if keys are gone, an entry for every opening, and no forgery of either."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import verify_receipts

from device.vault.conftest import utterance
from fadeout_device import questions, wire
from fadeout_device.errors import StorageError
from fadeout_device.vault import ledger
from fadeout_device.vault.desk import Desk
from fadeout_device.vault.errors import EraseError
from fadeout_device.vault.index import IndexFullError

if TYPE_CHECKING:
    from device.vault.conftest import Rig

VERIFIER = Path(verify_receipts.__file__)


@pytest.fixture
def desk(rig: Rig) -> Desk:
    service = rig.serve()
    service.start()
    return Desk(service)


def entries(rig: Rig, *kinds: str) -> list[Any]:
    decoded = [signed.decode() for signed in rig.store.ledger.entries()]
    return [entry for entry in decoded if not kinds or entry.__struct_config__.tag in kinds]


def export(desk: Desk, nonce: str = "") -> str:
    return b"".join(payload for _, payload in desk.ledger(questions.GetLedger(nonce))).decode()


def check(text: str, **options: Any) -> verify_receipts.Report:  # noqa: ANN401 - the verifier's
    return verify_receipts.verify(
        text, **{"nonce": None, "key": None, "seen": None, "now_s": None, **options}
    )


# ---- what is written


def test_an_erasure_leaves_a_receipt_that_names_it(rig: Rig, desk: Desk) -> None:
    recording = rig.seal()
    answer = desk.erase(questions.Erase((recording,)))
    (receipt,) = entries(rig, "erased")
    assert (receipt.reason, receipt.items, receipt.recordings) == ("user", 2, (recording,))
    assert receipt.classes == {"failed.audio": 1, "failed.action": 1}
    assert answer.receipts == (receipt.seq,)
    assert receipt.generation == rig.store.keyring.generation
    assert receipt.hour % 3600 == 0


@pytest.mark.parametrize(
    ("erase", "reason"),
    [
        pytest.param(lambda rig, _: rig.store.eraser.erase_due(), "expired", id="its time was over"),
        pytest.param(lambda rig, _: rig.store.eraser.erase_outdated("2"), "update", id="a new version"),
        pytest.param(lambda _, desk: desk.erase(questions.Erase(everything=True)), "user", id="everything"),
        pytest.param(
            lambda _, desk: desk.erase(questions.Erase(everything=True, now=True)), "panic", id="a panic"
        ),
    ],
)
def test_every_way_to_go_has_its_receipt(
    rig: Rig, desk: Desk, erase: Callable[[Rig, Desk], object], reason: str
) -> None:
    rig.seal()
    if reason == "expired":
        rig.clock.now_s += 40 * 86400
    erase(rig, desk)
    (receipt,) = entries(rig, "erased")
    assert receipt.reason == reason
    assert receipt.items == (1 if reason == "update" else 2)
    check(export(desk))


def test_a_crash_between_deletion_and_receipt_is_made_up_for_with_the_true_reason(
    rig: Rig, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = rig.seal()

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rig.store.files, "unlink", cut)
    with pytest.raises(KeyboardInterrupt):
        desk.erase(questions.Erase((recording,)))
    assert entries(rig, "erased") == []
    rig.restart().eraser.erase_due()
    (receipt,) = entries(rig, "erased")
    assert (receipt.reason, receipt.recordings) == ("user", (recording,))


def test_a_large_erasure_is_told_in_parts() -> None:
    erasures = [ledger.Erasure(f"{n:016x}", "failed.audio", "expired") for n in range(250)]
    parts = list(ledger.receipts(erasures))
    assert [len(recordings) for _, _, recordings in parts] == [100, 100, 50]
    assert sum(classes["failed.audio"] for _, classes, _ in parts) == 250


def test_a_failure_is_told_once_until_an_erasure_succeeds(rig: Rig, desk: Desk) -> None:
    rig.seal()

    def broken(_what: str, _slot: int) -> None:
        raise OSError(5, "Input/output error")

    for _ in range(2):
        rig.roots.before = broken
        with pytest.raises(EraseError):
            desk.erase(questions.Erase(everything=True))
        desk._service.sweep()
    assert [entry.reason for entry in entries(rig, "failed")] == ["io_error"]
    assert check(export(desk)).is_failing
    rig.roots.before = lambda _what, _slot: None
    desk._service.sweep()
    assert not check(export(desk)).is_failing


def test_every_opening_has_its_entry_and_it_comes_first(rig: Rig, desk: Desk) -> None:
    recording = rig.seal()
    (action,) = [item for item in rig.store.find(recording) if item.item_class.kind == "action"]
    desk.show(recording)
    desk.play(recording)
    rig.store.metadata(action, "event", "reporter")
    assert [(e.by, e.purpose, e.items, e.recordings) for e in entries(rig, "opened")] == [
        ("person", "show", 1, (recording,)),
        ("person", "play", 1, (recording,)),
        ("reporter", "event", 1, (recording,)),
    ]
    desk.erase(questions.Erase(since_s=3600.0))
    (since,) = [e for e in entries(rig, "opened") if e.purpose == "erase_since"]
    assert since.items == 2


def test_opening_many_is_told_in_parts_that_name_them_all(rig: Rig, desk: Desk) -> None:
    recordings = {rig.seal() for _ in range(120)}
    desk.erase(questions.Erase(since_s=3600.0))
    opened = entries(rig, "opened")
    assert [len(entry.recordings) for entry in opened] == [100, 20]
    assert [entry.items for entry in opened] == [200, 40]
    assert {name for entry in opened for name in entry.recordings} == recordings


@pytest.mark.parametrize("opens", ["show", "play"])
def test_what_cannot_be_written_down_is_not_opened(
    rig: Rig, desk: Desk, monkeypatch: pytest.MonkeyPatch, opens: str
) -> None:
    recording = rig.seal()

    def full(*_: object, **__: object) -> None:
        raise IndexFullError("no space left on the disk for the index")

    monkeypatch.setattr(rig.store.ledger, "opened", full)
    with pytest.raises(StorageError, match="no space left"):
        getattr(desk, opens)(recording)


def test_listing_erasing_and_naming_events_open_nothing(rig: Rig, desk: Desk) -> None:
    recording = rig.seal()
    (action,) = [item for item in rig.store.find(recording) if item.item_class.kind == "action"]
    desk.recordings()
    desk.status()
    rig.store.event_id(action)
    desk.erase(questions.Erase(last=1))
    assert entries(rig, "opened") == []


def test_entries_end_and_what_is_left_still_holds(rig: Rig, desk: Desk) -> None:
    for _ in range(3):
        desk.erase(questions.Erase((rig.seal(),)))
    rig.clock.now_s += 91 * 86400
    rig.seal()
    desk._service.sweep()
    left = entries(rig)
    assert [entry.__struct_config__.tag for entry in left] == ["checkpoint"]
    rig.clock.now_s += 8 * 86400
    desk._service.sweep()
    report = check(export(desk))
    assert (report.first, report.erased) == (left[0].seq, 2)


def test_a_panic_changes_the_key_and_the_old_one_vouches_for_the_new(rig: Rig, desk: Desk) -> None:
    rig.seal()
    before = rig.store.ledger.public_key
    desk.erase(questions.Erase(everything=True, now=True))
    desk.erase(questions.Erase((rig.seal(),)))
    assert rig.store.ledger.public_key != before
    assert [e.__struct_config__.tag for e in entries(rig)] == ["begun", "erased", "rekeyed", "erased"]
    report = check(export(desk))
    assert (report.breaks, report.public_key) == ([], rig.store.ledger.public_key)


def test_a_panic_that_could_sign_nothing_is_a_break_that_is_named(rig: Rig, desk: Desk) -> None:
    rig.seal()
    desk.erase(questions.Erase(last=1))
    rig.store.eraser.panic()  # and the power goes
    rig.restart()
    again = rig.serve()
    report = check(export(Desk(again)))
    assert len(report.breaks) == 1


def test_nothing_that_was_said_or_when_stands_in_it(rig: Rig, desk: Desk) -> None:
    desk.show(rig.seal(wake_word="hey_jarvis", action="light.on", outcome="served"))
    desk.erase(questions.Erase(everything=True))
    text = export(desk)
    assert not [word for word in ("jarvis", "light", "score", "captured") if word in text]
    hours = {json.loads(json.loads(line)["body"])["hour"] for line in text.splitlines()[1:]}
    assert all(hour % 3600 == 0 for hour in hours)


def test_a_ledger_of_years_comes_in_parts_that_fit_a_frame(rig: Rig, desk: Desk) -> None:
    recording = rig.seal()
    items = rig.store.find(recording)
    with rig.store.index.transaction():
        for _ in range(2500):
            rig.store.ledger.opened("reporter", "event", items[:1], rig.clock.now_s)
    parts = list(desk.ledger(questions.GetLedger("5eed")))
    assert [part.is_last for part, _ in parts] == [False, False, True]
    assert max(len(payload) for _, payload in parts) < wire.MAX_PAYLOAD_BYTES
    assert check(b"".join(payload for _, payload in parts).decode(), nonce="5eed").entries == 2501


# ---- what the verifier catches


@pytest.fixture
def lines(rig: Rig, desk: Desk) -> list[str]:
    """Give a valid export: a head, and six entries."""
    for _ in range(2):
        recording = rig.seal()
        desk.show(recording)
        desk.erase(questions.Erase((recording,)))
    rig.seal()
    desk.show(desk.recordings().recordings[0].recording)
    made = export(desk, "5eed").splitlines()
    assert len(made) == 7
    assert check("\n".join(made), nonce="5eed").erased == 4
    return made


def changed(line: str, **fields: object) -> str:
    """Return a line with another body, and the signature it had."""
    outer = json.loads(line)
    name = "head" if "head" in outer else "body"
    body = {**json.loads(outer[name]), **fields}
    return json.dumps({**outer, name: json.dumps(body, sort_keys=True, separators=(",", ":"))})


def resigned(line: str, **fields: object) -> str:
    """Return a changed line, signed by somebody else."""
    outer = json.loads(changed(line, **fields))
    entry = msgspec.json.decode(outer["body"].encode(), type=ledger.Entry)
    signed = ledger.Signer(bytes(32)).sign(entry)
    return json.dumps({"body": signed.body.decode(), "signature": signed.signature.hex()})


Forge = Callable[[str, list[str]], list[str]]

FORGERIES: dict[str, Forge] = {
    "a reason was changed": lambda h, e: [h, *e[:2], changed(e[2], reason="expired"), *e[3:]],
    "a number of items was changed": lambda h, e: [h, *e[:2], changed(e[2], items=9), *e[3:]],
    "an entry was signed by somebody else": lambda h, e: [h, *e[:2], resigned(e[2], items=9), *e[3:]],
    "an entry in the middle was left out": lambda h, e: [h, *e[:2], *e[3:]],
    "the first entry was left out": lambda h, e: [h, *e[1:]],
    "the last entry was left out": lambda h, e: [h, *e[:-1]],
    "the last one was left out and the head changed": lambda h, e: [changed(h, last=5), *e[:-1]],
    "two entries changed places": lambda h, e: [h, e[0], e[2], e[1], *e[3:]],
    "an entry stands twice": lambda h, e: [h, *e[:3], e[2], *e[3:]],
    "the head's hour was changed": lambda h, e: [changed(h, hour=0), *e],
    "there is no head": lambda _, e: e,
    "there are two heads": lambda h, e: [h, h, *e],
    "there is nothing but a head": lambda h, _: [h],
    "a line is no JSON": lambda h, e: [h, "hello", *e],
    "a signature is no hex": lambda h, e: [h, e[0].replace('"signature":"', '"signature":"zz'), *e[1:]],
    "there is nothing": lambda _h, _e: [],
}


@pytest.mark.parametrize("what", FORGERIES)
def test_the_verifier_notices_that(lines: list[str], what: str) -> None:
    with pytest.raises(verify_receipts.LedgerError):
        check("\n".join(FORGERIES[what](lines[0], lines[1:])))


def test_an_old_export_shown_again_is_noticed(rig: Rig, desk: Desk, lines: list[str]) -> None:
    old = "\n".join(lines)
    report = check(old)
    desk.erase(questions.Erase(everything=True))
    new = export(desk, "ffff")
    assert check(new, nonce="ffff", key=report.public_key, seen=f"{report.last}:{report.hash}")
    now = check(new)
    for options in (
        {"nonce": "ffff"},
        {"seen": f"{now.last}:{now.hash}"},
        {"key": "0" * 64},
        {"now_s": rig.clock.now_s + 3 * 3600},
    ):
        with pytest.raises(verify_receipts.LedgerError):
            check(old, **options)


def test_another_ledger_of_the_same_device_is_noticed(desk: Desk, lines: list[str]) -> None:
    report = check("\n".join(lines))
    with pytest.raises(verify_receipts.LedgerError, match="rewritten"):
        check(export(desk), seen=f"{report.last}:{'0' * 64}")


def test_the_verifier_needs_nothing_of_fadeout(lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text("\n".join(lines))
    source = VERIFIER.read_text()
    assert "import fadeout" not in source
    assert "from fadeout" not in source

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # Isolated: without the project's folders on the path.
        return subprocess.run(
            [sys.executable, "-I", str(VERIFIER), *arguments], capture_output=True, text=True, check=False
        )

    good = run(str(path), "--any-age", "--nonce", "5eed")
    assert good.returncode == 0, good.stderr
    assert good.stdout.startswith("holds: entries 1 to 6")
    assert json.loads(run(str(path), "--any-age", "--json").stdout)["holds"] is True
    bad = run(str(path), "--any-age", "--nonce", "beef")
    assert (bad.returncode, bad.stderr.partition(":")[0]) == (1, "DOES NOT HOLD")
    assert run(str(tmp_path / "no-such-file")).returncode == 66
    assert run("--no-such-option").returncode == 64


def test_the_ear_cannot_put_words_into_it(rig: Rig, desk: Desk) -> None:
    desk._service.seal(utterance(action="none"), b"")
    assert {entry.__struct_config__.tag for entry in entries(rig)} == {"begun"}
