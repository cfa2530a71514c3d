"""The reporter: carries the vault's events to the MQTT broker, and nothing else.

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
import selectors
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fadeout_broker import arrow, contract
from fadeout_broker.adapters.inbox import Inbox
from fadeout_broker.adapters.mqtt_client import MqttLink
from fadeout_broker.adapters.vault_arrow import UnfitEvent, VaultArrow
from fadeout_broker.backoff import Backoff
from fadeout_broker.errors import ArrowError, FadeoutBrokerError
from fadeout_broker.lifetime import die_with_parent
from fadeout_broker.uplink import LinkInput, Uplink

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)

VAULT_RETRY_S = 1.0


class Reporter:
    """Builds the parts, passes between them what happens, and stops them.

    Args:
        socket_path: where the vault listens.
        backoff: how long to wait between attempts to reach the broker.
    """

    def __init__(self, socket_path: Path, backoff: Backoff) -> None:
        self._socket_path = socket_path
        self._inbox: Inbox[tuple[MqttLink, LinkInput]] = Inbox()
        self._uplink = Uplink(self._new_link, backoff, self._tell_vault)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._inbox, selectors.EVENT_READ)
        self._arrow: VaultArrow | None = None
        self._arrow_at_s = 0.0
        self._arrow_trouble = ""
        self._node: str | None = None
        self._in_flight: dict[int, int | None] = {}  # message id -> seq; None: its vault is gone
        self._dropped = 0
        self._is_stopping = False

    def run(self) -> None:
        """Report until `stop`."""
        while not self._is_stopping:
            now_s = time.monotonic()
            if self._arrow is None and now_s >= self._arrow_at_s:
                self._connect_vault(now_s)
            self._uplink.tick(now_s)
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

    def wake_fd(self) -> int:
        """Return what `signal.set_wakeup_fd` writes to."""
        return self._inbox.wake_fd()

    def _wait_s(self, now_s: float) -> float | None:
        due_s = [] if self._arrow is not None else [self._arrow_at_s]
        if self._uplink.next_at_s is not None:
            due_s.append(self._uplink.next_at_s)
        return max(0.0, min(due_s) - now_s) if due_s else None

    # ---- the broker's side

    def _new_link(self, configure: arrow.Configure) -> MqttLink:
        self._in_flight.clear()
        return MqttLink(configure.settings, configure.node, lambda link, told: self._inbox.put((link, told)))

    def _take_inbox(self) -> None:
        for link, told in self._inbox.take():
            acknowledged = self._uplink.handle(link, told, time.monotonic())
            if acknowledged is not None:
                seq = self._in_flight.pop(acknowledged, None)
                if seq is not None:
                    self._tell_vault(arrow.Published(seq))

    def _publish(self, event: arrow.Publish) -> None:
        """Hand one event to the broker, if there is one.

        Raises:
            ArrowError: the vault did not wait for acknowledgements.
        """
        if not self._uplink.state.connected or event.seq in self._in_flight.values():
            return  # the vault hands it over again, or has just done so
        if len(self._in_flight) >= arrow.MAX_IN_FLIGHT:
            if None not in self._in_flight.values():
                raise ArrowError(f"the vault handed over more than {arrow.MAX_IN_FLIGHT} events at once")
            # Events of a vault that is gone fill the window, so the broker has not acknowledged
            # anything since. A new connection drops them, and the vault hands over its own again.
            self._uplink.give_up(
                "the broker does not acknowledge events; its log may say why", time.monotonic()
            )
            return
        if event.expiry_s is not None and event.expiry_s < 1:
            self._tell_vault(arrow.Published(event.seq))  # its life is over: nothing may leave
            return
        if event.expiry_s is not None and event.expiry_s > contract.MAX_TTL_S:
            self._drop(event.seq, "$.expiry_s")
            return
        try:
            payload = contract.encode(event.payload)  # which decodes it again: a last look before it leaves
        except contract.ContractError:
            self._drop(event.seq, "$.payload")
            return
        assert self._node is not None  # noqa: S101 - connected, so configured
        message_id = self._uplink.publish(
            contract.topic_of(self._node, event.payload),
            payload,
            retain=event.payload.is_retained,
            expiry_s=event.expiry_s,
        )
        self._in_flight[message_id] = event.seq

    def _drop(self, seq: int, where: str) -> None:
        self._dropped += 1
        _log.error("event does not fit the contract: seq=%d at=%s dropped=%d", seq, where, self._dropped)
        # Said to be published, so that a bug does not block the outbox for ever.
        self._tell_vault(arrow.Published(seq))

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
            self._vault_lost(err, time.monotonic())

    def _handle_line(self, line: arrow.ToReporter | UnfitEvent) -> None:
        match line:
            case arrow.Configure():
                self._node = line.node
                before = self._uplink.state
                self._uplink.configure(line, time.monotonic())
                if self._uplink.state is before:
                    self._tell_vault(before)  # nothing changed, so nothing was told yet
            case _ if self._node is None:
                raise ArrowError("the vault sent an event before the configuration")
            case arrow.Publish():
                self._publish(line)
            case UnfitEvent(seq, where):
                self._drop(seq, where)

    def _tell_vault(self, say: arrow.FromReporter) -> None:
        if self._arrow is None:
            return
        try:
            self._arrow.send(say)
        except ArrowError as err:
            self._vault_lost(err, time.monotonic())

    def _vault_lost(self, err: ArrowError, now_s: float) -> None:
        if str(err) != self._arrow_trouble:  # once, not every second
            self._arrow_trouble = str(err)
            # Starting before the vault is normal, and whoever watches the vault sees it end.
            _log.info("no vault: %s", err)
        self._close_vault()
        self._arrow_at_s = now_s + VAULT_RETRY_S

    def _close_vault(self) -> None:
        # Whoever connects next may use the same numbers for other events.
        self._in_flight = dict.fromkeys(self._in_flight, None)
        if self._arrow is not None:
            self._selector.unregister(self._arrow)
            self._arrow.close()
            self._arrow = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the reporter until SIGTERM; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fadeout_broker.reporter", description="carry the vault's events to the MQTT broker"
    )
    parser.add_argument("--socket", type=Path, required=True, help="the vault's Unix socket for the reporter")
    parser.add_argument("--backoff-unit-s", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--backoff-cap-s", type=float, default=60.0, help=argparse.SUPPRESS)
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
