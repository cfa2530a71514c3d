"""The configuration: what ships, what is refused, and what a person is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from fadeout_broker import contract
from fadeout_device.config import Config, find_config, load, parse, with_broker
from fadeout_device.config_errors import line_of
from fadeout_device.errors import ConfigError
from fadeout_device.policy import CEILING_S, CLASSES, PURPOSE_CHARACTERS, ItemClass, QuietHours

CONFIG = Path(__file__).parents[2] / "config"


def test_the_file_that_ships_is_the_built_in_default() -> None:
    assert load(CONFIG / "fadeout.toml") == Config()


def test_the_file_that_ships_names_every_key() -> None:
    """So that nobody has to read code to find a key: those without a value stand in a comment."""
    text = (CONFIG / "fadeout.toml").read_text()
    for table in Config().__struct_fields__:
        for key in getattr(Config(), table).__struct_fields__:
            value = getattr(getattr(Config(), table), key)
            inner = getattr(value, "__struct_fields__", ())
            assert not inner or f"\n[{table}.{key}]\n" in text
            for each in inner or (key,):
                assert f"\n{each} = " in text or f"\n# {each} = " in text, f"{table}.{each}"


def test_the_file_for_trying_it_out_is_valid() -> None:
    assert load(CONFIG / "try.toml").sweep_s == 5


def test_an_empty_file_is_the_default() -> None:
    assert parse("", "x") == Config()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param('[wake]\nwrds = ["a"]', "x:2: wake.wrds: no such key", id="a typo in a key"),
        pytest.param("\n[waek]\n", "x:2: waek: no such key", id="a typo in a table"),
        pytest.param('[wake]\nwords = "a"', 'x:2: wake.words: given "a"', id="a text for a list"),
        pytest.param("[wake]\nwords = []", "x:2: wake.words: given []", id="no wake word"),
        pytest.param('[wake]\nwords = ["alexa", "B"]', 'wake.words.1: given "B"', id="a word there is not"),
        pytest.param("[wake]\ncutoff = 1.0", "x:2: wake.cutoff: given 1.0", id="an impossible cutoff"),
        pytest.param("[utterance]\n\nmax_ms = -3", "x:3: utterance.max_ms: given -3", id="a negative time"),
        pytest.param("[utterance]\nmax_ms = 5.5", "x:2: utterance.max_ms: given 5.5", id="a fraction"),
        pytest.param("a =", "x: invalid value", id="no TOML"),
        pytest.param("[a]\nb = 1\nb = 2", "x: cannot overwrite a value", id="a key twice"),
        pytest.param("wake = 3", "x:1: wake: given 3", id="a number for a table"),
        pytest.param('[vault]\nsweep = "0s"', 'x:2: vault.sweep: given "0s"', id="a sweep of nothing"),
        pytest.param('[vault]\nsweep = "2d"', 'x:2: vault.sweep: "2d" is out', id="a sweep too rare"),
        pytest.param('[vault]\nroot_store = "tmp"', 'given "tmp"', id="a root store there is not"),
        pytest.param('[vault]\nroot_store = "nvmem"', "x:1: vault.nvmem.file: is missing", id="no chip"),
        pytest.param(
            "[utterance]\nwake_tail_ms = 800\nno_speech_ms = 800",
            "x:3: utterance.no_speech_ms: 800 ms is not longer than wake_tail_ms",
            id="nothing would be judged",
        ),
        pytest.param("[vault.nvmem]\npage_bytes = 0", "x:2: vault.nvmem.page_bytes: given 0", id="no page"),
        pytest.param("[vault.tpm]\nindex = 0x01400000", "x:2: vault.tpm.index: given", id="not our index"),
        pytest.param("[mqtt]\nport = 99999", "x:2: mqtt.port: given 99999", id="a port there is not"),
        pytest.param('[mqtt]\nenabled = "yes"', 'x:2: mqtt.enabled: given "yes"', id="a text for a truth"),
        pytest.param('[mqtt]\nnode = "My Host"', "x:2: mqtt.node: given", id="a node name with a space"),
        pytest.param('[mqtt]\ncert_file = "c"', "x:1: mqtt.key_file: is missing", id="half a certificate"),
        pytest.param("[outcome]\nwait_s = 31", "x:2: outcome.wait_s: given 31", id="a wait too long"),
        pytest.param("[outcome]\nwait_s = -1", "x:2: outcome.wait_s: given -1", id="a negative wait"),
        pytest.param("[outcome]\nwait_s = 1.5", "x:2: outcome.wait_s: given 1.5", id="a wait of a fraction"),
        pytest.param(
            '[outcome]\nwait_s = 5\n[mqtt]\nmode = "batched"',
            "x:2: outcome.wait_s: an event of batched",
            id="a wait for what leaves later",
        ),
        pytest.param('[microphone]\nchannel = "left"', 'given "left"', id="a channel by name"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x")
    assert told in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        pytest.param('[mqtt]\nactions = ["Light On"]', "small letters, digits, _, .", id="an action"),
        pytest.param('[mqtt]\nnode = "My Host"', "small letters, digits, -", id="a node"),
        pytest.param('[mqtt]\ndiscovery_prefix = "a/b"', "text of letters, digits, _, -", id="a prefix"),
    ],
)
def test_a_name_that_cannot_be_is_told_which_characters_it_may_have(text: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x")
    assert (caught.value.hint or "").endswith(allowed)


@pytest.mark.parametrize(
    "keep",
    [
        *["forever", "0", "0d", "-1d", "1", "d", "1.5d", "1y", "1D", " 1d", "1d ", "7d and update", "31d"],
        *["5w", "721h", "999999999d", "None", "", "7d or update or never", "\\u0667d", "1d\\n"],
    ],
)
def test_a_period_that_is_none_cannot_be_written(keep: str) -> None:
    with pytest.raises(ConfigError, match=r"x:2: retention\.failed\.audio\.keep: given"):
        parse(f'[retention.failed]\naudio = {{ keep = "{keep}", purpose = "p" }}', "x")


@pytest.mark.parametrize("keep", ["0", "7", "true", "2020-01-01", "inf"])
def test_a_period_that_is_no_text_cannot_be_written(keep: str) -> None:
    with pytest.raises(ConfigError, match=r"retention\.failed\.audio\.keep: given"):
        parse(f"[retention.failed.audio]\nkeep = {keep}", "x")


def test_a_false_wake_cannot_be_kept() -> None:
    with pytest.raises(ConfigError, match=r"retention\.false_wake\.audio\.keep"):
        parse('[retention.false_wake]\naudio = { keep = "1d", purpose = "p" }', "x")


@pytest.mark.parametrize("character", ["x", '\\"', "\U0001f600"])
def test_the_longest_policy_fits_into_its_payload(character: str) -> None:
    purpose = character * PURPOSE_CHARACTERS
    rules = "\n".join(
        f"[retention.{outcome}]\n"
        + "\n".join(
            f'{kind} = {{ keep = "30d or update", purpose = "{purpose}" }}'
            for kind in ("audio", "words", "action")
        )
        for outcome in ("served", "failed")
    )
    more = 'max_size = "1000GB"\nquiet_hours = "22:00-06:30"\nledger = "365d"\ndebug_capture = "1d"\n'
    policy = parse(f"[retention]\n{more}{rules}", "x").policy
    document = msgspec.json.decode(policy.document, type=contract.PolicyDocument)
    contract.encode(contract.PolicyNow(v=1, hash=policy.hash, document=document))


def test_keeping_needs_a_purpose() -> None:
    with pytest.raises(ConfigError, match=r"retention\.served\.audio\.purpose: is missing"):
        parse('[retention.served]\naudio = { keep = "1d" }', "x")


@pytest.mark.parametrize(
    "purpose",
    [
        pytest.param("x" * 81, id="one letter too long"),
        pytest.param("a\\nb", id="two lines"),
        pytest.param("a\\u0000", id="a letter that cannot be printed"),
    ],
)
def test_a_purpose_is_a_few_words_on_one_line(purpose: str) -> None:
    with pytest.raises(ConfigError, match=r"retention\.served\.audio\.purpose: has \d+ characters"):
        parse(f'[retention.served]\naudio = {{ keep = "1d", purpose = "{purpose}" }}', "x")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("max_size", given) for given in ("none", "512", "512mb", "0MB", "3MB", "1001GB", "1.5GB", "-1GB")],
        *[("max_size", given) for given in ("512 MB", "512MB ", "1TB", "999999999GB", "")],
        *[("quiet_hours", given) for given in ("22:00", "22:00-22:00", "24:00-06:00", "22:60-06:00", "")],
        *[
            ("quiet_hours", given)
            for given in ("22-6", "22:00-6:30", "22:00 - 06:30", "always", "22:00-06:30 ")
        ],
        *[("ledger", given) for given in ("none", "366d", "53w", "0d", "forever", "90d or update", "")],
        *[("canary", given) for given in ("none", "9s", "25h", "0s", "6h or update", "forever", "")],
        *[("debug_capture", given) for given in ("25h", "2d", "0s", "forever", "1d or update", "on", "")],
    ],
)
def test_a_number_of_the_policy_that_cannot_be_is_told_with_its_line(key: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f'[retention]\n\n{key} = "{value}"', "x")
    assert str(caught.value) == f'x:3: retention.{key}: given "{value}"'
    assert (caught.value.hint or "").startswith("allowed: ")


@pytest.mark.parametrize(
    ("line", "field", "compiled"),
    [
        ('max_size = "4MB"', "max_size_bytes", 4_000_000),
        ('max_size = "2GB"', "max_size_bytes", 2_000_000_000),
        ('quiet_hours = "22:00-06:30"', "quiet_hours", QuietHours(22 * 60, 6 * 60 + 30)),
        ('ledger = "365d"', "ledger_s", 365 * 86400),
        ('canary = "10s"', "canary_s", 10),
        ('debug_capture = "1d"', "debug_capture_s", 86400),
    ],
)
def test_every_number_of_the_policy_is_in_its_document_and_changes_its_hash(
    line: str, field: str, compiled: object
) -> None:
    policy = parse(f"[retention]\n{line}", "x").policy
    assert getattr(policy, field) == compiled
    written = str(compiled) if isinstance(compiled, QuietHours) else compiled
    assert json.loads(policy.document)[field] == written
    assert policy.hash != Config().policy.hash


def test_the_hash_of_the_defaults_is_the_one_in_the_format() -> None:
    assert Config().policy.hash in (CONFIG.parent / "docs" / "format.md").read_text()


@pytest.mark.parametrize(
    ("hours", "minute", "is_quiet"),
    [
        pytest.param("22:00-06:30", 22 * 60 - 1, False, id="the minute before"),
        pytest.param("22:00-06:30", 22 * 60, True, id="the first minute"),
        pytest.param("22:00-06:30", 0, True, id="midnight"),
        pytest.param("22:00-06:30", 6 * 60 + 29, True, id="the last minute"),
        pytest.param("22:00-06:30", 6 * 60 + 30, False, id="the minute after"),
        pytest.param("13:00-14:00", 13 * 60 + 30, True, id="a siesta"),
        pytest.param("13:00-14:00", 14 * 60, False, id="after the siesta"),
        pytest.param("13:00-14:00", 0, False, id="midnight, far from the siesta"),
        pytest.param("22:00-00:00", 23 * 60 + 59, True, id="until midnight"),
        pytest.param("22:00-00:00", 0, False, id="midnight, when they end"),
    ],
)
def test_which_minutes_of_the_day_are_quiet(hours: str, minute: int, *, is_quiet: bool) -> None:
    quiet = parse(f'[retention]\nquiet_hours = "{hours}"', "x").policy.quiet_hours
    assert quiet is not None
    assert quiet.has(minute) is is_quiet


def test_an_outcome_or_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"x:1: retention\.failed\.video: no such key"):
        parse('[retention.failed.video]\nkeep = "1d"', "x")


def test_the_default_policy_keeps_only_what_is_needed() -> None:
    periods = Config().policy.periods
    assert set(periods) == {
        ItemClass("served", "action"),
        ItemClass("failed", "action"),
        ItemClass("failed", "audio"),
        ItemClass("failed", "words"),
    }
    for kind in ("audio", "words"):
        period = periods[ItemClass("failed", kind)]
        assert (period.seconds, period.ends_on_update) == (7 * 86400, True)


def test_one_rule_changed_leaves_the_others() -> None:
    changed = parse('[retention.failed]\naudio = { keep = "2w", purpose = "p" }', "x").policy
    assert changed.periods[ItemClass("failed", "audio")].seconds == 14 * 86400
    assert changed.periods[ItemClass("failed", "words")].seconds == 7 * 86400
    assert changed.hash != Config().policy.hash


def test_the_longest_period_is_the_ceiling() -> None:
    longest = parse('[retention.served]\naudio = { keep = "30d", purpose = "p" }', "x").policy
    assert longest.periods[ItemClass("served", "audio")].seconds == CEILING_S


def test_class_codes_are_those_of_the_format() -> None:
    assert [item_class.code for item_class in CLASSES] == list(range(1, 10))
    assert ItemClass("failed", "audio").code == 4


def test_a_line_is_found_in_dotted_and_quoted_keys() -> None:
    text = 'a.b = 1\n["c"]\n# d = 2\n"d" = 3\n[c.e]\nf = 4\n'
    assert line_of(text, ("a", "b")) == 1
    assert line_of(text, ("c", "d")) == 4
    assert line_of(text, ("c", "e", "f")) == 6
    assert line_of(text, ("c", "e", "missing")) == 5


def test_the_broker_can_be_given_on_the_command_line() -> None:
    mqtt = with_broker(parse("[mqtt]\nenabled = false", "x"), "::1:1884").mqtt
    assert (mqtt.enabled, mqtt.host, mqtt.port) == (True, "::1", 1884)


@pytest.mark.parametrize("address", ["", "host", "host:", ":1883", "host:0", "host:65536", "host:x"])
def test_a_broker_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        with_broker(Config(), address)


def test_which_file_is_read(tmp_path: Path) -> None:
    own = tmp_path / "fadeout.toml"
    own.write_text("")
    assert find_config("given", {"FADEOUT_CONFIG": "named"}, tmp_path) == Path("given")
    assert find_config(None, {"FADEOUT_CONFIG": "named"}, tmp_path) == Path("named")
    assert find_config(None, {}, tmp_path) == own


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(os.fsencode("# caf") + b"\xe9")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 5"):
        load(tmp_path / "latin.toml")
