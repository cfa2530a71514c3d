"""A pytest plugin for the suites of those who build on fadeout: the fixture `fadeout_replay`.

Loaded into every pytest run where fadeout is installed, so what is imported here is
light; the rest comes with the first replay. The configuration of the machine is not
looked at: a test gets the defaults, or what it asks for. docs/replay.md shows its use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fadeout_device.replaying.heard import HeardFile, Utterance
    from fadeout_device.replaying.verdicts import Verdict

_INI = "fadeout_config"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's one setting."""
    parser.addini(_INI, "configuration file of fadeout_replay, from the root folder; none: the defaults")


@pytest.fixture
def fadeout_replay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FadeoutReplay:
    """Replay audio files through fadeout's ear and vault: `fadeout_replay("kitchen.wav")`."""
    named = str(request.config.getini(_INI) or "")
    config = request.config.rootpath / named if named else None
    return FadeoutReplay(request.path.parent, config, tmp_path_factory)


class Replayed:
    """What was heard in one file."""

    def __init__(self, heard: HeardFile) -> None:
        self.file = heard.name
        self.duration_s = heard.duration_s
        self.utterances: tuple[Utterance, ...] = tuple(heard.utterances)

    @property
    def outcomes(self) -> list[str]:
        """The outcome of each utterance."""
        return [utterance.outcome for utterance in self.utterances]

    @property
    def actions(self) -> list[str]:
        """The actions that were served, in order."""
        return [utterance.action for utterance in self.utterances if utterance.outcome == "served"]

    @property
    def utterance(self) -> Utterance:
        """The one utterance; the test fails where there is none, or more than one."""
        __tracebackhide__ = True
        if len(self.utterances) != 1:
            pytest.fail(f"not one utterance, but {len(self.utterances)}:\n{self!r}")
        return self.utterances[0]

    def __repr__(self) -> str:
        """Say what was heard, a line for each utterance."""
        lines = [f"{self.file} ({self.duration_s:.2f} s): {len(self.utterances)} heard"]
        for one in self.utterances:
            action = "" if one.action == "none" else f" {one.action}"
            kept = ", ".join(one.kept) or "nothing"
            lines.append(f"  {one.wake_word} at {one.wake_s:.2f} s: {one.outcome}{action}, kept {kept}")
        return "\n".join(lines)


class FadeoutReplay:
    """The fixture: call it with a file, or `check` files against their expect.toml."""

    def __init__(self, folder: Path, config: Path | None, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._folder = folder
        self._config = config
        self._tmp_path_factory = tmp_path_factory

    def __call__(self, path: str | Path, *, config: str | Path | Mapping[str, Any] | None = None) -> Replayed:
        """Replay one file, from the test's folder.

        Args:
            path: the file.
            config: a configuration file, or its content as nested dicts.

        Raises:
            AudioDataError: it is no audio, or not all of it.
            ConfigError: the configuration has a mistake.
        """
        from fadeout_device.errors import AudioDataError  # noqa: PLC0415 - with the first replay
        from fadeout_device.replaying.gathered import hear  # noqa: PLC0415

        if (self._folder / path).is_dir():
            raise AudioDataError(
                f"{path}: is a folder", "fadeout_replay takes one file, and .check() folders"
            )
        (heard,) = hear(self._folder, [self._folder / path], self._config_file(config))
        if heard.error is not None:
            raise AudioDataError(heard.error, heard.hint)
        return Replayed(heard)

    def check(
        self, *paths: str | Path, config: str | Path | Mapping[str, Any] | None = None, jobs: int = 1
    ) -> None:
        """Fail unless everything in files, folders or manifests is as expect.toml says.

        Raises:
            ManifestError: a manifest has a mistake.
            ConfigError: the configuration has a mistake.
        """
        __tracebackhide__ = True
        from fadeout_device.replaying.gathered import hear  # noqa: PLC0415 - with the first replay
        from fadeout_device.replaying.verdicts import judge, look_up  # noqa: PLC0415

        asked = look_up([str(self._folder / path) for path in paths])
        heard = hear(self._folder, [one.path for one in asked], self._config_file(config), jobs)
        verdicts = [judge(one, came) for one, came in zip(asked, heard, strict=True)]
        if any(verdict.result in ("failed", "bad") for verdict in verdicts):
            _fail(verdicts)
        if all(verdict.result == "unchecked" for verdict in verdicts):
            pytest.fail("nothing is expected of these files: no expect.toml names them", pytrace=False)

    def _config_file(self, given: str | Path | Mapping[str, Any] | None) -> Path:
        """Return a file with the configuration; the rooms read files."""
        from fadeout_device import config  # noqa: PLC0415 - with the first replay
        from fadeout_device.replaying.expectations import toml  # noqa: PLC0415

        if isinstance(given, str | Path):
            path = self._folder / given
        elif given is None and self._config is not None:
            path = self._config
        else:
            path = self._tmp_path_factory.mktemp("fadeout") / "fadeout.toml"
            path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in (given or {}).items()))
        config.load(path)
        return path


def _fail(verdicts: Sequence[Verdict]) -> NoReturn:
    __tracebackhide__ = True
    lines = []
    for verdict in verdicts:
        lines += [f"{verdict.name}: {difference.line()}" for difference in verdict.differences]
        if verdict.result == "bad":
            lines.append(verdict.error or verdict.name)
    wrong = sum(verdict.result in ("failed", "bad") for verdict in verdicts)
    pytest.fail("\n".join([f"{wrong} of {len(verdicts)} files are not as expected:", *lines]), pytrace=False)
