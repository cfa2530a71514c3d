"""The tables of docs/metadata.md: what each field is for, and what it tells whom, measured in bits."""

from __future__ import annotations

import functools
from typing import NamedTuple

from contract_documents import bits, modes
from contract_documents.month import Month
from contract_documents.reasons import REASONS
from contract_documents.tables import head, row

SEED = 1


class Measured(NamedTuple):
    """What each reader learns of one month, in bits a day."""

    subscriber_prompt: bits.Told
    subscriber_batched: bits.Told
    watcher_prompt: bits.Told
    watcher_batched: bits.Told
    watcher_incoming: bits.Told


@functools.cache
def measure(seed: int = SEED) -> Measured:
    """Live through a month, and read it as each reader does."""
    month = Month(seed)
    prompt, batched = modes.prompt(month), modes.batched(month)
    return Measured(
        bits.subscriber(prompt, bits.PROMPT_SLOT_S),
        bits.subscriber(batched, modes.BATCH_S),
        bits.watcher(prompt, bits.PROMPT_SLOT_S),
        bits.watcher_of_trains(modes.train_records(month)),
        bits.watcher_of_incoming(month.came, bits.PROMPT_SLOT_S),
    )


def blocks() -> dict[str, str]:
    """Return every generated part of the document by the name in its markers."""
    measured = measure()
    return {"totals": _totals(measured), "fields": _fields(measured)}


def _totals(measured: Measured) -> str:
    rows = head("bits a day", "when", "which kinds", "fields", "together")
    for name, told in {
        "a subscriber, `prompt`": measured.subscriber_prompt,
        "a subscriber, `batched`": measured.subscriber_batched,
        "a watcher of what the device sends, `prompt`": measured.watcher_prompt,
        "a watcher of what the device sends, `batched`": measured.watcher_batched,
        "a watcher of what is sent to the device, either mode": measured.watcher_incoming,
    }.items():
        fields = sum(each.per_day for each in told.fields)
        rows += row(name, *(_whole(number) for number in (told.when, told.which, fields, told.total)))
    return rows


def _fields(measured: Measured) -> str:
    columns = [
        {(each.kind, each.field): each.per_day for each in told.fields}
        for told in (measured.subscriber_prompt, measured.subscriber_batched)
    ]
    rows = head("type", "field", "why it is there", "what it gives away", "bits a day", "`batched`")
    for (kind, field), (why, what) in REASONS.items():
        rows += row(
            f"`{kind}`", f"`{field}`", why, what, *(_tenths(each.get((kind, field), 0)) for each in columns)
        )
    return rows


def _whole(number: float) -> str:
    return str(round(number))


def _tenths(number: float) -> str:
    return f"{number:.1f}"
