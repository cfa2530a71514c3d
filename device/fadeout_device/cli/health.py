"""`fadeout status`, `policy`, `watch`: how it is, what it promises, what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fadeout_device import answers, config, questions
from fadeout_device.cli import clock, modes, shown
from fadeout_device.cli.happenings import describe
from fadeout_device.cli.places import config_file, state_folder
from fadeout_device.cli.vault_client import ask, watch
from fadeout_device.errors import UnavailableError

if TYPE_CHECKING:
    import argparse


def add_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add this file's verbs to the command line."""
    verb = verbs.add_parser("status", help="say how the running fadeout is")
    verb.set_defaults(run=status)

    verb = verbs.add_parser(
        "policy",
        help="print what is kept, how long, and why",
        description="Prints the policy that the running fadeout enforces; without one, the configuration's.",
    )
    verb.add_argument(
        "--restore",
        action="store_true",
        help="take away what was shortened by command, for what is captured from now on",
    )
    verb.set_defaults(run=policy)

    verb = verbs.add_parser("watch", help="follow what happens, without ever saying what was said")
    verb.set_defaults(run=follow)


def status(arguments: argparse.Namespace) -> int:
    """Say how the vault is."""
    answer, _ = ask(arguments, questions.Status(), answers.StatusReport)
    if arguments.json:
        shown.print_json(answer)
        return 0
    if answer.listening:
        ear = f"listening to {answer.source} for {', '.join(answer.wake_words)}"
    elif answer.ear == "connected":
        why = answer.problem or answer.source
        ear = f"not listening: {why}" if why else "not listening"
    else:
        ear = "away: it is not running"
    next_end = "nothing is held" if answer.next_end_s is None else shown.clock_time(answer.next_end_s)
    rows = [
        ["ear", ear],
        ["light", answer.light],
        ["level", _level(answer)],
        *([["quiet", f"{answer.spared_percent} % of the time"]] if answer.spared_percent is not None else []),
        ["lost", _lost(answer)],
        *([["RECOGNISER", answer.recogniser]] if answer.recogniser else []),
        *([["VOICE", answer.voice]] if answer.voice else []),
        *[["ALARM", line] for line in answer.alarms],
        *modes.lines(answer.modes),
        ["held", shown.count(answer.held, "recording")],
        ["", f"{answer.held_bytes / 1e6:.1f} of {answer.max_size_bytes / 1e6:.0f} MB"],
        ["canaries", "none planted" if answer.canaries is None else f"{answer.canaries} alive"],
        *[["WARNING", line] for line in answer.warnings],
        ["overdue", str(answer.overdue)],
        ["next end", next_end],
        ["last sweep", answer.last_sweep],
        ["reporter", answer.reporter],
        ["broker", answer.broker],
        *([["", _DEPARTED[answer.departure]]] if answer.departure else []),
        *([["commands", answer.commands]] if answer.commands else []),
        *([["results", _waits(answer.result_s)]] if answer.result_s else []),
        *([["DROPPED", _dropped(answer.dropped_payloads)]] if answer.dropped_payloads else []),
        ["unsent events", str(answer.unsent_events)],
        [
            "ledger",
            f"{shown.count(answer.ledger_entries, 'entry', 'entries')}, key {answer.ledger_key[:16]}",
        ],
        ["root store", f"{answer.root_store}: protects against {answer.root_protects}"],
        ["", f"does not protect against {answer.root_does_not}"],
        ["network", f"{answer.network} in the ear and the vault"],
        ["memory", answer.memory],
        *clock.lines(answer.clock),
        ["policy", answer.policy_hash],
        ["version", answer.version],
    ]
    shown.print_table("fadeout", ["", ""], rows)
    return 0


def _level(answer: answers.StatusReport) -> str:
    if not answer.listening or answer.level_dbfs is None:
        return "not known"
    return (
        f"{answer.level_dbfs} dBFS at most in the last ten seconds; {answer.clipped} samples too loud so far"
    )


def _lost(answer: answers.StatusReport) -> str:
    return ", ".join(
        (
            shown.count(answer.dropped, "utterance"),
            shown.count(answer.overflows, "overflow"),
            f"{shown.count(answer.behind, 'buffer')} because the ear fell behind",
            f"the microphone {shown.count(answer.reopened, 'time')}",
        )
    )


def _waits(seconds: int) -> str:
    return f"audio and words of an action wait {shown.count(seconds, 'second')} for done or failed from afar"


_DEPARTED = {
    "asked": "this device leaves it as soon as it is there: fadeout forget",
    "done": "this device has left it: fadeout forget --undo reports again",
}


def _dropped(number: int) -> str:
    return f"{shown.count(number, 'payload')} that must not leave, or that the broker refused: see the log"


def policy(arguments: argparse.Namespace) -> int:
    """Print the policy; restore it before, if that is asked for."""
    question = questions.RestorePolicy() if arguments.restore else questions.GetPolicy()
    try:
        answer, _ = ask(arguments, question, answers.PolicyReport)
        source = "enforced by the running fadeout"
    except UnavailableError:
        if arguments.restore:
            raise
        compiled = config.load(config_file(arguments)).policy
        answer = answers.PolicyReport(msgspec.json.decode(compiled.document), compiled.hash, {})
        source = "from the configuration; no fadeout is running"
    if arguments.json:
        shown.print_json(answer)
        return 0
    document = answer.policy
    rows = []
    for name, rule in document["rules"].items():
        outcome, _, kind = name.partition(".")
        kept = "never stored" if rule["keep_s"] is None else shown.span(rule["keep_s"])
        if rule["ends_on_update"]:
            kept += ", or until the next update"
        if name in answer.shortened_from:
            kept += f" (by command; configured: {shown.span(answer.shortened_from[name])})"
        rows.append([outcome, kind, kept, rule["purpose"]])
    shown.print_table(f"policy {answer.policy_hash[:16]}, {source}", ["outcome", "kind", "kept", "for"], rows)
    shown.print_lines(*_beside_the_rules(document))
    if answer.shortened_from:
        shown.print_lines(
            "shortened by command: fadeout policy --restore ends that, for what is captured from now on"
        )
    return 0


def _beside_the_rules(document: dict[str, Any]) -> list[str]:
    """Return what the policy says besides its rules, a line for each."""
    hours, debug_s = document["quiet_hours"], document["debug_capture_s"]
    lasts = shown.span(document["debug_capture_lasts_s"])
    return [
        f"nothing is ever kept longer than {shown.span(document['ceiling_s'])}",
        f"more than {document['max_size_bytes'] // 1_000_000} MB: the oldest items are erased early",
        "quiet hours: none" if hours is None else f"quiet hours: {hours}, nothing is stored in them",
        f"the ledger keeps its lines for {shown.span(document['ledger_s'])}",
        f"canaries live for {shown.span(document['canary_s'])}",
        "debug capture: cannot be switched on"
        if debug_s is None
        else f"debug capture: for at most {lasts} at a time, kept for {shown.span(debug_s)}",
    ]


def follow(arguments: argparse.Namespace) -> int:
    """Print happenings until interrupted or the vault goes away."""
    for message in watch(state_folder(arguments)):
        if arguments.json:
            shown.print_json(message)
        elif isinstance(message, answers.Happening):
            shown.print_lines(f"{shown.clock_time(message.at_s)}  {describe(message)}")
        else:
            shown.print_lines(f"watching; {shown.count(message.held, 'recording')} held (Ctrl-C ends)")
    raise UnavailableError("the vault went away", "start watching again: it may be restarting")
