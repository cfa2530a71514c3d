"""What `scripts/bench recogniser` has said, by six voices: 200 sentences, half of them in nobody's grammar.

25 more are nearly a sentence that erases. The sentences outside were written before
anything was measured, and none of them was used to choose a threshold. Some begin as
commands do. The speech is Debian's flite and espeak-ng, noise and echo are sox's: the
same on every machine.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import wave
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from fadeout_device.actions import Actions

PROGRAMS = ("flite", "espeak-ng", "sox")
FLITE = ("flite:rms", "flite:slt", "flite:awb", "flite:kal16")
ESPEAK = ("espeak:en-gb", "espeak:en-us")
_SEED = 20261128
_FORM = ("-r", "16000", "-c", "1", "-b", "16")
_BYTES_PER_SECOND = 32_000


class Condition(NamedTuple):
    """What is done to the speech."""

    snr_db: int | None = None
    """How far the noise is below the speech; None: no noise."""
    effect: str = ""
    """A sox effect."""
    noise: str = "pinknoise"
    """The noise, as sox's `synth` calls it."""


CONDITIONS = {
    "clean": Condition(),
    "noise, 20 dB": Condition(20),
    "noise, 10 dB": Condition(10),
    "noise, 5 dB": Condition(5),
    "small room": Condition(effect="reverb 30 50 20"),
    "large room": Condition(effect="reverb 60 50 80"),
    "large room, noise, 10 dB": Condition(10, "reverb 60 50 80"),
}

_OUTSIDE = """
the post office closes at noon on saturday
my brother lives in a small town by the sea
did you remember to feed the cat this morning
we should paint the fence before winter
i left my keys on the table
she reads the newspaper every day
the meeting was moved to thursday
can you help me carry this box
he ordered soup and a glass of water
the bus was twenty minutes late again
i have never been to that restaurant
our neighbours have a new dog
please send me the photographs
it was raining when we arrived
the film begins at half past eight
what did the doctor say
who was that on the telephone
where did you put the scissors
how long does the train take
why is the shop closed today
turn left after the church
turn the page and read on
turn around when i count to three
turn your homework in by friday
switch seats with me please
switch to another channel
set the table for six people
set your bag down over there
start the engine and wait
start again from the beginning
stop talking about politics
stop at the next petrol station
play with your sister for a while
play chess with me after dinner
make sure you lock your bicycle
make a list of what we need
open your book at page ten
open the window a little
close your eyes for a moment
close the lid before it boils over
lock your bike to the lamp post
what time does the bank open
what is the name of your teacher
what is the matter with him
what is the capital of france
how cold was it in the mountains
how warm that coat looks
tell me about your holiday
tell me a story about a dragon
good morning everybody
good luck with your exam
good evening and welcome
we are going to the cinema
we are having dinner at seven
we are late for school
i am reading a very good book
i am tired of waiting
i am leaving my job in spring
the lights of the city are beautiful
the kitchen needs a new floor
the living room is full of boxes
the heating bill was very high
the music was far too loud
the radio is broken i think
the door bell rang twice
the coffee was cold and bitter
the alarm went off at six in the morning
the weather forecast was wrong again
the garden is full of roses
the volume of the box is ten litres
next week i will be in london
next to the bank there is a bakery
skip breakfast if you are late
skip the boring parts
dim sum is my favourite food
cancel my appointment with the dentist
brighten up your day with flowers
pass me the salt and the pepper
the children are in the garden
nobody knows where he went
there is a letter for you
that was a very long speech
this chair is not comfortable
they sold the house in march
we bought a table and four chairs
you can borrow my umbrella
somebody parked in front of our door
a friend of mine works in the hospital
all the tickets were sold out
both of them speak spanish
every winter the lake freezes over
few people know about this place
half of the cake is gone
if you see her say hello
it takes an hour by bicycle
let us meet at the station
many thanks for your help
maybe we should ask someone
no i do not think so
put the milk in the fridge
"""
OUTSIDE = _OUTSIDE.strip().splitlines()
_NEAR_DATA = """
i forgot what i said
forget what he just said to you
for what i have just paid
forget the past ten years
forget the last ten chapters
forget everything you have read today
forget everyone
forget everybody else
forget anything
we get everything here
he forgets everything
you can forget everything about him
yes i forgot everything
yes forget it
guess for everything
stop whispering
stop lessening it
stop listing things
she stopped listening
what do you have on
what do you have for me
what did you have in mind
that was for you
that wasn't for him
that was not for two
"""
NEAR_DATA = _NEAR_DATA.strip().splitlines()
"""Outside too, and as near to the sentences that erase as anything that is said; counted apart."""


class Clip(NamedTuple):
    """One sentence by one voice under one condition."""

    voice: str
    condition: str
    text: str
    action: str | None
    """What it should lead to."""

    how: Condition = Condition()
    """What is done to it."""

    def make(self) -> bytes:
        """Return it as 16 kHz mono s16le, with the silence before and after that the ear leaves."""
        with tempfile.TemporaryDirectory() as folder:
            raw, clean, ready = (Path(folder) / name for name in ("raw.wav", "clean.wav", "ready.wav"))
            engine, name = self.voice.split(":")
            if engine == "flite":
                _run("flite", "-voice", name, "-t", self.text, "-o", raw)
            elif engine == "festival":
                text = raw.with_suffix(".txt")
                text.write_text(self.text, encoding="ascii")
                _run("text2wave", "-eval", f"(voice_{name})", "-o", raw, text)
            else:
                _run("espeak-ng", "-v", name, "-s", "150", "-w", raw, self.text)
            _sox(raw, *_FORM, clean, "gain", "-n", "-3", "pad", "0.3", "0.8")
            effect = self.how.effect
            _sox(clean, *_FORM, ready, *effect.split(), *(("gain", "-n", "-3") if effect else ()))
            snr_db = self.how.snr_db
            return _pcm(ready) if snr_db is None else _with_noise(ready, snr_db, self.how.noise)


def clips(actions: Actions, *, is_quick: bool) -> list[Clip]:
    """Return everything that is said; clean by all voices, the rest by flite's."""
    said = [*inside(actions), *((text, None) for text in OUTSIDE)]
    assert len(said) == 2 * len(OUTSIDE)  # noqa: S101 - half and half
    near: list[tuple[str, str | None]] = [(text, None) for text in NEAR_DATA]
    found = []
    for condition, how in CONDITIONS.items():
        is_clean = condition == "clean"
        step = (10 if is_clean else 25) if is_quick else (1 if is_clean else 4)
        for voice in (*FLITE, *ESPEAK) if is_clean else FLITE:
            of_voice = [*said[::step], *near[::step]]
            found += [Clip(voice, condition, text, action, how) for text, action in of_voice]
    return found


def inside(actions: Actions, seed: int = _SEED, without: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return as many sentences of the list: of each action in turn another way to say it.

    Args:
        actions: the list.
        seed: chooses.
        without: ways not to be said; an action that can be said in no other way is left out.
    """
    draw = random.Random(seed)  # noqa: S311 - no secret
    ways = {
        action: [text for text, other in actions.by_words.items() if other == action and text not in without]
        for action in actions.ids
    }
    for texts in ways.values():
        draw.shuffle(texts)
    found: list[tuple[str, str]] = []
    while len(found) < len(OUTSIDE):
        found += [(texts.pop(), action) for action, texts in ways.items() if texts]
    return found[: len(OUTSIDE)]


def _with_noise(path: Path, snr_db: int, kind: str) -> bytes:
    """Return the audio with noise so many dB below the speech."""
    import numpy as np  # noqa: PLC0415 - only here

    samples = np.frombuffer(_pcm(path), "<i2").astype(float)
    noise_path = path.with_name("noise.wav")
    seconds = len(samples) * 2 / _BYTES_PER_SECOND
    _sox("-n", *_FORM, noise_path, "synth", str(seconds), kind, "gain", "-n", "-10")
    noise = np.frombuffer(_pcm(noise_path), "<i2").astype(float)[: len(samples)]
    loud = np.abs(samples) > 0.01 * np.abs(samples).max()
    power = np.mean(samples[loud] ** 2)
    noise *= np.sqrt(power / np.mean(noise**2) / 10 ** (snr_db / 10))
    mixed = samples[: len(noise)] + noise
    scaled: np.ndarray = mixed * min(1.0, 32_000 / np.abs(mixed).max())
    return scaled.astype("<i2").tobytes()


def _pcm(path: Path) -> bytes:
    with wave.open(str(path), "rb") as file:
        return file.readframes(file.getnframes())


def _sox(*arguments: str | Path) -> None:
    _run("sox", "-R", "-D", "-V1", *arguments)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)
