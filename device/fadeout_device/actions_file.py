"""Reading the actions file, and what the rest of the configuration takes from it.

The ear and the vault both read it: the ear to recognise, the vault for the names of the
actions that may be reported. What the file means is `actions.py`'s business.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_device.actions import NO_ACTIONS, Actions, File, compile_actions
from fadeout_device.errors import ConfigError
from fadeout_device.policy import PolicyError

if TYPE_CHECKING:
    from fadeout_device.config import Config, RecogniserSettings

BUILT_IN = Path(__file__).with_name("actions.toml")
MAX_BYTES = 256 * 1024


def file_of(settings: RecogniserSettings) -> Path:
    """Return the file that the settings mean."""
    return BUILT_IN if settings.actions is None else Path(settings.actions)


def load_actions(settings: RecogniserSettings) -> Actions:
    """Read the actions file; without a recogniser there are no actions.

    Raises:
        ConfigError: it cannot be read, or used. The message is `file:line: key: what is wrong`.
    """
    if settings.engine == "none":
        return NO_ACTIONS
    path = file_of(settings)
    return parse_actions(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return an actions file's text. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode()
    except OSError as err:
        raise ConfigError(
            f"{path}: {os.strerror(err.errno or 0).lower()}", "see actions under [recogniser]"
        ) from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: not UTF-8 at byte {err.start}") from err
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: longer than {MAX_BYTES} bytes")
    return text


def parse_actions(text: str, name: str) -> Actions:
    """Read actions from TOML text; `name` is what errors call it. Raises ConfigError."""
    # Here, not above: without a recogniser none of it is needed.
    import tomllib  # noqa: PLC0415

    tree: dict[str, Any] = {}
    try:
        tree = tomllib.loads(text)
        return compile_actions(msgspec.convert(tree, File, strict=True))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, PolicyError, RecursionError) as err:
        from fadeout_device.config_errors import explained  # noqa: PLC0415

        raise explained(err, name, text, tree, File) from err


def with_reported_actions(config: Config) -> Config:
    """Return the configuration with the list of actions that events may name.

    Where `[mqtt] actions` is left out, they are those of the actions file. Raises ConfigError.
    """
    if config.mqtt.actions is not None:
        return config
    mqtt = msgspec.structs.replace(config.mqtt, actions=load_actions(config.recogniser).ids)
    return msgspec.structs.replace(config, mqtt=mqtt)
