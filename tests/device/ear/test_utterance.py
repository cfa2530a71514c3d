"""What docs/utterance.md says of the state table and the settings; and what holds for any audio."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadeout_device.config import UtteranceSettings
from fadeout_device.ear.capture import (
    RATE_HZ,
    TABLE,
    Capture,
    Detection,
    Input,
    State,
    UtteranceFinished,
    WakeHeard,
)
from fadeout_device.ear.endpoint import FRAME_MS

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "utterance.md").read_text()
FRAME = RATE_HZ * FRAME_MS // 1000


def drawn() -> str:
    """Return what the document must say of the state table."""
    lines = ["| state | input | next state | what is done |", "|---|---|---|---|"]
    diagram = ["```mermaid", "stateDiagram-v2", "    [*] --> IDLE"]
    for state in State:
        for given_input in Input:
            after = TABLE.get((state, given_input))
            if after is None:
                lines.append(f"| {state.name} | {given_input.name} | | cannot happen |")
                continue
            lines.append(f"| {state.name} | {given_input.name} | {after[0].name} | {after[1].name} |")
            diagram.append(f"    {state.name} --> {after[0].name}: {given_input.name} / {after[1].name}")
    return "\n".join([*lines, "", *diagram, "```"])


def test_the_document_shows_the_table() -> None:
    start = DOCUMENT.index("| state | input |")
    assert DOCUMENT[start : DOCUMENT.index("\n<!-- end -->", start)] == drawn()


def test_every_setting_is_in_the_document_and_in_the_configuration_file() -> None:
    rows = [line.split("|")[1:-1] for line in DOCUMENT.splitlines() if line.startswith("| `")]
    shown = {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:5]] for cells in rows}
    fields = msgspec.structs.fields(UtteranceSettings)
    assert list(shown) == [field.name for field in fields]
    file = (ROOT / "config" / "fadeout.toml").read_text()
    for field in fields:
        meta = get_args(field.type)[1]
        unit = "ms" if field.name.endswith("_ms") else f"{meta.ge}–{meta.le}"  # noqa: RUF001 - a dash
        assert shown[field.name] == [unit, str(field.default), str(meta.ge), str(meta.le)], field.name
        before, _, _ = file.partition(f"\n{field.name} = ")
        assert before.rsplit("\n", 1)[-1].startswith("# "), f"{field.name} has no comment above it"


# ---- properties

MS = st.integers(0, 20).map(lambda frames: frames * FRAME_MS)
SETTINGS = st.builds(
    UtteranceSettings,
    pre_roll_ms=MS,
    wake_tail_ms=st.integers(0, 5).map(lambda frames: frames * FRAME_MS),
    no_speech_ms=st.integers(1, 30).map(lambda frames: frames * FRAME_MS),
    min_speech_ms=st.integers(1, 6).map(lambda frames: frames * FRAME_MS),
    hang_over_ms=st.integers(1, 10).map(lambda frames: frames * FRAME_MS),
    max_ms=st.integers(1, 40).map(lambda frames: frames * FRAME_MS),
).filter(lambda settings: settings.wake_tail_ms < settings.no_speech_ms)
SPOKEN = st.lists(st.tuples(st.sampled_from("#."), st.integers(1, 15)), max_size=12).map(
    lambda runs: "".join(letter * length for letter, length in runs)
)


class Told:
    """Takes a frame for speech when its first byte says so."""

    def is_speech(self, frame: bytes) -> bool:
        return frame[:1] == b"#"


def captured(settings: UtteranceSettings, frames: str, wake: int) -> tuple[UtteranceFinished, bool]:
    """Feed frames, with a wake word after the first `wake`; return the utterance, and whether it was cut."""
    capture = Capture(settings, Told)
    effects = []
    for number, frame in enumerate(frames, start=1):
        # Every frame is another, so that audio that was lost or doubled shows.
        pcm = frame.encode() + number.to_bytes(3, "little") + bytes(2 * FRAME - 4)
        woken = [Detection(number * FRAME, "a", 0.9)] if number == wake else []
        effects += capture.feed(pcm, woken)
    ended = len(effects) > 1
    effects += capture.cut()
    heard, finished = effects
    assert isinstance(heard, WakeHeard)
    assert isinstance(finished, UtteranceFinished)
    return finished, not ended


@given(SETTINGS, SPOKEN, st.integers(1, 30), SPOKEN)
def test_any_utterance(settings: UtteranceSettings, before: str, wake: int, after: str) -> None:
    lead = (before + "." * wake)[:wake]
    finished, was_cut = captured(settings, lead + after, wake)
    pre_roll = min(settings.pre_roll_ms // FRAME_MS, wake)
    assert finished.start_sample == (wake - pre_roll) * FRAME, "the pre-roll is not whole"
    numbers = [
        int.from_bytes(finished.pcm[at + 1 : at + 4], "little")
        for at in range(0, len(finished.pcm), 2 * FRAME)
    ]
    assert numbers == list(range(wake - pre_roll + 1, wake - pre_roll + 1 + len(numbers)))
    heard = after[: len(numbers) - pre_roll]
    elapsed_ms = len(heard) * FRAME_MS
    assert elapsed_ms <= settings.max_ms, "longer than it may be"
    tail = settings.wake_tail_ms // FRAME_MS
    judged = "." * min(tail, len(heard)) + heard[tail:]
    has_speech = finished.speech_span is not None
    assert has_speech == (finished.speech_s > 0)
    if "#" not in judged:
        assert not has_speech, "speech where there is none"
    if has_speech:
        assert finished.speech_s * 1000 >= settings.min_speech_ms - 1e-6
        assert finished.speech_s * 1000 <= judged.count("#") * FRAME_MS + 1e-6
        first, last = (position // FRAME - wake for position in finished.speech_span or (0, 0))
        assert judged[first] == judged[last - 1] == "#"
        assert "#" not in judged[last:]
    if was_cut or elapsed_ms == settings.max_ms:
        return
    hang_over = settings.hang_over_ms // FRAME_MS
    if has_speech:
        assert judged.endswith("#" + "." * hang_over), "it ends with the hang-over, not before and not after"
    else:
        assert elapsed_ms >= settings.no_speech_ms, "the waiting was too short"
        assert "#" in judged or elapsed_ms == settings.no_speech_ms, "nobody spoke, and it waited for longer"


@given(SETTINGS, st.integers(0, 5))
def test_nobody_speaks(settings: UtteranceSettings, tail: int) -> None:
    spoken = "#" * min(tail, settings.wake_tail_ms // FRAME_MS)
    finished, was_cut = captured(settings, "." + spoken + "." * 60, 1)
    assert not was_cut
    assert (finished.speech_s, finished.speech_span) == (0, None)
    waited_ms = (finished.end_sample // FRAME - 1) * FRAME_MS
    assert waited_ms == min(settings.no_speech_ms, settings.max_ms)


@given(SETTINGS, st.integers(1, 40))
def test_speech_that_does_not_end_is_cut_at_the_maximum(settings: UtteranceSettings, wake: int) -> None:
    finished, was_cut = captured(settings, "." * wake + "#" * 60, wake)
    assert not was_cut
    assert finished.end_sample == wake * FRAME + settings.max_ms // FRAME_MS * FRAME


@given(SETTINGS, SPOKEN, st.integers(1, 3))
def test_a_wake_word_within_an_utterance_changes_nothing(
    settings: UtteranceSettings, after: str, again: int
) -> None:
    finished, _ = captured(settings, "." + after, 1)
    capture = Capture(settings, Told)
    effects = []
    for number, frame in enumerate("." + after, start=1):
        pcm = frame.encode() + number.to_bytes(3, "little") + bytes(2 * FRAME - 4)
        is_woken = number == 1 or (capture.state is State.RECORDING and number % (again + 1) == 0)
        effects += capture.feed(pcm, [Detection(number * FRAME, "a", 0.9)] if is_woken else [])
    effects += capture.cut()
    assert next(effect for effect in effects if isinstance(effect, UtteranceFinished)) == finished


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("given_input", Input)
def test_a_pair_that_is_not_listed_is_an_error(state: State, given_input: Input) -> None:
    if (state, given_input) in TABLE:
        return
    capture = Capture(UtteranceSettings(), Told)
    capture._state = state
    with pytest.raises(RuntimeError, match=f"{given_input.name} cannot happen while {state.name}"):
        capture._input(given_input)
