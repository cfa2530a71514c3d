"""The retention policy: how long which kind of item is kept, and for what.

One rule per class (outcome x kind), a period or none, with a purpose; and every
other number on which it depends how long something is kept. The
compiled `Policy` is what the vault enforces, `fadeout policy` prints and its
hash names (P10). "Forever" cannot be written: a period is a positive number
with a unit, at most `CEILING_S` (P2). Pure: no clock, no file.

Source: GDPR articles 5(1)(b), (c) and (e): purpose limitation, minimisation, storage limitation.
"""

from __future__ import annotations

import hashlib
import re
from typing import get_args

import msgspec

from fadeout_device.messages import Kind, Outcome

CEILING_S = 30 * 86400
"""No item lives longer, whatever is configured."""
LEDGER_CEILING_S = 365 * 86400
"""No line of the ledger lives longer; it holds no content."""
DEBUG_CEILING_S = 86400
"""No item lives longer that is kept only because debug capture was on."""
DEBUG_LASTS_S = 3600
"""Debug capture ends by itself after so long."""

PURPOSE_CHARACTERS = 80
"""No purpose is longer: the policy is published, and everything published has a bound."""
_PURPOSE_HINT = "say in a few words what this is kept for"

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
KINDS: tuple[Kind, ...] = get_args(Kind)

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PERIOD = re.compile(r"([1-9][0-9]{0,8})([smhdw])( or update)?")
_EXAMPLES = 'allowed: "none", or a period like "90s", "15m", "12h", "7d", "2w", or "7d or update"'


_SIZE_UNIT_BYTES = {"MB": 1_000_000, "GB": 1_000_000_000}
_SIZE = re.compile(r"([1-9][0-9]{0,5})(MB|GB)")
_SIZES_BYTES = (4_000_000, 1_000_000_000_000)
"""The smallest holds the longest utterance."""
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_CANARY_S = (10, 86400)


class PolicyError(Exception):
    """A rule that cannot be; `key` says where, `hint` what is allowed."""

    def __init__(self, message: str, *, key: tuple[str, ...] = (), hint: str = _EXAMPLES) -> None:
        super().__init__(message)
        self.key = key
        self.hint = hint


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the retention table, as it is written."""

    keep: str = "none"
    """`none`, or a period."""
    purpose: str = ""
    """What the item is kept for; required where it is kept."""


_NONE = Rule()
_REPORT = Rule("1d", "tell subscribers what happened, and what to forget")
_TUNING = Rule("7d or update", "tune the recogniser to what it did not understand")


class ServedRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention.served]`: the device did what it was asked. Nothing more is needed of it."""

    audio: Rule = _NONE
    words: Rule = _NONE
    action: Rule = _REPORT


class FailedRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention.failed]`: somebody spoke, and no action followed."""

    audio: Rule = _TUNING
    words: Rule = _TUNING
    action: Rule = _REPORT


class FalseWakeRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention.false_wake]`: nobody spoke to the device. Only `none` can be written here."""

    audio: Rule = _NONE
    words: Rule = _NONE
    action: Rule = _NONE


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention]`, as it is written; the defaults are P4's: what is not needed is never stored."""

    served: ServedRules = ServedRules()
    failed: FailedRules = FailedRules()
    false_wake: FalseWakeRules = FalseWakeRules()
    max_size: str = "512MB"
    """What is held at most; beyond it the oldest items are erased early."""
    quiet_hours: str = "none"
    """`none`, or a span of local time such as `22:00-06:30`: nothing is stored in it."""
    ledger: str = "90d"
    """How long a line of the ledger is kept."""
    canary: str = "6h"
    """The life of the dummy items that must die on time."""
    debug_capture: str = "none"
    """`none`: debug capture cannot be switched on; or the period of what it keeps."""

    def rule(self, item_class: ItemClass) -> Rule:
        """Return the rule of one class."""
        rule = getattr(getattr(self, item_class.outcome), item_class.kind)
        assert isinstance(rule, Rule)  # noqa: S101 - the fields are named as outcomes and kinds are
        return rule


class Period(msgspec.Struct, frozen=True):
    """How long an item is kept."""

    seconds: int
    ends_on_update: bool = False
    """Erased earlier, when a new version of fadeout starts."""


class ItemClass(msgspec.Struct, frozen=True, order=True):
    """One line of the policy = one purpose = one key tree."""

    outcome: Outcome
    kind: Kind

    @property
    def code(self) -> int:
        """The class's number in sealed items and key trees: docs/format.md, "Classes"."""
        return 1 + OUTCOMES.index(self.outcome) * len(KINDS) + KINDS.index(self.kind)


CLASSES = tuple(ItemClass(outcome, kind) for outcome in OUTCOMES for kind in KINDS)


class QuietHours(msgspec.Struct, frozen=True):
    """A span of every day by the clock on the wall, in minutes after midnight."""

    from_min: int
    to_min: int
    """Before `from_min` if the span goes over midnight."""

    def has(self, minute: int) -> bool:
        """Say whether a minute of the day lies in the span; its last one does not."""
        if self.from_min < self.to_min:
            return self.from_min <= minute < self.to_min
        return minute >= self.from_min or minute < self.to_min

    def __str__(self) -> str:
        """Return them as they are written."""
        return "-".join(f"{at // 60:02}:{at % 60:02}" for at in (self.from_min, self.to_min))


class Policy(msgspec.Struct, frozen=True):
    """The compiled table; a class that is not in it is never stored."""

    periods: dict[ItemClass, Period]
    max_size_bytes: int
    quiet_hours: QuietHours | None
    ledger_s: int
    canary_s: int
    debug_capture_s: int | None
    """How long debug capture keeps what has no rule; None: it cannot be switched on."""
    document: bytes
    """Canonical JSON: sorted keys, no white space."""

    @property
    def hash(self) -> str:
        """SHA-256 of the document, in hex."""
        return hashlib.sha256(self.document).hexdigest()

    def period(self, item_class: ItemClass) -> Period | None:
        """Return how long items of this class are kept; None: they are never stored."""
        return self.periods.get(item_class)


def parse_period(text: str) -> Period:
    """Read a period such as `7d` or `7d or update`.

    Raises:
        PolicyError: it is not of that form, zero, negative, or `forever`.
    """
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise PolicyError(f'given "{text[:40]}"')
    return Period(int(found[1]) * _UNIT_S[found[2]], ends_on_update=found[3] is not None)


def compile_policy(retention: Retention) -> Policy:
    """Compile the retention table.

    Raises:
        PolicyError: a rule that cannot be, with its key.
    """
    periods: dict[ItemClass, Period] = {}
    document: dict[str, object] = {}
    for item_class in CLASSES:
        rule = retention.rule(item_class)
        period = _compile_rule(item_class, rule)
        if period is not None:
            periods[item_class] = period
        document[f"{item_class.outcome}.{item_class.kind}"] = {
            "keep_s": period.seconds if period else None,
            "ends_on_update": bool(period and period.ends_on_update),
            "purpose": rule.purpose if period else "",
        }
    policy = Policy(
        periods,
        max_size_bytes=_compile_size(retention.max_size),
        quiet_hours=_compile_hours(retention.quiet_hours),
        ledger_s=_compile_span("ledger", retention.ledger, (1, LEDGER_CEILING_S), "1s", "365d"),
        canary_s=_compile_span("canary", retention.canary, _CANARY_S, "10s", "1d"),
        debug_capture_s=_compile_debug(retention.debug_capture),
        document=b"",
    )
    whole = {
        "v": 1,
        "ceiling_s": CEILING_S,
        "rules": document,
        "max_size_bytes": policy.max_size_bytes,
        "quiet_hours": None if policy.quiet_hours is None else str(policy.quiet_hours),
        "ledger_s": policy.ledger_s,
        "ledger_ceiling_s": LEDGER_CEILING_S,
        "canary_s": policy.canary_s,
        "debug_capture_s": policy.debug_capture_s,
        "debug_capture_lasts_s": DEBUG_LASTS_S,
    }
    return msgspec.structs.replace(policy, document=msgspec.json.encode(whole, order="sorted"))


def _compile_size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    size = int(found[1]) * _SIZE_UNIT_BYTES[found[2]] if found else 0
    smallest, largest = _SIZES_BYTES
    if not smallest <= size <= largest:
        raise PolicyError(
            f'given "{text[:40]}"', key=("retention", "max_size"),
            hint='allowed: a size from "4MB" to "1000GB", like "512MB" or "2GB"',
        )  # fmt: skip
    return size


def _compile_hours(text: str) -> QuietHours | None:
    if text == "none":
        return None
    found = _HOURS.fullmatch(text)
    if found is None or (found[1], found[2]) == (found[3], found[4]):
        raise PolicyError(
            f'given "{text[:40]}"', key=("retention", "quiet_hours"),
            hint='allowed: "none", or two different times of the day, like "22:00-06:30"',
        )  # fmt: skip
    return QuietHours(int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4]))


def _compile_span(name: str, text: str, bounds: tuple[int, int], shortest: str, longest: str) -> int:
    """Compile a period that has bounds of its own and does not end with an update."""
    hint = f'allowed: a period from "{shortest}" to "{longest}", like "{getattr(Retention(), name)}"'
    key = ("retention", name)
    try:
        period = parse_period(text)
    except PolicyError as err:
        raise PolicyError(str(err), key=key, hint=hint) from err
    if period.ends_on_update or not bounds[0] <= period.seconds <= bounds[1]:
        raise PolicyError(f'given "{text}"', key=key, hint=hint)
    return period.seconds


def _compile_debug(text: str) -> int | None:
    if text == "none":
        return None
    try:
        return _compile_span("debug_capture", text, (1, DEBUG_CEILING_S), "1s", "1d")
    except PolicyError as err:
        hint = 'allowed: "none", or a period of at most "1d", like "12h"'
        raise PolicyError(str(err), key=err.key, hint=hint) from err


def _compile_rule(item_class: ItemClass, rule: Rule) -> Period | None:
    key = ("retention", item_class.outcome, item_class.kind, "keep")
    if rule.keep == "none":
        return None
    try:
        period = parse_period(rule.keep)
    except PolicyError as err:
        raise PolicyError(str(err), key=key) from err
    if period.seconds > CEILING_S:
        raise PolicyError(
            f'given "{rule.keep}", which is beyond the ceiling', key=key,
            hint=f"allowed: at most {CEILING_S // 86400} days; nothing is kept longer",
        )  # fmt: skip
    if item_class.outcome == "false_wake":
        raise PolicyError(
            f'given "{rule.keep}"', key=key,
            hint='allowed: "none"; nobody spoke to the device, so nothing of a false wake is stored',
        )  # fmt: skip
    if not rule.purpose.strip():
        raise PolicyError("is missing", key=(*key[:-1], "purpose"), hint=_PURPOSE_HINT)
    if len(rule.purpose) > PURPOSE_CHARACTERS or not rule.purpose.isprintable():
        raise PolicyError(
            f"has {len(rule.purpose)} characters, or one that cannot be printed",
            key=(*key[:-1], "purpose"),
            hint=f"{_PURPOSE_HINT}: at most {PURPOSE_CHARACTERS} characters on one line",
        )
    return period
