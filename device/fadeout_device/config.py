"""The configuration: one TOML file into frozen structs, or one clear error.

Read once, when a process starts. Every default stands here; `config/fadeout.toml`
spells them all out with comments, and a test keeps the two equal. The retention
table has rules of its own, in `policy.py`. Knows nothing of what the values do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fadeout_broker.arrow import BrokerSettings
from fadeout_device.errors import ConfigError
from fadeout_device.policy import Policy, PolicyError, Retention, compile_policy, parse_period
from fadeout_device.wake_words import WakeSettings, second_models

MAX_PORT = 65535
MAX_SWEEP_S = 86400
SELECT_PIN = 8
"""The pin with which SPI chooses a device: APA102 have none, but the bus takes it all the same."""
_LEAST_COLOUR = 0x40
_OWN_PIN_HINT = "give each a pin of its own"
_SWEEP_HINT = 'allowed: a period from "1s" to "1d", like "15m"'


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; unknown keys in it are errors."""


class MicrophoneSettings(_Table, frozen=True):
    """`[microphone]`."""

    device: str | int = "default"
    """PortAudio input: `default`, an index, or a part of its name (`fadeout devices` lists them)."""
    channel: Annotated[int, Meta(ge=0, le=63)] | Literal["mix"] = "mix"
    """Which channel of an array is heard, counted from 0; `mix` is the mean of all."""
    rate_hz: Annotated[int, Meta(ge=8_000, le=192_000)] | Literal["auto"] = "auto"
    """Samples per second to ask the device for; `auto`: 16000 if it can, else its own rate."""
    gain_db: Annotated[float, Meta(ge=-40.0, le=40.0)] = 0.0
    """How much louder the microphone is made, in decibels; negative: quieter."""


class UtteranceSettings(_Table, frozen=True):
    """`[utterance]`: where a recording starts and ends. All times in milliseconds of audio."""

    pre_roll_ms: Annotated[int, Meta(ge=0, le=5_000)] = 1_500
    """Audio kept from before the wake word was recognised; holds the wake word itself."""
    wake_tail_ms: Annotated[int, Meta(ge=0, le=2_000)] = 300
    """After the wake word is recognised, so long its own end is not taken for speech."""
    no_speech_ms: Annotated[int, Meta(ge=500, le=15_000)] = 4_000
    """Nobody speaks for so long after the wake word: a false wake."""
    min_speech_ms: Annotated[int, Meta(ge=30, le=5_000)] = 240
    """Less speech than this is a noise: a false wake."""
    hang_over_ms: Annotated[int, Meta(ge=100, le=5_000)] = 800
    """Silence that ends an utterance."""
    max_ms: Annotated[int, Meta(ge=1_000, le=50_000)] = 15_000
    """An utterance is ended after so long, the pre-roll not counted."""
    vad_mode: Annotated[int, Meta(ge=0, le=3)] = 2
    """webrtcvad's mode: 0 takes most sounds for speech, 3 the fewest."""


Gpio = Annotated[int, Meta(ge=0, le=27)]
"""A GPIO by the processor's number, not the header's."""
Rgb = Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}$(?!\n)")]


class LightSettings(_Table, frozen=True):
    """`[light]`: on while something is recorded, or opened."""

    kind: Literal["led", "apa102"] = "led"
    """`led`: a lamp on a pin. `apa102`: a chain of coloured LEDs, as voice HATs have them."""
    pin: Gpio | None = None
    """The lamp's GPIO; None: a line in `fadeout watch`."""
    active_low: bool = False
    """The lamp is on when the pin is low."""
    leds: Annotated[int, Meta(ge=1, le=64)] = 3
    """How many LEDs the chain has."""
    brightness: Annotated[int, Meta(ge=1, le=31)] = 8
    """How bright they are; 31 is painful."""
    data_pin: Gpio = 10
    """The chain's data; with `clock_pin` 11, the processor's SPI is used where it is switched on."""
    clock_pin: Gpio = 11
    """The chain's clock."""
    power_pin: Gpio | None = None
    """The pin that gives the chain its power when it is high; None: it always has it."""
    recording_colour: Rgb = "#e69f00"
    """Of all LEDs, while something is recorded."""
    opening_colour: Rgb = "#0072b2"
    """Of every second LED, while something is opened."""

    @property
    def pins(self) -> tuple[tuple[str, int], ...]:
        """Return the pins that it takes, each with its key; none: it is a line in `fadeout watch`."""
        named = (
            (("pin", self.pin),)
            if self.kind == "led"
            else (
                ("data_pin", self.data_pin),
                ("clock_pin", self.clock_pin),
                ("kind", SELECT_PIN),
                ("power_pin", self.power_pin),
            )
        )
        return tuple((key, pin) for key, pin in named if pin is not None)


class ButtonSettings(_Table, frozen=True):
    """`[button]`: mutes, and ends a mute."""

    pin: Gpio | None = None
    """The button's GPIO; None: there is none."""
    active_low: bool = True
    """Pressed, it connects the pin to ground; the pin is pulled up. False: to 3.3 V, and pulled down."""


class RecogniserSettings(_Table, frozen=True):
    """`[recogniser]`: what is said, and which action it leads to."""

    engine: Literal["none", "pocketsphinx", "wyoming"] = "pocketsphinx"
    """`pocketsphinx`: on the device, for the sentences of the actions file. `wyoming`: a server on a Unix
    socket makes text of speech. `none`: all speech fails."""
    socket: str | None = None
    """The Wyoming server's socket."""
    actions: str | None = None
    """The actions file; None: the one that comes with fadeout."""
    least_ratio: Annotated[float, Meta(ge=-100.0, le=0.0)] = -2.9
    """How much less likely than any phones a sentence may be: natural logarithm per 10 ms of speech."""
    least_ratio_data: Annotated[float, Meta(ge=-100.0, le=0.0)] = -2.5
    """The same for the actions `data.…`, of which most erase."""
    most_beside: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.1
    """The share of what is spoken that may lie beside the sentence."""
    timeout_s: Annotated[float, Meta(ge=1.0, le=60.0)] = 10.0
    """An utterance that is not recognised within so many seconds fails."""


class VoiceSettings(_Table, frozen=True):
    """`[voice]`: commands about one's own data, and how they are answered."""

    commands: bool = True
    """Whether the actions `data.…` are obeyed."""
    speak: str | tuple[str, ...] = "espeak-ng"
    """The program that says an answer, which it gets on its standard input; `none`: nothing is said."""


class OutcomeSettings(_Table, frozen=True):
    """`[outcome]`: whether others may say how an action ended."""

    wait_s: Annotated[int, Meta(ge=0, le=30)] = 0
    """So many seconds an action's audio and words wait in memory for `cmd/result`; 0: not at all."""


RootStoreName = Literal["file", "nvmem", "tpm"]


class NvmemSettings(_Table, frozen=True):
    """`[vault.nvmem]`: a chip whose cells are overwritten in place."""

    file: str | None = None
    """The chip, as Linux shows it in sysfs: a file `nvmem` or `eeprom`."""
    offset: Annotated[int, Meta(ge=0, le=2**24)] = 0
    """Where fadeout's bytes start; at least 56 and at most 8192 of them are used, by the page size."""
    page_bytes: Annotated[int, Meta(ge=1, le=4096)] = 32
    """The chip's page: what it writes at once. Each slot starts on one."""


class TpmSettings(_Table, frozen=True):
    """`[vault.tpm]`: a TPM 2.0."""

    device: str = "/dev/tpmrm0"
    """The kernel's resource manager, or the Unix socket of an emulator."""
    index: Annotated[int, Meta(ge=0x01800000, le=0x01BFFFFE)] = 0x0180FADE
    """The first of two NV indices; the range is the one that owners may use."""


class VaultSettings(_Table, frozen=True):
    """`[vault]`."""

    sweep: str = "15m"
    """How often due items are erased; end dates are rounded down to it."""
    root_store: RootStoreName = "file"
    """Where the root of all keys lives. A change needs `fadeout root migrate`."""
    nvmem: NvmemSettings = NvmemSettings()
    tpm: TpmSettings = TpmSettings()


class Config(_Table, frozen=True):
    """The whole file."""

    microphone: MicrophoneSettings = MicrophoneSettings()
    wake: WakeSettings = WakeSettings()
    utterance: UtteranceSettings = UtteranceSettings()
    recogniser: RecogniserSettings = RecogniserSettings()
    voice: VoiceSettings = VoiceSettings()
    outcome: OutcomeSettings = OutcomeSettings()
    light: LightSettings = LightSettings()
    button: ButtonSettings = ButtonSettings()
    retention: Retention = Retention()
    vault: VaultSettings = VaultSettings()
    mqtt: BrokerSettings = BrokerSettings()

    @property
    def policy(self) -> Policy:
        """The retention table, compiled. Valid: `load` has checked it."""
        return compile_policy(self.retention)

    @property
    def sweep_s(self) -> int:
        """The time between two sweeps in seconds."""
        return parse_period(self.vault.sweep).seconds


def find_config(given: str | None, environ: dict[str, str], user_folder: Path) -> Path | None:
    """Return the configuration file to read, or None for the defaults.

    In this order: the one that was given, `FADEOUT_CONFIG`, the user's own,
    `/etc/fadeout/fadeout.toml`.
    """
    named = given or environ.get("FADEOUT_CONFIG")
    if named:
        return Path(named)
    for path in (user_folder / "fadeout.toml", Path("/etc/fadeout/fadeout.toml")):
        if path.exists():
            return path
    return None


def load(path: Path | None) -> Config:
    """Read a configuration file; None gives the defaults.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or holds a key or value that is not allowed.
            The message is `file:line: key: what is wrong`.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise ConfigError(
            f"{path}: {os.strerror(err.errno or 0).lower()}", "see --config and FADEOUT_CONFIG"
        ) from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: not UTF-8 at byte {err.start}") from err
    config = parse(text, str(path))
    if config.recogniser.actions is None:
        return config
    actions = str((path.parent / config.recogniser.actions).absolute())
    recogniser = msgspec.structs.replace(config.recogniser, actions=actions)
    return msgspec.structs.replace(config, recogniser=recogniser)


def parse(text: str, name: str) -> Config:
    """Read a configuration from TOML text; `name` is what errors call it. Raises ConfigError."""
    # Here, not above: a daemon on the defaults, or on a file without mistakes, needs less memory.
    import tomllib  # noqa: PLC0415

    tree: dict[str, Any] = {}
    try:
        tree = tomllib.loads(text)
        config = msgspec.convert(tree, Config, strict=True)
        _check(config)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, PolicyError) as err:
        from fadeout_device.config_errors import explained  # noqa: PLC0415

        raise explained(err, name, text, tree, Config) from err
    return config


def located(err: PolicyError, path: Path | None) -> ConfigError:
    """Return the error for what was found wrong after the file was read, with its line."""
    from fadeout_device.config_errors import explained  # noqa: PLC0415

    if path is None:
        return ConfigError(f"{'.'.join(err.key)}: {err}", err.hint)
    return explained(err, str(path), path.read_text(encoding="utf-8"), {}, Config)


def with_broker(config: Config, address: str) -> Config:
    """Return the configuration with another broker: `host:port`.

    Raises:
        ConfigError: it is no address.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= MAX_PORT:
        raise ConfigError(f"--mqtt: given {address}", "allowed: a host and a port, like localhost:1883")
    mqtt = msgspec.structs.replace(config.mqtt, enabled=True, host=host, port=int(port))
    return msgspec.structs.replace(config, mqtt=mqtt)


def with_microphone(config: Config, name: str) -> Config:
    """Return the configuration with another microphone; its channel, rate and gain stay."""
    return msgspec.structs.replace(config, microphone=msgspec.structs.replace(config.microphone, device=name))


def _check(config: Config) -> None:
    """Check what types cannot say."""
    compile_policy(config.retention)
    second_models(config.wake)
    try:
        sweep_s = parse_period(config.vault.sweep).seconds
    except PolicyError as err:
        raise PolicyError(str(err), key=("vault", "sweep"), hint=_SWEEP_HINT) from err
    if sweep_s > MAX_SWEEP_S:
        raise PolicyError(f'"{config.vault.sweep}" is out of range', key=("vault", "sweep"), hint=_SWEEP_HINT)
    if config.utterance.no_speech_ms <= config.utterance.wake_tail_ms:
        # Nothing would ever be judged: whoever spoke would not be heard.
        raise PolicyError(
            f"{config.utterance.no_speech_ms} ms is not longer than wake_tail_ms:"
            " every wake word would be a false wake",
            key=("utterance", "no_speech_ms"),
            hint=f"allowed: more than {config.utterance.wake_tail_ms}",
        )
    if config.vault.root_store == "nvmem" and config.vault.nvmem.file is None:
        hint = "name the chip, like /sys/bus/nvmem/devices/NAME/nvmem"
        raise PolicyError("is missing", key=("vault", "nvmem", "file"), hint=hint)
    if config.recogniser.engine == "wyoming" and config.recogniser.socket is None:
        hint = "name the Unix socket on which the server listens, like /run/asr/asr.sock"
        raise PolicyError("is missing", key=("recogniser", "socket"), hint=hint)
    _check_pins(config)
    mqtt = config.mqtt
    if config.outcome.wait_s and mqtt.mode == "batched":
        raise PolicyError(
            "an event of batched mode leaves too late, and a report would tell when it happened",
            key=("outcome", "wait_s"),
            hint='allowed: 0, or [mqtt] mode = "prompt"',
        )
    if (mqtt.cert_file is None) != (mqtt.key_file is None):
        missing = "cert_file" if mqtt.cert_file is None else "key_file"
        raise PolicyError(
            "is missing", key=("mqtt", missing), hint="a client certificate takes both cert_file and key_file"
        )


def _check_pins(config: Config) -> None:
    light = config.light
    if light.kind == "apa102" and light.pin is not None:
        raise PolicyError(
            "is a lamp's, and there is a chain of LEDs",
            key=("light", "pin"),
            hint='take it out, or kind = "apa102"',
        )
    taken: dict[int, str] = {}
    for key, pin in light.pins:
        if pin in taken:
            raise PolicyError(f"{pin} is also light.{taken[pin]}", key=("light", key), hint=_OWN_PIN_HINT)
        taken[pin] = key
    if config.button.pin in taken:
        raise PolicyError(
            f"{config.button.pin} is the light's pin", key=("button", "pin"), hint=_OWN_PIN_HINT
        )
    for key in ("recording_colour", "opening_colour"):
        text: str = getattr(light, key)
        # A light that nobody sees is none.
        if max(bytes.fromhex(text[1:])) < _LEAST_COLOUR:
            hint = f"allowed: one of red, green and blue is at least {_LEAST_COLOUR:x}"
            raise PolicyError(f'"{text}" is too dark to be seen', key=("light", key), hint=hint)
