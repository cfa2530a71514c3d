"""Empirical entropies, in bits."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from contract_documents.month import DAY_S, DAYS

if TYPE_CHECKING:
    from collections.abc import Iterable


def entropy(symbols: Iterable[object]) -> float:
    """Return the empirical entropy of one symbol, in bits."""
    counts = Counter(symbols)
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values()) if total else 0.0


def entropy_given(pairs: Iterable[tuple[object, object]]) -> float:
    """Return the empirical entropy of the second of each pair, given the first, in bits."""
    pairs = list(pairs)
    return max(0.0, entropy(pairs) - entropy(given for given, _ in pairs))


def entropy_of_times(times_s: Iterable[float], slot_s: float) -> float:
    """Return the entropy of when things happen, in bits a day.

    Each slot of a day has something or has not, with a probability that depends on the hour
    alone, and that the reader knows: whoever knows the habits of a house learns at most this.
    """
    slots = {math.floor(at_s / slot_s) for at_s in times_s}
    by_hour = Counter(int(slot * slot_s) % DAY_S // 3600 for slot in slots)
    per_hour = 3600 / slot_s
    bits = 0.0
    for count in by_hour.values():
        p = min(1.0, count / (DAYS * per_hour))
        bits += per_hour * sum(-q * math.log2(q) for q in (p, 1 - p) if q > 0)
    return bits
