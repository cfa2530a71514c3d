"""Why each field of the contract is there, and what it gives away: the words of docs/metadata.md."""

from __future__ import annotations

REASONS: dict[tuple[str, str], tuple[str, str]] = {
    ("action", "id"): (
        "to forget this event by, and to take a repetition for one",
        "random, and of no use once the key is gone: links an event to its notice, and to nothing else",
    ),
    ("action", "action"): ("what an automation acts on", "what was asked for, as far as the list tells it"),
    ("action", "outcome"): (
        "a request that failed can be shown",
        "that a request failed; `none` says it, too",
    ),
    ("action", "ttl"): (
        "when to forget without being told",
        "the policy's period; in which quarter of an hour it was captured, if it comes late",
    ),
    ("erase", "era"): (
        "numbers that begin anew are told apart",
        "that the device has another owner, or lost its index",
    ),
    ("erase", "n"): ("a notice that was missed is noticed", "how often something was erased by somebody"),
    ("erase", "ids"): ("which events to forget", "which of the events somebody wanted gone"),
    ("erase_before", "era"): ("as in `erase`", "as in `erase`"),
    ("erase_before", "n"): (
        "whoever was away learns how far to forget",
        "as in `erase`, to whoever comes later, too",
    ),
    ("erase_before", "since"): (
        "whether `ids` reach back far enough",
        "how many notices the newest ids are from",
    ),
    ("erase_before", "ids"): (
        "not everything has to be forgotten for one",
        "as in `erase`; the ids of up to 16 dead events",
    ),
    ("alarm", "alarm"): ("what does not work", "that, and since when"),
    ("alarm", "on"): ("an alarm ends", "until when"),
    ("receipt", "n"): ("a receipt that was missed is noticed", "how often keys were erased, sweeps included"),
    ("receipt", "items"): (
        "what the proof is of",
        "how many items ended together: nothing new of events; of recordings that had none, their number",
    ),
    ("receipt", "reason"): (
        "an erasure that nobody asked for shows",
        "that a person erased, or an update did",
    ),
    ("receipt", "hour"): ("a proof has a time", "less than its arrival does"),
    ("receipt", "root"): ('what the proof is worth: docs/format.md, "Root stores"', "the kind of chip"),
    ("receipt", "key"): ("to check the signature with", "names the device, as its topic does, until a reset"),
    ("receipt", "signature"): ("the proof", "nothing more than what it is over"),
    ("receipt", "ttl"): ("when to forget the receipt", "if it comes late, how late"),
    ("state", "listening"): ("shows that the microphone is open", "when nobody may be heard"),
    ("state", "muted"): ("shows that somebody closed it", "that somebody did, and when"),
    ("state", "held"): ("what there is to forget", "that something was recorded; an erasure without notice"),
    ("state", "overdue"): ("0 proves that what is due is gone", "how many items a fault holds back"),
    ("state", "sweep"): ("forgetting is alive", "a fault"),
    ("state", "swept"): ("the same, with a time: a dead sweeper shows", "nothing: sweeps keep a timetable"),
    ("state", "next_end"): (
        "when there will be less",
        "nothing to whoever has the events: the oldest one's end",
    ),
    ("state", "forgetting"): ("one word for a light in a dashboard", "a fault"),
    ("info", "sw"): ("what to expect", "which faults the device may have"),
    ("info", "mode"): ("how late events may be", "that somebody cares"),
    ("info", "actions"): ("Home Assistant must know the types of events", "what the household can ask for"),
    ("info", "commands"): ("whether to offer buttons", "that"),
    ("info", "result_s"): (
        "whether a result may be reported, and for how long",
        "that somebody wants failures kept",
    ),
    ("policy", "hash"): ("the policy is the one that is enforced (P10)", "that it changed"),
    ("policy", "document"): (
        "subscribers can hold us to it",
        "what the household keeps, in its own words; quiet hours",
    ),
    ("cover", "v"): ("looks like an event from outside", "nothing"),
    ("reply", "command"): ("which request this answers", "that somebody asked, and for what"),
    ("reply", "status"): ("whether it was done", "a fault"),
    ("reply", "error"): ("what to do about it", "the same"),
    ("reply", "transaction"): ("whose request this answers", "what whoever asked put into it"),
    ("reply", "data"): ("what was done", "how many recordings were erased"),
}
"""For each type and field. The type itself is the topic's; `v` is always 1."""
