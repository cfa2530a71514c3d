"""What is said about one's own data is heard, obeyed by the vault and erased, from a file of real speech."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from rig_speech import PHRASE, WAKE, say, silence, write_wav

if TYPE_CHECKING:
    from pathlib import Path

    from rig_fadeout import Home

pytestmark = pytest.mark.system

if shutil.which("flite") is None:
    pytest.skip("flite is not installed: sudo apt-get install flite", allow_module_level=True)


def spoken(path: Path, *sentences: str) -> Path:
    """Write a file in which the wake word and then a sentence is said, for each sentence."""
    parts = [silence(1.0)]
    for sentence in sentences:
        parts += [say(WAKE, "awb"), silence(0.4), say(sentence, "rms"), silence(2.5)]
    return write_wav(path, b"".join(parts))


@pytest.mark.parametrize(
    ("sentences", "served", "is_left"),
    [
        pytest.param([PHRASE, "turn on the kitchen light"], 1, True, id="something else"),
        pytest.param([PHRASE, "forget what i just said"], 1, False, id="forget"),
        pytest.param(
            [PHRASE, "forget what i just said", "forget everything", "yes forget everything"], 3, False,
            id="everything, after an erasure",
        ),
    ],
)  # fmt: skip
def test_what_is_to_be_forgotten_is_gone(
    home: Home, tmp_path: Path, sentences: list[str], served: int, *, is_left: bool
) -> None:
    home.config.write_text("[recogniser]\ntimeout_s = 60.0\n[mqtt]\nenabled = false\n")
    path = spoken(tmp_path / "said.wav", *sentences)
    done = home.verb("replay", "--state", home.state, path, "--json")
    assert done.returncode == 0
    assert done.stdout.count('"outcome":"failed"') == 1
    assert done.stdout.count('"outcome":"served"') == served
    assert any((home.state / "items").iterdir()) is is_left
