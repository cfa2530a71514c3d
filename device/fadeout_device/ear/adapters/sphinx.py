"""pocketsphinx: two decoders, and how much what was said is like a sentence of the grammar.

A grammar always finds its likeliest sentence, whatever was said. So the same audio goes
through a loop of phones, too, which may say anything. Two things then tell whether the
sentence was said: how much likelier than it the phones are, above all where it fits
worst, and how much of what they heard lies beside it and is as loud as it.

Source: pocketsphinx 5, Decoder and its parameters `allphone`, `pip`, `beam`; the English
model lies in the wheel.
"""

from __future__ import annotations

import math
from array import array
from itertools import accumulate
from operator import mul
from typing import NamedTuple

from pocketsphinx import Config, Decoder, get_model_path

from fadeout_device.ear.recognition import Likeness

_SEARCH = "actions"
_NOT_SPEECH = ("<", "[", "(", "+", "SIL")
"""How the names of silences, noises and empty words begin."""
_LEAST = -1e6
"""The logarithm of a likelihood that is too small for a float."""
# The phone search reports its scores without SENSCR_SHIFT, which is 10 bits; the grammar's with it.
_PHONE_SCALE = 1 << 10
_USUAL_PEAK = 16_000
_MOST_GAIN = 32.0
_FRAME_SAMPLES = 160
"""10 ms."""
_WORST_FRAMES = 30
"""A wrong word lasts about as long, and the rest of its sentence may well be right."""
_QUIET_DB = 22.0
_PER_DB = 0.04
"""In noise the phones are no surer than a wrong sentence: more is asked for each decibel of it."""
_MOST_BELOW_DB = 25.0
_LOUD_SHARE = 0.65
"""Where what is spoken begins, between the noise and the loud parts of the sentence, in decibels."""
# Beams narrower than the defaults halve its time. Narrower still, and it loses the thread.
_PHONE_LOOP = {"lw": 2.0, "pip": 0.3, "beam": 1e-20, "pbeam": 1e-20}


class _Frames(NamedTuple):
    """What a decoder made of each 10 ms."""

    likelihood: list[float]
    """Its logarithm."""
    is_speech: list[bool]


class Sphinx:
    """Both decoders; 45 MB. Holds Python's lock while it decodes. Not for two threads.

    Args:
        grammar: JSGF.
        pronunciations: words that the dictionary has not, in its phones.

    Raises:
        RuntimeError: a word is in neither, or the model is missing.
    """

    def __init__(self, grammar: str, pronunciations: dict[str, str]) -> None:
        model = get_model_path("en-us")
        hmm = f"{model}/en-us"
        self._sentences = Decoder(
            Config(hmm=hmm, dict=f"{model}/cmudict-en-us.dict", lm=None, loglevel="FATAL")
        )
        for word, phones in pronunciations.items():
            self._sentences.add_word(word, phones, update=False)
        self._sentences.add_jsgf_string(_SEARCH, grammar)
        self._sentences.activate_search(_SEARCH)
        self._phones = Decoder(
            Config(
                hmm=hmm, dict=None, lm=None, allphone=f"{model}/en-us-phone.lm.bin", loglevel="FATAL",
                **_PHONE_LOOP,
            )
        )  # fmt: skip

    def likeness(self, pcm: bytes) -> Likeness:
        """Return the likeliest sentence in 16 kHz mono s16le, and how likely it is."""
        if not pcm:
            return Likeness("", _LEAST, 1.0)
        pcm = _loud(pcm)
        said = _decode(self._sentences, pcm, 1)
        found = self._sentences.hyp()
        if found is None or not found.hypstr:
            return Likeness("", _LEAST, 1.0)
        heard = _decode(self._phones, pcm, _PHONE_SCALE)
        above = [
            sentence - phone
            for sentence, phone, is_said in zip(
                said.likelihood, heard.likelihood, said.is_speech, strict=True
            )
            if is_said
        ]
        levels_db = _levels(pcm)
        spoken_db, noise_db = _loudness(levels_db, said.is_speech)
        return Likeness(
            found.hypstr,
            _ratio(above, spoken_db - noise_db),
            _beside(said.is_speech, heard.is_speech, levels_db),
        )


def _ratio(above: list[float], over_noise_db: float) -> float:
    """Return the mean of each frame of a sentence, half of it that of its worst part; less in noise."""
    if not above:
        return _LEAST
    length = min(_WORST_FRAMES, len(above))
    sums = [0.0, *accumulate(above)]
    worst = min(end - start for start, end in zip(sums, sums[length:], strict=False)) / length
    return (sums[-1] / len(above) + worst) / 2 - _PER_DB * max(0.0, _QUIET_DB - over_noise_db)


def _beside(said: list[bool], phones: list[bool], levels_db: list[float]) -> float:
    """Return which share of what is spoken is no part of the sentence; what is quieter is noise or echo."""
    if not any(said):
        return 1.0
    spoken_db, noise_db = _loudness(levels_db, said)
    least = max(noise_db + _LOUD_SHARE * (spoken_db - noise_db), spoken_db - _MOST_BELOW_DB)
    own = other = 0
    for is_said, is_phone, level in zip(said, phones, levels_db, strict=False):
        if level >= least:
            own += is_said
            other += is_phone and not is_said
    return other / max(1, own + other)


def _loudness(levels_db: list[float], said: list[bool]) -> tuple[float, float]:
    """Return how loud the sentence is, and the noise around it."""
    inside = sorted(level for level, is_said in zip(levels_db, said, strict=False) if is_said)
    noise_db = sorted(levels_db)[len(levels_db) // 10]
    return (inside[len(inside) * 3 // 4] if inside else noise_db), noise_db


def _levels(pcm: bytes) -> list[float]:
    """Return the power of each frame, in decibels over nothing in particular."""
    samples = array("h", pcm)
    frames = (samples[at : at + _FRAME_SAMPLES] for at in range(0, len(samples), _FRAME_SAMPLES))
    return [10 * math.log10(sum(map(mul, frame, frame)) / len(frame) + 1) for frame in frames]


def _loud(pcm: bytes) -> bytes:
    """Return quiet audio at a usual level: in what is very quiet the phones are found in the silence."""
    samples = array("h", pcm)
    peak = max(map(abs, samples))
    if not 0 < peak < _USUAL_PEAK:
        return pcm
    gain = min(_USUAL_PEAK / peak, _MOST_GAIN)
    return array("h", [int(sample * gain) for sample in samples]).tobytes()


def _decode(decoder: Decoder, pcm: bytes, scale: int) -> _Frames:
    decoder.start_utt()
    # The whole of it at once: the mean of the cepstrum is then the utterance's own, not the last one's.
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    length = decoder.n_frames()
    frames = _Frames([0.0] * length, [False] * length)
    for segment in decoder.seg() or ():
        # Words of no length have an end before their beginning.
        covered = range(segment.start_frame, min(segment.end_frame + 1, length))
        likelihood = scale * math.log(segment.ascore) if segment.ascore > 0 else _LEAST
        is_speech = not segment.word.startswith(_NOT_SPEECH)
        for at in covered:
            frames.likelihood[at] = likelihood / len(covered)
            frames.is_speech[at] = is_speech
    return frames
