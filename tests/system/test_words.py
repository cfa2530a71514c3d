"""What was understood is sealed as words, by its own rule, and stands in no log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rig_speech import PHRASE, RARE_WORDS, Speech

if TYPE_CHECKING:
    from pathlib import Path

    from rig_fadeout import Home

pytestmark = pytest.mark.system


def test_words_of_a_served_request_are_an_item_and_stand_in_no_log(
    home: Home, speech: Speech, tmp_path: Path
) -> None:
    (tmp_path / "actions.toml").write_text(f'[actions]\n"zoo.tell" = ["{PHRASE}"]\n')
    home.config.write_text(
        f'[recogniser]\ntimeout_s = 60.0\nactions = "{tmp_path}/actions.toml"\n'
        '[retention.served]\nwords = { keep = "1h", purpose = "test" }\n[mqtt]\nenabled = false\n'
    )
    done = home.verb("replay", "--state", home.state, speech.path, "--json", FADEOUT_LOG="debug")
    assert done.returncode == 0
    assert '"action":"zoo.tell"' in done.stdout
    assert '"kind":"words"' in done.stdout
    assert not any(word in done.stdout + done.stderr for word in RARE_WORDS)
    assert any((home.state / "items").iterdir())
    assert not any(
        word.encode() in path.read_bytes()
        for path in home.state.rglob("*")
        if path.is_file()
        for word in RARE_WORDS
    )
