"""A labelled corpus of synthesised speech: voices x sentences x noise x silence x near-misses, by a seed.

The same seed gives the same files and the same expect.toml, byte for byte, with the
same versions of flite, espeak-ng and sox. What is expected is what was put in, not what
fadeout made of it: a voice that the wake-word engine does not hear shows as a difference.
"""

from __future__ import annotations

import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from spoken import Fixture, Said, make

VOICES = ("flite:rms", "flite:awb", "flite:kal16", "espeak:en-gb", "espeak:en-us")
WAKE, WAKE_WORD = "okay nabu", "okay_nabu"
NOISES = ("", "", "pinknoise vol 0.004", "brownnoise vol 0.01", "whitenoise vol 0.002")
REQUESTS = {
    "turn on the kitchen light": "light.on",
    "switch off the lights": "light.off",
    "set a timer for ten minutes": "timer.start",
    "stop the music": "music.stop",
    "what is the weather like today": "weather.tell",
    "open the curtains": "blinds.open",
    "lock the front door": "door.lock",
    "make some coffee": "coffee.make",
}
"""Sentences of config/actions.toml, and their actions."""
TALK = (
    "the train to the airport leaves at seven in the morning",
    "we could have dinner at the old place by the river",
    "my sister has painted the garden fence again",
    "nobody knows where he put the spare keys",
    "there was a long queue in front of the bakery",
    "remind me what the doctor told us about it",
)
NEAR_MISSES = (
    "okay now boo who is there",
    "okay nobody moves",
    "okay never mind",
    "oh can nabi come along",
    "a cane and a boot",
    "hey navy blue is nice",
    "okay maybe later",
    "the bouquet on the table",
)
TOLERANCE_S = 0.6
"""The VAD takes the first soft sound of a sentence for silence, and the end of an echo for speech."""


class Label(NamedTuple):
    """What should come of one file."""

    fixture: Fixture
    outcome: str | None = None
    """None: nothing is heard."""
    action: str = "none"
    spoken_part: int | None = None
    """Which of the parts is the request."""


def compose(*, seed: int, is_quick: bool, is_recognised: bool) -> list[Label]:
    """Return the corpus, in order."""
    # No secret: the same on every machine is what is wanted.
    dice = random.Random(seed)  # noqa: S311
    counts = (3, 1, 1, 2, 1, 1) if is_quick else (64, 16, 16, 24, 4, 8)
    requests, alone, talk, near, silence, noise = counts
    said = [*REQUESTS, *TALK]
    labels = []
    for number in range(requests):
        words = said[number % len(said)] if not is_quick else dice.choice(said)
        action = REQUESTS.get(words, "none") if is_recognised else "none"
        voice = VOICES[number % len(VOICES)]
        parts: tuple[Said | float, ...]
        parts = (_pause(dice, 1.5, 3), Said(voice, WAKE), _pause(dice, 0.4, 1.2), Said(voice, words), 2.0)
        outcome = "failed" if action == "none" else "served"
        labels.append(Label(_fixture(dice, f"request_{number:03}.wav", parts), outcome, action, 3))
    for number in range(alone):
        parts = (_pause(dice, 1.5, 3), Said(VOICES[number % len(VOICES)], WAKE), 5.0)
        labels.append(Label(_fixture(dice, f"wake_alone_{number:03}.wav", parts), "false_wake"))
    for kind, count, sentences in (("talk", talk, TALK), ("near_miss", near, NEAR_MISSES)):
        for number in range(count):
            voice, words = dice.choice(VOICES), sentences[number % len(sentences)]
            parts = (_pause(dice, 1, 2), Said(voice, words), _pause(dice, 1, 2))
            labels.append(Label(_fixture(dice, f"{kind}_{number:03}.wav", parts)))
    labels += [
        Label(Fixture(f"silence_{number:03}.wav", (_pause(dice, 4, 10),))) for number in range(silence)
    ]
    for number in range(noise):
        colour, volume = dice.choice(["pink", "white", "brown"]), dice.choice(["0.02", "0.1", "0.3"])
        fixture = Fixture(
            f"noise_{number:03}.wav", (_pause(dice, 4, 10),), noise=f"{colour}noise vol {volume}"
        )
        labels.append(Label(fixture))
    return labels


def _pause(dice: random.Random, least_s: float, most_s: float) -> float:
    return round(dice.uniform(least_s, most_s), 2)


def _fixture(dice: random.Random, name: str, parts: tuple[Said | float, ...]) -> Fixture:
    effects = ("gain", str(-dice.choice([0, 3, 6, 10])))
    return Fixture(name, parts, effects=effects, noise=dice.choice(NOISES))


def write(folder: Path, *, seed: int, is_quick: bool, is_recognised: bool) -> int:
    """Make the corpus and its expect.toml in a folder that is not there, or empty; return the exit code."""
    if folder.exists() and any(folder.iterdir()):
        print(f"error: {folder} is not empty", file=sys.stderr)
        print("hint: choose another folder: a corpus is made whole", file=sys.stderr)
        return 64
    folder.parent.mkdir(parents=True, exist_ok=True)
    labels = compose(seed=seed, is_quick=is_quick, is_recognised=is_recognised)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
        whole = Path(scratch) / "corpus"
        whole.mkdir()
        with ThreadPoolExecutor() as pool:
            lengths = list(pool.map(lambda label: make(label.fixture, whole, is_trimmed=True), labels))
        options = (
            f"--seed {seed}{' --quick' if is_quick else ''}{'' if is_recognised else ' --no-recognised'}"
        )
        lines = [f"# scripts/make_fixtures --corpus {options}", "", *_expectations(labels, lengths)]
        (whole / "expect.toml").write_text("\n".join(lines) + "\n")
        # In one step: a corpus is there whole, or not at all.
        whole.replace(folder)
    print(f"{len(labels)} files in {folder}")
    return 0


def _expectations(labels: list[Label], lengths: list[list[float]]) -> list[str]:
    lines = ["[tolerance]", f"speech_start_s = {TOLERANCE_S}", f"speech_end_s = {TOLERANCE_S}"]
    for label, seconds in zip(labels, lengths, strict=True):
        lines += ["", f'[files."{label.fixture.name}"]']
        if label.outcome is None:
            lines.append("utterances = []")
            continue
        fields = f'wake_word = "{WAKE_WORD}", outcome = "{label.outcome}", action = "{label.action}"'
        if label.spoken_part is not None:
            start_s = sum(seconds[: label.spoken_part])
            end_s = start_s + seconds[label.spoken_part]
            fields += f", speech_start_s = {start_s:.2f}, speech_end_s = {end_s:.2f}"
        lines.append(f"utterances = [{{ {fields} }}]")
    return lines
