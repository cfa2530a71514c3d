"""What came, held against what was expected. Pure: two values in, a list of differences out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from fadeout_device.replaying.expectations import Expected, ExpectedFile, Tolerance
    from fadeout_device.replaying.heard import HeardFile, Utterance

# A float may miss a decimal tolerance by its own rounding; positions come in whole milliseconds.
_ROUNDING_S = 0.0005


class Difference(NamedTuple):
    """One thing that is not as expected."""

    utterance: int | None
    """Counted from 1; None: the file as a whole."""
    what: str
    expected: str
    came: str

    @property
    def where(self) -> str:
        """The utterance, or the file, in words."""
        return "the file" if self.utterance is None else f"utterance {self.utterance}"

    def line(self) -> str:
        """Return it as one line."""
        return f"{self.where}: {self.what}: expected {self.expected}, came {self.came}"


def differences(expected: ExpectedFile, came: HeardFile, tolerance: Tolerance) -> list[Difference]:
    """Return everything that is not as expected, in order of the utterances."""
    if not expected.readable:
        return [] if came.error else [Difference(None, "readable", "no", "yes")]
    found: list[Difference] = []
    if came.error:
        found.append(Difference(None, "readable", "yes", came.error))
    wanted = expected.utterances or ()
    if len(wanted) != len(came.utterances):
        found.append(Difference(None, "utterances", str(len(wanted)), str(len(came.utterances))))
    for number in range(1, max(len(wanted), len(came.utterances)) + 1):
        if number > len(came.utterances):
            found.append(Difference(number, "utterance", _shown_expected(wanted[number - 1]), "none"))
        elif number > len(wanted):
            found.append(Difference(number, "utterance", "none", _shown(came.utterances[number - 1])))
        else:
            found += _compare(number, wanted[number - 1], came.utterances[number - 1], tolerance)
    return found


def _compare(number: int, wanted: Expected, came: Utterance, tolerance: Tolerance) -> list[Difference]:
    found = [
        Difference(number, what, str(value), str(getattr(came, what)))
        for what in ("wake_word", "outcome", "action")
        if _is_set(value := getattr(wanted, what)) and value != getattr(came, what)
    ]
    for what in ("speech_start_s", "speech_end_s"):
        value, at_s = getattr(wanted, what), getattr(came, what)
        within_s = getattr(tolerance, what)
        if _is_set(value) and (at_s is None or abs(at_s - value) > within_s + _ROUNDING_S):
            shown = "none" if at_s is None else f"{at_s:.3f} s"
            name = what.removesuffix("_s").replace("_", " ")
            found.append(Difference(number, name, f"{value:.3f} s ± {within_s:g} s", shown))
    told = "none" if came.told is None else came.told.what
    if _is_set(wanted.told) and wanted.told != told:
        found.append(Difference(number, "told", str(wanted.told), told))
    if not isinstance(wanted.kept, msgspec.UnsetType) and sorted(wanted.kept) != sorted(came.kept):
        kept = f"nothing: {came.error}" if came.error else _listed(came.kept)
        found.append(Difference(number, "kept", _listed(wanted.kept), kept))
    return found


def _is_set(value: Any) -> bool:  # noqa: ANN401 - any field
    return value is not msgspec.UNSET


def _listed(kinds: tuple[str, ...]) -> str:
    return ", ".join(kinds) or "nothing"


def _shown(utterance: Utterance) -> str:
    return f"{utterance.wake_word} at {utterance.wake_s:.2f} s, {utterance.outcome}"


def _shown_expected(expected: Expected) -> str:
    known = [
        str(value) for value in (expected.wake_word, expected.outcome, expected.action) if _is_set(value)
    ]
    return ", ".join(known) or "any"
