"""What the stand-alone verifier catches: every forgery here is a change to a ledger that holds.

The exports are written by the few lines below, which share no code with the device nor
with the verifier, so that a forger here can also sign.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import verify_receipts
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from verify_receipts import LedgerError, NotALedgerError

from fadeout_broker import contract
from fadeout_device import messages
from fadeout_device.vault import ledger

VERIFIER = Path(verify_receipts.__file__)
HOUR = 1_800_000_000
NOW_S = HOUR + 1800.0
NONCE = "5eed"

DEVICE, NEXT, FORGER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
Key = Ed25519PrivateKey


def public(key: Key) -> str:
    return key.public_key().public_bytes_raw().hex()


def canonical(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def signed(name: str, text: str, label: bytes, key: Key) -> str:
    return json.dumps({name: text, "signature": key.sign(label + text.encode()).hex()})


@dataclass
class Chain:
    """A ledger, as its holder writes it."""

    key: Key = DEVICE
    first_key: Key | None = None
    lines: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    first: int = 1
    prev: str = "0" * 64

    def add(self, what: str, **fields: Any) -> Chain:  # noqa: ANN401 - the kind's
        """Append an entry, signed by the present key."""
        text = canonical(
            {
                "v": 1,
                "seq": self.first + len(self.lines),
                "prev": self.prev,
                "hour": HOUR,
                "what": what,
                **fields,
            }
        )
        line = signed("body", text, b"fadeout ledger v1\n", self.key)
        self.first_key = self.first_key or self.key
        self.prev = hashlib.sha256(text.encode() + bytes.fromhex(json.loads(line)["signature"])).hexdigest()
        self.hashes.append(self.prev)
        self.lines.append(line)
        return self

    def begun(self, after: str = "nothing") -> Chain:
        return self.add("begun", public_key=public(self.key), after=after)

    def erased(self, recording: str = "aa", **fields: Any) -> Chain:  # noqa: ANN401 - the kind's
        usual = {
            "reason": "user", "items": 2, "classes": {"failed.audio": 1, "failed.action": 1},
            "recordings": [recording], "generation": 4, "root_store": "file",
        }  # fmt: skip
        return self.add("erased", **{**usual, **fields})

    def opened(self, recording: str = "bb", **fields: Any) -> Chain:  # noqa: ANN401 - the kind's
        usual = {"by": "person", "purpose": "play", "items": 1, "recordings": [recording]}
        return self.add("opened", **{**usual, **fields})

    def rekeyed(self, key: Key) -> Chain:
        self.add("rekeyed", public_key=public(key))
        self.key = key
        return self

    def under(self, key: Key) -> Chain:
        """Go on under another key, which nobody vouches for."""
        self.key = key
        return self

    def dropped(self, count: int) -> Chain:
        """Let the oldest entries reach their end date."""
        last = self.first + count - 1
        self.add("checkpoint", dropped=last, dropped_hash=self.hashes[count - 1])
        return replace(
            self, first=last + 1, lines=self.lines[count:], hashes=self.hashes[count:], first_key=self.key
        )

    def head(self, **fields: Any) -> str:  # noqa: ANN401 - the head's
        usual = {
            "v": 1, "what": "head", "first": self.first, "first_key": public(self.first_key or self.key),
            "last": self.first + len(self.lines) - 1, "hash": self.prev, "hour": HOUR, "nonce": NONCE,
            "public_key": public(self.key),
        }  # fmt: skip
        return signed("head", canonical({**usual, **fields}), b"fadeout ledger head v1\n", self.key)

    def export(self, **fields: Any) -> str:  # noqa: ANN401 - the head's
        return "\n".join([self.head(**fields), *self.lines]) + "\n"

    def seen(self, seq: int) -> str:
        return f"{seq}:{self.hashes[seq - self.first]}"


def honest() -> Chain:
    return (
        Chain().begun().erased("aa").opened("bb").add("failed", reason="io_error", items=2)
        .erased("bb").opened("cc")
    )  # fmt: skip


def check(text: str, **options: Any) -> verify_receipts.Report:  # noqa: ANN401 - the verifier's
    usual = {"nonce": NONCE, "key": None, "seen": None, "now_s": NOW_S}
    return verify_receipts.verify(text, **{**usual, **options})


def changed(line: str, **fields: object) -> str:
    outer = json.loads(line)
    name = "head" if "head" in outer else "body"
    return json.dumps({**outer, name: canonical({**json.loads(outer[name]), **fields})})


# ---- what holds


@pytest.mark.parametrize(
    ("chain", "options"),
    [
        pytest.param(honest(), {}, id="a whole ledger"),
        pytest.param(honest(), {"key": public(DEVICE), "seen": honest().seen(3)}, id="known key, seen entry"),
        pytest.param(honest().dropped(3), {}, id="the oldest entries have ended"),
        pytest.param(honest().dropped(3).opened().dropped(2), {}, id="twice the oldest have ended"),
        pytest.param(honest().rekeyed(NEXT).opened(), {"key": public(DEVICE)}, id="the known key vouches"),
        pytest.param(honest().rekeyed(NEXT).opened(), {"key": public(NEXT)}, id="the new key is known"),
        pytest.param(honest().rekeyed(NEXT), {"seen": honest().seen(6)}, id="nothing yet under the new key"),
        pytest.param(
            honest().under(NEXT).begun("keys_erased").opened(),
            {"key": public(NEXT)},
            id="a break, and its key",
        ),
        pytest.param(
            honest().dropped(3),
            {"key": public(DEVICE), "seen": honest().seen(2)},
            id="what was seen has ended",
        ),
    ],
)
def test_an_honest_ledger_holds(chain: Chain, options: dict[str, Any]) -> None:
    assert check(chain.export(), **options).public_key == public(chain.key)


def test_it_counts_what_the_entries_say() -> None:
    report = check(honest().export(), seen=honest().seen(2))
    assert (report.entries, report.erased, report.failed, report.opened) == (6, 4, 1, 2)
    assert (report.is_failing, report.breaks, report.seen) == (False, [], "contained")
    assert check(Chain().begun().add("failed", reason="other", items=1).export()).is_failing
    assert check(honest().dropped(3).export(), key=public(DEVICE), seen=honest().seen(3)).seen == "dropped"


# ---- what somebody without the key does to an export

Forge = Callable[[str, list[str]], list[str]]
FORGERIES: dict[str, Forge] = {
    "a reason was changed": lambda h, e: [h, e[0], changed(e[1], reason="expired"), *e[2:]],
    "an hour was changed": lambda h, e: [h, *e[:2], changed(e[2], hour=HOUR - 3600), *e[3:]],
    "an opening was made an event": lambda h, e: [h, *e[:2], changed(e[2], purpose="event"), *e[3:]],
    "a failure was made smaller": lambda h, e: [h, *e[:3], changed(e[3], items=1), *e[4:]],
    "a failure was left out": lambda h, e: [h, *e[:3], *e[4:]],
    "a failure was left out and the rest renumbered": lambda h, e: [
        changed(h, last=5),
        *e[:3],
        changed(e[4], seq=4),
        changed(e[5], seq=5),
    ],
    "the first entry was left out": lambda h, e: [h, *e[1:]],
    "the first was left out and the head changed": lambda h, e: [changed(h, first=2), *e[1:]],
    "the last entry was left out": lambda h, e: [h, *e[:-1]],
    "the last was left out and the head changed": lambda h, e: [changed(h, last=5), *e[:-1]],
    "two entries changed places": lambda h, e: [h, e[0], e[2], e[1], *e[3:]],
    "all entries are in reverse": lambda h, e: [h, *reversed(e)],
    "an entry stands twice": lambda h, e: [h, *e, e[-1]],
    "two signatures changed places": lambda h, e: [
        h,
        json.dumps({**json.loads(e[0]), "signature": json.loads(e[1])["signature"]}),
        *e[1:],
    ],
    "a nonce was put into the head": lambda h, e: [changed(h, nonce="beef"), *e],
    "the head's hour was changed": lambda h, e: [changed(h, hour=HOUR + 3600), *e],
    "an entry is of another ledger": lambda h, e: [
        h,
        *e[:2],
        Chain().begun().erased().opened("dd").lines[2],
        *e[3:],
    ],
    "the head is of another ledger": lambda _, e: [Chain().begun().opened().head(), *e],
    "the head signs a shorter ledger": lambda _, e: [Chain().begun().erased("aa").head(), *e],
    "there is nothing but a head": lambda h, _: [h],
}


@pytest.mark.parametrize("what", FORGERIES)
def test_it_notices_that(what: str) -> None:
    chain = honest()
    with pytest.raises(LedgerError) as caught:
        check("\n".join(FORGERIES[what](chain.head(), chain.lines)))
    assert not isinstance(caught.value, NotALedgerError)


# ---- what somebody does who has a key of his own, or shows what the device once said


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        pytest.param(honest().export(nonce=""), {}, "nonce", id="an old export, made for nobody"),
        pytest.param(honest().export(nonce="beef"), {}, "nonce", id="an old export, made for another"),
        pytest.param(honest().export(hour=HOUR - 7200), {}, "hours old", id="an old head"),
        pytest.param(
            honest().export(hour=HOUR + 365 * 86400),
            {},
            "from now",
            id="a head that would look fresh for a year",
        ),
        pytest.param(
            Chain().begun().export(),
            {"seen": honest().seen(6)},
            "an older one",
            id="a shorter ledger than seen",
        ),
        pytest.param(
            Chain().begun().erased("dd").opened().export(),
            {"seen": honest().seen(2)},
            "rewritten",
            id="a rewritten ledger",
        ),
        pytest.param(
            Chain(FORGER).begun().opened().export(),
            {"key": public(DEVICE)},
            "another key",
            id="a made-up ledger",
        ),
        pytest.param(
            Chain(FORGER, first=1000, prev="1" * 64)
            .add("checkpoint", dropped=999, dropped_hash="1" * 64)
            .export(),
            {"seen": honest().seen(6)},
            "only with --key",
            id="a made-up ledger that dropped what was seen",
        ),
        pytest.param(
            Chain(FORGER, first=7, prev="1" * 64)
            .add("checkpoint", dropped=6, dropped_hash="1" * 64)
            .export(),
            {"seen": honest().seen(6)},
            "rewritten",
            id="a checkpoint over another entry than was seen",
        ),
        pytest.param(
            honest().under(FORGER).begun("keys_erased").opened().export(),
            {"key": public(DEVICE)},
            "another key",
            id="written on under a key that the known one does not vouch for",
        ),
        pytest.param(
            honest().under(FORGER).opened().export(), {}, "not signed", id="written on under a key of his own"
        ),
        pytest.param(
            honest().export(first_key=public(FORGER)),
            {},
            "another key for entry 1",
            id="a head that names a wrong first key",
        ),
        pytest.param(
            honest().under(FORGER).export(),
            {},
            "another key than the last entry",
            id="somebody else's head, with his nonce, over the device's entries",
        ),
        pytest.param(honest().export(last=7), {}, "cut off", id="a head that counts one more"),
        pytest.param(honest().export(hash="3" * 64), {}, "not the device's", id="a head that ends otherwise"),
        pytest.param(
            honest().add("failed", reason="other", items=1, seq=8).export(last=8),
            {},
            "missing or moved",
            id="a number that was skipped, in an unbroken chain",
        ),
    ],
)
def test_it_refuses(text: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(LedgerError, match=says):
        check(text, **options)


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        pytest.param(
            replace(honest(), first=2, lines=honest().lines[1:]), "no checkpoint", id="nothing says so"
        ),
        pytest.param(
            honest().add("checkpoint", dropped=3, dropped_hash=honest().hashes[2]),
            "which are here",
            id="they were kept after their end date",
        ),
        pytest.param(
            replace(honest().dropped(3), first=5, lines=honest().dropped(3).lines[1:]),
            "were dropped, but",
            id="one more is missing than has ended",
        ),
        pytest.param(Chain().erased().opened(), "does not begin", id="the first is no beginning"),
        pytest.param(
            replace(
                Chain().begun().erased().opened().add("checkpoint", dropped=1, dropped_hash="2" * 64),
                first=2,
                lines=Chain()
                .begun()
                .erased()
                .opened()
                .add("checkpoint", dropped=1, dropped_hash="2" * 64)
                .lines[1:],
            ),
            "were dropped, but",
            id="the checkpoint names another entry",
        ),
    ],
)
def test_what_is_missing_at_the_beginning_must_have_ended(chain: Chain, says: str) -> None:
    last = json.loads(json.loads(chain.lines[-1])["body"])["seq"]
    with pytest.raises(LedgerError, match=says):
        check(chain.export(last=last))


def test_a_break_is_reported_wherever_it_stands() -> None:
    assert len(check(honest().under(NEXT).begun("keys_erased").export()).breaks) == 1
    assert len(check(honest().under(NEXT).begun("nothing").export()).breaks) == 1


# ---- what is no ledger


def unlike(**fields: Any) -> str:  # noqa: ANN401 - the kind's
    """Return a ledger whose second entry is signed, but of another form."""
    return Chain().begun().erased(**fields).export()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("hello\n", id="no JSON"),
        pytest.param("[" * 100_000, id="JSON too deep to read"),
        pytest.param("[]\n", id="a list"),
        pytest.param("\n".join(honest().lines), id="no head"),
        pytest.param(honest().head() + "\n" + honest().export(), id="two heads"),
        pytest.param(
            honest().export().replace('"signature": "', '"signature": "zz'), id="a signature is no hex"
        ),
        pytest.param(honest().export(hour="x"), id="the head's hour is a text"),
        pytest.param(honest().export(v=2), id="a head of another version"),
        pytest.param(honest().export(more=1), id="a head with a further field"),
        pytest.param(Chain().begun().add("erased").export(), id="an entry without its fields"),
        pytest.param(Chain().begun().add("checkpoint").export(), id="a checkpoint of nothing"),
        pytest.param(Chain().add("begun").export(), id="a beginning without a key"),
        pytest.param(Chain().begun().add("heard").export(), id="an unknown kind"),
        pytest.param(unlike(v=2), id="an entry of another version"),
        pytest.param(unlike(v=True), id="true is not one"),
        pytest.param(unlike(items=-2), id="less than no items"),
        pytest.param(unlike(items=3), id="more items than by class"),
        pytest.param(unlike(hour=HOUR + 1), id="a time finer than the hour"),
        pytest.param(unlike(reason="because"), id="an unknown reason"),
        pytest.param(unlike(classes={"secret.audio": 2}), id="an unknown class"),
        pytest.param(unlike(recordings=["aa"] * 101), id="too many recordings"),
        pytest.param(unlike(recordings=["hello world"]), id="a recording named by words"),
        pytest.param(unlike(words="hello"), id="an entry with a further field"),
        pytest.param(
            "\n".join(
                [
                    honest().head(),
                    signed(
                        "body",
                        json.dumps(json.loads(json.loads(honest().lines[0])["body"])),
                        b"fadeout ledger v1\n",
                        DEVICE,
                    ),
                ]
            ),
            id="a body with white space",
        ),
    ],
)
def test_what_is_of_another_form_is_no_ledger(text: str) -> None:
    with pytest.raises(NotALedgerError):
        check(text, nonce=None, now_s=None)


def test_its_closed_words_are_those_of_the_device() -> None:
    words = verify_receipts.WORDS
    assert set(words["erased"]) == set(get_args(messages.Reason))
    assert set(words["purpose"]) == set(get_args(messages.Purpose))
    assert set(words["by"]) == set(get_args(messages.Visitor))
    assert set(words["failed"]) == set(get_args(ledger.FailureKind))
    for kind in get_args(ledger.Entry):
        form = verify_receipts.FORMS[kind.__struct_config__.tag]
        assert set(form) == set(kind.__struct_fields__)


# ---- receipts that came over MQTT


def receipt(n: int = 1, key: Key = DEVICE, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    what = {"hour": HOUR, "items": 2, "n": n, "reason": "user", "root": "file", "v": 1}
    text = b"fadeout receipt v1\n" + canonical(what).encode()
    whole = {"type": "receipt", **what, "key": public(key), "signature": key.sign(text).hex(), "ttl": 86400}
    return {**whole, **changes}


def lines_of(*receipts: dict[str, Any]) -> str:
    return "".join(json.dumps(each).ljust(512) + "\n" for each in receipts)


def test_receipts_that_are_signed_hold() -> None:
    text = lines_of(receipt(1), receipt(2), receipt(5))
    assert verify_receipts.are_receipts(text)
    report = verify_receipts.verify_receipts(text, key=public(DEVICE))
    assert (report.receipts, report.items, report.missing) == (3, 6, [3, 4])


def test_the_signed_form_is_the_contracts() -> None:
    signed = contract.receipt_signed(7, 2, "user", HOUR, "tpm")
    event = {**receipt(7, root="tpm"), "signature": DEVICE.sign(signed).hex()}
    assert verify_receipts.verify_receipts(lines_of(event), key=None).items == 2


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(receipt(items=3), id="more items"),
        pytest.param(receipt(hour=HOUR + 3600), id="another hour"),
        pytest.param(receipt(reason="expired"), id="another reason"),
        pytest.param(receipt(root="tpm"), id="a better root store"),
        pytest.param({**receipt(1), "n": 2}, id="another number"),
        pytest.param(receipt(key=FORGER, signature=receipt()["signature"]), id="another's key"),
    ],
)
def test_a_changed_receipt_does_not_hold(forged: dict[str, Any]) -> None:
    with pytest.raises(LedgerError, match="is not signed"):
        verify_receipts.verify_receipts(lines_of(forged), key=None)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param(lines_of(receipt(1), receipt(2, key=FORGER)), None, id="two devices"),
        pytest.param(lines_of(receipt(1, key=FORGER)), public(DEVICE), id="not the one I know"),
        pytest.param(lines_of(receipt(1), receipt(1, key=NEXT)), None, id="one number twice"),
    ],
)
def test_receipts_of_another_key_do_not_hold(text: str, key: str | None) -> None:
    with pytest.raises(LedgerError):
        verify_receipts.verify_receipts(text, key=key)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(receipt(more=1), id="a field too many"),
        pytest.param({k: v for k, v in receipt().items() if k != "ttl"}, id="a field too few"),
        pytest.param(receipt(v=2), id="another version"),
        pytest.param(receipt(hour=HOUR + 1), id="no hour"),
        pytest.param(receipt(root="fake"), id="an unknown root store"),
        pytest.param(receipt(signature="00"), id="half a signature"),
    ],
)
def test_what_is_of_another_form_is_no_receipt(odd: dict[str, Any]) -> None:
    with pytest.raises(NotALedgerError):
        verify_receipts.verify_receipts(lines_of(odd), key=None)


# ---- as a process


def run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Isolated: without the project's folders on the path.
    return subprocess.run(
        [sys.executable, "-I", str(VERIFIER), "-", *arguments],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_as_a_process_it_reads_receipts_too() -> None:
    good = run(lines_of(receipt(1), receipt(3)))
    assert (good.returncode, good.stderr) == (0, "")
    assert "2 receipts" in good.stdout
    assert "missing between     1" in good.stdout
    bad = run(lines_of(receipt(1, items=9)))
    assert bad.returncode == 1
    assert "is not signed" in bad.stderr


BROKEN = honest().under(NEXT).begun("keys_erased").export()


@pytest.mark.parametrize(
    ("text", "arguments", "code", "says"),
    [
        pytest.param(honest().export(), ["--any-age"], 0, "holds: entries 1 to 6", id="it holds"),
        pytest.param(honest().export(), ["--any-age", "--nonce", "5EED"], 0, "holds", id="in capitals"),
        pytest.param(honest().export(), ["--any-age", "--nonce", "beef"], 1, "your nonce", id="a replay"),
        pytest.param(honest().export(hour=0), [], 1, "hours old", id="an old one"),
        pytest.param(BROKEN, ["--any-age", "--seen", honest().seen(6)], 1, "give --key", id="a break alone"),
        pytest.param(
            BROKEN, ["--any-age", "--key", public(NEXT)], 0, "under the key you know", id="a known break"
        ),
        pytest.param("hello", [], 65, "NO LEDGER", id="no ledger"),
        pytest.param(
            honest().export(), ["--nonce", ""], 64, "hex digits", id="an empty nonce proves nothing"
        ),
        pytest.param(honest().export(), ["--key", "5eed"], 64, "64 hex digits", id="no key"),
        pytest.param(honest().export(), ["--seen", "6"], 64, "SEQ:HASH", id="nothing that could be seen"),
        pytest.param("", ["--help"], 0, "exit codes", id="help"),
    ],
)
def test_its_exit_code_tells(text: str, arguments: list[str], code: int, says: str) -> None:
    done = run(text, *arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_json_says_the_same() -> None:
    good = json.loads(run(honest().export(), "--any-age", "--json").stdout)
    assert (good["holds"], good["erased"], good["hash"]) == (True, 4, honest().prev)
    for text in (BROKEN, "hello"):
        bad = json.loads(run(text, "--any-age", "--json").stdout)
        assert set(bad) == {"holds", "reason"}
        assert bad["holds"] is False


def test_bytes_that_are_no_text_are_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), str(tmp_path / "noise")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (65, "NO LEDGER: it is no text\n")
