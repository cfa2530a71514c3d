"""The reporter: carries the vault's events to the MQTT broker, and what the house says back.

Runs as `python -m fadeout_broker.reporter --socket PATH`. Has the network; has
no audio, no words, no keys and no file of the vault. Keeps nothing: at most
`arrow.MAX_IN_FLIGHT` events are in its hands, and what the broker has not
acknowledged when a connection ends is the vault's to hand over again.

One thread selects over the vault's socket and an inbox; paho's thread and
signals only put into that inbox.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import secrets
import selectors
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fadeout_broker import arrow, selfping
from fadeout_broker.adapters.inbox import Inbox
from fadeout_broker.adapters.mqtt_client import MqttLink
from fadeout_broker.adapters.vault_arrow import UnfitEvent, VaultArrow
from fadeout_broker.backoff import Backoff
from fadeout_broker.errors import ArrowError, FadeoutBrokerError
from fadeout_broker.incoming import Born, CameBack, Door, subscriptions
from fadeout_broker.lifetime import die_with_parent
from fadeout_broker.outgoing import Chance, Outgoing
from fadeout_broker.uplink import Acknowledged, Arrived, Down, LinkInput, Refused, Up, Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    NewOutgoing = Callable[[arrow.Configure, Uplink, Callable[[arrow.FromReporter], None]], Outgoing]

_log = logging.getLogger(__name__)

VAULT_RETRY_S = 1.0


class Reporter:
    """Builds the parts, passes between them what happens, and stops them.

    Args:
        socket_path: where the vault listens.
        backoff: how long to wait between attempts to reach the broker.
        new_outgoing: makes what sends, for a configuration.
        now_s: the clock.
    """

    def __init__(
        self, socket_path: Path, backoff: Backoff, new_outgoing: NewOutgoing, now_s: Callable[[], float]
    ) -> None:
        self._now_s = now_s
        self._subscriptions = subscriptions
        self._new_outgoing = new_outgoing
        self._socket_path = socket_path
        self._inbox: Inbox[tuple[MqttLink, LinkInput]] = Inbox()
        self._uplink = Uplink(self._new_link, backoff, self._tell_vault)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._inbox, selectors.EVENT_READ)
        self._arrow: VaultArrow | None = None
        self._arrow_at_s = 0.0
        self._arrow_trouble = ""
        self._outgoing: Outgoing | None = None
        self._door: Door | None = None
        self._is_stopping = False

    def run(self) -> None:
        """Report until `stop`."""
        while not self._is_stopping:
            now_s = self._now_s()
            if self._arrow is None and now_s >= self._arrow_at_s:
                self._connect_vault(now_s)
            self._uplink.tick(now_s)
            if self._outgoing is not None:
                self._outgoing.tick(now_s)
            for key, _events in self._selector.select(self._wait_s(now_s)):
                if key.fileobj is self._inbox:
                    self._take_inbox()
                elif key.fileobj is self._arrow:
                    self._read_vault()
        self._uplink.stop()
        self._close_vault()

    def stop(self) -> None:
        """Have `run` say `stopped` and return; for signal handlers."""
        self._is_stopping = True

    def close(self) -> None:
        """Give back what a process gives back by ending; after `run`."""
        self._selector.close()
        self._inbox.close()

    def wake(self) -> None:
        """Have `run` look at its clock; from any thread."""
        os.write(self._inbox.wake_fd(), b"\0")

    def wake_fd(self) -> int:
        """Return what `signal.set_wakeup_fd` writes to."""
        return self._inbox.wake_fd()

    def _wait_s(self, now_s: float) -> float | None:
        due_s = [] if self._arrow is not None else [self._arrow_at_s]
        if self._uplink.next_at_s is not None:
            due_s.append(self._uplink.next_at_s)
        if self._outgoing is not None and self._outgoing.next_at_s is not None:
            due_s.append(self._outgoing.next_at_s)
        return max(0.0, min(due_s) - now_s) if due_s else None

    # ---- the broker's side

    def _new_link(self, configure: arrow.Configure) -> MqttLink:
        assert self._outgoing is not None  # noqa: S101 - made with every configuration
        self._outgoing.went_down()
        door = Door(configure, self._outgoing.selfping.awaits)
        self._door = door

        def told(link: MqttLink, what: LinkInput) -> None:
            """Run in paho's thread."""
            if not isinstance(what, Arrived) or door.admits(what, self._now_s()):
                self._inbox.put((link, what))

        return MqttLink(
            configure.settings, configure.node, self._outgoing.gate, self._subscriptions(configure), told
        )

    def _take_inbox(self) -> None:
        for link, told in self._inbox.take():
            now_s = self._now_s()
            said = self._uplink.handle(link, told, now_s)
            if said is None or self._outgoing is None:
                continue
            match said:
                case Up(is_deaf):
                    self._outgoing.came_up(now_s, is_deaf=is_deaf)
                case Down():
                    self._outgoing.went_down()
                case Acknowledged(message_id):
                    self._outgoing.acknowledged(message_id)
                case Refused(message_id, detail):
                    self._outgoing.refused(message_id, detail, now_s)
                case Arrived():
                    self._hand_over(said, now_s)

    def _hand_over(self, arrived: Arrived, now_s: float) -> None:
        assert self._door is not None  # noqa: S101 - it came through it
        assert self._outgoing is not None  # noqa: S101 - made with the door
        match self._door.take(arrived, now_s):
            case arrow.Asked() | arrow.Acknowledged() as said:
                self._tell_vault(said)
            case CameBack(payload):
                self._outgoing.came_back(payload, now_s)
            case Born():
                self._outgoing.somebody_was_born(now_s)

    # ---- the vault's side

    def _connect_vault(self, now_s: float) -> None:
        try:
            self._arrow = VaultArrow(self._socket_path)
        except ArrowError as err:
            self._vault_lost(err, now_s)
            return
        self._selector.register(self._arrow, selectors.EVENT_READ)
        _log.info("vault connected")

    def _read_vault(self) -> None:
        assert self._arrow is not None  # noqa: S101 - it was selected
        try:
            for line in self._arrow.read():
                self._handle_line(line)
                if self._arrow is None:
                    return  # lost while it was being answered
        except ArrowError as err:
            self._vault_lost(err, self._now_s())

    def _handle_line(self, line: arrow.ToReporter | UnfitEvent) -> None:
        match line:
            case arrow.Configure():
                self._be_configured(line)
            case _ if self._outgoing is None:
                raise ArrowError("the vault sent an event before the configuration")
            case arrow.Publish():
                self._outgoing.publish(line, self._now_s())
            case arrow.Recall(seqs):
                self._outgoing.recall(seqs)
            case arrow.Withdraw(seq):
                self._outgoing.withdraw(seq, self._now_s())
            case UnfitEvent(seq, where):
                self._outgoing.drop(seq, where)

    def _be_configured(self, configure: arrow.Configure) -> None:
        if self._uplink.configuration != configure:
            self._outgoing = self._new_outgoing(configure, self._uplink, self._tell_vault)
        before = self._uplink.state
        self._uplink.configure(configure, self._now_s())
        if self._uplink.state is before:
            self._tell_vault(before)  # nothing changed, so nothing was told yet
            if self._outgoing is not None:
                self._outgoing.greet_vault()

    def _tell_vault(self, say: arrow.FromReporter) -> None:
        if self._arrow is None:
            return
        try:
            self._arrow.send(say)
        except ArrowError as err:
            self._vault_lost(err, self._now_s())

    def _vault_lost(self, err: ArrowError, now_s: float) -> None:
        if str(err) != self._arrow_trouble:  # once, not every second
            self._arrow_trouble = str(err)
            # Starting before the vault is normal, and whoever watches the vault sees it end.
            _log.info("no vault: %s", err)
        self._close_vault()
        self._arrow_at_s = now_s + VAULT_RETRY_S

    def _close_vault(self) -> None:
        if self._outgoing is not None:
            self._outgoing.lose_vault(self._now_s())
        if self._arrow is not None:
            self._selector.unregister(self._arrow)
            self._arrow.close()
            self._arrow = None


def boot_time_s() -> float:
    """Return the time of a clock that nobody sets, and that runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the reporter until SIGTERM; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fadeout_broker.reporter", description="carry the vault's events to the MQTT broker"
    )
    parser.add_argument("--socket", type=Path, required=True, help="the vault's Unix socket for the reporter")
    parser.add_argument("--backoff-unit-s", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--backoff-cap-s", type=float, default=60.0, help=argparse.SUPPRESS)
    parser.add_argument("--ping-wait-s", type=float, default=selfping.WAIT_S, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    levels = logging.getLevelNamesMapping()
    logging.basicConfig(
        level=levels.get(os.environ.get("FADEOUT_LOG", "").upper(), logging.WARNING),
        format="reporter: %(levelname)s: %(message)s",
    )
    # A dead thread is a dead reporter: whoever supervises starts a whole one, and the broker says `offline`.
    threading.excepthook = _thread_died
    try:
        die_with_parent()
        jitter = random.SystemRandom().random
        reporter = Reporter(
            arguments.socket,
            Backoff(jitter, unit_s=arguments.backoff_unit_s, cap_s=arguments.backoff_cap_s),
            partial(
                Outgoing,
                chance=Chance(jitter, lambda: secrets.token_hex(8)),
                ping_wait_s=arguments.ping_wait_s,
            ),
            boot_time_s,
        )
        signal.set_wakeup_fd(reporter.wake_fd(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: reporter.stop())
        reporter.run()
    except FadeoutBrokerError as err:
        sys.stderr.write("\n".join(err.lines()) + "\n")
        return err.exit_code
    return 0


def _thread_died(args: threading.ExceptHookArgs) -> None:
    # The exception's text is not shown: a broker could have written it.
    _log.critical("a thread died: %s", args.exc_type.__name__)
    os._exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    sys.exit(main())
