"""The folder of a house after a power failure at any write, after damage, and with several at work."""

from __future__ import annotations

import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.provision.house import contents
from fadeout_broker.__main__ import main
from fadeout_broker.errors import SettingsError
from fadeout_broker.provision import acl, certificates, files
from fadeout_broker.provision.certificates import Role

if TYPE_CHECKING:
    from pathlib import Path

HOST = "broker.local"
STEPS = {
    "provision": ["provision", "{}", "--host", HOST, "--node", "sp-1", "--mosquitto", "2.0.11"],
    "add-device": ["add-device", "{}", "sp-2"],
    "add-subscriber": ["add-subscriber", "{}", "nodered"],
    "rotate": ["rotate", "{}", "sp-1"],
    "rotate the broker's": ["rotate", "{}", "broker"],
    "revoke": ["revoke", "{}", "sp-1"],
}
_WRITES_AT_MOST = 20


def assert_is_whole(house: Path) -> None:
    """Every certificate has its key and its texts, and the ACL and the list of the revoked fit them."""
    crl = house / "broker/ca.crl"
    revoked = certificates.read_revocations(crl.read_bytes())
    clients = []
    for cert in [house / "broker/broker.crt", *house.glob("*/*/client.crt")]:
        known = certificates.read(cert.read_bytes())
        is_revoked = known.serial in revoked
        if not is_revoked:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, cert.with_suffix(".key"))
        if known.role is not Role.BROKER:
            clients.append(acl.Client(known.name, known.role, is_revoked))
            assert (cert.parent / ("mqtt.toml" if known.role is Role.DEVICE else "README")).exists()
            assert (cert.parent / "ca.crt").read_bytes() == (house / "ca/ca.crt").read_bytes()
    assert (house / "broker/acl").read_text(encoding="utf-8") == acl.text(clients)
    # Whoever once had a certificate and has another now cannot use the old one.
    for old in house.glob("ca/old/*/*.crt"):
        assert certificates.read(old.read_bytes()).serial in revoked


@pytest.mark.parametrize("step", STEPS)
def test_what_was_stopped_at_any_write_is_mended_by_doing_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write = files.write
    for stop_at in range(_WRITES_AT_MOST):
        house = tmp_path / str(stop_at)
        begun = [word.format(house) for word in STEPS["provision"]]
        asked = [word.format(house) for word in STEPS[step]]
        assert step == "provision" or main(begun) == 0
        written = 0

        def stops(path: Path, data: bytes, mode: int, *, replace: bool, stop_at: int = stop_at) -> None:
            nonlocal written
            if written == stop_at:
                raise SettingsError("the power fails")
            written += 1
            write(path, data, mode, replace=replace)

        monkeypatch.setattr(files, "write", stops)
        code = main(asked)
        monkeypatch.setattr(files, "write", write)
        if code == 0:
            assert_is_whole(house)
            assert stop_at > 0
            return
        main(asked)  # a second device of the name is refused
        assert main(begun) == 0
        assert_is_whole(house)
    pytest.fail("it never came to an end")


@pytest.mark.parametrize(
    "file", ["broker/ca.crl", "broker/broker.crt", "devices/sp-1/client.crt", "ca/ca.key"]
)
@pytest.mark.parametrize("data", [b"", b"-----BEGIN", b"\xff\xfe\0"], ids=["empty", "cut short", "no text"])
def test_a_file_that_is_damaged_is_named_and_nothing_is_made(
    house: Path, capsys: pytest.CaptureFixture[str], file: str, data: bytes
) -> None:
    (house / file).write_bytes(data)
    before = contents(house)

    assert main(["add-device", str(house), "sp-1" if "sp-1" in file else "sp-2"]) != 0

    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert ("authority's" if file == "ca/ca.key" else str(house / file)) in shown
    assert contents(house) == before


def test_without_its_certificate_no_new_authority_is_made(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (house / "ca/ca.crt").unlink()
    before = contents(house)

    assert main(["provision", str(house), "--host", HOST, "--mosquitto", "2.0.11"]) != 0

    assert "is a copy of it" in capsys.readouterr().err
    assert contents(house) == before


def test_several_commands_at_once_take_turns(house: Path) -> None:
    names = [f"s-{n}" for n in range(4)]
    running = [
        subprocess.Popen([sys.executable, "-m", "fadeout_broker", "add-subscriber", str(house), name])
        for name in names
    ]

    assert [process.wait(60) for process in running] == [0] * len(names)
    text = (house / "broker/acl").read_text(encoding="utf-8")
    assert [name for name in names if f"\nuser {name}\n" in text] == names
