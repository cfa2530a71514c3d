"""What the vault makes of an utterance's payload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device.vault.conftest import utterance
from fadeout_device.errors import WireError
from fadeout_device.vault.ear_arrow import _parts

if TYPE_CHECKING:
    from device.vault.conftest import Rig

AUDIO = bytes(64_000)
KEPT_WORDS = """
[retention.served]
words = { keep = "1h", purpose = "test" }
"""


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param(b"", b"", id="none are known"),
        pytest.param(b"turn it on", b"turn it on\n", id="those of the request"),
        pytest.param(b"a" * 4096, b"a" * 4096 + b"\n", id="the longest"),
    ],
)
def test_audio_and_words_are_told_apart(request_: bytes, words: bytes) -> None:
    assert _parts(utterance(request_bytes=len(request_)), AUDIO + request_) == (AUDIO, words)


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        pytest.param(b"", {"request_bytes": 1}, id="more words than payload"),
        pytest.param(AUDIO + b"ab", {"request_bytes": 1}, id="half a sample"),
        pytest.param(AUDIO * 2, {}, id="more audio than was said"),
        pytest.param(bytes(64_006), {"request_bytes": 2}, id="a little more"),
        pytest.param(b"a", {"request_bytes": 2}, id="one byte for two"),
    ],
)
def test_a_payload_that_does_not_fit_ends_the_connection(payload: bytes, fields: dict[str, int]) -> None:
    with pytest.raises(WireError, match="does not fit"):
        _parts(utterance(**fields), payload)


def test_words_are_an_item_of_their_own_and_kept_by_their_own_rule(rig: Rig) -> None:
    store = rig.restart(KEPT_WORDS)
    store.seal(utterance(outcome="served", action="light.on"), AUDIO, b"turn it on\n")
    (words,) = [item for item in store.index.live() if item.item_class.kind == "words"]
    assert store.content(words) == b"turn it on\n"
    assert {item.item_class.kind for item in store.index.live()} == {"words", "action"}
    assert b"turn" not in (store.files.folder / words.id).read_bytes()


def test_words_of_what_was_served_are_not_stored_by_default(rig: Rig) -> None:
    rig.store.seal(utterance(outcome="served", action="light.on"), AUDIO, b"turn it on\n")
    assert [item.item_class.kind for item in rig.store.index.live()] == ["action"]


def test_without_words_there_is_no_item_of_them(rig: Rig) -> None:
    rig.store.seal(utterance(), AUDIO)
    assert {item.item_class.kind for item in rig.store.index.live()} == {"audio", "action"}
