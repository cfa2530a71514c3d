"""What was shortened by command: a cap for each class, beside the configured policy. Pure.

The policy in force is the configured one with every period cut to its cap: compiled
into one object with one hash, so that what is enforced, shown and published is the same
(P10). Caps only become shorter; whoever takes them away does not make anything longer
that is held (P2).

Debug capture keeps what has no rule, for one period whatever the class. It is cut to
the shortest cap of any class that it could keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_device.policy import CEILING_S, CLASSES, ItemClass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fadeout_device.messages import Kind, Outcome
    from fadeout_device.policy import Policy

NOT_DEBUG: Kind = "action"
"""Debug capture keeps none of this kind."""


class Caps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The caps there are."""

    keep_s: dict[str, int] = {}
    """By the name of a class, such as `failed.audio`: seconds after capture."""

    def of(self, item_class: ItemClass) -> int:
        """Return a class's cap; where there is none, the ceiling."""
        return self.keep_s.get(name(item_class), CEILING_S)


NO_CAPS = Caps()


def name(item_class: ItemClass) -> str:
    """Return a class's name, as in the policy document."""
    return f"{item_class.outcome}.{item_class.kind}"


def chosen(outcome: Outcome | None, kind: Kind | None) -> tuple[ItemClass, ...]:
    """Return the classes of an outcome and a kind; None: of all."""
    return tuple(
        each for each in CLASSES if outcome in (None, each.outcome) and kind in (None, each.kind)
    )  # fmt: skip


def shortened(caps: Caps, classes: Iterable[ItemClass], keep_s: int) -> Caps:
    """Cap classes; where a cap is shorter already, it stays."""
    new = {name(each): keep_s for each in classes if keep_s < caps.of(each)}
    return Caps({**caps.keep_s, **new}) if new else caps


def capped(policy: Policy, caps: Caps) -> Policy:
    """Return the policy that is in force with these caps."""
    if not caps.keep_s:
        return policy
    periods = {
        each: msgspec.structs.replace(period, seconds=min(period.seconds, caps.of(each)))
        for each, period in policy.periods.items()
    }
    debug_s = policy.debug_capture_s
    if debug_s is not None:
        debug_s = min(debug_s, *(caps.of(each) for each in CLASSES if each.kind != NOT_DEBUG))
    document: dict[str, Any] = msgspec.json.decode(policy.document)
    document["debug_capture_s"] = debug_s
    for each, period in periods.items():
        document["rules"][name(each)]["keep_s"] = period.seconds
    return msgspec.structs.replace(
        policy, periods=periods, debug_capture_s=debug_s,
        document=msgspec.json.encode(document, order="sorted"),
    )  # fmt: skip


def encode(caps: Caps) -> str:
    """Return caps as they are stored."""
    return msgspec.json.encode(caps, order="sorted").decode()


def decode(stored: str) -> Caps:
    """Read stored caps. Raises msgspec.DecodeError."""
    return msgspec.json.decode(stored, type=Caps)
