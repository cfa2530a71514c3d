"""`fadeout check-config`, `completion`: what is needed before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from argcomplete import shell_integration

from fadeout_device import config, wake_words
from fadeout_device.actions_file import load_actions
from fadeout_device.cli import shown
from fadeout_device.cli.places import config_file
from fadeout_device.ear.adapters.dictionary import refuse_unknown_words
from fadeout_device.ear.adapters.gpio import refuse_without_gpio
from fadeout_device.ear.adapters.speaking import argv_of, why_missing
from fadeout_device.policy import PolicyError

if TYPE_CHECKING:
    import argparse


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser(
        "check-config",
        help="check the configuration file; exit code 78 if it cannot be used",
        description=(
            "Says file:line, the key, what was given and what is allowed. Checks the actions file, too,"
            " if there is a recogniser, and whether there are GPIO, for a pin, and the program that speaks."
        ),
    )
    verb.add_argument("file", nargs="?", help="the file; without it, the one that fadeout run would read")
    verb.set_defaults(run=check_config)

    verb = verbs.add_parser(
        "completion",
        help="print shell completion code",
        description='For bash: eval "$(fadeout completion bash)"',
    )
    verb.add_argument("shell", choices=["bash", "zsh", "fish"])
    verb.set_defaults(run=completion)


def check_config(arguments: argparse.Namespace) -> int:
    """Check the configuration."""
    arguments.config = arguments.file or arguments.config
    path = config_file(arguments)
    loaded = config.load(path)
    actions = load_actions(loaded.recogniser)
    if loaded.recogniser.engine == "pocketsphinx":
        refuse_unknown_words(actions, loaded.recogniser)
    for key, _ in loaded.light.pins[:1]:
        refuse_without_gpio(f"light.{key}")
    if loaded.button.pin is not None:
        refuse_without_gpio("button.pin")
    try:
        _check_wake_words(loaded.wake)
    except PolicyError as err:
        raise config.located(err, path) from err
    missing = why_missing(argv_of(loaded.voice.speak)) if loaded.voice.commands else ""
    answer = {
        "file": None if path is None else str(path),
        "ok": True,
        "policy_hash": loaded.policy.hash,
        "warnings": [missing] if missing else [],
    }
    if arguments.json:
        shown.print_json(answer)
    else:
        name = "the built-in defaults" if path is None else str(path)
        shown.print_lines(f"{name}: ok, policy {loaded.policy.hash[:16]}")
        if missing:
            shown.print_lines(f"warning: {missing}")
    return 0


def _check_wake_words(wake: wake_words.WakeSettings) -> None:
    wake_words.check_files(wake)
    models = (*wake_words.first_models(wake), *wake_words.second_models(wake))
    if any(model.path is not None for model in models):
        from fadeout_device.ear.adapters.wakeword import check_own  # noqa: PLC0415 - loads the engines

        check_own(wake)


def completion(arguments: argparse.Namespace) -> int:
    """Print completion code."""
    shown.print_lines(shell_integration.shellcode(["fadeout", "fadeout-broker"], shell=arguments.shell))
    return 0
