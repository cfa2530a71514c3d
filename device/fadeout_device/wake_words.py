"""`[wake]`: which words wake the ear, and which model of which engine hears each.

The names and the rules between the keys; whether the files are there is for `check_files`,
because only the ear need be able to read them. Knows nothing of what a model does.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from fadeout_device.policy import PolicyError

EngineName = Literal["microwakeword", "openwakeword"]
Cutoff = Annotated[float, Meta(gt=0.0, lt=1.0)]

BUNDLED: dict[EngineName, tuple[str, ...]] = {
    "microwakeword": ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa"),
    "openwakeword": ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa", "hey_rhasspy"),
}
"""The models in the wheels of pymicro-wakeword and pyopen-wakeword."""

_SUFFIX_OF: dict[EngineName, str] = {"microwakeword": ".json", "openwakeword": ".tflite"}
_NAME = re.compile(r"[a-z0-9_]{1,40}")
_TFLITE_MARK = b"TFL3"
"""At offset 4 of every TensorFlow Lite file: schema.fbs, `file_identifier`."""


class WakeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[wake]`."""

    words: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)] = ("okay_nabu",)
    """What wakes the ear: names of bundled models, or paths of own ones; each costs processor time."""
    engine: EngineName = "microwakeword"
    """Which engine's bundled models are meant; a path says it by its suffix."""
    cutoff: Cutoff | None = None
    """Probability above which a word counts as heard; None: the model's own."""
    cutoffs: dict[str, float] = {}
    """The same for one word, which is named as in `fadeout status`."""
    refractory_ms: Annotated[int, Meta(ge=0, le=10_000)] = 1_000
    """After a wake word, for so long none wakes again: milliseconds of audio."""
    idle_gate: bool = True
    """Whether the engine is left alone while nothing rises above the noise of the room."""
    second_stage: Literal["none", "openwakeword"] = "none"
    """Who is asked about the seconds that woke the first engine."""
    second_stage_cutoff: Cutoff = 0.01
    """Probability above which the second engine agrees; low: the first one has heard the word already."""
    second_stage_models: dict[str, str] = {}
    """Paths of models for words that the second engine does not bring itself."""


class _Micro(msgspec.Struct):
    probability_cutoff: Cutoff
    sliding_window_size: Annotated[int, Meta(ge=1, le=1000)]


class _MicroModel(msgspec.Struct):
    """What the engine reads of a microWakeWord model's JSON file."""

    wake_word: str
    model: str
    micro: _Micro


class WakeModel(NamedTuple):
    """One word, and the model that hears it."""

    word: str
    engine: EngineName
    path: Path | None
    """None: the bundled one."""
    cutoff: float | None
    """None: the model's own."""
    key: tuple[str, ...]
    """Where in the configuration it stands."""


def first_models(settings: WakeSettings) -> tuple[WakeModel, ...]:
    """Return the models that always listen, in the order of the words.

    Raises:
        PolicyError: a name, path or cutoff that cannot be.
    """
    models: dict[str, WakeModel] = {}
    for number, given in enumerate(settings.words):
        key = ("wake", "words", str(number))
        engine, path = _meant(given, settings.engine, key)
        word = given if path is None else path.stem
        if _NAME.fullmatch(word) is None:
            hint = "allowed: a file name of small letters, digits and _, which is what the word is called"
            raise PolicyError(f'given "{given[:80]}"', key=key, hint=hint)
        if word in models:
            raise PolicyError(f'"{word}" stands twice', key=key, hint="each word once")
        models[word] = WakeModel(word, engine, path, settings.cutoffs.get(word, settings.cutoff), key)
    for word, cutoff in settings.cutoffs.items():
        if word not in models:
            hint = f"allowed: the words listened for: {', '.join(models)}"
            raise PolicyError(f'nobody listens for "{word[:40]}"', key=("wake", "cutoffs"), hint=hint)
        if not 0 < cutoff < 1:
            key = ("wake", "cutoffs", word)
            raise PolicyError(f"given {cutoff:g}", key=key, hint="allowed: between 0 and 1, both left out")
    return tuple(models.values())


def second_models(settings: WakeSettings) -> tuple[WakeModel, ...]:
    """Return the models that are asked about what woke the first engine; none without a second stage.

    Raises:
        PolicyError: a word that nobody can be asked about, or a model for none.
    """
    first = [model.word for model in first_models(settings) if model.engine == "microwakeword"]
    for word, given in settings.second_stage_models.items():
        key = ("wake", "second_stage_models")
        if word not in first:
            hint = f"allowed: {', '.join(first) or 'no word: none is heard by microwakeword'}"
            raise PolicyError(f'nobody is asked about "{word[:40]}"', key=key, hint=hint)
        if not (given.startswith("/") and given.endswith(".tflite")):
            hint = "allowed: the whole path of an openWakeWord model, /….tflite"
            raise PolicyError(f'given "{given[:80]}"', key=key, hint=hint)
    if settings.second_stage == "none":
        return ()
    key = ("wake", "second_stage")
    if not first:
        hint = "openwakeword already listens alone"
        raise PolicyError("no word is heard by microwakeword", key=key, hint=hint)
    models = []
    for word in first:
        own = settings.second_stage_models.get(word)
        if own is None and word not in BUNDLED["openwakeword"]:
            hint = f'name one: second_stage_models = {{ {word} = "/path/to/{word}.tflite" }}'
            raise PolicyError(f'no openWakeWord model for "{word}"', key=key, hint=hint)
        path = None if own is None else Path(own)
        where = key if own is None else ("wake", "second_stage_models", word)
        models.append(WakeModel(word, "openwakeword", path, settings.second_stage_cutoff, where))
    return tuple(models)


def check_files(settings: WakeSettings) -> None:
    """Check that the models are there, and the library that runs them.

    Raises:
        PolicyError: one is not, or is of another kind.
    """
    for model in (*first_models(settings), *second_models(settings)):
        if model.engine == "openwakeword" and importlib.util.find_spec("pyopen_wakeword") is None:
            key = ("wake", "engine") if model.path is None and model.key[1] == "words" else model.key
            hint = "pip install 'fadeout[openwakeword]'; see docs/wake-words.md for the models' licence"
            raise PolicyError("openwakeword is not installed", key=key, hint=hint)
        if model.path is not None:
            _check_file(model, model.path)


def _meant(given: str, engine: EngineName, key: tuple[str, ...]) -> tuple[EngineName, Path | None]:
    """Return the engine that a word or path means, and the path."""
    if given in BUNDLED[engine]:
        return engine, None
    if given.startswith("/"):
        for each, suffix in _SUFFIX_OF.items():
            if given.endswith(suffix):
                return each, Path(given)
    names = ", ".join(BUNDLED[engine])
    hint = f"allowed: {names}; or a whole path: /….json of microWakeWord, /….tflite of openWakeWord"
    raise PolicyError(f'given "{given[:80]}"', key=key, hint=hint)


def _check_file(model: WakeModel, path: Path) -> None:
    tflite = path
    try:
        if model.engine == "microwakeword":
            tflite = tflite_of(path)
        with tflite.open("rb") as file:
            mark = file.read(8)[4:]
    except OSError as err:
        reason = (err.strerror or "cannot be opened").lower()
        hint = "the whole path of a file that fadeout's ear may read"
        raise PolicyError(f"{tflite if err.filename else path}: {reason}", key=model.key, hint=hint) from err
    except msgspec.MsgspecError as err:
        hint = "expected the JSON file that comes with a microWakeWord model, version 2"
        raise PolicyError(f"{path}: does not describe a model", key=model.key, hint=hint) from err
    if mark != _TFLITE_MARK:
        raise not_a_model(model, tflite)


def tflite_of(path: Path) -> Path:
    """Return where the model is that a microWakeWord JSON file describes. Raises OSError, MsgspecError."""
    return path.parent / msgspec.json.decode(path.read_bytes(), type=_MicroModel).model


def not_a_model(model: WakeModel, path: Path) -> PolicyError:
    """Return the error for a file that its engine cannot run."""
    if model.engine == "microwakeword":
        hint = "expected a whole model of microWakeWord; an openWakeWord model is named by its .tflite"
    else:
        hint = "expected a whole model of openWakeWord; a microWakeWord model is named by the .json beside it"
    return PolicyError(f"{path}: cannot be run", key=model.key, hint=hint)
