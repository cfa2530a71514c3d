"""The engines that the configuration asks for, put together; a library that is not used is not loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fadeout_device.ear.adapters.microwakeword import MicroWakeWords
from fadeout_device.ear.quiet import Spared
from fadeout_device.ear.waking import ASKED_STEPS, SecondStage, WakeWords
from fadeout_device.wake_words import check_files, first_models, second_models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fadeout_device.ear.adapters.openwakeword import OpenWakeWords
    from fadeout_device.wake_words import EngineName, WakeModel, WakeSettings


def engine(
    name: EngineName, models: Sequence[WakeModel], together_steps: int = 0
) -> MicroWakeWords | OpenWakeWords:
    """Return an engine with its models loaded; `together_steps` is for openWakeWord, and what it says there.

    Raises:
        PolicyError: a model that cannot be run.
    """
    if name == "microwakeword":
        return MicroWakeWords(models)
    from fadeout_device.ear.adapters.openwakeword import OpenWakeWords as Engine  # noqa: PLC0415 - an extra

    return Engine(models, together_steps)


def engines(settings: WakeSettings) -> list[MicroWakeWords | OpenWakeWords]:
    """Return the engines that listen always.

    Raises:
        PolicyError: a word without a model, a model that cannot be run, an engine that is not installed.
    """
    check_files(settings)
    models = first_models(settings)
    names = dict.fromkeys(model.engine for model in models)
    return [engine(name, [model for model in models if model.engine == name]) for name in names]


def check_own(settings: WakeSettings) -> None:
    """Load the models that somebody brought, as the ear would, and let go of them.

    Raises:
        PolicyError: one cannot be run, or is not there.
    """
    check_files(settings)
    for model in (*first_models(settings), *second_models(settings)):
        if model.path is not None:
            engine(model.engine, [model])


def wake_words(settings: WakeSettings) -> WakeWords:
    """Return what listens for the words of the configuration. Raises PolicyError, as `engines` does."""
    listening = engines(settings)
    found = {word: cutoff for each in listening for word, cutoff in each.cutoffs.items()}
    cutoffs = {model.word: found[model.word] for model in first_models(settings)}
    second = None
    if asked := second_models(settings):
        judge = engine("openwakeword", asked, ASKED_STEPS)
        second = SecondStage(judge, judge.cutoffs)
    first = [Spared(each) for each in listening] if settings.idle_gate else listening
    return WakeWords(first, cutoffs, settings.refractory_ms, second)
