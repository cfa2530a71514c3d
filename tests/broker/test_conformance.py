"""The conformance kit tells a good subscriber from a forgetful, a lying and an invisible one."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import rig_node_red
from fadeout_broker.__main__ import main
from fadeout_broker.conformance import report
from fadeout_broker.conformance.places import Database, Files, PlaceError, Query
from fadeout_broker.conformance.target import Commands
from fadeout_broker.conformance.verdict import Result, Seen, Verdict, conforms, judge
from fadeout_broker.errors import UsageError

if TYPE_CHECKING:
    from fadeout_broker.local import LocalBroker

TARGETS = Path(__file__).parent / "targets"
ONE, TWO = "0123456789abcdef", "vutsrqponmlkjihg"


def kit(*options: str, cwd: Path, timeout_s: float = 170.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fadeout_broker", "conformance", *options]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False)


def target(name: str, *arguments: str) -> str:
    return " ".join(["exec", sys.executable, str(TARGETS / f"{name}.py"), *arguments])


def verdicts(shown: str) -> dict[str, str]:
    told: dict[str, Any] = json.loads(shown)
    return {result["check"]: result["verdict"] for result in told["results"]}


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_a_good_subscriber_conforms(tmp_path: Path) -> None:
    done = kit(
        *("--target", target("good", "events.db"), "--database", "events.db", "--consumer", "good"),
        *("--json", "--junit", "report.xml", "--patience", "40"),
        cwd=tmp_path,
    )
    told = json.loads(done.stdout)
    assert set(verdicts(done.stdout).values()) == {"forgot"}, told
    assert len(told["results"]) == 11
    assert {result["acknowledged"] for result in told["results"]} == {True, None}
    assert "kept what lives" in told["results"][0]["detail"]
    assert told["conforms"]
    assert done.returncode == 0
    suite = ET.parse(tmp_path / "report.xml").getroot()  # noqa: S314 - we wrote it
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("11", "0", "0")


@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("mosquitto")
def test_the_shipped_flow_conforms_in_the_real_node_red(tmp_path: Path) -> None:
    rig_node_red.program()  # skips where it is missing
    done = kit(
        *("--target", target("node_red"), "--query", target("node_red_context"), "--consumer", "node-red"),
        *("--json", "--patience", "120", "--ttl", "20"),
        cwd=tmp_path,
        timeout_s=580.0,
    )
    assert done.stdout, done.stderr
    assert set(verdicts(done.stdout).values()) == {"forgot"}, done.stdout
    assert done.returncode == 0


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_a_forgetful_subscriber_is_found(tmp_path: Path) -> None:
    done = kit(
        *(
            "--target",
            target("forgetful", "heard.txt"),
            "--file",
            ".",
            "--json",
            "--patience",
            "0.3",
            "--ttl",
            "5",
        ),
        cwd=tmp_path,
    )
    told = json.loads(done.stdout)
    shown = verdicts(done.stdout)
    assert shown.pop("nothing came back") == "not tried"
    assert set(shown.values()) == {"still there"}, told
    assert "heard.txt" in told["results"][0]["detail"]
    assert {result["acknowledged"] for result in told["results"]} == {False, None}
    assert not told["conforms"]
    assert done.returncode == 1


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_a_lying_subscriber_is_found(tmp_path: Path) -> None:
    done = kit(
        *("--target", target("forgetful", "heard.txt", "lying"), "--patience", "10"),
        *("--query", "cat heard.txt", "--ttl", "5"),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stdout.count(" lied ") == 9, done.stdout
    assert done.stdout.count(" still there ") == 1
    assert "\ndoes not conform: 1 still there, 9 lied, 1 not tried\n" in done.stdout
    assert "what `cat heard.txt` prints" in done.stdout


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_where_nothing_is_ever_seen_nothing_is_proven(tmp_path: Path) -> None:
    done = kit(
        *("--target", "exit 3", "--file", "nothing.txt", "--json", "--patience", "0.5"),
        cwd=tmp_path,
    )
    told = json.loads(done.stdout)
    assert set(verdicts(done.stdout).values()) == {"cannot tell", "not tried"}, told
    assert told["results"][0]["detail"] == "the target ended by itself, exit code 3"
    assert told["results"][-1]["check"] == "nothing.txt"
    assert done.returncode == 1


@pytest.mark.system
def test_a_subscriber_that_runs_already_is_tried_at_its_own_broker(
    broker: LocalBroker, tmp_path: Path
) -> None:
    address = {"FADEOUT_BROKER_HOST": broker.host, "FADEOUT_BROKER_PORT": str(broker.port)}
    running = subprocess.Popen(
        [sys.executable, str(TARGETS / "good.py"), "events.db"], cwd=tmp_path, env={**os.environ, **address}
    )
    try:
        done = kit(
            *("--host", broker.host, "--port", str(broker.port), "--node", "sp-kit", "--json"),
            *("--query", "cat events.db*", "--patience", "40", "--ttl", "5"),
            cwd=tmp_path,
        )
    finally:
        running.kill()
        running.wait()
    shown = verdicts(done.stdout)
    assert [name for name, verdict in shown.items() if verdict == "not tried"] == [
        "an erasure while it is away",
        "more erasures than can be named while it is away",
    ]
    assert set(shown.values()) == {"forgot", "not tried"}, done.stdout
    # Somebody else may subscribe there, so an acknowledgement without a name is nobody's.
    assert {result["acknowledged"] for result in json.loads(done.stdout)["results"]} == {None}
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        pytest.param(Seen(True, True, False, False), "forgot", id="gone, and acknowledged after"),
        pytest.param(Seen(True, True, None, False), "forgot", id="gone, and nothing said"),
        pytest.param(Seen(True, True, None, True), "still there", id="there, and nothing said"),
        pytest.param(Seen(True, True, True, False), "lied", id="acknowledged, and gone later"),
        pytest.param(Seen(True, True, True, True), "lied", id="acknowledged, and there"),
        pytest.param(Seen(True, True, False, True), "lied", id="acknowledged, and there again"),
        pytest.param(Seen(False, True, False, False), "cannot tell", id="never seen"),
        pytest.param(Seen(True, False, False, False), "cannot tell", id="nothing is seen any more"),
        pytest.param(Seen(True, True, None, False, "locked"), "cannot tell", id="could not look"),
    ],
)
def test_what_was_seen_is_judged(seen: Seen, verdict: Verdict) -> None:
    assert judge(seen) == verdict


def test_not_every_result_is_good_enough() -> None:
    forgot, unsaid = Result("a", "forgot", True, ""), Result("b", "forgot", False, "")
    untried, unclear = Result("c", "not tried", None, ""), Result("d", "cannot tell", None, "x\n\x1b[2J")
    assert conforms([forgot, untried], must_acknowledge=True)
    assert conforms([forgot, unsaid], must_acknowledge=False)
    assert not conforms([forgot, unsaid], must_acknowledge=True)
    assert not conforms([forgot, unclear], must_acknowledge=False)
    assert report.row(unclear).isprintable() is False
    assert "\x1b" not in report.row(unclear)
    assert b'failures="1"' in report.as_junit([forgot, untried, unclear])


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(f"so {ONE}.".encode(), id="as it is"),
        pytest.param(ONE.upper().encode(), id="in capitals"),
        pytest.param(ONE.encode("utf-16"), id="in UTF-16"),
        pytest.param(ONE.encode().hex().encode(), id="in hexadecimal"),
        pytest.param(b" " * ((1 << 20) - 7) + ONE.encode(), id="across two blocks"),
    ],
)
def test_an_id_is_found_in_a_file_or_a_folder(written: bytes, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    file = inner / "heard.bin"
    file.write_bytes(written)
    assert Files(file).find([ONE, TWO]) == {ONE: str(file)}
    assert Files(tmp_path).find([ONE, TWO]) == {ONE: str(file)}
    assert Files(tmp_path / "missing").find([ONE]) == {}


def test_what_is_only_deleted_is_found_in_a_database(tmp_path: Path) -> None:
    path = tmp_path / "heard.db"
    assert Database(path).find([ONE]) == {}
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA secure_delete = OFF").fetchall()
    database.execute("PRAGMA journal_mode = WAL").fetchall()
    database.execute("CREATE TABLE heard (id TEXT)")
    database.executemany("INSERT INTO heard VALUES (?)", [(ONE,), (TWO,)])
    assert Database(path).find([ONE, TWO]) == {ONE: f"{path}, in a row", TWO: f"{path}, in a row"}
    database.execute("DELETE FROM heard WHERE id = ?", (ONE,))
    found = Database(path).find([ONE, TWO])
    assert found[ONE].endswith("in the bytes of the file")
    assert found[TWO].endswith("in a row")
    database.close()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(PlaceError, match="not a database"):
        Database(path).find([ONE])


def test_a_query_that_fails_proves_nothing() -> None:
    assert Query("echo $WHAT", {"WHAT": ONE}, 30.0).find([ONE, TWO]) == {ONE: "what `echo $WHAT` prints"}
    with pytest.raises(PlaceError, match="exit code 3"):
        Query("exit 3", {}, 30.0).find([ONE])
    with pytest.raises(PlaceError, match="no end after"):
        Query("exec sleep 60", {}, 0.05).find([ONE])


def test_commands_pause_and_resume(tmp_path: Path) -> None:
    environment = {"WHERE": str(tmp_path)}
    absence = Commands('echo away >> "$WHERE/said"', 'echo back >> "$WHERE/said"', environment)
    absence.pause()
    absence.resume()
    assert (tmp_path / "said").read_text(encoding="utf-8") == "away\nback\n"
    assert absence.ended() == ""
    with pytest.raises(UsageError, match="--pause: exit code 3"):
        Commands("exit 3", "true", {}).pause()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        pytest.param(["--target", "x"], "nowhere to look", id="nothing to look at"),
        pytest.param(["--file", "x"], "nobody would find a broker", id="nothing to try"),
        pytest.param(["--file", "x", "--host", "h", "--pause", "y"], "go together", id="no way back"),
        pytest.param(["--file", "x", "--host", "h", "--node", "A b"], "no usable value", id="no name"),
        pytest.param(["--file", "x", "--host", "h", "--patience", "0"], "more than 0", id="no patience"),
        pytest.param(["--file", "x", "--host", "h", "--ttl", "1.5"], "whole seconds", id="a ttl in between"),
    ],
)
def test_orders_that_make_no_sense_are_refused(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conformance", *options]) == os.EX_USAGE
    assert complaint in capsys.readouterr().err
